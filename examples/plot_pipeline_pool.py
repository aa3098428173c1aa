"""
A pool in a Pipeline
====================

How unlabeled rows get through the steps of a scikit-learn ``Pipeline``, what happens
if they do not, and what the pool is worth.
"""

# %%
# Rows on very different scales
# -----------------------------

import warnings

import matplotlib.pyplot as plt
import numpy as np
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklearn_slam import MLPStudent, SLaMDistiller, UnlabeledPool

X, y = load_digits(return_X_y=True)
X = X + 100  # an offset that only the scaler takes away
X_rest, X_test, y_rest, y_test = train_test_split(X, y, test_size=500, random_state=0)
X_labeled, y_labeled, pool = X_rest[:150], y_rest[:150], X_rest[150:]
slam = SLaMDistiller(
    CalibratedClassifierCV(SVC(C=10), cv=3),
    MLPStudent((64,)),
    cv=3,
    max_epochs=60,
    random_state=0,
)

# %%
# Through the steps
# -----------------
# Two things are needed: metadata routing, and ``transform_input``, which tells the
# Pipeline that its steps shall transform the pool too. ``X_unlabeled`` is requested
# by the distiller itself; no ``set_fit_request`` is needed.

sklearn.set_config(enable_metadata_routing=True)
pipeline = make_pipeline(
    StandardScaler(),
    PCA(30, random_state=0),
    slam,
    transform_input=["X_unlabeled"],
)
pipeline.fit(X_labeled, y_labeled, X_unlabeled=pool)
print(f"accuracy: {pipeline.score(X_test, y_test):.1%}")

# %%
# Without it
# ----------
# Leave ``transform_input`` out and the pool arrives as it was. Another number of
# columns is an error; after a scaler alone the numbers are merely wrong, and a warning
# says so.

careless = make_pipeline(StandardScaler(), slam)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    careless.fit(X_labeled, y_labeled, X_unlabeled=pool)
for warning in caught:
    print(warning.message)
print(f"accuracy: {careless.score(X_test, y_test):.1%}")

# %%
# In a search
# -----------
# ``GridSearchCV`` hands the pool on. It also cuts every argument that has as many rows
# as X; ``UnlabeledPool`` keeps a pool whole whatever its length, so it does no harm to
# use it always.

search = GridSearchCV(pipeline, {"pca__n_components": [10, 30]}, cv=3)
search.fit(X_labeled, y_labeled, X_unlabeled=UnlabeledPool(pool))
print("best:", search.best_params_)
print(f"accuracy: {search.score(X_test, y_test):.1%}")

# %%
# What the pool is worth
# ----------------------
# The same pipeline with a growing part of the pool, over two draws.

sizes = [50, 200, len(pool)]
scores = np.empty((2, len(sizes)))
for draw in range(len(scores)):
    order = np.random.default_rng(draw).permutation(len(pool))
    for place, size in enumerate(sizes):
        pipeline.set_params(slamdistiller__random_state=draw)
        pipeline.fit(X_labeled, y_labeled, X_unlabeled=pool[order[:size]])
        scores[draw, place] = 100 * pipeline.score(X_test, y_test)

fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.plot(sizes, scores.T, color="C0", alpha=0.3)
ax.plot(sizes, scores.mean(axis=0), "o-", color="C0", label="student, mean of 2 draws")
teacher = pipeline[-1].teacher_.score(pipeline[:-1].transform(X_test), y_test)
ax.axhline(100 * teacher, color="gray", ls="--", label="teacher")
ax.set(xscale="log", xlabel="unlabeled rows", ylabel="accuracy on fresh rows, %")
ax.legend(loc="lower right")
for size, score in zip(sizes, scores.mean(axis=0), strict=True):
    print(f"{size:5} unlabeled rows: {score:.1f} %")

# %%
# A teacher that arrives *fitted* sees what the steps make of the rows, which may not be
# what it was trained on. Then give the steps to the student instead:
# ``SLaMDistiller(fitted_teacher, make_pipeline(StandardScaler(), MLPStudent()))``.

sklearn.set_config(enable_metadata_routing=False)
plt.show()

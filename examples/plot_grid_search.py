"""
A grid over mixing parameters
=============================

The defaults are meant to need no tuning. Where labels allow it, ``GridSearchCV`` can
look for better ones. This example shows how, and how little a small grid on few
labels can tell.
"""

# %%
# Unlabeled rows in X
# -------------------
# The pool goes into X, with missing labels. ``SemiSupervisedSplit`` tests on labeled
# rows only and keeps every unlabeled one in each training part.

import tempfile
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import GridSearchCV, train_test_split

from sklearn_slam import MLPStudent, SemiSupervisedSplit, SLaMDistiller

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=500, random_state=0)
labels = np.where(np.arange(len(y)) < 300, y, None)
n_tested = sum(label is not None for label in labels)
print(f"{n_tested} labeled rows, {len(labels) - n_tested} unlabeled")

# %%
# The grid
# --------
# ``memory`` keeps what the teacher said: each fold asks it once, whatever the number
# of candidates. The student's own parameters are reached as ``student__...``.

grid = {
    "alpha_min": [0.75, 0.95, 1.0],
    "teacher_temperature": [0, 0.5, 1],
}
with tempfile.TemporaryDirectory() as memory, warnings.catch_warnings():
    # joblib says when reading a small result back took as long as computing it.
    warnings.filterwarnings("ignore", module="joblib")
    search = GridSearchCV(
        SLaMDistiller(
            ExtraTreesClassifier(100, random_state=0),
            MLPStudent((64,)),
            cv=3,
            max_epochs=25,
            memory=memory,
            random_state=0,
        ),
        grid,
        cv=SemiSupervisedSplit(3, random_state=0),
    )
    search.fit(X, labels)

# %%
# What it found
# -------------

results = search.cv_results_
mean = 100 * results["mean_test_score"].reshape(3, 3)
error = np.sqrt(mean * (100 - mean) / n_tested)

fig, ax = plt.subplots(figsize=(5.5, 4), layout="constrained")
picture = ax.imshow(mean, cmap="viridis")
for (row, column), value in np.ndenumerate(mean):
    ax.text(
        column,
        row,
        f"{value:.1f} ± {error[row, column]:.1f}",
        ha="center",
        va="center",
        color="black" if value > mean.mean() else "white",
    )
ax.set_xticks(range(3), grid["teacher_temperature"])
ax.set_yticks(range(3), grid["alpha_min"])
ax.set(xlabel="teacher_temperature", ylabel="alpha_min")
fig.colorbar(picture, label="accuracy in cross-validation, %")

best = search.best_index_
near = mean.max() - mean <= error.flat[best]
print("best:", search.best_params_)
print(f"accuracy in cross-validation {search.best_score_:.1%}")
print(f"accuracy on fresh rows       {search.score(X_test, y_test):.1%}")
print(f"{near.sum()} of {near.size} candidates lie within a standard error of the best")

# %%
# ``alpha_min=1`` leaves mixing out, .95 is the default. Each candidate is tested on the
# labeled rows only, here 300, so that a difference of a point is three rows: where
# candidates are that close, the grid cannot tell them apart. And the score of the best
# one is too good by the choice itself; only the rows kept apart say what it is worth.

plt.show()

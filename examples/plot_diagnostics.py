"""
The displays
============

The pictures behind :doc:`reading the diagnostics </reading-the-diagnostics>`, drawn of
one forest, 200 labeled digits and a pool of a thousand.
"""

# %%
# How often the teacher is right
# ------------------------------
# The estimate from labeled rows that the teacher had not learned from. It rises: where
# the forest is torn it is often wrong, and there mixing discounts its label.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

from sklearn_slam import (
    LatencyAccuracyDisplay,
    ReliabilityDisplay,
    SLaMDistiller,
    TeacherAccuracyDisplay,
    TrainingHistoryDisplay,
    distillation_report,
)

X, y = load_digits(return_X_y=True)
X_rest, X_test, y_rest, y_test = train_test_split(X, y, test_size=500, random_state=0)
X_labeled, y_labeled, pool = X_rest[:200], y_rest[:200], X_rest[200:]
slam = SLaMDistiller(
    ExtraTreesClassifier(100, random_state=0), max_epochs=40, random_state=0
)
slam.fit(X_labeled, y_labeled, X_unlabeled=pool)

fig, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
TeacherAccuracyDisplay.from_estimator(slam, ax=ax)

# %%
# Two teachers, sure in two ways
# ------------------------------
# The forest is under-confident, naive Bayes over-confident. ``temperature_`` says the
# same in one number.

bayes = SLaMDistiller(GaussianNB(var_smoothing=1e-3), max_epochs=40, random_state=0)
bayes.fit(X_labeled, y_labeled, X_unlabeled=pool)
fig, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
for name, model in [("forest", slam), ("naive Bayes", bayes)]:
    accuracy = model.teacher_accuracy_
    ReliabilityDisplay.from_predictions(
        y_labeled, accuracy.proba_, labels=model.classes_, name=name, n_bins=8, ax=ax
    )
    print(f"{name}: temperature {accuracy.temperature_:.2f}")

# %%
# Training
# --------

fig, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
TrainingHistoryDisplay.from_estimator(slam, ax=ax)

# %%
# Side by side
# ------------
# What the student gains over one that has the labels only, and over plain distillation
# of the same teacher; and what it costs to ask each of them.

report = distillation_report(
    slam, X_test, y_test, X=X_labeled, y=y_labeled, X_unlabeled=pool, n_repeats=10
)
fig, ax = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
LatencyAccuracyDisplay.from_report(report, ax=ax)
plt.show()

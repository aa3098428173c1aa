"""
A noisy teacher, step by step
=============================

Here we make the teacher's mistakes ourselves, so that we know how often it is right.
Plain distillation and student-label mixing with the true probability are then
compared with nothing left to estimate.
"""

# %%
# A teacher with known mistakes
# -----------------------------
# Digits: 100 rows with a label, the rest of those not kept for the test without. The
# teacher knows the truth, but four times out of ten it names another class, drawn at
# random. Its labels are hard: it never says that it is unsure.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_slam import MLPStudent, SLaMDistiller

TRUE_ALPHA = 0.6
digits, classes = load_digits(return_X_y=True)


def noisy_labels(y, rng, alpha=TRUE_ALPHA):
    wrong = rng.uniform(size=len(y)) > alpha
    return np.eye(10)[np.where(wrong, (y + rng.integers(1, 10, len(y))) % 10, y)]


def draw(seed):
    """Return labeled rows, pool and test rows, and what the teacher says."""
    rng = np.random.default_rng(seed)
    X_rest, X_test, y_rest, y_test = train_test_split(
        digits, classes, test_size=600, stratify=classes, random_state=seed
    )
    X, pool, y, y_pool = train_test_split(
        X_rest, y_rest, train_size=100, stratify=y_rest, random_state=seed
    )
    labels = {
        "teacher_proba": noisy_labels(y, rng),
        "teacher_proba_unlabeled": noisy_labels(y_pool, rng),
    }
    return X, y, pool, labels, X_test, y_test


# %%
# Two students
# ------------
# Labels that are known beforehand are passed to ``fit``; no teacher is asked then.
# ``alpha=1`` is plain distillation. With ``alpha=0.6`` and all ten classes in the top k
# the loss is told the truth about the noise (the bound ``alpha_min`` is lifted): where
# the student gives a class the probability f, the teacher is expected to name it with
# probability 0.6 f + 0.4 (1 - f) / 9.


def distill(alpha, early_stopping, rows, seed=0):
    X, y, pool, labels, _, _ = rows
    slam = SLaMDistiller(
        student=MLPStudent((128, 128)),
        alpha=alpha,
        alpha_min=0.0,
        top_k=10,
        normalize=True,
        teacher_temperature=1,
        max_epochs=60,
        early_stopping=early_stopping,
        random_state=seed,
    )
    return slam.fit(X, y, X_unlabeled=pool, **labels)


# %%
# With and without early stopping
# -------------------------------
# Each is trained to the end, and once more with early stopping, the default from 500
# pool rows on. Over three draws: accuracy on fresh rows, and how often the student
# agrees with the teacher on the pool. Much more than 60 % means that it has learned the
# teacher's mistakes by heart.

settings = {
    "plain, to the end": (1.0, False),
    "mixing, to the end": (TRUE_ALPHA, False),
    "plain, stopped early": (1.0, True),
    "mixing, stopped early": (TRUE_ALPHA, True),
}
scores = {name: [] for name in ["labels only", *settings]}
followed = {name: [] for name in scores}
for seed in range(3):
    rows = X, y, pool, labels, X_test, y_test = draw(seed)
    students = {"labels only": MLPStudent((128, 128), random_state=seed).fit(X, y)}
    for name, (alpha, early_stopping) in settings.items():
        students[name] = distill(alpha, early_stopping, rows, seed)
    named = labels["teacher_proba_unlabeled"].argmax(axis=1)
    for name, student in students.items():
        scores[name].append(100 * student.score(X_test, y_test))
        followed[name].append((student.predict(pool) == named).mean())

fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
colors = ["gray", "C0", "C1", "C0", "C1"]
for place, (name, values) in enumerate(scores.items()):
    ax.barh(place, np.mean(values), color=colors[place], alpha=0.6)
    ax.plot(values, np.full(3, place), "k.", label=None if place else "single draws")
    print(
        f"{name:22} {np.mean(values):5.1f} % of fresh rows right, "
        f"{np.mean(followed[name]):4.0%} of the pool as the teacher says"
    )
ax.set_yticks(range(len(scores)), scores)
ax.invert_yaxis()
ax.set(xlabel="accuracy on fresh rows, %", xlim=(50, 100))
ax.legend(loc=(0.68, 0.64))  # beside the shortest bar

# %%
# Trained to the end, mixing keeps much of what plain distillation loses to the
# teacher's mistakes. Stopped early, a student has no time to learn single mistakes by
# heart, and plain distillation is less far behind: at every row the teacher's most
# frequent label is the right one. The difference, mixing minus plain, draw by draw:

for ending in ("to the end", "stopped early"):
    difference = np.subtract(scores[f"mixing, {ending}"], scores[f"plain, {ending}"])
    print(f"{ending:15}", np.round(difference, 1))

# %%
# When alpha is not known exactly
# -------------------------------
# One draw, trained to the end, with other values of alpha than the true one:

rows = draw(0)
assumed = [0.4, 0.5, 0.6, 0.8, 1.0]
accuracies = []
for alpha in assumed:
    slam = distill(alpha, False, rows)
    accuracies.append(100 * slam.score(*rows[-2:]))
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.plot(assumed, accuracies, "o-")
ax.axvline(TRUE_ALPHA, color="gray", lw=0.8, ls="--", label="true value")
ax.set(xlabel="alpha assumed", ylabel="accuracy on fresh rows, %")
ax.legend()

# %%
# With a real teacher alpha is not one number, and its mistakes are not spread evenly:
# alpha is estimated row by row from the teacher's margin. See
# :ref:`sphx_glr_auto_examples_plot_teacher_accuracy.py`.

plt.show()

"""
Reading the teacher's accuracy
==============================

Mixing needs to know how often the teacher is right, row by row. It is estimated from
the teacher's *margin*: its largest probability minus the second-largest. This example
looks at the estimate, at what it is made of, and at how it goes wrong.
"""

# %%
# The estimate
# ------------
# A forest, 250 labeled digits, a pool of a thousand. The fitted distiller keeps the
# statistics in ``teacher_accuracy_``: margins and hits of the labeled rows, each
# predicted by a forest that did not learn from it, and alpha as a function of the
# margin. Since this is an example, we also know the labels of the pool, and can draw
# how often the teacher really is right there.

import textwrap
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from sklearn_slam import SLaMDistiller, TeacherAccuracy

X, y = load_digits(return_X_y=True)
X_labeled, pool, y_labeled, y_pool = train_test_split(
    X, y, train_size=250, stratify=y, random_state=0
)
slam = SLaMDistiller(
    RandomForestClassifier(200, max_features=2, random_state=0),
    peers=False,
    max_epochs=20,
    random_state=0,
).fit(X_labeled, y_labeled, X_unlabeled=pool)
estimated = slam.teacher_accuracy_
proba_pool = slam.teacher_.predict_proba(pool)
in_truth = TeacherAccuracy().fit(proba_pool, y_pool)


def draw_hits(ax, accuracy, label, n_bins=6):
    """Draw the share of hits among rows of like margin, with 95 % intervals."""
    edges = np.quantile(accuracy.margins_, np.linspace(0, 1, n_bins + 1))
    which = np.digitize(accuracy.margins_, edges[1:-1])
    for place in range(n_bins):
        margin = accuracy.margins_[which == place]
        n, rate = len(margin), accuracy.hits_[which == place].mean()
        middle = (rate + 1.92 / n) / (1 + 3.84 / n)  # Wilson's interval
        half = np.sqrt(3.84 * rate * (1 - rate) / n + 3.69 / n**2) / (1 + 3.84 / n)
        ax.errorbar(
            margin.mean(),
            rate,
            yerr=[[max(0, rate - middle + half)], [max(0, middle + half - rate)]],
            fmt="o",
            color="C1",
            label=label if place == 0 else None,
        )


margin = np.linspace(0, 1, 201)
fig, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
ax.plot(margin, estimated.alpha(margin), label="alpha, estimated")
draw_hits(ax, estimated, "labeled rows, out of fold (95 % intervals)")
ax.plot(margin, in_truth.alpha(margin), "k:", label="alpha on the pool, in truth")
ax.axhline(0.95, color="gray", lw=0.8, label="alpha_min")
ax.set(xlabel="teacher's margin", ylabel="teacher is right", ylim=(0, 1.03))
ax.legend(loc="lower right")

# %%
# What to look for:
#
# - *A rising curve.* A flat one says that the margin tells nothing about mistakes.
# - *Where the pool lies.* Only the part of the curve where pool rows are matters.
# - *How much lies at 1.* Where alpha is 1, nothing is mixed. (Peers are left out here;
#   with them, the same is asked of ``label_accuracy_``.)

alpha = np.maximum(estimated.alpha(in_truth.margins_), 0.95)
print(f"{(alpha == 1).mean():.0%} of the pool has alpha = 1: there nothing is mixed")
print(f"mean alpha on the pool: {alpha.mean():.3f}")
print(f"the teacher's accuracy there: {in_truth.hits_.mean():.3f}")

# %%
# How many classes may hold the truth
# -----------------------------------
# The same for "the truth is among the k most likely". ``top_k="auto"`` takes, row by
# row, the least k whose estimate reaches ``top_k_accuracy``.

fig, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for k in (1, 2, 3, 4):
    ax.plot(margin, estimated.top_k_accuracy(margin, k), label=f"among the top {k}")
ax.axhline(0.9, color="gray", lw=0.8, ls="--", label="top_k_accuracy")
ax.set(xlabel="teacher's margin", ylabel="probability", ylim=(0, 1.03))
ax.legend(loc="lower right")
k, n_rows = np.unique(estimated.top_k(in_truth.margins_), return_counts=True)
print("pool rows by k:", dict(zip(k.tolist(), n_rows.tolist(), strict=True)))

# %%
# The trap: rows that the teacher has learned
# -------------------------------------------
# On its own rows a forest is nearly always right, and its margins there are nothing
# like those on the pool. An estimate from such rows is 1 wherever it matters.

own = TeacherAccuracy().fit(slam.teacher_.predict_proba(X_labeled), y_labeled)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
bins = np.linspace(0, 1, 21)
for accuracy, name in [
    (own, "its own rows"),
    (estimated, "labeled, out of fold"),
    (in_truth, "pool"),
]:
    left.hist(
        accuracy.margins_, bins, density=True, histtype="step", lw=1.5, label=name
    )
    right.plot(margin, accuracy.alpha(margin), label=name)
    print(f"{name:21} right on {accuracy.hits_.mean():6.1%}")
left.set(xlabel="teacher's margin", ylabel="density of rows")
right.set(xlabel="teacher's margin", ylabel="alpha", ylim=(0, 1.03))
right.legend(loc="lower right")

# %%
# That is why a teacher that arrives unfitted is cross-fitted, and why the labeled rows
# must be new to one that arrives fitted. Where they are not, ``fit`` warns:

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    SLaMDistiller(slam.teacher_, max_epochs=1, random_state=0).fit(
        X_labeled, y_labeled, X_unlabeled=pool
    )
print(textwrap.fill(str(caught[0].message)))

# %%
# Whether the teacher is too sure
# -------------------------------
# ``temperature_`` is the one at which the teacher's probabilities fit the labels best:
# above 1 it is too sure, below 1 (forests, often) not sure enough.
# ``teacher_temperature="auto"`` takes 0.7 times that.

print(f"calibrating temperature: {estimated.temperature_:.2f}")
plt.show()

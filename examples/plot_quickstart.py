"""
Quickstart: a slow ensemble, 200 labels, a small network
========================================================

A forest of 500 trees is trained on 200 labeled digits. A small network learns from
it on a thousand digits whose labels nobody looks at.
"""

# %%
# Rows with labels, rows without, and rows to test on
# ---------------------------------------------------

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import train_test_split

from sklearn_slam import MLPStudent, SLaMDistiller

X, y = load_digits(return_X_y=True)
X_rest, X_test, y_rest, y_test = train_test_split(
    X, y, test_size=500, stratify=y, random_state=0
)
X_labeled, pool, y_labeled, y_hidden = train_test_split(
    X_rest, y_rest, train_size=200, stratify=y_rest, random_state=0
)
print(f"{len(X_labeled)} labeled rows, {len(pool)} unlabeled, {len(X_test)} to test on")

# %%
# Distill
# -------
# The teacher arrives unfitted. ``fit`` cross-fits it on the labeled rows, to see how
# often it is right on rows it did not learn from, then fits it on all of them, lets
# it and its peers label the pool, and trains the student.

teacher = ExtraTreesClassifier(500, random_state=0)
slam = SLaMDistiller(teacher, random_state=0)
slam.fit(X_labeled, y_labeled, X_unlabeled=pool)

# %%
# What it gives
# -------------
# The same network, trained on the labels alone, is the measure of what the pool and
# the teacher brought.

models = {
    "teacher": slam.teacher_,
    "student": slam.student_,
    "student, labels only": MLPStudent(random_state=0).fit(X_labeled, y_labeled),
}
for name, model in models.items():
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        model.predict_proba(X_test[:1])
        seconds.append(time.perf_counter() - start)
    accuracy = model.score(X_test, y_test)
    print(f"{name:22}{accuracy:6.1%}   {1e3 * np.median(seconds):6.2f} ms for one row")

# %%
# ``slam.student_`` is a classifier of its own. Pickle it and ship it; the teacher
# stays at home.
#
# Where teacher and student disagree
# ----------------------------------
# We kept the labels of the pool hidden; here is what they say.

of_teacher = slam.teacher_.predict(pool)
of_student = slam.predict(pool)
teacher_wrong, student_wrong = of_teacher != y_hidden, of_student != y_hidden
mended, spoiled = teacher_wrong & ~student_wrong, ~teacher_wrong & student_wrong
print(f"The teacher is wrong on {teacher_wrong.sum()} of {len(pool)} pool rows.")
print(f"The student is right on {mended.sum()} of those,")
print(f"and wrong on {spoiled.sum()} where the teacher is right.")

# %%
# Some of the rows on which they disagree, and what each says:

some = np.flatnonzero(of_teacher != of_student)[:10]
fig, axes = plt.subplots(2, 5, figsize=(8, 4), layout="constrained")
for ax in axes.flat:
    ax.axis("off")
for ax, row in zip(axes.flat, some, strict=False):
    ax.imshow(pool[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(
        f"teacher {of_teacher[row]}, student {of_student[row]}\ntruth {y_hidden[row]}",
        fontsize=9,
        color="tab:green" if of_student[row] == y_hidden[row] else "tab:red",
    )

plt.show()

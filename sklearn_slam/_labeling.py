"""A teacher's labels of the rows of one fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from joblib import Memory
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_slam._fit_rows import FitRows, unwrap
from sklearn_slam._folds import Folds, make_folds
from sklearn_slam._progress import Progress
from sklearn_slam._repeatable import cached, with_random_state
from sklearn_slam._rows import Rows
from sklearn_slam._teacher import (
    align,
    cross_fit,
    default_teacher,
    fit_teacher,
    predict_soft_labels,
    warn_if_memorized,
    warn_unless_weighted,
)
from sklearn_slam._validation import check_two_classes


@dataclass(frozen=True)
class Task:
    """What one fit works on.

    Parameters
    ----------
    rows : FitRows
    keeps_teacher : bool
        Whether the teacher arrived fitted, and is used as it is.
    classes : ndarray of shape (n_classes,)
        Of labels and of a fitted teacher, sorted.
    codes : ndarray of int, shape (n_labeled,)
        Index of each labeled row's class.
    seed : int
        Of folds, of a teacher fitted here, and of peers.
    cv : int, splitter or iterable
    groups : array-like of shape (n_rows,) or None
        Of the rows of X.
    memory : joblib.Memory
        Keeps what teacher and peers say.
    """

    rows: FitRows
    keeps_teacher: bool
    classes: NDArray[Any]
    codes: NDArray[np.intp]
    seed: int
    cv: Any
    groups: Any
    memory: Memory

    @cached_property
    def folds(self) -> Folds:
        """Folds of the labeled rows: when asked, since not every fit needs them."""
        rows, groups = self.rows, self.groups
        groups = None if groups is None else np.asarray(groups)[rows.labeled_at]
        return make_folds(self.cv, rows.X_labeled, rows.labels, groups, self.seed)


def label_with_teacher(
    task: Task,
    teacher: Any,
    given: Any,
    given_beside: Any,
    *,
    seeded: bool,
    n_jobs: int | None,
    progress: Progress,
) -> tuple[Any, NDArray[np.float32], NDArray[np.float32]]:
    """Return the teacher and its probabilities of labeled and pool rows.

    Parameters
    ----------
    task : Task
    teacher : classifier or None
        Of one that did not arrive fitted, clones are cross-fitted on the labeled rows
        for these, and one is fitted on all of them for the pool.
    given, given_beside : array-like or None
        Its probabilities of the rows of X and of X_unlabeled, where they are known.
    seeded : bool
        Whether the task's seed decides a teacher's ``random_state`` that is None.
    n_jobs : int or None
        Folds fitted at once.
    progress : Progress

    Returns
    -------
    teacher : classifier or None
        None where all its probabilities were given and it did not arrive fitted.
    labeled, pool : ndarray of float32, shape (n_rows, n_classes)
    """
    rows, memory = task.rows, task.memory
    given, given_beside = _align_given(task, teacher, given, given_beside)
    known_by: Any = None
    if not task.keeps_teacher:
        asks = given is None or (given_beside is None and len(rows.beside_rows))
        if asks:
            teacher = _settle_unfitted(task, teacher, given, given_beside, seeded)
        known_by = teacher, rows.X_labeled, rows.labels, rows.weights
    ask = partial(_ask, task, known_by=known_by, progress=progress)
    if given is not None:
        labeled_proba = given[rows.labeled_at]
    elif task.keeps_teacher:
        labeled_proba = ask(teacher, rows.labeled_rows, "the labeled rows of X")
    else:
        labeled_proba = cached(memory, cross_fit, ignore=["n_jobs", "progress"])(
            teacher,
            rows.X_labeled,
            rows.labels,
            task.folds,
            task.classes,
            rows.weights,
            n_jobs=n_jobs,
            progress=progress,
        )
    if not task.keeps_teacher:
        teacher = _fit_on_all(memory, known_by, progress) if asks else None
    if given is None:
        of_unlabeled = ask(teacher, rows.unlabeled_rows, "the unlabeled rows of X")
    else:
        of_unlabeled = given[rows.unlabeled_at]
    if given_beside is None:
        given_beside = ask(teacher, rows.beside_rows, "X_unlabeled")
    both = of_unlabeled, given_beside
    # Most have one of them, which needs no copy.
    pool_proba = np.concatenate(both) if all(map(len, both)) else max(both, key=len)
    if task.keeps_teacher or given is not None:
        warn_if_memorized(labeled_proba, pool_proba)
    return teacher, labeled_proba, pool_proba


def _settle_unfitted(
    task: Task, teacher: Any, given: Any, given_beside: Any, seeded: bool
) -> Any:
    """Return the teacher to fit, of a seed that is settled, or raise without one."""
    rows = task.rows
    if teacher is None:
        _check_all_given(rows, given, given_beside)
        teacher = default_teacher(rows.X, task.seed)
    elif seeded:
        teacher = with_random_state(clone(teacher), task.seed)
    if rows.weights is not None:
        counted = np.unique(rows.labels[rows.weights > 0])
        check_two_classes(counted, " where sample_weight is positive")
        warn_unless_weighted(teacher)
    return teacher


def _fit_on_all(memory: Memory, recipe: Any, progress: Progress) -> Any:
    """Return a teacher fitted on all labeled rows."""
    with progress.part("fit teacher", "fit", 1) as part:
        part.begin()
        teacher = cached(memory, fit_teacher)(*recipe)
        part.end()
    return teacher


def _ask(
    task: Task,
    teacher: Any,
    rows: Rows,
    name: str,
    *,
    known_by: Any,
    progress: Progress,
) -> NDArray[np.float32]:
    """Return a fitted teacher's probabilities of rows; name them where it fails."""
    if not len(rows):
        return np.empty((0, len(task.classes)), dtype=np.float32)
    try:
        return predict_soft_labels(
            teacher,
            rows,
            task.classes,
            known_by=known_by,
            memory=task.memory,
            progress=progress,
        )
    except ValueError as error:
        error.add_note(f"The teacher was asked about {name}.")
        if isinstance(error, NotFittedError):
            error.add_note(
                "It counts as fitted, as its last step is: fit it as a whole, or "
                "put its fitted steps into a FrozenEstimator."
            )
        raise


def _check_all_given(rows: FitRows, given: Any, given_beside: Any) -> None:
    """Raise where probabilities are given of some rows, and no teacher for others."""
    found, missing = "teacher_proba", "teacher_proba_unlabeled"
    if len(rows.beside_rows) and (given is None) != (given_beside is None):
        if given is None:
            found, missing = missing, found
        raise ValueError(
            f"{found} is given, {missing} is not, and there is no teacher to ask. Pass "
            "both, from one teacher, or the teacher itself."
        )


def _align_given(
    task: Task, teacher: Any, given: Any, given_beside: Any
) -> tuple[Any, Any]:
    """Check given probabilities of X and X_unlabeled; order their columns."""
    columns = teacher.classes_ if task.keeps_teacher else task.classes
    if given_beside is not None and task.rows.X_unlabeled is None:
        raise ValueError("teacher_proba_unlabeled is given, but X_unlabeled is not.")

    def aligned(proba: Any, n_rows: int, name: str) -> Any:
        if proba is None:
            return None
        return align(proba, n_rows, columns, task.classes, name)

    n_rows, n_beside = task.rows.X.shape[0], len(task.rows.beside_rows)
    return (
        aligned(given, n_rows, "teacher_proba"),
        aligned(unwrap(given_beside), n_beside, "teacher_proba_unlabeled"),
    )

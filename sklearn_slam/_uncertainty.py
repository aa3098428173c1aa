"""How unsure a teacher is, where it shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from sklearn_slam._rows import Rows, is_frame, own_copy
from sklearn_slam._validation import align_proba

AVERAGES = (
    BaggingClassifier,
    ExtraTreesClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
"""Ensembles that are the mean of their members, which therefore tell how unsure they
are. In boosting and stacking, members stand for parts of the answer."""


def ensemble_spread(
    teacher: Any, rows: Rows, classes: NDArray[Any], n_passes: int
) -> NDArray[np.float32] | None:
    """Return how far an ensemble's members, or dropout passes, lie apart.

    Parameters
    ----------
    teacher : fitted classifier, or None
    rows : Rows
    classes : ndarray of shape (n_classes,)
        Sorted; the teacher may lack some.
    n_passes : int
        Passes of a student of this package that has dropout; torch's random state
        decides them.

    Returns
    -------
    spread : ndarray of float32, shape (n_rows, n_classes), or None
        Standard deviation of each probability; None where the teacher is no average
        of members that say probabilities, and has no dropout.
    """
    model, steps = teacher, []
    while isinstance(model, Pipeline | FrozenEstimator):
        if isinstance(model, Pipeline):
            steps += [model[:-1]] if len(model) > 1 else []
            model = model[-1]
        else:
            model = model.estimator
    members = _members(model, n_passes)
    if not members:
        return None
    # Of a class that the teacher does not know, it cannot be sure.
    spread = np.ones((len(rows), len(classes)), dtype=np.float32)
    known = np.searchsorted(classes, model.classes_)
    for table, place in rows.chunks():
        table = own_copy(table)
        for step in steps:
            table = step.transform(table)
        spread[place, known] = _spread(member(table) for member in members)
    return spread


def _spread(answers: Iterator[NDArray[Any]]) -> NDArray[np.float64]:
    """Return the standard deviation over answers, of which one is held at a time."""
    mean = next(answers).astype(np.float64)
    squares = np.zeros_like(mean)
    for n_before, answer in enumerate(answers, 1):
        off = answer - mean
        mean += off / (n_before + 1)
        squares += off * (answer - mean)
    return np.sqrt(squares / (n_before + 1))


def _members(model: Any, n_passes: int) -> list[Callable[[Any], NDArray[Any]]]:
    """Return what an ensemble's members predict, as functions of a table."""
    if getattr(model, "_dropout", None):
        return [model._predict_with_dropout] * n_passes
    members = model.estimators_ if isinstance(model, AVERAGES) else []
    if len(members) < 2 or not all(hasattr(m, "predict_proba") for m in members):
        return []
    classes = np.arange(len(model.classes_))
    features = getattr(model, "estimators_features_", [None] * len(members))

    def ask(member: Any, columns: Any, table: Any) -> NDArray[Any]:
        # Forests and bagging hand their members arrays, a vote the table itself.
        if is_frame(table) and not hasattr(member, "feature_names_in_"):
            table = check_array(table, dtype=None, ensure_all_finite=False)
        said = member.predict_proba(table if columns is None else table[:, columns])
        # Members have learned numbers of classes, some of them not of all.
        return align_proba(said, member.classes_.astype(np.intp), classes)

    return [
        partial(ask, member, columns)
        for member, columns in zip(members, features, strict=True)
    ]

"""Folds of the labeled rows, for predictions of rows that are new to a model."""

from __future__ import annotations

import itertools
import numbers
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, check_cv

from sklearn_slam._warn import warn

Folds = list[tuple[NDArray[np.intp], NDArray[np.intp]]]
"""Positions of the rows to learn from, and of those to predict."""


def times_tested(folds: Folds, n_rows: int) -> NDArray[np.float32]:
    """Return in how many test parts each row is, to average what is said of it."""
    times = np.zeros(n_rows, dtype=np.float32)
    for _, test in folds:
        times[test] += 1
    return times


def that_weigh(folds: Folds, weights: NDArray[np.float64] | None) -> Folds:
    """Return folds without training rows of weight 0."""
    if weights is None:
        return folds
    return [(train[weights[train] > 0], test) for train, test in folds]


def fault_of_folds(folds: Folds, y: NDArray[Any]) -> str | None:
    """Say why folds cannot serve for out-of-fold predictions; None where they can."""
    for train, _ in folds:
        if len(np.unique(y[train])) < 2:
            return (
                "A fold of cv has one class only among its training rows (those that "
                "weigh more than 0); label at least two rows of each class, use fewer "
                "folds, or pass a fitted teacher (and peers=False)."
            )
    n_missed = np.count_nonzero(times_tested(folds, len(y)) == 0)
    if n_missed:
        return (
            f"cv leaves {n_missed} labeled rows out of every test part; "
            "each must be predicted by a model that did not learn from it. Use a cv "
            "that tests on every row, or pass a fitted teacher (and peers=False)."
        )
    return None


def check_folds(folds: Folds, y: NDArray[Any]) -> None:
    """Raise where folds cannot serve for out-of-fold predictions."""
    fault = fault_of_folds(folds, y)
    if fault is not None:
        raise ValueError(fault)


def make_folds(
    cv: Any, X: Any, y: NDArray[Any], groups: Any, random_state: int
) -> Folds:
    """Return the folds for out-of-fold predictions on labeled rows.

    An integer means stratified and shuffled folds, fewer (with a warning) where
    no class has a row for each.
    """
    if cv is None or isinstance(cv, numbers.Integral):
        cv = _stratified(5 if cv is None else int(cv), y, random_state)
    elif not hasattr(cv, "split"):
        cv = list(cv) if isinstance(cv, Iterable) else [cv]
        if not all(np.iterable(fold) and len(list(fold)) == 2 for fold in cv):
            raise ValueError(
                "cv must be a number of folds, a splitter, or folds, each a pair of "
                f"training and test rows; got {cv[:3]!r}."
            )
    with warnings.catch_warnings():
        # Probabilities are aligned where a fold lacks a class.
        warnings.filterwarnings("ignore", "The least populated class")
        folds = [
            (_positions(train, len(y)), _positions(test, len(y)))
            for train, test in check_cv(cv, y, classifier=True).split(X, y, groups)
        ]
    for rows in itertools.chain.from_iterable(folds):
        beyond = rows[(rows < 0) | (rows >= len(y))]
        if len(beyond):
            raise ValueError(
                f"cv names row {beyond[0]}, but there are {len(y)} labeled rows. Folds "
                "that are given count labeled rows only, from 0 on."
            )
    if any(np.isin(test, train).any() for train, test in folds):
        raise ValueError(
            "A fold of cv tests on rows that it trains on, of which any model looks "
            "right; give folds whose training and test rows differ."
        )
    return folds


def _stratified(n_folds: int, y: NDArray[Any], random_state: int) -> StratifiedKFold:
    """Return a splitter into as many folds as the classes allow, or raise."""
    if n_folds < 2:
        raise ValueError(f"cv must be at least 2, got {n_folds}.")
    most = int(np.unique(y, return_counts=True)[1].max())
    if most < 2:
        raise ValueError(
            f"Every class has one labeled row only (n_samples = {len(y)}), so that "
            "none can be held out. Pass a fitted teacher, or label at least two rows "
            "of a class."
        )
    if most < n_folds:
        warn(
            f"cv={n_folds} folds were asked for, but no class has more than {most} "
            f"labeled rows; {most} folds are used."
        )
    return StratifiedKFold(min(n_folds, most), shuffle=True, random_state=random_state)


def _positions(rows: Any, n_rows: int) -> NDArray[np.intp]:
    """Return rows of a fold by position; a user's folds may be boolean masks."""
    rows = np.asarray(rows)
    if len(rows) and rows.dtype.kind not in "iub":
        raise ValueError(
            f"cv holds folds of dtype {rows.dtype}; give integer positions of labeled "
            "rows, or masks."
        )
    if rows.dtype != bool:
        return rows.astype(np.intp)
    if len(rows) != n_rows:
        raise ValueError(
            f"cv holds masks of {len(rows)} rows, but there are {n_rows} labeled rows."
        )
    return np.flatnonzero(rows)

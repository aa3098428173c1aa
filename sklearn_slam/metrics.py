"""How far probabilities are from observed rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_slam._validation import (
    check_integer,
    check_proba,
    check_weights,
    missing_labels,
    order_columns,
)

__all__ = ["expected_calibration_error"]

Z_95 = 1.959964
"""A standard normal variable lies within this of 0 with probability 0.95."""


def expected_calibration_error(
    y_true: ArrayLike,
    proba: ArrayLike,
    *,
    n_bins: int = 15,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Return the mean distance between the top class's probability and accuracy.

    Rows are put into bins by the probability of their most likely class; the error
    is the mean over the bins of the distance between that probability and the share
    of rows whose most likely class is right, each bin weighted by its rows.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        True labels.
    proba : array-like of shape (n_rows, n_classes)
        Class probabilities.
    n_bins : int, default=15
        Number of bins of equal mass; equal probabilities share a bin.
    labels : array-like of shape (n_classes,), default=None
        Labels of the columns; None means the sorted labels of ``y_true``.
    sample_weight : array-like of shape (n_rows,), default=None
        Weights of the rows.

    Returns
    -------
    error : float
        In [0, 1]; 0 where the probabilities are the observed rates.

    Raises
    ------
    ValueError
        If labels, probabilities and weights do not fit together or are none, or
        ``n_bins`` is not an integer of at least 1.

    See Also
    --------
    ReliabilityDisplay : The bins, drawn.

    Notes
    -----
    Guo et al. cut [0, 1] into bins of equal width. A good classifier puts nearly
    all rows into the last of those and leaves the rest to a few rows each, whose
    chance deviations add up to error. Bins of equal mass are all as well known.

    References
    ----------
    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, Section 2.

    Examples
    --------
    Always sure by 0.9, and right half of the time:

    >>> from sklearn_slam import expected_calibration_error
    >>> proba = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]
    >>> round(expected_calibration_error([0, 1, 0, 1], proba), 3)
    0.4
    """
    codes, proba = encode_for(y_true, proba, labels)
    return HitRates.of_top_class(codes, proba, n_bins, sample_weight).distance


def encode_for(
    y_true: ArrayLike, proba: ArrayLike, labels: ArrayLike | None
) -> tuple[NDArray[np.intp], NDArray[np.floating]]:
    """Check labels against probabilities; return each label's column, and the latter.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
    proba : array-like of shape (n_rows, n_classes)
    labels : array-like of shape (n_classes,) or None
        Labels of the columns; None means the sorted labels of ``y_true``.

    Returns
    -------
    codes : ndarray of int, shape (n_rows,)
    proba : ndarray of shape (n_rows, n_classes)
    """
    y = np.asarray(y_true)
    if missing_labels(y.ravel()).any():
        raise ValueError("y_true misses labels (NaN or None); leave these rows out.")
    columns = np.unique(y) if labels is None else np.atleast_1d(labels)
    proba = np.asarray(order_columns(proba, columns, "proba"))
    if proba.ndim != 2 or y.shape != proba.shape[:1] or not len(y):
        raise ValueError(
            f"y_true has shape {y.shape}, proba {proba.shape}; expected (n_rows,) and "
            "(n_rows, n_classes), with at least one row."
        )
    if len(columns) != proba.shape[1]:
        source = "y_true holds" if labels is None else "labels names"
        raise ValueError(
            f"{source} {len(columns)} classes, proba has {proba.shape[1]} columns; "
            "pass labels=classifier.classes_."
        )
    proba = check_proba(proba, len(y), len(columns), "proba")
    return find_columns(y, columns, "y_true"), proba


def find_columns(y: NDArray[Any], columns: NDArray[Any], name: str) -> NDArray[np.intp]:
    """Return each label's position among the labels of columns, or raise.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
    columns : ndarray of shape (n_classes,)
        Labels of the columns, in any order.
    name : str
        What the message calls ``y``.
    """
    column_of = {label: column for column, label in enumerate(columns.tolist())}
    if len(column_of) < len(columns):
        raise ValueError(
            "labels must name each column by a class of its own, got "
            f"{columns[:10].tolist()}."
        )
    unknown = set(y.tolist()) - set(column_of)
    if unknown:
        raise ValueError(
            f"{name} holds labels that no column of probabilities stands for: "
            f"{sorted(unknown, key=str)[:5]}; the columns are {columns[:10].tolist()}."
        )
    return np.array([column_of[label] for label in y.tolist()], dtype=np.intp)


@dataclass(frozen=True)
class HitRates:
    """Shares of hits in bins of a score, with 95 % Wilson intervals.

    Parameters
    ----------
    score : ndarray of shape (n_bins,)
        Mean score of each bin's rows.
    rate : ndarray of shape (n_bins,)
        Share of hits among them.
    low, high : ndarray of shape (n_bins,)
        Ends of the interval around the rate.
    share : ndarray of shape (n_bins,)
        The bin's share of all rows, by weight.
    """

    score: NDArray[np.float64]
    rate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    share: NDArray[np.float64]

    @classmethod
    def of(
        cls, score: NDArray[Any], hits: NDArray[Any], n_bins: int, weights: Any = None
    ) -> Self:
        """Put rows into bins of equal mass by score; equal scores share a bin."""
        check_integer("n_bins", n_bins, 1)
        weights = check_weights(weights, len(score), "sample_weight")
        weights = np.ones(len(score)) if weights is None else weights
        values, value_of = np.unique(score[weights > 0], return_inverse=True)
        hits, weights = hits[weights > 0], weights[weights > 0]
        weights = weights / weights.max()  # squares of any unit are to be finite
        mass = np.bincount(value_of, weights)
        middle = (np.cumsum(mass) - mass / 2) / mass.sum()
        _, bin_of = np.unique((n_bins * middle).astype(np.intp), return_inverse=True)
        bin_mass = np.bincount(bin_of, mass)
        # Sums of the same weights may differ by a rounding error.
        rate = np.minimum(1, np.bincount(bin_of[value_of], weights * hits) / bin_mass)
        # Rows of unequal weight tell as much as this number of equal ones.
        size = bin_mass**2 / np.bincount(bin_of[value_of], weights**2)
        low, high = wilson_interval(rate, size)
        return cls(
            score=np.bincount(bin_of, mass * values) / bin_mass,
            rate=rate,
            low=low,
            high=high,
            share=bin_mass / mass.sum(),
        )

    @classmethod
    def of_top_class(
        cls,
        codes: NDArray[np.intp],
        proba: NDArray[np.floating],
        n_bins: int,
        weights: Any = None,
    ) -> Self:
        """Return how often the most likely class is right, by its probability."""
        confidence = proba.max(axis=1).astype(np.float64)
        return cls.of(confidence, proba.argmax(axis=1) == codes, n_bins, weights)

    @property
    def distance(self) -> float:
        """Mean distance between score and rate."""
        return float(np.sum(self.share * np.abs(self.rate - self.score)))


def wilson_interval(
    rate: NDArray[np.float64], size: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 95 % Wilson score interval of a rate seen in ``size`` rows.

    Unlike the normal approximation it stays within [0, 1] and has a width where
    the rate is 0 or 1.

    Parameters
    ----------
    rate, size : ndarray of shape (n_bins,)

    Returns
    -------
    low, high : ndarray of shape (n_bins,)
    """
    spread = Z_95**2 / size
    centre = (rate + spread / 2) / (1 + spread)
    half = np.sqrt(spread * (rate * (1 - rate) + spread / 4)) / (1 + spread)
    return np.clip(centre - half, 0, rate), np.clip(centre + half, rate, 1)

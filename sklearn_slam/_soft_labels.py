"""A teacher's soft labels: margins, ranks, temperature. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from sklearn_slam._rows import CHUNK_ROWS

TEMPERATURE_BOUNDS = 0.1, 10.0
UNIFORM_SHARE = 1e-3
"""Share of the uniform distribution mixed into probabilities before their
logarithm is taken; a forest says exactly 0, and the best temperature would
depend on where that is clipped."""


def _chunks(proba: NDArray[np.floating]) -> Iterator[slice]:
    for start in range(0, len(proba), CHUNK_ROWS):
        yield slice(start, start + CHUNK_ROWS)


def margins(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the largest minus the second-largest probability of each row.

    Parameters
    ----------
    proba : ndarray of shape (n_rows, n_classes)

    Returns
    -------
    margin : ndarray of float64, shape (n_rows,)
        In [0, 1].
    """
    margin = np.empty(len(proba))
    for rows in _chunks(proba):
        top_two = np.partition(proba[rows], -2, axis=1)[:, -2:].astype(np.float64)
        margin[rows] = top_two[:, 1] - top_two[:, 0]
    return margin.clip(0.0, 1.0)


def top_k_mask(proba: NDArray[np.floating], k: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Mark each row's k most likely classes; ties go to the lower class index.

    Parameters
    ----------
    proba : ndarray of shape (n_rows, n_classes)
    k : ndarray of int, shape (n_rows,)

    Returns
    -------
    mask : ndarray of bool, shape (n_rows, n_classes)
        With ``k`` True entries in each row.
    """
    mask = np.empty(proba.shape, dtype=bool)
    for rows in _chunks(proba):
        chunk, wanted = proba[rows], k[rows, None]
        ordered = np.sort(chunk, axis=1)
        least = np.take_along_axis(ordered, proba.shape[1] - wanted, axis=1)
        mask[rows] = chunk >= least
        # Classes beyond the k-th that are as likely.
        (crowded,) = np.nonzero(mask[rows].sum(axis=1) > wanted[:, 0])
        tied = chunk[crowded] == least[crowded]
        above = mask[rows][crowded] & ~tied
        room = wanted[crowded] - above.sum(axis=1, keepdims=True)
        first = np.cumsum(tied, axis=1, dtype=np.int32) <= room
        mask[rows][crowded] = above | (tied & first)
    return mask


def true_class_rank(
    proba: NDArray[np.floating], y: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return how many classes the teacher holds more likely than the true one.

    Parameters
    ----------
    proba : ndarray of shape (n_rows, n_classes)
    y : ndarray of int, shape (n_rows,)
        Index of the true class.

    Returns
    -------
    rank : ndarray of int, shape (n_rows,)
        0 where the teacher is right; ties count for the lower class index.
    """
    of_true = np.take_along_axis(proba, y[:, None], axis=1)
    ahead = np.arange(proba.shape[1]) < y[:, None]
    return ((proba > of_true) | ((proba == of_true) & ahead)).sum(axis=1)


def temper(proba: NDArray[np.floating], temperature: float) -> NDArray[np.floating]:
    """Raise probabilities to the power ``1 / temperature`` and normalize.

    Parameters
    ----------
    proba : ndarray of shape (n_rows, n_classes)
    temperature : float
        1 leaves them, less sharpens, 0 gives the indicator of the most likely
        class (of the first among equals).

    Returns
    -------
    tempered : ndarray of shape (n_rows, n_classes), dtype of ``proba``
    """
    if temperature == 1:
        return proba
    tempered = np.zeros_like(proba)
    for rows in _chunks(proba):
        chunk = proba[rows]
        if temperature == 0:
            top = chunk.argmax(axis=1)[:, None]
            np.put_along_axis(tempered[rows], top, 1.0, axis=1)
        else:
            relative = chunk / chunk.max(axis=1, keepdims=True)
            powers = relative ** (1.0 / temperature)
            tempered[rows] = powers / powers.sum(axis=1, keepdims=True)
    return tempered


def smoothed(proba: NDArray[np.floating]) -> NDArray[np.floating]:
    """Mix a little of the uniform distribution into probabilities.

    Parameters
    ----------
    proba : ndarray of shape (n_rows, n_classes)

    Returns
    -------
    smoothed : ndarray of shape (n_rows, n_classes), dtype of ``proba``
        Positive.
    """
    return (1 - UNIFORM_SHARE) * proba + UNIFORM_SHARE / proba.shape[1]


def calibrating_temperature(
    proba: NDArray[np.floating],
    y: NDArray[np.intp],
    sample_weight: NDArray[np.floating] | None = None,
) -> float:
    """Return the temperature that minimizes the log-loss of tempered labels.

    Parameters
    ----------
    proba : ndarray of shape (n_rows, n_classes)
        Of rows that the teacher did not learn from.
    y : ndarray of int, shape (n_rows,)
        Index of the true class.
    sample_weight : ndarray of shape (n_rows,), default=None

    Returns
    -------
    temperature : float
        In [0.1, 10]; above 1 for an over-confident teacher.

    References
    ----------
    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, Section 4.2.
    """
    (exponent,) = combining_exponents([proba], y, sample_weight)
    return float(1.0 / max(exponent, 1.0 / TEMPERATURE_BOUNDS[1]))


def combining_exponents(
    probas: Sequence[NDArray[np.floating]],
    y: NDArray[np.intp],
    sample_weight: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Return the exponents that minimize the log-loss of combined labels.

    Parameters
    ----------
    probas : sequence of ndarray of shape (n_rows, n_classes)
        What each source says of rows that it did not learn from.
    y : ndarray of int, shape (n_rows,)
        Index of the true class.
    sample_weight : ndarray of shape (n_rows,), default=None

    Returns
    -------
    exponents : ndarray of shape (n_sources,)
        In [0, 10], as of :func:`combined`; one source gets the inverse of its
        calibrating temperature.
    """
    logs = [np.log(smoothed(proba.astype(np.float64))) for proba in probas]
    of_true = [np.take_along_axis(log, y[:, None], axis=1)[:, 0] for log in logs]
    weights = np.ones(len(y)) if sample_weight is None else sample_weight
    weights = weights / weights.sum()

    def log_loss(exponents: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total = sum(a * log for a, log in zip(exponents, logs, strict=True))
        losses = logsumexp(total, axis=1) - sum(
            a * log for a, log in zip(exponents, of_true, strict=True)
        )
        said = softmax(total, axis=1)
        slopes = [
            weights @ ((said * log).sum(axis=1) - at_true)
            for log, at_true in zip(logs, of_true, strict=True)
        ]
        return float(weights @ losses), np.array(slopes)

    start = np.full(len(logs), 1.0 / len(logs))
    bounds = [(0.0, 1.0 / TEMPERATURE_BOUNDS[0])] * len(logs)
    return minimize(log_loss, start, jac=True, bounds=bounds).x


def combined(
    probas: Sequence[NDArray[np.floating]], exponents: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the normalized product of powers of each source's probabilities.

    Parameters
    ----------
    probas : sequence of ndarray of shape (n_rows, n_classes)
    exponents : ndarray of shape (n_sources,)
        How much each source counts; 0 leaves it out.

    Returns
    -------
    proba : ndarray of float32, shape (n_rows, n_classes)
        Positive: no source can exclude a class alone.
    """
    proba = np.empty(probas[0].shape, dtype=np.float32)
    for rows in _chunks(proba):
        total = sum(
            a * np.log(smoothed(source[rows].astype(np.float64)))
            for a, source in zip(exponents, probas, strict=True)
        )
        proba[rows] = softmax(total, axis=1)
    return proba

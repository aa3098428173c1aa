"""How often the teacher is right: alpha(x) and k(x) as functions of its margin."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.utils.validation import check_is_fitted

from sklearn_slam._soft_labels import (
    calibrating_temperature,
    margins,
    true_class_rank,
)
from sklearn_slam._validation import check_integer, check_proba, check_weights, is_real

NORMALIZED_GAP = 0.02
UNNORMALIZED_BOUND = 0.52


class TeacherAccuracy(BaseEstimator):
    """Estimates of how often a teacher is right, as functions of its margin.

    The margin is the teacher's largest minus its second-largest probability.
    ``alpha`` is an isotonic regression of "the top class is right" on the margin,
    ``top_k`` the smallest k for which an isotonic regression of "the true class is
    among the k most likely" reaches ``top_k_accuracy``. Both must be fitted on rows
    that the teacher did not learn from: on its own rows a forest is always right.

    Parameters
    ----------
    alpha : {"isotonic"}, float or callable, default="isotonic"
        Source of alpha: the regression, a constant in (0, 1], or a function from
        margins of shape (n_rows,) to probabilities of shape (n_rows,).
    top_k : {"auto"} or int, default="auto"
        Source of k: the regressions, or a constant of at least 2.
    top_k_accuracy : float, default=0.9
        The accuracy in (0, 1] that ``top_k="auto"`` reaches for.

    Attributes
    ----------
    proba_ : ndarray of shape (n_held_out, n_classes)
        The teacher's probabilities of the held-out rows.
    margins_ : ndarray of shape (n_held_out,)
        Teacher's margins on the held-out rows.
    ranks_ : ndarray of int, shape (n_held_out,)
        How many classes the teacher held more likely than the true one there.
    hits_ : ndarray of bool, shape (n_held_out,)
        Whether it was right: ``ranks_ == 0``.
    sample_weight_ : ndarray of shape (n_held_out,) or None
        Weights of the held-out rows.
    n_classes_ : int
        Number of classes L.
    temperature_ : float
        Temperature that minimizes the teacher's log-loss on the held-out rows;
        above 1 for an over-confident teacher.

    References
    ----------
    Kontonis et al., "SLaM: Student-Label Mixing for Distillation with Unlabeled
    Examples", NeurIPS 2023, Section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_slam import TeacherAccuracy
    >>> proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.55, 0.45]])
    >>> accuracy = TeacherAccuracy().fit(proba, [0, 0, 0, 1])
    >>> accuracy.alpha([0.1, 0.2, 0.7])
    array([0., 1., 1.])
    """

    def __init__(
        self,
        *,
        alpha: Literal["isotonic"] | float | Callable[[Any], Any] = "isotonic",
        top_k: Literal["auto"] | int = "auto",
        top_k_accuracy: float = 0.9,
    ) -> None:
        # Kept apart: the methods that estimate have the parameters' names.
        self._alpha = alpha
        self._top_k = top_k
        self._top_k_accuracy = top_k_accuracy

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by their names.

        Parameters
        ----------
        deep : bool, default=True
            Makes no difference: no parameter is an estimator.

        Returns
        -------
        params : dict of str to object
            As given.
        """
        return {
            "alpha": self._alpha,
            "top_k": self._top_k,
            "top_k_accuracy": self._top_k_accuracy,
        }

    def set_params(self, **params: Any) -> Self:
        """Set parameters, which fit will check.

        Parameters
        ----------
        **params : dict
            By name.

        Returns
        -------
        self : TeacherAccuracy
            The object itself.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        valid = self.get_params()
        if unknown := sorted(params.keys() - valid.keys()):
            raise ValueError(
                f"Invalid parameters {unknown} for TeacherAccuracy; valid ones are "
                f"{list(valid)}."
            )
        for name, value in params.items():
            setattr(self, f"_{name}", value)
        return self

    def fit(
        self,
        proba: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> TeacherAccuracy:
        """Estimate the accuracies on held-out rows.

        Parameters
        ----------
        proba : array-like of shape (n_held_out, n_classes)
            The teacher's probabilities.
        y : array-like of int, shape (n_held_out,)
            Index of the true class.
        sample_weight : array-like of shape (n_held_out,), default=None
            Weights of the rows.

        Returns
        -------
        self : TeacherAccuracy
            The fitted statistics.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or probabilities, classes and
            weights do not fit together or are none.
        """
        proba, y = np.asarray(proba), np.asarray(y)
        fits = proba.ndim == 2 and y.shape == proba.shape[:1]
        if not fits or not len(y) or proba.shape[1] < 2:
            raise ValueError(
                f"proba has shape {proba.shape}, y {y.shape}; expected (n_held_out, "
                "n_classes) and (n_held_out,), with at least one row and two classes."
            )
        check_sources(self._alpha, self._top_k, self._top_k_accuracy, proba.shape[1])
        proba = check_proba(proba, len(y), proba.shape[1], "proba")
        y = _check_codes(y, proba.shape[1])
        weights = check_weights(sample_weight, len(y), "sample_weight")
        self.proba_ = proba
        self.n_classes_ = proba.shape[1]
        self.margins_ = margins(proba)
        self.ranks_ = true_class_rank(proba, y)
        self.hits_ = self.ranks_ == 0
        self.sample_weight_ = weights
        self.temperature_ = calibrating_temperature(proba, y, weights)
        self._regressions: dict[int, IsotonicRegression] = {}
        return self

    def _accuracy_among(self, k: int) -> IsotonicRegression:
        """Regress "the true class is among the k most likely" on the margin, once."""
        if k not in self._regressions:
            regression = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
            hits = (self.ranks_ < k).astype(np.float64)
            self._regressions[k] = regression.fit(
                self.margins_, hits, sample_weight=self.sample_weight_
            )
        return self._regressions[k]

    def top_k_accuracy(self, margin: ArrayLike, k: int) -> NDArray[np.float64]:
        """Return the estimated probability that the true class is in the top k.

        Parameters
        ----------
        margin : array-like of shape (n_rows,)
            In [0, 1].
        k : int
            From 1 (the teacher's accuracy) to the number of classes.

        Returns
        -------
        accuracy : ndarray of shape (n_rows,)
            In [0, 1].

        Raises
        ------
        ValueError
            If k is no integer from 1 to the number of classes.
        """
        check_is_fitted(self)
        check_integer("k", k, 1)
        if k > self.n_classes_:
            raise ValueError(f"k={k} exceeds the number of classes, {self.n_classes_}.")
        return self._accuracy_among(k).predict(_as_margins(margin))

    def alpha(self, margin: ArrayLike) -> NDArray[np.float64]:
        """Return the estimated probability that the teacher's top class is right.

        Parameters
        ----------
        margin : array-like of shape (n_rows,)
            In [0, 1].

        Returns
        -------
        alpha : ndarray of shape (n_rows,)
            In [0, 1], before any lower bound.

        Raises
        ------
        ValueError
            If a callable ``alpha`` returns another shape or values outside [0, 1].
        """
        check_is_fitted(self)
        margin = _as_margins(margin)
        if self._alpha == "isotonic":
            return self.top_k_accuracy(margin, 1)
        if not callable(self._alpha):
            return np.full(margin.shape, float(self._alpha))
        try:
            # A copy, since the function may work in place.
            alpha = np.asarray(self._alpha(margin.copy()), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                "alpha must return a probability for each of an array of margins; its "
                f"call failed: {error}"
            ) from error
        if alpha.shape != margin.shape:
            raise ValueError(
                f"alpha returned shape {alpha.shape} for margins of shape "
                f"{margin.shape}; return one probability for each margin."
            )
        if not ((alpha >= 0) & (alpha <= 1)).all():
            raise ValueError(
                "alpha returned values outside [0, 1] (from "
                f"{alpha.min():.3g} to {alpha.max():.3g}); it must return the "
                "probability that the teacher is right."
            )
        return alpha

    def top_k(self, margin: ArrayLike) -> NDArray[np.intp]:
        """Return k(x), the number of classes that the truth is assumed to be among.

        Parameters
        ----------
        margin : array-like of shape (n_rows,)
            In [0, 1].

        Returns
        -------
        k : ndarray of int, shape (n_rows,)
            From 2 to the number of classes.
        """
        check_is_fitted(self)
        margin = _as_margins(margin)
        if self._top_k != "auto":
            return np.full(margin.shape, int(self._top_k))
        # Bisection: at each margin the accuracy grows with k, as hits among the k most
        # likely are hits among more, and isotonic regression keeps the order.
        least, most = (np.full(margin.shape, k) for k in (2, self.n_classes_))
        while len(open_rows := np.flatnonzero(least < most)):
            middle = (least + most)[open_rows] // 2
            for k in np.unique(middle):
                rows = open_rows[middle == k]
                reached = self.top_k_accuracy(margin[rows], k) >= self._top_k_accuracy
                most[rows[reached]] = k
                least[rows[~reached]] = k + 1
        return most


def _as_margins(margin: ArrayLike) -> NDArray[np.float64]:
    """Return margins as an array of one dimension, or raise."""
    margin = np.asarray(margin, dtype=np.float64)
    if margin.ndim != 1:
        raise ValueError(
            f"margin has shape {margin.shape}, expected (n_rows,): a margin a row."
        )
    return margin


def check_sources(
    alpha: Any, top_k: Any, top_k_accuracy: Any, n_classes: float = np.inf
) -> None:
    """Raise where a source of alpha or k is none, or out of its range."""
    named = isinstance(alpha, str) and alpha == "isotonic"
    if not (named or callable(alpha) or (is_real(alpha, 0, 1) and alpha > 0)):
        raise ValueError(
            "alpha must be 'isotonic', a number in (0, 1] or a function of the "
            f"margin, got {alpha!r}."
        )
    named = isinstance(top_k, str) and top_k == "auto"
    if not (named or (isinstance(top_k, numbers.Integral) and int(top_k) >= 2)):
        raise ValueError(
            "top_k must be 'auto' or an integer of at least 2 (1 would mean that "
            f"the teacher is always right: alpha=1), got {top_k!r}."
        )
    if not named and top_k > n_classes:
        raise ValueError(f"top_k={top_k} exceeds the number of classes, {n_classes}.")
    if not is_real(top_k_accuracy, 0, 1) or top_k_accuracy == 0:
        raise ValueError(f"top_k_accuracy must lie in (0, 1], got {top_k_accuracy!r}.")


def _check_codes(y: NDArray[Any], n_classes: int) -> NDArray[np.intp]:
    """Return indices of classes as integers, or raise."""
    if y.dtype.kind not in "biu":
        raise ValueError(
            f"y must hold the index of each true class, got dtype {y.dtype}; "
            "numpy.searchsorted(classes, labels) gives it."
        )
    if y.min() < 0 or y.max() >= n_classes:
        raise ValueError(
            f"y must hold indices of the {n_classes} columns of proba, from 0 to "
            f"{n_classes - 1}; got {y.min()} to {y.max()}. Leave unlabeled rows out."
        )
    return y.astype(np.intp, copy=False)


def consistent_mixing(
    alpha: NDArray[np.float64],
    k: NDArray[np.intp],
    *,
    n_classes: int,
    alpha_min: float,
    normalize: bool,
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Bound alpha and k, row by row, so that mixing keeps the teacher's direction.

    The mixture increases in the student's probability of a top-k class only while
    ``alpha > 1 / k`` (normalized form) or ``alpha > 1 / 2`` (unnormalized form);
    below, the gradient turns away from the teacher's class. So k grows where alpha
    is low, and alpha is raised where k cannot grow.

    Parameters
    ----------
    alpha : ndarray of shape (n_rows,)
        Probability that the teacher is right.
    k : ndarray of int, shape (n_rows,)
        Classes among which the truth is assumed.
    n_classes : int
    alpha_min : float
        Lower bound on alpha.
    normalize : bool
        Form of the mixture.

    Returns
    -------
    alpha : ndarray of shape (n_rows,)
    k : ndarray of int, shape (n_rows,)
    """
    alpha = np.maximum(alpha, alpha_min)
    if not normalize:
        return np.maximum(alpha, UNNORMALIZED_BOUND), k
    # alpha may be 0 without a bound; 1 / n_classes already asks for every class.
    wanted = np.floor(1.0 / np.maximum(alpha, 1.0 / n_classes)).astype(np.intp) + 1
    k = np.minimum(n_classes, np.maximum(k, wanted))
    return np.minimum(1.0, np.maximum(alpha, 1.0 / k + NORMALIZED_GAP)), k

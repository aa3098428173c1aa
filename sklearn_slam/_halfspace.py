"""Halfspaces with margin, learned from randomly flipped labels by student mixing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse import linalg
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    check_classification_targets,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_slam._validation import check_integer, is_real

_VALIDATION: dict[str, Any] = {
    "accept_sparse": "csr",
    "dtype": [np.float64, np.float32],
}

# Rates tried when the noise is estimated. The last one is also the largest
# estimate: nearer to 1/2 the mixed prediction vanishes and the direction
# becomes the plain average of y x, whatever the halfspace predicts.
_CANDIDATE_RATES = np.linspace(0.0, 0.45, 10)

# Steps of size a / sqrt(sum of |g|^2) in a ball of diameter 2 have a regret of at
# most (2 / a + a) sqrt(sum of |g|^2): least at a = sqrt(2).
_STEP = np.sqrt(2.0)

# How many iterates "best" chooses from; storing them all would cost
# n_features per batch.
_N_CHECKPOINTS = 100

# Rows scaled at a time where their lengths are taken.
_BLOCK = 10_000


def _holds_no_rows_out(model: HalfspaceClassifier) -> bool:
    """Tell whether ``partial_fit`` is there, or raise with what it takes."""
    if model.noise_rate == "estimate" or model.iterate == "best":
        raise AttributeError(
            "partial_fit needs noise_rate as a number and iterate='average': an "
            "estimate and the best iterate need held-out rows, which a stream lacks."
        )
    return True


class HalfspaceClassifier(ClassifierMixin, BaseEstimator):
    """Linear classifier for two classes whose labels were flipped at random.

    A halfspace is learned by student-label mixing: the prediction of the
    current halfspace is mixed with the noise that the labels went through, and
    only the rest of a label's disagreement moves the halfspace. Its error on
    *clean* labels goes to zero where a halfspace separates them with a margin,
    on every distribution of the rows; no convex potential (such as the logistic
    or the exponential loss) can promise that [2]_.

    Parameters
    ----------
    noise_rate : float in [0, 0.5) or "estimate", default="estimate"
        Probability that a label was flipped. "estimate" tries ten rates on a
        part of the rows and takes the smallest rate of disagreement with the
        labels of held-out rows; on data that no halfspace separates that is
        the error of the best halfspace found.

    margin : float in (0, 1], default=0.1
        Least distance of a row from the separating hyperplane, as a share of
        `radius_`. It bounds how much more a row near the hyperplane counts than
        one far from it; 1 counts all rows alike.

    fit_intercept : bool, default=True
        Whether the hyperplane may miss the origin.

    iterate : {"average", "best"}, default="average"
        What becomes the solution: the average over all steps, or, of a
        hundred iterates spread over the run, the one that disagrees least with
        held-out rows. The guarantee holds for "best"; the average was the more
        accurate one in most measurements.

    max_iter : int, default=5
        Passes over the rows. There is no early stop. The guarantee is for one
        pass; more passes help on few rows, and can fit some of the noise.

    batch_size : int, default=64
        Rows per step.

    validation_fraction : float in (0, 1), default=0.2
        Share of the rows that is held out to estimate the noise rate or to
        choose the best iterate; unused otherwise.

    random_state : int, RandomState instance or None, default=None
        Draws the order of the rows and the held-out part.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The class labels.

    coef_ : ndarray of shape (1, n_features), float64
        Weights in the units of `X`, so scaled that `decision_function` is the
        signed distance from the hyperplane as a share of the radius.

    intercept_ : ndarray of shape (1,), float64
        Offset of the hyperplane; 0 without intercept.

    noise_rate_ : float
        The noise rate used: given, or estimated (at most 0.45).

    radius_ : float
        What rows are divided by: the length of the longest row, lifted where
        there is an intercept, in `fit` or the first `partial_fit`. Every
        `decision_function` on those rows lies in [-1, 1].

    n_iter_ : int
        Passes over the rows.

    n_features_in_ : int
        Number of features seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, when `X` has names that are all strings.

    See Also
    --------
    sklearn.linear_model.LogisticRegression : As good or better where the
        distribution is easy, and it knows probabilities.
    sklearn.multiclass.OneVsRestClassifier : For more than two classes.
    sklearn.calibration.CalibratedClassifierCV : For probabilities.

    Notes
    -----
    *Algorithm.* With an intercept a row x is lifted to (x, c), where c is the
    root mean square of the rows' lengths. Division by `radius_`, the length of
    the longest row, brings all rows into the unit ball as z. Scaling `X`
    therefore changes nothing; scaling single features does, so a scaler before
    this estimator is advised. With labels y in {-1, 1} and noise rate eta each
    batch takes the step ::

        mix  = (1 - 2 eta) sign(w . z)
        g    = mean of (mix - y) z / max(|w . z|, margin)
        w   <- projection onto the unit ball of (w - sqrt(2) g / sqrt(sum of |g|^2))

    where the sum runs over all steps so far, so there is no learning rate to
    choose. With noise rate 0 only misclassified rows count: a perceptron.

    *Guarantee.* Let w* be a unit vector with ``|w* . z| >= margin`` for every
    row. The expected direction at w has inner product of at least
    ``2 (1 - 2 eta) error(w)`` with ``w - w*`` while no step is longer than
    ``2 / margin``; the regret bound of the descent then gives an iterate of
    error eps after order ``1 / ((1 - 2 eta)^2 margin^2 eps^2)`` rows in one
    pass, whatever the distribution [1]_.

    An all-zero row without intercept lies on every hyperplane: it teaches
    nothing and is predicted as ``classes_[0]``. There is no `predict_proba`: the
    model says that a row has one class for certain, so probabilities are the
    matter of a calibrator. `partial_fit` exists when nothing is held out, that
    is with a given `noise_rate` and the average; it takes the rows in the order
    given, and a later row longer than `radius_` is pulled back along the ray on
    which its label cannot change.

    References
    ----------
    .. [1] V. Kontonis, F. Iliopoulos, K. Trinh, C. Baykal, G. Menghani, E. Vee,
       "SLaM: Student-Label Mixing for Distillation with Unlabeled Examples",
       NeurIPS 2023, the section on halfspaces with margin.
       https://arxiv.org/abs/2302.03806
    .. [2] P. M. Long, R. A. Servedio, "Random classification noise defeats all
       convex potential boosters", Machine Learning 78, 2010.
    .. [3] J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for
       Online Learning and Stochastic Optimization", JMLR 12, 2011.

    Examples
    --------
    A third of the labels is flipped; the error is counted on clean ones.

    >>> import numpy as np
    >>> from sklearn_slam import HalfspaceClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((10_000, 5))
    >>> clean = X[:, 0] > 0
    >>> noisy = clean ^ (rng.random(10_000) < 1 / 3)
    >>> halfspace = HalfspaceClassifier(random_state=0).fit(X, noisy)
    >>> bool(abs(halfspace.noise_rate_ - 1 / 3) < 0.05)
    True
    >>> bool(halfspace.score(X, clean) > 0.95)
    True
    """

    def __init__(
        self,
        *,
        noise_rate: float | str = "estimate",
        margin: float = 0.1,
        fit_intercept: bool = True,
        iterate: str = "average",
        max_iter: int = 5,
        batch_size: int = 64,
        validation_fraction: float = 0.2,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.noise_rate = noise_rate
        self.margin = margin
        self.fit_intercept = fit_intercept
        self.iterate = iterate
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> HalfspaceClassifier:
        """Learn a halfspace from noisy labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows. float32 and float64 are not copied.

        y : array-like of shape (n_samples,)
            Labels of exactly two classes.

        Returns
        -------
        HalfspaceClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            When a parameter is out of its range or `y` has not two classes.
        """
        self._check_parameters()
        X, y = validate_data(self, X, y, **_VALIDATION)
        self.classes_ = _two_classes(y)
        rng = check_random_state(self.random_state)
        lengths = _row_lengths(X)
        self._set_scale(lengths)
        rows = self._lift(X, y, lengths)
        learned, held_out = self._split(len(rows), rng)

        if self.noise_rate == "estimate":
            self.noise_rate_ = self._estimate_noise(rows, learned, held_out, rng)
        else:
            self.noise_rate_ = float(self.noise_rate)

        self._descent = self._new_descent([self.noise_rate_])
        if self.iterate == "best":
            weights = self._best_iterate(rows, learned, held_out, rng)
        else:
            for batch in self._batches(np.arange(len(rows)), rng):
                self._descent.step(rows.take(batch))
            weights = self._descent.total
        return self._set_solution(weights[:, 0], n_iter=self.max_iter)

    @available_if(_holds_no_rows_out)
    def partial_fit(
        self, X: Any, y: Any, classes: Any | None = None
    ) -> HalfspaceClassifier:
        """Take one pass over further rows of a stream, in the order given.

        Parameters of the estimator are read at each call; all but `fit_intercept`
        may change in mid-stream.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows. Those of the first call fix the radius.

        y : array-like of shape (n_samples,)
            Labels.

        classes : array-like of shape (2,), default=None
            The two classes; needed in the first call, where `y` may lack one.

        Returns
        -------
        HalfspaceClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            When a parameter is out of its range, `fit_intercept` has changed,
            `classes` is missing in the first call or has not two entries, or `y`
            holds another label.
        """
        first = not hasattr(self, "_descent")
        self._check_parameters()
        X, y = validate_data(self, X, y, reset=first, **_VALIDATION)
        lengths = _row_lengths(X)
        if first:
            if classes is None:
                raise ValueError(
                    "classes must be passed on the first call to partial_fit."
                )
            self.classes_ = _two_classes(unique_labels(classes))
            self._set_scale(lengths)
        elif bool(self._constant) != bool(self.fit_intercept):
            raise ValueError(
                f"fit_intercept was {bool(self._constant)} where this stream began, "
                f"got {self.fit_intercept!r}: the radius of its rows depends on it. "
                "Set it back, or start a new stream with a clone."
            )
        elif classes is not None and not np.array_equal(
            self.classes_, unique_labels(classes)
        ):
            raise ValueError(
                f"classes={classes!r} is not the same as on the last call to "
                f"partial_fit, which was: {self.classes_!r}."
            )
        rows = self._lift(X, y, lengths)
        if first:  # only now, since labels may be refused
            self._descent = self._new_descent([self.noise_rate])
        self.noise_rate_ = float(self.noise_rate)
        self._descent.adapt([self.noise_rate_], self.margin)
        for start in range(0, len(rows), self.batch_size):
            batch = slice(start, start + self.batch_size)
            self._descent.step(rows.take(batch))
        return self._set_solution(self._descent.total[:, 0], n_iter=1)

    def decision_function(self, X: Any) -> np.ndarray:
        """Signed distance from the hyperplane, as a share of the radius.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Positive for ``classes_[1]``.
        """
        check_is_fitted(self, "coef_")
        X = validate_data(self, X, reset=False, **_VALIDATION)
        scores = safe_sparse_dot(X, self.coef_.T, dense_output=True)
        return scores.ravel() + self.intercept_

    def predict(self, X: Any) -> np.ndarray:
        """Predict the clean class of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Class labels.
        """
        positive = self.decision_function(X) > 0
        return self.classes_[positive.astype(int)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        # Flips between two classes are the noise that the method models; one
        # class against the rest would see another noise on each side.
        tags.classifier_tags.multi_class = False
        return tags

    def _check_parameters(self) -> None:
        rate = self.noise_rate
        if rate != "estimate" and not (is_real(rate, 0, 0.5) and float(rate) < 0.5):
            raise ValueError(
                f"noise_rate must be 'estimate' or a number in [0, 0.5), got {rate!r}. "
                "At 0.5 the labels say nothing; above it, swap the classes and pass "
                "1 - noise_rate."
            )
        if not is_real(self.margin, 0, 1) or self.margin == 0:
            raise ValueError(
                f"margin must be a number in (0, 1], got {self.margin!r}. It is a "
                "share of the longest row's length; pass a small positive number "
                "when it is unknown."
            )
        if self.iterate not in ("average", "best"):
            raise ValueError(
                f"iterate must be 'average' or 'best', got {self.iterate!r}."
            )
        if not isinstance(self.fit_intercept, bool | np.bool_):
            raise ValueError(
                f"fit_intercept must be True or False, got {self.fit_intercept!r}."
            )
        check_integer("max_iter", self.max_iter, 1)
        check_integer("batch_size", self.batch_size, 1)
        share = self.validation_fraction
        if not is_real(share, 0, 1) or share in (0, 1):
            raise ValueError(
                f"validation_fraction must be a number in (0, 1), got {share!r}."
            )

    def _set_scale(self, lengths: np.ndarray) -> None:
        """Fix the intercept's constant and the radius of the lifted rows."""
        longest = float(lengths.max()) or 1.0
        # A constant as long as a typical row; one as long as the longest would
        # drown the features wherever a few rows are far out.
        typical = longest * np.sqrt(np.mean((lengths / longest) ** 2)) or 1.0
        self._constant = typical if self.fit_intercept else 0.0
        self.radius_ = float(np.hypot(longest, self._constant))

    def _lift(self, X: Any, y: np.ndarray, lengths: np.ndarray) -> _LiftedRows:
        unknown = np.setdiff1d(y, self.classes_)
        if unknown.size:
            raise ValueError(
                f"y holds labels {unknown.tolist()} that are not in classes "
                f"{self.classes_.tolist()}."
            )
        signs = np.where(y == self.classes_[1], 1.0, -1.0)
        # Only a stream brings rows longer than the radius. A halfspace through
        # the origin of the lifted space is blind to a row's length, so shrinking
        # the lifted row into the ball leaves its label right.
        lifted = np.hypot(lengths, self._constant)
        divisors = np.maximum(lifted, self.radius_)
        return _LiftedRows(X, signs[:, np.newaxis], divisors[:, np.newaxis])

    def _split(
        self, n_samples: int, rng: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.noise_rate != "estimate" and self.iterate != "best":
            return np.arange(n_samples), np.arange(0)
        order = rng.permutation(n_samples)
        n_held_out = int(np.ceil(self.validation_fraction * n_samples))
        n_held_out = min(n_held_out, n_samples - 1)
        return order[n_held_out:], order[:n_held_out]

    def _new_descent(self, noise_rates: Any) -> _MixedDescent:
        return _MixedDescent(
            self.n_features_in_, noise_rates, self.margin, self._constant
        )

    def _batches(
        self, indices: np.ndarray, rng: np.random.RandomState
    ) -> Iterator[np.ndarray]:
        for _ in range(self.max_iter):
            order = rng.permutation(indices)
            for start in range(0, order.size, self.batch_size):
                yield order[start : start + self.batch_size]

    def _estimate_noise(
        self,
        rows: _LiftedRows,
        learned: np.ndarray,
        held_out: np.ndarray,
        rng: np.random.RandomState,
    ) -> float:
        # A halfspace of clean error e disagrees with noisy labels at the rate
        # noise + (1 - 2 noise) e, which is smallest, and the noise rate itself,
        # where e = 0: so the least disagreement is the estimate.
        descent = self._new_descent(_CANDIDATE_RATES)
        for batch in self._batches(learned, rng):
            descent.step(rows.take(batch))
        rates = descent.disagreement(descent.total, rows.take(held_out))
        return float(min(rates.min(), _CANDIDATE_RATES[-1]))

    def _best_iterate(
        self,
        rows: _LiftedRows,
        learned: np.ndarray,
        held_out: np.ndarray,
        rng: np.random.RandomState,
    ) -> np.ndarray:
        n_steps = self.max_iter * -(-learned.size // self.batch_size)
        every = -(-n_steps // _N_CHECKPOINTS)
        checkpoints = []
        for step, batch in enumerate(self._batches(learned, rng), start=1):
            self._descent.step(rows.take(batch))
            if step % every == 0 or step == n_steps:
                checkpoints.append(self._descent.weights)
        weights = np.hstack(checkpoints)
        rates = self._descent.disagreement(weights, rows.take(held_out))
        return weights[:, [rates.argmin()]]

    def _set_solution(self, weights: np.ndarray, n_iter: int) -> HalfspaceClassifier:
        # The weights stay at zero when all rows are zero.
        unit = weights / (np.linalg.norm(weights) or 1.0)
        self.coef_ = (unit[:-1] / self.radius_)[np.newaxis]
        self.intercept_ = unit[-1:] * self._constant / self.radius_
        self.n_iter_ = n_iter
        return self


class _LiftedRows(NamedTuple):
    """Rows as they came, with what brings each into the unit ball."""

    X: Any  # (n, n_features), dense or CSR
    signs: np.ndarray  # (n, 1), -1.0 or 1.0
    divisors: np.ndarray  # (n, 1)

    def __len__(self) -> int:
        return self.signs.size

    def take(self, index: np.ndarray | slice) -> _LiftedRows:
        return _LiftedRows(self.X[index], self.signs[index], self.divisors[index])


class _MixedDescent:
    """Projected descent along the mixed direction, one column per noise rate.

    The lift is folded into the products, so no scaled copy of the rows is made.
    """

    def __init__(
        self, n_features: int, noise_rates: Any, margin: float, constant: float
    ) -> None:
        self.adapt(noise_rates, margin)
        self.constant = constant
        self.weights = np.zeros((n_features + 1, self.shrink.size))
        # Sum of the iterates: the average, but for a scale that does not matter.
        self.total = np.zeros_like(self.weights)
        self.squared_length = np.zeros(self.shrink.size)

    def adapt(self, noise_rates: Any, margin: float) -> None:
        # The regret bound holds for directions of any origin, so that these may
        # change from one step to the next.
        self.shrink = 1 - 2 * np.asarray(noise_rates, dtype=np.float64)
        self.margin = margin

    def step(self, rows: _LiftedRows) -> None:
        scores = self._scores(self.weights, rows)
        residual = self.shrink * np.sign(scores) - rows.signs
        residual /= np.maximum(np.abs(scores), self.margin)
        residual /= rows.divisors * len(rows)
        gradient = np.empty_like(self.weights)
        gradient[:-1] = rows.X.T @ residual
        gradient[-1] = self.constant * residual.sum(axis=0)

        self.squared_length += np.einsum("ij,ij->j", gradient, gradient)
        length = np.sqrt(self.squared_length)
        length[length == 0] = 1.0  # all gradients so far were zero
        weights = self.weights - (_STEP / length) * gradient
        norm = np.sqrt(np.einsum("ij,ij->j", weights, weights))
        self.weights = weights / np.maximum(norm, 1.0)
        self.total += self.weights

    def disagreement(self, weights: np.ndarray, rows: _LiftedRows) -> np.ndarray:
        """Share of rows on the other side than their label; half for a tie."""
        sides = np.sign(self._scores(weights, rows))
        return np.abs(sides - rows.signs).mean(axis=0) / 2

    def _scores(self, weights: np.ndarray, rows: _LiftedRows) -> np.ndarray:
        inner = rows.X @ weights[:-1] + self.constant * weights[-1]
        return inner / rows.divisors


def _two_classes(y: np.ndarray) -> np.ndarray:
    check_classification_targets(y)
    target = type_of_target(y, input_name="y")
    if target != "binary":
        raise ValueError(
            "Only binary classification is supported. The type of the target is "
            f"{target}. Wrap the estimator in OneVsRestClassifier."
        )
    classes = np.unique(y)
    if classes.size < 2:
        raise ValueError(
            f"y must hold two classes, got one class: {classes.tolist()}. With "
            "partial_fit, pass both as classes."
        )
    return classes


def _row_lengths(X: Any) -> np.ndarray:
    """Euclidean length of each row, in float64 and without overflow."""
    values = X.data if sparse.issparse(X) else X
    if values.size == 0:
        return np.zeros(X.shape[0])
    largest = np.float64(max(values.max(), -values.min())) or np.float64(1.0)
    if sparse.issparse(X):
        return largest * linalg.norm(X / largest, axis=1)
    lengths = np.empty(X.shape[0])
    for start in range(0, X.shape[0], _BLOCK):
        block = X[start : start + _BLOCK] / largest
        lengths[start : start + _BLOCK] = np.linalg.norm(block, axis=1)
    return largest * lengths

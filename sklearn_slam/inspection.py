"""Displays: the teacher's accuracy, training, reliability."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_slam._base import BaseDistiller
from sklearn_slam._optional import import_optional
from sklearn_slam._student import BaseStudent
from sklearn_slam._teacher_accuracy import TeacherAccuracy
from sklearn_slam._validation import check_integer
from sklearn_slam.metrics import HitRates, encode_for

__all__ = [
    "ReliabilityDisplay",
    "TeacherAccuracyDisplay",
    "TrainingHistoryDisplay",
]

GRID = np.linspace(0, 1, 201)
"""Margins at which the estimated accuracies are drawn."""


def check_fitted_kind(estimator: Any, *kinds: type) -> None:
    """Raise unless an estimator is fitted and of one of the kinds."""
    if not isinstance(estimator, kinds):
        raise TypeError(
            f"A distiller is wanted, got {type(estimator).__name__}. Of a Pipeline or "
            "a search, pass the distiller inside, and the rows that it sees."
        )
    check_is_fitted(estimator)


class Display:
    """What all displays share: ``plot``; subclasses say what is drawn."""

    ax_: Any
    figure_: Any

    def plot(self, *, ax: Any = None) -> Self:
        """Draw what is stored.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        self : display
            With ``ax_``, ``figure_`` and what was drawn.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        pyplot = import_optional("matplotlib.pyplot", "plot")
        self.ax_ = pyplot.subplots(layout="constrained")[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        self._draw()
        return self

    def _draw(self) -> None:
        """Draw into ``ax_``."""
        raise NotImplementedError


class TeacherAccuracyDisplay(Display):
    """The teacher's estimated accuracy against its margin, over observed rates.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    margin : ndarray of shape (n_points,)
        Margins, ascending.
    alpha : ndarray of shape (n_points,)
        Estimated probability there that the teacher's top class is right.
    alpha_rates : HitRates
        How often it was, on held-out rows in bins of their margin: arrays
        ``score`` (mean margin), ``rate``, ``low`` and ``high`` (95 % Wilson
        interval) and ``share`` of shape (n_bins,).
    top_k : int or None, default=None
        Number of classes of the second curve; None leaves it out.
    top_k_accuracy : ndarray of shape (n_points,) or None, default=None
        Estimated probability that the true class is among the top k.
    top_k_rates : HitRates or None, default=None
        How often it was.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure around it.
    line_, top_k_line_ : matplotlib Line2D
        The curves; ``top_k_line_`` is None where ``top_k`` is.
    errorbar_, top_k_errorbar_ : matplotlib ErrorbarContainer
        The observed rates.

    See Also
    --------
    TeacherAccuracy : The estimates.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_slam import TeacherAccuracyDisplay
    >>> rng = np.random.default_rng(0)
    >>> proba = rng.dirichlet(np.ones(3), size=200)
    >>> y = [rng.choice(3, p=row) for row in proba]
    >>> display = TeacherAccuracyDisplay.from_predictions(y, proba)
    >>> display.alpha_rates.rate.shape
    (8,)
    """

    def __init__(
        self,
        *,
        margin: NDArray[np.float64],
        alpha: NDArray[np.float64],
        alpha_rates: HitRates,
        top_k: int | None = None,
        top_k_accuracy: NDArray[np.float64] | None = None,
        top_k_rates: HitRates | None = None,
    ) -> None:
        self.margin = margin
        self.alpha = alpha
        self.alpha_rates = alpha_rates
        self.top_k = top_k
        self.top_k_accuracy = top_k_accuracy
        self.top_k_rates = top_k_rates

    @classmethod
    def from_estimator(
        cls, distiller: Any, *, top_k: int = 2, n_bins: int = 8, ax: Any = None
    ) -> Self:
        """Draw what a distiller estimated on rows held out from its teacher.

        Parameters
        ----------
        distiller : fitted distiller
            Its ``teacher_accuracy_`` is drawn, before any lower bound on alpha.
        top_k : int, default=2
            Number of classes of the second curve, left out unless there are more.
        n_bins : int, default=8
            Bins of equal mass for the observed rates.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : TeacherAccuracyDisplay
            Drawn.
        """
        check_fitted_kind(distiller, BaseDistiller)
        return cls._of(distiller.teacher_accuracy_, top_k, n_bins).plot(ax=ax)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        proba: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        top_k: int = 2,
        n_bins: int = 8,
        ax: Any = None,
    ) -> Self:
        """Estimate and draw a teacher's accuracy from what it says of held-out rows.

        Parameters
        ----------
        y_true : array-like of shape (n_rows,)
            Labels of rows that the teacher did not learn from.
        proba : array-like of shape (n_rows, n_classes)
            Its probabilities of these rows.
        labels : array-like of shape (n_classes,), default=None
            Labels of the columns; None means the sorted labels of ``y_true``.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        top_k : int, default=2
            Number of classes of the second curve, left out unless there are more.
        n_bins : int, default=8
            Bins of equal mass for the observed rates.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : TeacherAccuracyDisplay
            Drawn.
        """
        codes, proba = encode_for(y_true, proba, labels)
        accuracy = TeacherAccuracy().fit(proba, codes, sample_weight)
        return cls._of(accuracy, top_k, n_bins).plot(ax=ax)

    @classmethod
    def _of(cls, accuracy: TeacherAccuracy, top_k: int, n_bins: int) -> Self:
        check_integer("top_k", top_k, 1)

        def rates(k: int) -> HitRates:
            hits = accuracy.ranks_ < k
            return HitRates.of(accuracy.margins_, hits, n_bins, accuracy.sample_weight_)

        display = cls(margin=GRID, alpha=accuracy.alpha(GRID), alpha_rates=rates(1))
        if 1 < top_k < accuracy.n_classes_:  # all classes hold the true one always
            display.top_k = top_k
            display.top_k_accuracy = accuracy.top_k_accuracy(GRID, top_k)
            display.top_k_rates = rates(top_k)
        return display

    def _draw(self) -> None:
        self.top_k_line_ = self.top_k_errorbar_ = None
        if self.top_k is not None:
            self.top_k_line_, self.top_k_errorbar_ = self._draw_curve(
                f"true class among top {self.top_k}",
                self.top_k_accuracy,
                self.top_k_rates,
                color="C1",
                linestyle="--",
            )
        # Last, so that it lies on top where both are 1.
        self.line_, self.errorbar_ = self._draw_curve(
            "alpha: top class right", self.alpha, self.alpha_rates, color="C0"
        )
        self.ax_.set(
            xlabel="Margin",
            ylabel="Accuracy (points: observed, 95 %)",
            ylim=(-0.02, 1.02),
        )
        self.ax_.legend(loc="lower right")

    def _draw_curve(
        self, label: str, curve: Any, rates: Any, *, color: str, linestyle: str = "-"
    ) -> tuple[Any, Any]:
        (line,) = self.ax_.plot(
            self.margin, curve, color=color, linestyle=linestyle, label=label
        )
        return line, draw_rates(self.ax_, rates, color=color)


class TrainingHistoryDisplay(Display):
    """Training and held-out loss by epoch.

    Make it with :meth:`from_estimator`.

    Parameters
    ----------
    epoch : ndarray of shape (n_epochs,)
        Number of each epoch, from 1.
    train_loss : ndarray of shape (n_epochs,)
        Mean loss over the rows trained on.
    valid_loss : ndarray of shape (n_epochs,) or None, default=None
        Mean loss over those held out; None where there are none.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure around it.
    line_, valid_line_ : matplotlib Line2D
        The curves; ``valid_line_`` is None where ``valid_loss`` is.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_slam import TrainingHistoryDisplay
    >>> display = TrainingHistoryDisplay(
    ...     epoch=np.array([1, 2]), train_loss=np.array([0.7, 0.5])
    ... ).plot()
    >>> display.ax_.get_xlabel()
    'Epoch'
    """

    def __init__(
        self,
        *,
        epoch: NDArray[np.intp],
        train_loss: NDArray[np.float64],
        valid_loss: NDArray[np.float64] | None = None,
    ) -> None:
        self.epoch = epoch
        self.train_loss = train_loss
        self.valid_loss = valid_loss

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the losses of a distiller's or a student's training.

        Parameters
        ----------
        estimator : fitted distiller or student
            Its ``history_`` is drawn.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : TrainingHistoryDisplay
            Drawn.

        Raises
        ------
        ValueError
            If the history holds no training loss, which a skorch net of one's own
            may leave out.
        """
        check_fitted_kind(estimator, BaseDistiller, BaseStudent)
        history = estimator.history_
        if not all("train_loss" in epoch for epoch in history):
            raise ValueError(
                "history_ has no 'train_loss': the skorch student's net goes without "
                "the callback 'train_loss' that records it; leave that in."
            )
        columns = {
            name: np.array([epoch[name] for epoch in history])
            for name in ("epoch", "train_loss", "valid_loss")
            if all(name in epoch for epoch in history)
        }
        return cls(**columns).plot(ax=ax)

    def _draw(self) -> None:
        self.valid_line_ = None
        (self.line_,) = self.ax_.plot(self.epoch, self.train_loss, label="training")
        if self.valid_loss is not None:
            (self.valid_line_,) = self.ax_.plot(
                self.epoch, self.valid_loss, label="held-out"
            )
        self.ax_.set(xlabel="Epoch", ylabel="Loss")
        self.ax_.legend()


class ReliabilityDisplay(Display):
    """How often the most likely class is right, against its probability.

    For any number of classes; scikit-learn's
    :class:`~sklearn.calibration.CalibrationDisplay` draws one of two. Make it with
    :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    rates : HitRates
        The bins: arrays ``score`` (mean probability), ``rate``, ``low`` and
        ``high`` (95 % Wilson interval) and ``share`` of shape (n_bins,).
    name : str or None, default=None
        What the legend calls the classifier.

    Attributes
    ----------
    expected_calibration_error : float
        Mean distance between probability and rate over these bins.
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure around it.
    errorbar_ : matplotlib ErrorbarContainer
        The rates and their intervals.

    See Also
    --------
    expected_calibration_error : The number alone.

    Examples
    --------
    >>> from sklearn_slam import ReliabilityDisplay
    >>> proba = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]
    >>> display = ReliabilityDisplay.from_predictions([0, 1, 0, 1], proba)
    >>> round(display.expected_calibration_error, 3)
    0.4
    """

    def __init__(self, *, rates: HitRates, name: str | None = None) -> None:
        self.rates = rates
        self.name = name
        self.expected_calibration_error = rates.distance

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        n_bins: int = 15,
        name: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw how reliable a classifier's probabilities are.

        Parameters
        ----------
        estimator : fitted classifier
            A distiller, a student, or any with ``predict_proba``.
        X : table of shape (n_rows, n_features)
            Rows that it did not learn from.
        y : array-like of shape (n_rows,)
            Their true labels.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        n_bins : int, default=15
            Bins of equal mass.
        name : str, default=None
            For the legend; None means the name of the class.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : ReliabilityDisplay
            Drawn.
        """
        return cls.from_predictions(
            y,
            estimator.predict_proba(X),
            labels=estimator.classes_,
            sample_weight=sample_weight,
            n_bins=n_bins,
            name=type(estimator).__name__ if name is None else name,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        proba: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        n_bins: int = 15,
        name: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw how reliable given probabilities are.

        Parameters
        ----------
        y_true : array-like of shape (n_rows,)
            True labels.
        proba : array-like of shape (n_rows, n_classes)
            Class probabilities.
        labels : array-like of shape (n_classes,), default=None
            Labels of the columns; None means the sorted labels of ``y_true``.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        n_bins : int, default=15
            Bins of equal mass.
        name : str, default=None
            For the legend.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : ReliabilityDisplay
            Drawn.
        """
        codes, proba = encode_for(y_true, proba, labels)
        rates = HitRates.of_top_class(codes, proba, n_bins, sample_weight)
        return cls(rates=rates, name=name).plot(ax=ax)

    def _draw(self) -> None:
        perfect = "perfectly calibrated"
        if perfect not in self.ax_.get_legend_handles_labels()[1]:
            self.ax_.plot([0, 1], [0, 1], ":", color="gray", label=perfect)
        error = f"calibration error {self.expected_calibration_error:.3f}"
        label = error if self.name is None else f"{self.name}, {error}"
        self.errorbar_ = draw_rates(self.ax_, self.rates, label=label, linestyle="-")
        self.ax_.set(xlabel="Probability of the top class", ylabel="Accuracy")
        self.ax_.legend()


def draw_rates(
    ax: Any, rates: HitRates, *, linestyle: str = "none", **style: Any
) -> Any:
    """Draw observed rates as points with their intervals."""
    below_above = [rates.rate - rates.low, rates.high - rates.rate]
    return ax.errorbar(
        rates.score,
        rates.rate,
        yerr=below_above,
        fmt="o",
        linestyle=linestyle,
        capsize=2,
        **style,
    )

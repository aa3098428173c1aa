"""A teacher and what can be distilled from it, side by side."""

from __future__ import annotations

import pickle
import time
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from joblib import Memory
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.metrics import log_loss, recall_score, roc_auc_score
from sklearn.utils.validation import check_memory

from sklearn_slam._base import BaseDistiller
from sklearn_slam._baselines import PlainDistiller
from sklearn_slam._fit_rows import unwrap
from sklearn_slam._optional import import_optional
from sklearn_slam._progress import Progress
from sklearn_slam._rows import Rows, take_rows
from sklearn_slam._soft_labels import true_class_rank
from sklearn_slam._teacher import arrives_fitted, predict_soft_labels
from sklearn_slam._validation import check_integer, split_labels
from sklearn_slam.inspection import Display, check_fitted_kind
from sklearn_slam.metrics import expected_calibration_error, find_columns


def distillation_report(
    distiller: BaseDistiller,
    X_test: Any,
    y_test: ArrayLike,
    *,
    X: Any = None,
    y: ArrayLike | None = None,
    n_repeats: int = 30,
    **fit_params: Any,
) -> Any:
    """Measure teacher, labels-only student, plain distillation and distiller.

    The distiller is fitted and measured as it is, by its ``student_``. Given what it
    was fitted on, two students of the same kind, parameters and seed are trained to
    compare with: one on the labels alone, and one by plain distillation of the same
    teacher's outputs (no mixing, labels as they are).

    Parameters
    ----------
    distiller : fitted distiller
        Left as it is.
    X_test : table of shape (n_test, n_features)
        Rows that neither teacher nor student learned from.
    y_test : array-like of shape (n_test,)
        Their labels; rows without one are left out, and some classes may be absent.
    X : table of shape (n_rows, n_features), default=None
        What the distiller was fitted on. None leaves out the students to compare
        with.
    y : array-like of shape (n_rows,), default=None
        The labels that it was fitted with.
    n_repeats : int, default=30
        How often each prediction is timed.
    **fit_params : dict
        What else its ``fit`` was given: ``X_unlabeled``, ``sample_weight`` and so on.

    Returns
    -------
    report : pandas.DataFrame
        A row for each of "teacher", "labels only", "plain distillation" and "SLaM"
        (the distiller), with the columns

        - ``accuracy``, of the most likely class: a teacher's own threshold is left out;
        - ``balanced_accuracy``: the mean over the classes of ``y_test`` of how many of
          a class are found;
        - ``roc_auc``: of two classes, or the mean over one class against the rest;
          NaN where ``y_test`` lacks a class;
        - ``log_loss``: in float32, which bounds the loss of a row alike for all;
        - ``calibration_error``: see :func:`expected_calibration_error`;
        - ``agreement``: share of rows on which it says what the teacher says; NaN
          where the teacher is unknown (all its outputs were given);
        - ``row_us``, ``row_us_p99``: median and 99th percentile of microseconds for
          ``predict_proba`` of one row;
        - ``batch_us``, ``batch_us_p99``: the same for the whole of ``X_test``, per
          row;
        - ``size_bytes``: of the pickle; NaN where it cannot be pickled.

    Raises
    ------
    ImportError
        If pandas is missing.
    TypeError
        If ``distiller`` is no distiller.
    ValueError
        If ``y_test`` holds no label or an unknown one, or y and the number of unlabeled
        rows are not those that the distiller was fitted on. That X and the pool hold
        the same rows is up to you.

    See Also
    --------
    LatencyAccuracyDisplay : The picture of it.

    Notes
    -----
    A teacher that was cross-fitted is not fitted again: what it said of labeled rows
    out of fold is kept in ``teacher_accuracy_``, and it is asked about the pool once
    more (``memory`` answers where it is set). Plain distillation learns the teacher's
    own labels, also where the distiller asks peers, and is calibrated as the distiller
    is; the student of labels alone is not, since that takes a teacher.

    The models are timed one after the other, with torch's threads as they are. Of few
    repeats the 99th percentile is nearly the slowest.

    ``print(report.round(3).T)`` fits a page.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_slam import SLaMDistiller, distillation_report
    >>> X, y = load_iris(return_X_y=True)
    >>> slam = SLaMDistiller(LogisticRegression(max_iter=500), max_epochs=5)
    >>> slam = slam.fit(X[::3], y[::3], X_unlabeled=X[1::5])
    >>> distillation_report(slam, X[2::3], y[2::3]).index.tolist()
    ['teacher', 'SLaM']
    """
    pandas = import_optional("pandas", "plot")
    check_fitted_kind(distiller, BaseDistiller)
    if (X is None) != (y is None) or (fit_params and X is None):
        raise ValueError(
            "X and y go together, with what else fit was given: pass what the "
            "distiller was fitted on, or nothing of it."
        )
    check_integer("n_repeats", n_repeats, 1)
    classes = distiller.classes_
    X_test = as_table(X_test)
    has_label, labels = split_labels(
        y_test, distiller.unlabeled_label, n_rows=X_test.shape[0]
    )
    if not len(labels):
        raise ValueError("y_test has no labeled row; pass some to measure accuracy on.")
    if not has_label.all():
        X_test = take_rows(X_test, np.flatnonzero(has_label))
    codes = find_columns(labels, classes, "y_test")

    models = {} if distiller.teacher_ is None else {"teacher": distiller.teacher_}
    if X is not None:
        models |= _fit_others(distiller, as_table(X), y, fit_params)
    models[type(distiller).__name__.removesuffix("Distiller")] = distiller.student_
    probas = {
        name: predict_soft_labels(
            model, Rows.of(X_test), classes, memory=Memory(None), progress=Progress()
        )
        for name, model in models.items()
    }
    measures = {
        name: {
            **measure_quality(codes, probas[name], probas.get("teacher")),
            **measure_latency(model, X_test, n_repeats),
            "size_bytes": pickled_size(model),
        }
        for name, model in models.items()
    }
    return pandas.DataFrame.from_dict(measures, orient="index")


def _fit_others(
    distiller: BaseDistiller, X: Any, y: Any, fit_params: Mapping[str, Any]
) -> dict[str, Any]:
    """Train the students to compare with on what the distiller was fitted on."""
    has_label, labels = split_labels(y, distiller.unlabeled_label, n_rows=X.shape[0])
    _check_fitted_on(distiller, has_label, labels, fit_params)
    # With the training parameters and the seed that the distiller gave its student.
    alone = clone(distiller.student_)
    weights = fit_params.get("sample_weight")
    if weights is not None:
        weights = np.asarray(weights)[has_label]
    alone.fit(take_rows(X, np.flatnonzero(has_label)), labels, sample_weight=weights)

    outputs = _teacher_outputs(distiller, X, has_label, fit_params)
    params = clone(distiller).get_params(deep=False)
    shared = params.keys() & PlainDistiller().get_params(deep=False).keys()
    plain = PlainDistiller(**{name: params[name] for name in shared})
    plain.set_params(teacher_temperature=1.0)
    plain.fit(X, y, **{**fit_params, **outputs})
    return {"labels only": alone, "plain distillation": plain.student_}


def _check_fitted_on(
    distiller: BaseDistiller,
    has_label: NDArray[np.bool_],
    labels: NDArray[Any],
    fit_params: Mapping[str, Any],
) -> None:
    """Raise where labels or pool are not those that a distiller was fitted on."""
    accuracy = distiller.teacher_accuracy_
    n_labeled = len(accuracy.ranks_)
    if len(labels) != n_labeled:
        raise ValueError(
            f"y holds {len(labels)} labels, but the distiller was fitted with "
            f"{n_labeled}: pass the X and y that it was fitted on."
        )
    codes = find_columns(labels, distiller.classes_, "y")
    if (true_class_rank(accuracy.proba_, codes) != accuracy.ranks_).any():
        raise ValueError(
            "y is not what the distiller was fitted on: what its teacher was seen to "
            "know of the labeled rows is told of other labels. Pass the same rows in "
            "the same order."
        )
    pool = unwrap(fit_params.get("X_unlabeled"))
    n_unlabeled = int((~has_label).sum())
    n_unlabeled += 0 if pool is None else as_table(pool).shape[0]
    if n_unlabeled != distiller.n_unlabeled_:
        raise ValueError(
            f"X and X_unlabeled hold {n_unlabeled} unlabeled rows, but the distiller "
            f"was fitted on {distiller.n_unlabeled_}: pass what fit was given."
        )


def _teacher_outputs(
    distiller: BaseDistiller,
    X: Any,
    has_label: NDArray[np.bool_],
    fit_params: Mapping[str, Any],
) -> dict[str, NDArray[np.float32]]:
    """Return what ``fit`` needs to know of a teacher so that it fits no other.

    Of labeled rows that is what was said out of fold: the teacher has learned from
    them since, and would be too sure.
    """
    if arrives_fitted(distiller.teacher):
        return {}
    pool = unwrap(fit_params.get("X_unlabeled"))
    wanted = ["teacher_proba"] + ["teacher_proba_unlabeled"] * (pool is not None)
    missing = [name for name in wanted if fit_params.get(name) is None]
    teacher, classes = distiller.teacher_, distiller.classes_
    if missing and teacher is None:
        raise ValueError(
            "The distiller has no teacher, all its outputs were given to fit: pass "
            f"{missing} here too."
        )
    memory = check_memory(distiller.memory)
    progress = Progress(distiller.verbose)
    outputs = {}
    if "teacher_proba" in missing:
        proba = np.empty((len(has_label), len(classes)), dtype=np.float32)
        proba[has_label] = distiller.teacher_accuracy_.proba_
        if not has_label.all():
            unlabeled = Rows(((X, np.flatnonzero(~has_label)),))
            proba[~has_label] = predict_soft_labels(
                teacher, unlabeled, classes, memory=memory, progress=progress
            )
        outputs["teacher_proba"] = proba
    if "teacher_proba_unlabeled" in missing:
        outputs["teacher_proba_unlabeled"] = predict_soft_labels(
            teacher,
            Rows.of(as_table(pool)),
            classes,
            memory=memory,
            progress=progress,
        )
    return outputs


def as_table(X: Any) -> Any:
    """Return a table that has a shape and gives out rows."""
    if sp.issparse(X):
        return X.tocsr()
    return X if hasattr(X, "shape") else np.asarray(X)


def measure_quality(
    codes: NDArray[np.intp],
    proba: NDArray[np.float32],
    teacher_proba: NDArray[np.float32] | None,
) -> dict[str, float]:
    """Return how good probabilities are, given the column of each true class."""
    n_classes = proba.shape[1]
    columns = np.arange(n_classes)
    top = proba.argmax(axis=1)
    roc_auc = agreement = np.nan
    if teacher_proba is not None:
        agreement = np.mean(top == teacher_proba.argmax(axis=1))
    if len(np.unique(codes)) == n_classes:
        # Of two classes the second stands for both.
        against_rest = columns[1:] if n_classes == 2 else columns
        roc_auc = np.mean(
            [roc_auc_score(codes == c, proba[:, c]) for c in against_rest]
        )
    return {
        "accuracy": float(np.mean(top == codes)),
        "balanced_accuracy": recall_score(
            codes, top, labels=np.unique(codes), average="macro"
        ),
        "roc_auc": float(roc_auc),
        "log_loss": log_loss(codes, proba, labels=columns),
        "calibration_error": expected_calibration_error(codes, proba, labels=columns),
        "agreement": float(agreement),
    }


def measure_latency(model: Any, X: Any, n_repeats: int) -> dict[str, float]:
    """Return microseconds a row that a model's ``predict_proba`` takes.

    Without other models in between: after a big one a small one is slower for some
    ten calls, until the caches are its own. A third more calls, the first ones, are
    not timed.
    """
    n_rows, latency = X.shape[0], {}
    for kind, size in (("row_us", 1), ("batch_us", n_rows)):
        micro = []
        for repeat in range(n_repeats + n_repeats // 3 + 1):
            start = repeat % (n_rows - size + 1)
            table = take_rows(X, slice(start, start + size))
            begin = time.perf_counter()
            model.predict_proba(table)
            micro.append(1e6 * (time.perf_counter() - begin) / size)
        latency[kind] = float(np.median(micro[-n_repeats:]))
        latency[f"{kind}_p99"] = float(np.quantile(micro[-n_repeats:], 0.99))
    return latency


def pickled_size(model: Any) -> float:
    """Return the bytes of a model's pickle, NaN where it has none (a lambda)."""
    try:
        return len(pickle.dumps(model))
    except (pickle.PicklingError, AttributeError, TypeError):
        return np.nan


class LatencyAccuracyDisplay(Display):
    """Accuracy of several models against the time that they take for a row.

    Make it with :meth:`from_report`.

    Parameters
    ----------
    name : sequence of str, length n_models
        What the points are called.
    latency : ndarray of shape (n_models,)
        Microseconds.
    accuracy : ndarray of shape (n_models,)
        In [0, 1].

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure around it.
    lines_ : list of matplotlib Line2D
        The points, one for each model.

    See Also
    --------
    distillation_report : The measures.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_slam import LatencyAccuracyDisplay
    >>> display = LatencyAccuracyDisplay(
    ...     name=["teacher", "SLaM"],
    ...     latency=np.array([9000.0, 90.0]),
    ...     accuracy=np.array([0.95, 0.94]),
    ... ).plot()
    >>> display.ax_.get_xscale()
    'log'
    """

    def __init__(
        self, *, name: Any, latency: NDArray[np.float64], accuracy: NDArray[np.float64]
    ) -> None:
        self.name = name
        self.latency = latency
        self.accuracy = accuracy

    @classmethod
    def from_report(
        cls, report: Any, *, latency: str = "row_us", ax: Any = None
    ) -> Self:
        """Draw the latency-accuracy picture of a report.

        Parameters
        ----------
        report : pandas.DataFrame
            From :func:`distillation_report`.
        latency : str, default="row_us"
            The column to draw: "row_us" for one row alone, "batch_us" for a row in
            a batch.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : LatencyAccuracyDisplay
            Drawn.
        """
        if latency not in ("row_us", "batch_us"):
            raise ValueError(
                f"latency must be 'row_us' or 'batch_us', got {latency!r}."
            )
        return cls(
            name=list(report.index),
            latency=report[latency].to_numpy(),
            accuracy=report["accuracy"].to_numpy(),
        ).plot(ax=ax)

    def _draw(self) -> None:
        # A legend: students of one kind take equally long, and names would overlap.
        self.lines_ = [
            self.ax_.plot(latency, accuracy, "o", alpha=0.8, label=name)[0]
            for name, latency, accuracy in zip(
                self.name, self.latency, self.accuracy, strict=True
            )
        ]
        self.ax_.margins(0.15)
        self.ax_.set(
            xscale="log", xlabel="Latency, microseconds a row", ylabel="Accuracy"
        )
        self.ax_.legend()

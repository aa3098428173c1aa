"""Teachers: kept where they arrive fitted, cross-fitted where not, read in chunks."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from joblib import Memory
from numpy.typing import ArrayLike, NDArray
from scipy.stats import mannwhitneyu
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, check_cv
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OrdinalEncoder
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sklearn_slam._progress import Progress
from sklearn_slam._rows import (
    Rows,
    container,
    is_frame,
    is_missing,
    is_numeric,
    take_rows,
)
from sklearn_slam._soft_labels import margins
from sklearn_slam._validation import align_proba, check_proba

MEMORIZED_AUC = 0.75
"""Probability that a labeled row's margin exceeds a pool row's beyond which the
teacher seems to know the labeled rows (seen: .90 to .99 on a teacher's own rows,
.48 to .52 on fresh ones)."""


class CallableTeacher(ClassifierMixin, BaseEstimator):
    """A teacher behind a function: a remote service, an AutoML model, a file.

    Parameters
    ----------
    predict_proba_function : callable
        From a table of at most 32,768 rows, in the container that the distiller
        was given, to probabilities of shape (n_rows, n_classes). Retries and
        smaller batches are the function's own affair.
    classes : array-like of shape (n_classes,)
        Labels of the columns that it returns.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        As given.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_slam import CallableTeacher
    >>> def sign(X):
    ...     positive = np.where(X[:, 0] > 0, 0.9, 0.2)
    ...     return np.column_stack([1 - positive, positive])
    >>> teacher = CallableTeacher(sign, classes=["no", "yes"])
    >>> teacher.predict(np.array([[1.0], [-1.0]]))
    array(['yes', 'no'], dtype='<U3')
    """

    def __init__(
        self, predict_proba_function: Callable[[Any], Any], classes: ArrayLike
    ) -> None:
        self.predict_proba_function = predict_proba_function
        self.classes = classes

    @property
    def classes_(self) -> NDArray[Any]:
        """Labels of the columns of ``predict_proba``."""
        return np.asarray(self.classes)

    def fit(self, X: Any, y: Any) -> CallableTeacher:
        """Do nothing: the function is ready.

        Parameters
        ----------
        X, y : object
            Ignored.

        Returns
        -------
        self : CallableTeacher
            As it was.
        """
        return self

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Call the function.

        Parameters
        ----------
        X : table of shape (n_rows, n_features)
            Handed over as it is.

        Returns
        -------
        proba : ndarray of shape (n_rows, n_classes)
            What the function returned.
        """
        return np.asarray(self.predict_proba_function(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most likely class of each row.

        Parameters
        ----------
        X : table of shape (n_rows, n_features)
            Handed over as it is.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
            From ``classes``.
        """
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # The rows are the function's own affair.
        tags.input_tags.allow_nan = tags.input_tags.sparse = True
        return tags


def check_teacher(teacher: Any) -> bool:
    """Raise where no fit can use a teacher; tell whether it is used as it is.

    Raises
    ------
    TypeError
        If it is no scikit-learn estimator, or is fitted and has no
        ``predict_proba``.
    NotFittedError
        If it is frozen but not fitted.
    """
    if teacher is None:
        return False
    way_out = (
        "Wrap a fitted model in sklearn.frozen.FrozenEstimator if it is a "
        "scikit-learn estimator, or its function in "
        "sklearn_slam.CallableTeacher(function, classes)."
    )
    if isinstance(teacher, type) or not hasattr(teacher, "__sklearn_tags__"):
        raise TypeError(
            f"teacher must be a scikit-learn classifier, got {teacher!r}. {way_out}"
        )
    if not hasattr(teacher, "fit"):
        raise TypeError(f"teacher {teacher!r} has no fit method. {way_out}")
    is_fitted = arrives_fitted(teacher)
    if is_fitted:
        check_predicts_proba(teacher)
    elif isinstance(teacher, FrozenEstimator):
        raise NotFittedError(
            "teacher is a FrozenEstimator around an estimator that is not fitted: fit "
            "it first, or pass it unfrozen to have it cross-fitted."
        )
    return is_fitted


def arrives_fitted(teacher: Any) -> bool:
    """Tell whether a teacher is used as it is, or cloned and fitted."""
    if isinstance(teacher, type) or not hasattr(teacher, "fit"):
        return False
    try:
        check_is_fitted(teacher)
    except (NotFittedError, TypeError):  # TypeError: no scikit-learn estimator
        return False
    return True


def check_predicts_proba(teacher: Any) -> None:
    """Raise where a teacher has no ``predict_proba``."""
    if not hasattr(teacher, "predict_proba"):
        raise TypeError(
            f"teacher {type(teacher).__name__} has no predict_proba. Use a classifier "
            "that has (some need a parameter for it), or wrap it in "
            "sklearn.calibration.CalibratedClassifierCV."
        )


def default_teacher(X: Any, random_state: int) -> Any:
    """Return a teacher for a kind of table.

    Boosting for tables, behind an encoder of categories for frames; logistic
    regression for sparse rows, which trees would densify.
    """
    if container(X) == "sparse":
        return make_pipeline(MaxAbsScaler(), LogisticRegression(max_iter=1000))
    boosting = HistGradientBoostingClassifier(random_state=random_state)
    if get_config()["enable_metadata_routing"]:
        boosting.set_fit_request(sample_weight=True)
    numbers = make_column_transformer(("passthrough", _find_filled_numbers))
    if not is_frame(X):
        return make_pipeline(numbers, boosting)
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=250,  # boosting takes at most 255
    )
    categorical = [
        place for place, name in enumerate(X.columns) if not is_numeric(X[name])
    ]
    boosting.set_params(categorical_features=list(range(len(categorical))))
    return make_pipeline(
        make_column_transformer(
            (encoder, categorical), ("passthrough", _find_filled_numbers)
        ),
        boosting,
    )


def _find_filled_numbers(X: Any) -> list[int]:
    """Return the numeric columns that have a value: boosting fails on others."""
    if is_frame(X):
        return [
            place
            for place, name in enumerate(X.columns)
            if is_numeric(X[name]) and not all(map(is_missing, X[name].to_list()))
        ]
    missing = np.isnan(np.asarray(X, dtype=np.float64))
    return np.flatnonzero(~missing.all(axis=0)).tolist()


def align(
    proba: Any,
    n_rows: int,
    columns: Any,
    classes: NDArray[Any],
    name: str = "teacher.predict_proba",
) -> NDArray[np.float32]:
    """Check probabilities and order their columns as in ``classes``."""
    proba = check_proba(proba, n_rows, len(columns), name)
    return align_proba(proba, np.asarray(columns), classes)


def _predict(
    teacher: Any, rows: Rows, classes: NDArray[Any], progress: Progress
) -> NDArray[np.float32]:
    """Return a teacher's probabilities of rows, computed in chunks."""
    proba = np.empty((len(rows), len(classes)), dtype=np.float32)
    start = 0
    with progress.part(
        "ask teacher", "chunk", rows.n_chunks(), n_rows=len(rows)
    ) as part:
        for chunk in rows.chunks():
            part.begin()
            stop = start + chunk.shape[0]
            proba[start:stop] = align(
                teacher.predict_proba(chunk), stop - start, teacher.classes_, classes
            )
            part.end(stop - start)
            start = stop
    return proba


def predict_soft_labels(
    teacher: Any,
    rows: Rows,
    classes: NDArray[Any],
    *,
    memory: Memory,
    progress: Progress,
) -> NDArray[np.float32]:
    """Return a teacher's probabilities, from ``memory`` where they are known.

    Parameters
    ----------
    teacher : fitted classifier
    rows : Rows
    classes : ndarray of shape (n_classes,)
        Columns of the result; a class the teacher does not know gets 0.
    memory : joblib.Memory
    progress : Progress
        Told of each chunk, unless the answer is known.

    Returns
    -------
    proba : ndarray of float32, shape (n_rows, n_classes)
    """
    return memory.cache(_predict, ignore=["progress"])(teacher, rows, classes, progress)


def ensemble_spread(
    teacher: Any, rows: Rows, n_classes: int, n_passes: int
) -> NDArray[np.float32] | None:
    """Return how far an ensemble's members, or dropout passes, lie apart.

    Parameters
    ----------
    teacher : fitted classifier, or None
    rows : Rows
    n_classes : int
    n_passes : int
        Passes of a student of this package that has dropout; torch's random state
        decides them.

    Returns
    -------
    spread : ndarray of float32, shape (n_rows, n_classes), or None
        Standard deviation of each probability; None where the teacher has no members
        that predict each class, and no dropout.
    """
    model, steps = teacher, []
    while isinstance(model, Pipeline | FrozenEstimator):
        if isinstance(model, Pipeline):
            steps += [model[:-1]] if len(model) > 1 else []
            model = model[-1]
        else:
            model = model.estimator
    members = _members(model, n_classes, n_passes)
    if not members:
        return None
    spread = np.empty((len(rows), n_classes), dtype=np.float32)
    start = 0
    for chunk in rows.chunks():
        for step in steps:
            chunk = step.transform(chunk)
        stop = start + chunk.shape[0]
        spread[start:stop] = np.std([member(chunk) for member in members], axis=0)
        start = stop
    return spread


def _members(
    model: Any, n_classes: int, n_passes: int
) -> list[Callable[[Any], NDArray[Any]]]:
    """Return what an ensemble's members predict, as functions of a table."""
    if len(getattr(model, "classes_", ())) != n_classes:
        return []
    if getattr(model, "_dropout", None):
        return [model._predict_with_dropout] * n_passes
    members = getattr(model, "estimators_", None)
    if not isinstance(members, list) or not all(
        len(getattr(member, "classes_", ())) == n_classes
        and hasattr(member, "predict_proba")
        for member in members
    ):
        return []
    features = getattr(model, "estimators_features_", [None] * len(members))

    def ask(member: Any, columns: Any, table: Any) -> NDArray[Any]:
        # Forests and bagging hand their members arrays, a vote the table itself.
        if is_frame(table) and not hasattr(member, "feature_names_in_"):
            table = table.to_numpy()
        return member.predict_proba(table if columns is None else table[:, columns])

    return [
        partial(ask, member, columns)
        for member, columns in zip(members, features, strict=True)
    ]


def fit_teacher(
    teacher: Any, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None
) -> Any:
    """Fit a clone of a teacher, with weights where it takes them."""
    teacher = clone(teacher)
    name = "sample_weight"
    taken = _takes_weights(teacher)
    if isinstance(teacher, Pipeline):
        if get_config()["enable_metadata_routing"]:
            taken = bool(teacher.get_metadata_routing().consumes("fit", [name]))
        else:
            step, last = teacher.steps[-1]
            taken = _takes_weights(last)
            name = f"{step}__{name}"
    if sample_weight is None or not taken:
        return teacher.fit(X, y)
    return teacher.fit(X, y, **{name: sample_weight})


def _takes_weights(estimator: Any) -> bool:
    """Tell whether ``fit`` takes ``sample_weight``, by name or as routed metadata."""
    if has_fit_parameter(estimator, "sample_weight"):
        return True
    request = getattr(estimator, "get_metadata_routing", lambda: None)()
    return "sample_weight" in getattr(getattr(request, "fit", None), "requests", ())


def cross_fit(
    teacher: Any,
    X: Any,
    y: NDArray[Any],
    folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]],
    classes: NDArray[Any],
    sample_weight: NDArray[Any] | None,
    n_jobs: int | None,
    progress: Progress,
) -> NDArray[np.float32]:
    """Return out-of-fold probabilities: what a teacher says of rows new to it.

    Parameters
    ----------
    teacher : classifier
        Cloned and fitted on each fold's training rows.
    X : table of shape (n_labeled, n_features)
    y : ndarray of shape (n_labeled,)
        Labels.
    folds : list of (train, test)
        Each row is in at least one test part.
    classes : ndarray of shape (n_classes,)
        Columns of the result.
    sample_weight : ndarray of shape (n_labeled,) or None
    n_jobs : int or None
        Folds fitted at once.
    progress : Progress
        Told of each fold.

    Returns
    -------
    proba : ndarray of float32, shape (n_labeled, n_classes)
        Averaged where a row is in several test parts.
    """
    check_folds_cover(folds, X.shape[0])

    def fit_predict(train: Any, test: Any) -> NDArray[np.float32]:
        weights = None if sample_weight is None else sample_weight[train]
        fitted = fit_teacher(teacher, take_rows(X, train), y[train], weights)
        check_predicts_proba(fitted)
        proba = fitted.predict_proba(take_rows(X, test))
        return align(proba, len(test), fitted.classes_, classes)

    probas = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(fit_predict)(train, test) for train, test in folds
    )
    total = np.zeros((X.shape[0], len(classes)), dtype=np.float32)
    times = np.zeros(X.shape[0], dtype=np.float32)
    with progress.part("cross-fit teacher", "fold", len(folds)) as part:
        for _, test in folds:
            part.begin()
            total[test] += next(probas)
            times[test] += 1
            part.end()
    return np.divide(total, times[:, None], dtype=np.float32)


def check_folds_cover(
    folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]], n_rows: int
) -> None:
    """Raise where a row is in no test part."""
    tested = np.zeros(n_rows, dtype=bool)
    for _, test in folds:
        tested[test] = True
    if not tested.all():
        raise ValueError(
            f"cv leaves {int((~tested).sum())} labeled rows out of every test part; "
            "each must be predicted by a model that did not learn from it. Use a cv "
            "that tests on every row, or pass a fitted teacher (and peers=False)."
        )


def make_folds(
    cv: Any, X: Any, y: NDArray[Any], groups: Any, random_state: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return the folds for out-of-fold predictions on labeled rows.

    An integer means stratified and shuffled folds, fewer (with a warning) where
    no class has a row for each.
    """
    if cv is None or isinstance(cv, numbers.Integral):
        n_folds = 5 if cv is None else int(cv)
        if n_folds < 2:
            raise ValueError(f"cv must be at least 2, got {cv}.")
        most = int(np.unique(y, return_counts=True)[1].max())
        if most < 2:
            raise ValueError(
                "Every class has one labeled row only (n_samples = "
                f"{len(y)}), so that none can be held out. Pass a fitted teacher, or "
                "label at least two rows of a class."
            )
        if most < n_folds:
            warnings.warn(
                f"cv={n_folds} folds were asked for, but no class has more than "
                f"{most} labeled rows; {most} folds are used.",
                UserWarning,
                stacklevel=6,
            )
        cv = StratifiedKFold(
            min(n_folds, most), shuffle=True, random_state=random_state
        )
    with warnings.catch_warnings():
        # Probabilities are aligned where a fold lacks a class.
        warnings.filterwarnings("ignore", "The least populated class")
        folds = [
            (_positions(train), _positions(test))
            for train, test in check_cv(cv, y, classifier=True).split(X, y, groups)
        ]
    for train, _ in folds:
        if len(np.unique(y[train])) < 2:
            raise ValueError(
                "A fold of cv has one class only among its training rows; label more "
                "rows, use fewer folds, or pass a fitted teacher (and peers=False)."
            )
    return folds


def _positions(rows: Any) -> NDArray[np.intp]:
    """Return rows of a fold by position; a user's folds may be boolean masks."""
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows


def warn_if_memorized(
    labeled_proba: NDArray[np.floating], pool_proba: NDArray[np.floating]
) -> None:
    """Warn where a fitted teacher is far surer of labeled rows than of the pool.

    On rows that it learned from, a teacher looks always right; alpha would be 1
    and mixing would do nothing.
    """
    if min(len(labeled_proba), len(pool_proba)) < 20:
        return
    of_labeled, of_pool = margins(labeled_proba), margins(pool_proba)
    statistic = mannwhitneyu(of_labeled, of_pool).statistic
    auc = statistic / (len(of_labeled) * len(of_pool))
    if auc > MEMORIZED_AUC:
        warnings.warn(
            "The teacher seems to have been trained on the labeled rows: its margin "
            f"there exceeds that on unlabeled rows with probability {auc:.2f}. Its "
            "accuracy cannot be estimated on such rows, and mixing then does little. "
            "Pass rows that are fresh to it, or pass it unfitted (sklearn.base.clone) "
            "to have it cross-fitted.",
            UserWarning,
            stacklevel=4,
        )


def with_random_state(estimator: Any, seed: int) -> Any:
    """Set each ``random_state`` that is None, nested ones included."""
    rng = np.random.RandomState(seed)
    params = estimator.get_params(deep=True)
    names = [
        name
        for name in sorted(params)
        if name.split("__")[-1] == "random_state" and params[name] is None
    ]
    bound = np.iinfo(np.int32).max
    return estimator.set_params(**{name: int(rng.randint(bound)) for name in names})

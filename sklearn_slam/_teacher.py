"""Teachers: kept where they arrive fitted, cross-fitted where not, read in chunks."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from joblib import Memory
from joblib.parallel import get_active_backend
from numpy.typing import ArrayLike, NDArray
from scipy.stats import mannwhitneyu
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_regressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.utils.metadata_routing import MetadataRouter, get_routing_for_object
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sklearn_slam._encoding import OrdinalColumns
from sklearn_slam._folds import Folds, check_folds, that_weigh, times_tested
from sklearn_slam._progress import Progress
from sklearn_slam._repeatable import cached
from sklearn_slam._rows import (
    CHUNK_ROWS,
    Rows,
    container,
    is_frame,
    is_numeric,
    is_temporal,
    own_copy,
    take_rows,
)
from sklearn_slam._soft_labels import margins
from sklearn_slam._tables import as_array
from sklearn_slam._validation import (
    align_proba,
    check_integer,
    check_proba,
    order_columns,
)
from sklearn_slam._warn import warn

CLASS_WEIGHTS = {
    "class_weight",
    "class_weights",
    "auto_class_weights",
    "is_unbalance",
    "scale_pos_weight",
}
"""Parameters of scikit-learn, CatBoost, LightGBM and XGBoost that weigh classes."""

UNWEIGHTED = {"None", "False", "1", "1.0"}
"""Their values that do not, as text."""

THRESHOLDS = FixedThresholdClassifier, TunedThresholdClassifierCV
"""Classifiers whose decision is not their most likely class."""

MEMORIZED_AUC, SURELY_MEMORIZED_AUC, MEMORIZED_P = 0.55, 0.75, 3e-5
"""Probability that a labeled row's margin exceeds a pool row's beyond which the teacher
seems to know the labeled rows: the lower bound where chance is ruled out at a level
that is four standard errors, the upper one in any case. Seen on a teacher's own rows:
.8 to 1 for forests and boosting, less (.6) where boosting is as sure of any row; on
fresh rows .45 to .55, never four standard errors above one half."""


class CallableTeacher(ClassifierMixin, BaseEstimator):
    """A teacher behind a function: a remote service, an AutoML model, a file.

    Parameters
    ----------
    predict_proba_function : callable
        From a table, in the container that the distiller was given, to probabilities
        of shape (n_rows, n_classes): an array, or a frame with a column named after
        each class. Retries are the function's own affair.
    classes : array-like of shape (n_classes,)
        Labels of the columns that it returns.
    batch_size : int, default=32768
        Rows at most that one call is asked about.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        As given.

    Notes
    -----
    A distiller's ``memory`` knows the function by its name: empty its folder when what
    stands behind the name changes. A lambda has no name, and cannot be used with it.

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
        self,
        predict_proba_function: Callable[[Any], Any],
        classes: ArrayLike,
        *,
        batch_size: int = CHUNK_ROWS,
    ) -> None:
        self.predict_proba_function = predict_proba_function
        self.classes = classes
        self.batch_size = batch_size

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
        """Call the function, once for each batch of rows.

        Parameters
        ----------
        X : table of shape (n_rows, n_features)
            Its rows are handed over as they are.

        Returns
        -------
        proba : ndarray of shape (n_rows, n_classes)
            What the function returned; a frame's columns are ordered by their names.

        Raises
        ------
        TypeError
            If ``predict_proba_function`` is no function.
        ValueError
            If it does not return probabilities of these rows and classes, or
            ``batch_size`` is no integer of at least 1.
        """
        if not callable(self.predict_proba_function):
            raise TypeError(
                "predict_proba_function must be a function of a table, got "
                f"{self.predict_proba_function!r}."
            )
        check_integer("batch_size", self.batch_size, 1)
        X = X if hasattr(X, "shape") else as_array(X, "X")
        name, classes = "What predict_proba_function returned", self.classes_
        said = []
        for table, place in Rows.of(X).chunks(self.batch_size):
            proba = order_columns(self.predict_proba_function(table), classes, name)
            n_rows = place.stop - place.start
            said.append(check_proba(proba, n_rows, len(classes), name))
        return np.concatenate(said)

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
        ``predict_proba`` or no ``classes_``.
    NotFittedError
        If it is frozen but not fitted.
    """
    if teacher is None:
        return False
    way_out = (
        "Wrap a fitted model in sklearn.frozen.FrozenEstimator if it is a "
        "scikit-learn estimator, or its function in "
        "sklearn_slam.CallableTeacher(function, classes); known probabilities go into "
        "fit as teacher_proba and teacher_proba_unlabeled."
    )
    if isinstance(teacher, type):
        raise TypeError(
            f"teacher is the class {teacher.__name__}; pass an instance, "
            f"{teacher.__name__}()."
        )
    if not hasattr(teacher, "__sklearn_tags__"):
        raise TypeError(
            "teacher must be a scikit-learn classifier, got "
            f"{reprlib.repr(teacher)}. {way_out}"
        )
    if not hasattr(teacher, "fit"):
        raise TypeError(f"teacher {teacher!r} has no fit method. {way_out}")
    if is_regressor(teacher):
        raise TypeError(f"teacher {teacher!r} is a regressor and knows no classes.")
    _warn_about_threshold(teacher)
    is_fitted = arrives_fitted(teacher)
    if is_fitted:
        check_says_proba(teacher)
    elif isinstance(teacher, FrozenEstimator):
        raise NotFittedError(
            "teacher is a FrozenEstimator around an estimator that is not fitted: fit "
            "it first, or pass it unfrozen to have it cross-fitted."
        )
    return is_fitted


def _warn_about_threshold(teacher: Any) -> None:
    """Warn where a teacher's probabilities do not say all that it decides."""
    while not isinstance(teacher, THRESHOLDS):
        if isinstance(teacher, Pipeline) and len(teacher):
            teacher = teacher.steps[-1][1]
        elif isinstance(teacher, FrozenEstimator):
            teacher = teacher.estimator
        else:
            return
    warn(
        f"The teacher, {type(teacher).__name__}, decides by a threshold of its own. A "
        "student learns its probabilities, and predicts the most likely class. Put the "
        "threshold around the fitted distiller: "
        "FixedThresholdClassifier(FrozenEstimator(slam), threshold=...)."
    )


def arrives_fitted(teacher: Any) -> bool:
    """Tell whether a teacher is used as it is, or cloned and fitted."""
    is_estimator = hasattr(teacher, "fit") and hasattr(teacher, "__sklearn_tags__")
    if isinstance(teacher, type) or not is_estimator:
        return False
    try:
        check_is_fitted(teacher)
    except NotFittedError:
        return False
    return True


def weighs_classes(teacher: Any) -> bool:
    """Tell whether a teacher, or what it holds, is told to weigh classes."""
    # What is frozen lists no parameters, a search those that it began with.
    if isinstance(teacher, FrozenEstimator):
        return weighs_classes(teacher.estimator)
    teacher = getattr(teacher, "best_estimator_", teacher)
    params = teacher.get_params() if hasattr(teacher, "get_params") else {}
    is_told = any(
        name.split("__")[-1] in CLASS_WEIGHTS and str(value) not in UNWEIGHTED
        for name, value in params.items()
    )
    return is_told or any(
        weighs_classes(value)
        for value in params.values()
        if isinstance(value, FrozenEstimator) or hasattr(value, "best_estimator_")
    )


def check_says_proba(teacher: Any) -> None:
    """Raise where a fitted teacher has no probabilities, or they no classes."""
    if not hasattr(teacher, "predict_proba"):
        raise TypeError(
            f"teacher {type(teacher).__name__} has no predict_proba. Use a classifier "
            "that has (some need a parameter for it, such as voting='soft', a search "
            "refit=True), or wrap "
            "it in sklearn.calibration.CalibratedClassifierCV."
        )
    if not hasattr(teacher, "classes_"):
        raise TypeError(
            f"teacher {type(teacher).__name__} has no classes_, which say what the "
            "columns of predict_proba stand for: it is no classifier. Put its function "
            "into sklearn_slam.CallableTeacher(function, classes)."
        )


def default_teacher(X: Any, random_state: int) -> Any:
    """Return a teacher for a kind of table.

    Boosting for tables, behind an encoder of categories for frames; logistic
    regression for sparse rows, which trees would densify.
    """
    if container(X) == "sparse":
        encoder: Any = MaxAbsScaler().set_output(transform="default")
        model: Any = LogisticRegression(max_iter=1000)
    else:
        names = X.columns if is_frame(X) else ()
        # Dates are refused where numbers are read.
        categorical = [
            name for name in names if not (is_numeric(X[name]) or is_temporal(X[name]))
        ]
        encoder = OrdinalColumns(categorical)
        model = HistGradientBoostingClassifier(
            categorical_features=list(range(len(categorical))) or None,
            # On many rows "auto" would hold some out, of each class at least two.
            early_stopping=False,
            random_state=random_state,
        )
    if get_config()["enable_metadata_routing"]:
        model.set_fit_request(sample_weight=True)
    return make_pipeline(encoder, model)


def align(
    proba: Any,
    n_rows: int,
    columns: Any,
    classes: NDArray[Any],
    name: str = "teacher.predict_proba",
) -> NDArray[np.float32]:
    """Check probabilities and order their columns as in ``classes``."""
    columns = np.asarray(columns)
    proba = order_columns(proba, columns, name)
    proba = check_proba(proba, n_rows, len(columns), name)
    if other := np.setdiff1d(columns, classes)[:5].tolist():
        raise ValueError(
            f"The columns of {name} stand for classes {other}, which are no labels: "
            f"these are {classes[:5].tolist()}. classes_ of a teacher that is fitted "
            "on labels must hold these."
        )
    return align_proba(proba, columns, classes)


def _predict(
    known_by: Any, teacher: Any, rows: Rows, classes: NDArray[Any], progress: Progress
) -> NDArray[np.float32]:
    """Return a teacher's probabilities of rows, computed in chunks.

    An answer is kept by what the teacher is known by.
    """
    proba = np.empty((len(rows), len(classes)), dtype=np.float32)
    with progress.part(
        "ask teacher", "chunk", rows.n_chunks(), n_rows=len(rows)
    ) as part:
        for table, place in rows.chunks():
            part.begin()
            said = teacher.predict_proba(own_copy(table))
            n_rows = place.stop - place.start
            proba[place] = align(said, n_rows, teacher.classes_, classes)
            part.end(n_rows)
    return proba


def predict_soft_labels(
    teacher: Any,
    rows: Rows,
    classes: NDArray[Any],
    *,
    known_by: Any = None,
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
    known_by : object, default=None
        All that the teacher was fitted from: a forest that comes out of ``memory`` is
        not the same bytes again. None means the teacher itself.
    memory : joblib.Memory
    progress : Progress
        Told of each chunk, unless the answer is known.

    Returns
    -------
    proba : ndarray of float32, shape (n_rows, n_classes)
    """
    ask = cached(memory, _predict, ignore=["teacher", "progress"])
    known_by = teacher if known_by is None else known_by
    proba: NDArray[np.float32] = ask(known_by, teacher, rows, classes, progress)
    return proba


def fit_teacher(
    teacher: Any, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None
) -> Any:
    """Fit a clone of a teacher, with weights where it takes them.

    Rows of weight 0 are left out, so that they teach no teacher.
    """
    teacher, name = clone(teacher), name_of_weights(teacher)
    weights = {}
    if sample_weight is None:
        X = own_copy(X)
    else:
        (counted,) = np.nonzero(sample_weight)
        X, y = take_rows(X, counted), y[counted]
        if name is not None:
            weights[name] = sample_weight[counted]
    try:
        teacher.fit(X, y, **weights)
    except Exception as error:
        error.add_note(
            f"The teacher, {type(teacher).__name__}, could not be fitted. It gets the "
            "labeled rows as they are: where it takes no text or missing values, put "
            "preprocessing in front, as in make_pipeline(skrub.TableVectorizer(), "
            "teacher)."
        )
        raise
    return teacher


def name_of_weights(estimator: Any) -> str | None:
    """Return the name by which ``fit`` takes weights of rows, None if it takes none.

    Many meta-estimators take any keyword, and hand it on to what they hold.
    """
    name = "sample_weight"
    try:
        routing = get_routing_for_object(estimator)
    except NotImplementedError:  # a meta-estimator that does not route yet
        routing = MetadataRouter(owner=estimator)
    if get_config()["enable_metadata_routing"] and isinstance(routing, MetadataRouter):
        return name if routing.consumes("fit", [name]) else None
    if has_fit_parameter(estimator, name):
        return name
    if name in getattr(getattr(routing, "fit", None), "requests", ()):
        return name
    if isinstance(estimator, Pipeline):
        step, last = estimator.steps[-1]
        inner = name_of_weights(last)
        return None if inner is None else f"{step}__{inner}"
    if isinstance(estimator, StackingClassifier | VotingClassifier):
        members = [member for _, member in estimator.estimators if member != "drop"]
        members += [getattr(estimator, "final_estimator", None)]
        taken = [m is None or has_fit_parameter(m, name) for m in members]
        return name if all(taken) else None
    if isinstance(estimator, GridSearchCV | RandomizedSearchCV):
        return name_of_weights(estimator.estimator)
    return None


def warn_unless_weighted(teacher: Any) -> None:
    """Warn where a teacher is to be fitted without the weights that were given."""
    if name_of_weights(teacher) is None:
        warn(
            "sample_weight does not reach the teacher: the fit of "
            f"{type(teacher).__name__} takes none, or hands none on to all that it "
            "holds (metadata routing can tell it to). The student and the statistics "
            "of the teacher's accuracy are weighted."
        )


def cross_fit(
    teacher: Any,
    X: Any,
    y: NDArray[Any],
    folds: Folds,
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
    folds = that_weigh(folds, sample_weight)
    check_folds(folds, y)
    # Not all of joblib's backends can hand results over one by one.
    backend, _ = get_active_backend()
    one_by_one = "generator" if backend.supports_return_generator else "list"
    predict = partial(_predict_fold, teacher, X, y, sample_weight, classes)
    probas = iter(
        Parallel(n_jobs=n_jobs, return_as=one_by_one)(
            delayed(predict)(train, test) for train, test in folds
        )
    )
    total = np.zeros((X.shape[0], len(classes)), dtype=np.float32)
    with progress.part("cross-fit teacher", "fold", len(folds)) as part:
        for _, test in folds:
            part.begin()
            total[test] += next(probas)
            part.end()
    total /= times_tested(folds, X.shape[0])[:, None]
    return total


def _predict_fold(
    teacher: Any,
    X: Any,
    y: NDArray[Any],
    sample_weight: NDArray[Any] | None,
    classes: NDArray[Any],
    train: NDArray[np.intp],
    test: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Return what a clone of a teacher, fitted on some rows, says of others."""
    weights = None if sample_weight is None else sample_weight[train]
    try:
        fitted = fit_teacher(teacher, take_rows(X, train), y[train], weights)
    except Exception as error:
        if lacking := sorted(set(y.tolist()) - set(y[train].tolist())):
            error.add_note(
                f"A fold's training rows lack class {lacking[:5]}, which some "
                "teachers cannot do without: label more of its rows, use another "
                "cv, or pass a fitted teacher."
            )
        raise
    check_says_proba(fitted)
    proba = fitted.predict_proba(take_rows(X, test))
    return align(proba, len(test), fitted.classes_, classes)


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
    test = mannwhitneyu(of_labeled, of_pool, alternative="greater")
    auc = test.statistic / (len(of_labeled) * len(of_pool))
    if auc > SURELY_MEMORIZED_AUC or (
        auc > MEMORIZED_AUC and test.pvalue < MEMORIZED_P
    ):
        warn(
            "The teacher seems to have been trained on the labeled rows: its margin "
            f"there exceeds that on unlabeled rows with probability {auc:.2f} (0.50 is "
            "expected of rows that are all new to it). What is estimated on such rows "
            "is too good, and mixing then does little. Pass labeled rows that are "
            "fresh to it, or pass it unfitted (sklearn.base.clone) to have it "
            "cross-fitted. If they are fresh, they are easier than the pool."
        )

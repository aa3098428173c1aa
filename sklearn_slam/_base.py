"""The one fit and the one prediction that all distillers share."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.validation import check_is_fitted, check_memory

from sklearn_slam._rows import Rows, take_rows
from sklearn_slam._soft_labels import TEMPERATURE_BOUNDS, temper
from sklearn_slam._student import BaseStudent, Lesson
from sklearn_slam._teacher import (
    align_given,
    arrives_fitted,
    cross_fit,
    default_teacher,
    fit_teacher,
    make_folds,
    predict_soft_labels,
    warn_if_memorized,
)
from sklearn_slam._teacher_accuracy import TeacherAccuracy
from sklearn_slam._training import LossFunction
from sklearn_slam._validation import (
    check_pool_matches,
    check_weights,
    encode,
    split_labels,
    take_sample_weight,
    union_of_classes,
    validate_table,
    warn_about_marks,
    warn_about_pool,
)
from sklearn_slam.model_selection import UnlabeledPool
from sklearn_slam.students import (
    TRAINING_PARAMETERS,
    allows_nan,
    as_student,
    check_training_parameters,
    has_preprocessing,
)

SAMPLE_ROWS = 5_000
"""Pool rows at most on which the student's temperature is fitted, and on which
the pool is compared with X."""

AUTO_LABELED_WEIGHT = 0.25
AUTO_SHARPENING = 0.7
"""teacher_temperature="auto" is this share of the calibrating temperature."""


@dataclass(frozen=True)
class FitRows:
    """The validated rows of one fit: labeled ones, and the parts of the pool.

    Parameters
    ----------
    X : table
        All rows of X.
    X_labeled : table
        Its labeled rows.
    labels : ndarray of shape (n_labeled,)
    labeled_at, unlabeled_at : ndarray of int
        Their positions, and those of the other rows, in X.
    X_unlabeled : table or None
        The pool beside X.
    weights : ndarray of shape (n_labeled,) or None
    pool_weights : ndarray of shape (n_pool,) or None
    """

    X: Any
    X_labeled: Any
    labels: NDArray[Any]
    labeled_at: NDArray[np.intp]
    unlabeled_at: NDArray[np.intp]
    X_unlabeled: Any
    weights: NDArray[np.float64] | None
    pool_weights: NDArray[np.float64] | None

    @property
    def pool(self) -> Rows:
        """The pool: rows of X without a label, then those of X_unlabeled."""
        parts: list[tuple[Any, Any]] = []
        if len(self.unlabeled_at):
            parts.append((self.X, self.unlabeled_at))
        if self.X_unlabeled is not None:
            parts.append((self.X_unlabeled, None))
        return Rows(tuple(parts))


class BaseDistiller(ClassifierMixin, BaseEstimator):
    """What all distillers share; subclasses say what the student learns.

    ``fit`` reads as the method does: validate, fit or keep the teacher, soft
    labels, teacher accuracy, student, train.
    """

    # The pool and what belongs to its rows, or to the teacher, can be meant for
    # nobody else in a Pipeline or a search; weights and groups can.
    __metadata_request__fit = {  # noqa: RUF012
        "X_unlabeled": True,
        "teacher_proba": True,
        "teacher_proba_unlabeled": True,
        "sample_weight_unlabeled": True,
        "sample_weight": None,
    }

    teacher: Any
    student: Any
    teacher_temperature: float | Literal["auto"]
    labeled_weight: float | Literal["auto"]
    calibrate: bool
    cv: Any
    unlabeled_label: Any
    n_jobs: int | None
    memory: Any
    verbose: int
    random_state: Any

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        *,
        X_unlabeled: Any = None,
        teacher_proba: ArrayLike | None = None,
        teacher_proba_unlabeled: ArrayLike | None = None,
        sample_weight_unlabeled: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        **params: Any,
    ) -> Self:
        """Distill the teacher into the student.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_rows, n_features)
            Rows. The teacher sees them as they are, the student through its own
            preprocessing.
        y : array-like of shape (n_rows,)
            Labels of any type. A row whose label is NaN, None or pandas.NA (or
            ``unlabeled_label``) is unlabeled and joins the pool.
        X_unlabeled : table of shape (n_unlabeled, n_features), default=None
            The pool, in the container and with the columns of X.
        teacher_proba : array-like of shape (n_rows, n_teacher_classes), default=None
            The teacher's probabilities for the rows of X, where they are known.
            Those of labeled rows must come from a teacher that did not learn from
            them. Columns follow a fitted teacher's ``classes_``, else the sorted
            labels.
        teacher_proba_unlabeled : array-like of shape (n_unlabeled, \
                n_teacher_classes), default=None
            The same for the rows of ``X_unlabeled``.
        sample_weight_unlabeled : array-like of shape (n_unlabeled,), default=None
            Weights of the rows of ``X_unlabeled``.
        groups : array-like of shape (n_rows,), default=None
            Groups of the rows of X, for ``cv``.
        **params : dict
            ``sample_weight``, array-like of shape (n_rows,): weights of the rows
            of X, in the loss, the accuracy statistics, the calibration, and the
            teacher if it is fitted here and takes them.

        Returns
        -------
        self : object
            The fitted distiller.

        Raises
        ------
        ValueError
            If rows, labels, probabilities or parameters do not fit together; the
            message names which.
        TypeError
            If teacher or student is of a kind that cannot be used.
        """
        self._check_parameters()
        keeps_teacher = arrives_fitted(self.teacher)
        student = self._make_student()
        rows = self._validate_rows(
            X, y, X_unlabeled, take_sample_weight(params), sample_weight_unlabeled
        )
        rng = check_random_state(self.random_state)
        classes = self._find_classes(rows, keeps_teacher)
        codes = encode(rows.labels, classes)
        teacher, labeled_proba, pool_proba = self._soft_labels(
            rows, classes, keeps_teacher, teacher_proba, teacher_proba_unlabeled,
            groups, rng,
        )  # fmt: skip
        accuracy = self._make_accuracy(classes).fit(labeled_proba, codes, rows.weights)
        pool = rows.pool
        pool_weights = rows.pool_weights
        if not len(pool):
            warnings.warn(
                "There are no unlabeled rows: the labeled rows, with the labels of "
                "teachers that did not learn from them, serve as the pool. Pass "
                "X_unlabeled, or rows of X whose label is missing, to learn from more.",
                UserWarning,
                stacklevel=2,
            )
            pool, pool_proba = Rows.of(rows.X_labeled), labeled_proba
            pool_weights = rows.weights
        lesson = self._make_lesson(
            rows, codes, pool, pool_proba, pool_weights, accuracy
        )
        student.set_params(random_state=int(rng.randint(np.iinfo(np.int32).max)))
        student._validate(rows.X, reset=True)
        student._fit_lesson(lesson, classes)
        if self.calibrate:
            proba = temper(pool_proba, accuracy.temperature_)
            fit_temperature(student, pool, proba, pool_weights, rng)

        self.classes_ = classes
        self.teacher_ = teacher
        self.teacher_accuracy_ = accuracy
        self.student_ = student
        self.history_ = student.history_
        self.n_epochs_ = student.n_epochs_
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Return the student's class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_rows, n_features)
            Rows in the form seen at fit.

        Returns
        -------
        proba : ndarray of float32, shape (n_rows, n_classes)
            Columns follow ``classes_``. The network computes in float32, so a row
            alone and in a batch agree to that precision, and so says the dtype.
        """
        check_is_fitted(self, "student_")
        return self.student_.predict_proba(X)

    def predict_log_proba(self, X: Any) -> NDArray[np.float32]:
        """Return the logarithm of the student's class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_rows, n_features)
            Rows in the form seen at fit.

        Returns
        -------
        log_proba : ndarray of float32, shape (n_rows, n_classes)
            Exact where the probability itself would be rounded to 0.
        """
        check_is_fitted(self, "student_")
        return self.student_.predict_log_proba(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the student's most likely class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_rows, n_features)
            Rows in the form seen at fit.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
            In the dtype of ``classes_``.
        """
        check_is_fitted(self, "student_")
        return self.student_.predict(X)

    def score(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the student's accuracy on the rows that have a label.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_rows, n_features)
            Rows in the form seen at fit.
        y : array-like of shape (n_rows,)
            Labels; rows without one are left out.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.

        Returns
        -------
        accuracy : float
            In [0, 1].
        """
        has_label, labels = split_labels(y, self.unlabeled_label)
        predicted = self.predict(X)[has_label]
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight)[has_label]
        return float(accuracy_score(labels, predicted, sample_weight=sample_weight))

    def set_params(self, **params: Any) -> Self:
        """Set parameters; those of a fitted teacher are refused.

        Parameters
        ----------
        **params : dict
            As in scikit-learn, ``teacher__name`` and ``student__name`` included.

        Returns
        -------
        self : object
            The distiller.

        Raises
        ------
        ValueError
            If a parameter of a fitted teacher is named: it is used as it is.
        """
        nested = [name for name in params if name.startswith("teacher__")]
        teacher = params.get("teacher", self.teacher)
        if nested and arrives_fitted(teacher):
            raise ValueError(
                f"Cannot set {nested}: the teacher is fitted and used as it is. Pass "
                "it unfitted (sklearn.base.clone(teacher)) to search over its "
                "parameters."
            )
        nested = [name for name in params if name.startswith("student__")]
        if nested and params.get("student", self.student) is None:
            raise ValueError(
                f"Cannot set {nested}: student is None. Pass "
                "student=sklearn_slam.MLPStudent(), the default student, whose "
                "parameters these are."
            )
        return super().set_params(**params)

    def __sklearn_clone__(self) -> Self:
        copy = super().__sklearn_clone__()
        # A clone is unfitted, and a fitted teacher is what the user has to give.
        if self.teacher is not None and arrives_fitted(self.teacher):
            copy.teacher = self.teacher
        return copy

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = allows_nan(self.student)
        tags.input_tags.sparse = (
            self.teacher is None or get_tags(self.teacher).input_tags.sparse
        )
        return tags

    # What subclasses say.

    def _make_accuracy(self, classes: NDArray[Any]) -> TeacherAccuracy:
        """Return the statistics to fit on held-out rows."""
        return TeacherAccuracy()

    def _loss_and_targets(
        self, pool_proba: NDArray[np.float32], accuracy: TeacherAccuracy
    ) -> tuple[LossFunction, Mapping[str, tuple[float, NDArray[Any]]]]:
        """Return the loss per row and what it takes beside logits and labels.

        Each target is a pair: its value for every labeled row, and an array with
        an entry for each pool row.
        """
        raise NotImplementedError

    def _check_parameters(self) -> None:
        """Raise where a parameter is out of its range."""
        check_training_parameters(self)
        temperature = self.teacher_temperature
        if temperature != "auto" and not is_real(temperature, 0, np.inf):
            raise ValueError(
                "teacher_temperature must be 'auto' or a number of at least 0, got "
                f"{temperature!r}."
            )
        if self.labeled_weight != "auto" and not is_real(self.labeled_weight, 0, 1):
            raise ValueError(
                "labeled_weight must be 'auto' or a number in [0, 1], got "
                f"{self.labeled_weight!r}."
            )
        if not isinstance(self.calibrate, bool | np.bool_):
            raise ValueError(
                f"calibrate must be True or False, got {self.calibrate!r}."
            )

    # The steps of fit.

    def _make_student(self) -> BaseStudent:
        """Return a new student with the training parameters given to this distiller."""
        student = as_student(self.student)
        own = student.get_params(deep=False)
        for name, default in TRAINING_PARAMETERS.items():
            value = getattr(self, name)
            if value == default:
                continue
            if name not in own:
                raise ValueError(
                    f"{name}={value!r} is given beside a skorch student, which has "
                    f"its own; set it on the net and leave {name}={default!r} here."
                )
            if own[name] != default:
                raise ValueError(
                    f"{name} is given twice: {value!r} here and {own[name]!r} on the "
                    "student; set it in one place."
                )
            student.set_params(**{name: value})
        if "verbose" in own and self.verbose:
            student.set_params(verbose=self.verbose)
        return student

    def _validate_rows(
        self,
        X: Any,
        y: Any,
        X_unlabeled: Any,
        sample_weight: Any,
        sample_weight_unlabeled: Any,
    ) -> FitRows:
        """Check tables, labels and weights, and tell labeled rows from the pool."""
        holder = isinstance(X_unlabeled, UnlabeledPool)
        if holder:
            X_unlabeled = X_unlabeled.X
        if isinstance(sample_weight_unlabeled, UnlabeledPool):
            sample_weight_unlabeled = sample_weight_unlabeled.X
        if X_unlabeled is not None:
            if not hasattr(X_unlabeled, "shape"):
                X_unlabeled = np.asarray(X_unlabeled)
            check_pool_matches(X if hasattr(X, "shape") else np.asarray(X), X_unlabeled)
        numeric = not has_preprocessing(self.student)
        allow_nan = allows_nan(self.student)
        X = validate_table(self, X, reset=True, allow_nan=allow_nan, numeric=numeric)
        n_rows = X.shape[0]
        if X_unlabeled is not None:
            X_unlabeled = validate_table(
                self, X_unlabeled, reset=False, allow_nan=allow_nan, numeric=numeric,
                name="X_unlabeled",
            )  # fmt: skip
            if not holder and X_unlabeled.shape[0] == n_rows:
                warnings.warn(
                    f"X_unlabeled has as many rows as X ({n_rows}). If this is a "
                    "cross-validation, it may have been cut: scikit-learn cuts every "
                    "fit argument as long as X. Wrap it in "
                    "sklearn_slam.UnlabeledPool to keep it whole.",
                    UserWarning,
                    stacklevel=3,
                )
        has_label, labels = split_labels(y, self.unlabeled_label, n_rows=n_rows)
        (labeled_at,), (unlabeled_at,) = np.nonzero(has_label), np.nonzero(~has_label)
        if not len(labels):
            raise ValueError(
                "y has no labeled row; some labels are needed to estimate how often "
                "the teacher is right."
            )
        weights = check_weights(sample_weight, n_rows, "sample_weight")
        n_beside = 0 if X_unlabeled is None else X_unlabeled.shape[0]
        beside = check_weights(
            sample_weight_unlabeled, n_beside, "sample_weight_unlabeled"
        )
        pool_weights = None
        if weights is not None or beside is not None:
            ones = np.ones
            weights = ones(n_rows) if weights is None else weights
            beside = ones(n_beside) if beside is None else beside
            pool_weights = np.concatenate([weights[unlabeled_at], beside])
            weights = weights[labeled_at]
        rows = FitRows(
            X=X,
            X_labeled=take_rows(X, labeled_at) if len(unlabeled_at) else X,
            labels=labels,
            labeled_at=labeled_at,
            unlabeled_at=unlabeled_at,
            X_unlabeled=X_unlabeled,
            weights=weights,
            pool_weights=pool_weights,
        )
        if X_unlabeled is not None:
            fixed = np.random.RandomState(0)
            warn_about_pool(
                Rows.of(X).sample(SAMPLE_ROWS, fixed),
                Rows.of(X_unlabeled).sample(SAMPLE_ROWS, fixed),
            )
        return rows

    def _find_classes(self, rows: FitRows, keeps_teacher: bool) -> NDArray[Any]:
        """Return the sorted classes of labels and, if it is fitted, teacher."""
        label_classes, counts = np.unique(rows.labels, return_counts=True)
        warn_about_marks(label_classes, counts, self.unlabeled_label)
        classes = label_classes
        if keeps_teacher:
            classes = union_of_classes(label_classes, self.teacher.classes_)
            unseen = np.setdiff1d(classes, label_classes)
            if len(unseen):
                warnings.warn(
                    f"No labeled row has class {unseen[:10].tolist()}, which the "
                    "teacher knows; how often it is right there is not known.",
                    UserWarning,
                    stacklevel=3,
                )
        if len(classes) < 2:
            raise ValueError(
                f"y holds one class only ({classes[0]!r}); at least two classes are "
                "needed."
            )
        return classes

    def _soft_labels(
        self,
        rows: FitRows,
        classes: NDArray[Any],
        keeps_teacher: bool,
        given: Any,
        given_unlabeled: Any,
        groups: Any,
        rng: np.random.RandomState,
    ) -> tuple[Any, NDArray[np.float32], NDArray[np.float32]]:
        """Return the teacher and its probabilities of labeled and pool rows."""
        memory = check_memory(self.memory)
        n_rows = rows.X.shape[0]
        columns = self.teacher.classes_ if keeps_teacher else classes
        given = align_given(given, n_rows, columns, classes, "teacher_proba")
        if isinstance(given_unlabeled, UnlabeledPool):
            given_unlabeled = given_unlabeled.X
        given_unlabeled = align_given(
            given_unlabeled,
            0 if rows.X_unlabeled is None else rows.X_unlabeled.shape[0],
            columns,
            classes,
            "teacher_proba_unlabeled",
        )
        teacher = self.teacher
        if not keeps_teacher:
            seed = int(rng.randint(np.iinfo(np.int32).max))
            if teacher is None:
                teacher = default_teacher(rows.X, seed)
            elif self.random_state is not None:
                teacher = with_random_state(clone(teacher), seed)

        if given is not None:
            labeled_proba = given[rows.labeled_at]
        elif keeps_teacher:
            labeled_proba = predict_soft_labels(
                teacher, Rows.of(rows.X_labeled), classes, memory=memory, verbose=0
            )
        else:
            if groups is not None:
                groups = np.asarray(groups)[rows.labeled_at]
            folds = make_folds(self.cv, rows.X_labeled, rows.labels, groups, seed)
            labeled_proba = memory.cache(cross_fit, ignore=["n_jobs"])(
                teacher, rows.X_labeled, rows.labels, folds, classes, rows.weights,
                n_jobs=self.n_jobs,
            )  # fmt: skip
        all_given = (given is not None or not len(rows.unlabeled_at)) and (
            given_unlabeled is not None or rows.X_unlabeled is None
        )
        if given is not None and all_given and not keeps_teacher:
            teacher = None
        elif not keeps_teacher:
            teacher = memory.cache(fit_teacher)(
                teacher, rows.X_labeled, rows.labels, rows.weights
            )
        parts = [np.empty((0, len(classes)), dtype=np.float32)]
        if len(rows.unlabeled_at):
            parts.append(
                given[rows.unlabeled_at]
                if given is not None
                else predict_soft_labels(
                    teacher, Rows(((rows.X, rows.unlabeled_at),)), classes,
                    memory=memory, verbose=self.verbose,
                )
            )  # fmt: skip
        if rows.X_unlabeled is not None:
            parts.append(
                given_unlabeled
                if given_unlabeled is not None
                else predict_soft_labels(
                    teacher, Rows.of(rows.X_unlabeled), classes,
                    memory=memory, verbose=self.verbose,
                )
            )  # fmt: skip
        pool_proba = parts[-1] if len(parts) == 2 else np.concatenate(parts)
        if keeps_teacher:
            warn_if_memorized(labeled_proba, pool_proba)
        return teacher, labeled_proba, pool_proba

    def _make_lesson(
        self,
        rows: FitRows,
        codes: NDArray[np.intp],
        pool: Rows,
        pool_proba: NDArray[np.float32],
        pool_weights: NDArray[np.float64] | None,
        accuracy: TeacherAccuracy,
    ) -> Lesson:
        """Put together what the student is to learn."""
        n_labeled = len(codes)
        temperature = self.teacher_temperature
        if temperature == "auto":
            temperature = AUTO_SHARPENING * accuracy.temperature_
        labels = np.empty((n_labeled + len(pool), pool_proba.shape[1]), np.float32)
        labels[:n_labeled] = np.arange(labels.shape[1]) == codes[:, None]
        labels[n_labeled:] = temper(pool_proba, temperature)
        targets = {"labels": torch.from_numpy(labels)}
        loss, extra = self._loss_and_targets(pool_proba, accuracy)
        for name, (of_labeled, of_pool) in extra.items():
            whole = np.empty((len(labels), *of_pool.shape[1:]), of_pool.dtype)
            whole[:n_labeled], whole[n_labeled:] = of_labeled, of_pool
            targets[name] = torch.from_numpy(whole)
        weights = None
        if rows.weights is not None and pool_weights is not None:
            weights = np.concatenate([rows.weights, pool_weights])
        share = self.labeled_weight
        return Lesson(
            labeled=Rows.of(rows.X_labeled),
            pool=pool,
            y=codes,
            loss=loss,
            targets=targets,
            weights=weights,
            labeled_share=AUTO_LABELED_WEIGHT if share == "auto" else float(share),
        )


def fit_temperature(
    student: BaseStudent,
    pool: Rows,
    proba: NDArray[np.float32],
    weights: NDArray[np.float64] | None,
    rng: np.random.RandomState,
) -> None:
    """Set the student's temperature to agree with the calibrated teacher.

    The student learns the clean label and is over-confident by intention. On pool
    rows the calibrated teacher says how sure one can be, and costs no label.

    Parameters
    ----------
    student : fitted student
    pool : Rows
    proba : ndarray of shape (n_pool, n_classes)
        The calibrated teacher's probabilities.
    weights : ndarray of shape (n_pool,) or None
    rng : RandomState
        Draws the rows.
    """
    at = np.arange(len(pool))
    if len(at) > SAMPLE_ROWS:
        at = rng.choice(at, SAMPLE_ROWS, replace=False)
    logits = np.empty((len(at), proba.shape[1]))
    with torch.no_grad():
        for table, places in pool.take(at):
            logits[places] = student._logits(table).numpy()
    of_teacher = (proba[at] * logits).sum(axis=1)
    weights = None if weights is None else weights[at]

    def cross_entropy(log_temperature: float) -> float:
        inverse = np.exp(-log_temperature)
        losses = logsumexp(inverse * logits, axis=1) - inverse * of_teacher
        return float(np.average(losses, weights=weights))

    found = minimize_scalar(cross_entropy, bounds=np.log(TEMPERATURE_BOUNDS))
    student.temperature_ = float(np.exp(found.x))


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


def is_real(value: Any, least: float, most: float) -> bool:
    """Tell whether a value is a number, not a bool, in [least, most]."""
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and least <= value <= most
    )

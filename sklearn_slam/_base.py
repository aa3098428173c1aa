"""The one fit and the one prediction that all distillers share."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.validation import check_is_fitted, check_memory, validate_data

from sklearn_slam._fit_rows import FitRows, validate_fit_rows
from sklearn_slam._knowledge import Knowledge, Objective, make_lesson
from sklearn_slam._labeling import Task, label_with_teacher
from sklearn_slam._module_student import TRAINING_PARAMETERS, check_training_parameters
from sklearn_slam._progress import CallbackSupportMixin, Progress
from sklearn_slam._student import BaseStudent
from sklearn_slam._teacher import arrives_fitted, check_teacher
from sklearn_slam._teacher_accuracy import TeacherAccuracy
from sklearn_slam._validation import (
    check_two_classes,
    check_weights,
    is_real,
    relative_weights,
    split_labels,
    take_sample_weight,
    union_of_classes,
    warn_about_marks,
    warn_about_unshared,
)
from sklearn_slam._warn import warn
from sklearn_slam.students import allows_nan, as_student

AUTO_SHARPENING = 0.7
"""teacher_temperature="auto" is this share of the calibrating temperature."""


class BaseDistiller(CallbackSupportMixin, ClassifierMixin, BaseEstimator):
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

    def __init__(
        self,
        teacher: Any = None,
        student: Any = None,
        *,
        teacher_temperature: float | Literal["auto"] = "auto",
        labeled_weight: float | Literal["auto"] = "auto",
        calibrate: bool = True,
        cv: Any = 5,
        unlabeled_label: Any = None,
        max_epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        lr: float | Literal["auto"] = "auto",
        weight_decay: float | Literal["auto"] = "auto",
        early_stopping: bool | Literal["auto"] = "auto",
        device: str | None = None,
        n_jobs: int | None = None,
        memory: Any = None,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.teacher_temperature = teacher_temperature
        self.labeled_weight = labeled_weight
        self.calibrate = calibrate
        self.cv = cv
        self.unlabeled_label = unlabeled_label
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.device = device
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose
        self.random_state = random_state

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
            labels; those of a frame may be in any order, if they are named so.
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
        sklearn.exceptions.NotFittedError
            If teacher is a frozen estimator that is not fitted.
        FloatingPointError
            If the training loss is no longer finite.
        """
        self._check_parameters()
        keeps_teacher = check_teacher(self.teacher)
        student = self._make_student()
        rows = validate_fit_rows(
            self,
            X,
            y,
            X_unlabeled,
            take_sample_weight(params, self.fit),
            sample_weight_unlabeled,
            groups,
            unlabeled_label=self.unlabeled_label,
            allow_nan=student._allows_nan,
            numeric=student.preprocessor is None,
        )
        with Progress.of_fit(self, rows.X_labeled, rows.labels) as progress:
            rng = check_random_state(self.random_state)
            task = self._make_task(rows, keeps_teacher, groups, rng)
            teacher_accuracy = self._make_accuracy(task.classes)
            self._prepare_student(student, task, rng)
            teacher, *labels = label_with_teacher(
                task,
                self.teacher,
                teacher_proba,
                teacher_proba_unlabeled,
                seeded=self.random_state is not None,
                n_jobs=self.n_jobs,
                progress=progress,
            )
            teacher_accuracy.fit(labels[0], task.codes, rows.weights)
            # Of many classes and rows, labels are large: the teacher's own are let go.
            labels, accuracy, label_weights = self._choose_labels(
                task, labels, teacher_accuracy, progress
            )
            knowledge = self._gather_knowledge(task, teacher, labels, accuracy)
            self._train(student, knowledge, rng, progress)

            self.classes_ = task.classes
            self.teacher_ = teacher
            self.teacher_accuracy_ = teacher_accuracy
            self.label_accuracy_ = accuracy
            self.label_weights_ = label_weights
            self.n_unlabeled_ = len(rows.pool)
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

        Raises
        ------
        ValueError
            If no row has a label.
        """
        predicted = self.predict(X)
        n_rows = len(predicted)
        has_label, labels = split_labels(y, self.unlabeled_label, n_rows=n_rows)
        if not len(labels):
            raise ValueError("y has no label to compare predictions with.")
        weights = check_weights(sample_weight, n_rows, "sample_weight")
        if weights is not None:
            weights = weights[has_label]
        return float(
            accuracy_score(labels, predicted[has_label], sample_weight=weights)
        )

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return parameters, without those of a fitted teacher, which are not set.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return those of an unfitted teacher and of the student, too.

        Returns
        -------
        params : dict
            Values by name.
        """
        params = super().get_params(deep)
        if deep and arrives_fitted(self.teacher):
            params = {
                name: value
                for name, value in params.items()
                if not name.startswith("teacher__")
            }
        return params

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
            If a parameter of a fitted teacher is named (it is used as it is), or one
            of a teacher or student that has none.
        """
        for owner, instead in (
            ("teacher", "an unfitted classifier"),
            ("student", "sklearn_slam.MLPStudent(), which is the default student"),
        ):
            nested = [name for name in params if name.startswith(f"{owner}__")]
            value = params.get(owner, getattr(self, owner))
            if nested and owner == "teacher" and arrives_fitted(value):
                raise ValueError(
                    f"Cannot set {nested}: the teacher is fitted and used as it is. "
                    "Pass it unfitted (sklearn.base.clone(teacher)) to search over "
                    "its parameters."
                )
            if nested and (isinstance(value, type) or not hasattr(value, "set_params")):
                raise ValueError(
                    f"Cannot set {nested}: {owner} is {value!r}, which has no "
                    f"parameters to set. Pass {owner}={instead}, say."
                )
        return super().set_params(**params)

    def __sklearn_clone__(self) -> Self:
        # A clone is unfitted, and a fitted teacher is what the user has to give: it is
        # not cloned on the way either, which some teachers refuse.
        teacher = self.teacher
        if not arrives_fitted(teacher):
            teacher = clone(teacher, safe=False)
        without = copy.copy(self)
        without.teacher = None
        cloned = super(BaseDistiller, without).__sklearn_clone__()
        cloned.teacher = teacher
        return cloned

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = allows_nan(self.student)
        # What is no estimator is refused by fit, which says more.
        is_estimator = hasattr(self.teacher, "__sklearn_tags__")
        if is_estimator and not isinstance(self.teacher, type):
            of_teacher = get_tags(self.teacher).input_tags
            tags.input_tags.sparse = of_teacher.sparse
            tags.input_tags.allow_nan &= of_teacher.allow_nan
        return tags

    # What subclasses say.

    def _make_accuracy(self, classes: NDArray[Any]) -> TeacherAccuracy:
        """Return the statistics to fit on held-out rows."""
        return TeacherAccuracy()

    def _choose_labels(
        self,
        task: Task,
        of_teacher: list[NDArray[np.float32]],
        teacher_accuracy: TeacherAccuracy,
        progress: Progress,
    ) -> tuple[list[NDArray[np.float32]], TeacherAccuracy, dict[str, float]]:
        """Return labels of labeled and pool rows, how often right, and of whom.

        Here they are the teacher's own.
        """
        return of_teacher, teacher_accuracy, {"teacher": 1.0}

    def _make_objective(self, knowledge: Knowledge) -> Objective:
        """Return the loss per row, and its targets beside the labels."""
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
        if not isinstance(self.n_jobs, numbers.Integral | None) or self.n_jobs == 0:
            raise ValueError(
                f"n_jobs must be None or an integer but 0, got {self.n_jobs!r}."
            )
        if isinstance(self.cv, Iterator):
            raise ValueError("cv must be good for more than one fit: pass list(cv).")
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
        student._check_parameters()
        return student

    def _make_task(
        self,
        rows: FitRows,
        keeps_teacher: bool,
        groups: ArrayLike | None,
        rng: np.random.RandomState,
    ) -> Task:
        """Find the classes, and put together what this fit works on."""
        classes = self._find_classes(rows, keeps_teacher)
        return Task(
            rows=rows,
            keeps_teacher=keeps_teacher,
            classes=classes,
            codes=np.searchsorted(classes, rows.labels),
            seed=int(rng.randint(np.iinfo(np.int32).max)),
            cv=self.cv,
            groups=groups,
            memory=check_memory(self.memory),
        )

    def _prepare_student(
        self,
        student: BaseStudent,
        task: Task,
        rng: np.random.RandomState,
    ) -> None:
        """Fit a student's preprocessing, and try its network on some rows.

        What is wrong with either is to be known before a teacher is fitted.
        """
        rows, seed = task.rows, int(rng.randint(np.iinfo(np.int32).max))
        if student.random_state is None:
            student.set_params(random_state=seed)
        # The rows were checked; names and number of features are left to record.
        validate_data(student, rows.X, skip_check_array=True)
        # Tags of Pipelines and other meta-estimators deny missing values that their
        # members take. A teacher that is given some, and does not object, takes them.
        student._takes_nan = student._allows_nan and (
            get_tags(self).input_tags.allow_nan or rows.has_nan
        )
        student._prepare(rows.labeled_rows, rows.pool, task.codes, task.classes)

    def _find_classes(self, rows: FitRows, keeps_teacher: bool) -> NDArray[Any]:
        """Return the sorted classes of labels and, if it is fitted, teacher."""
        label_classes, counts = np.unique(rows.labels, return_counts=True)
        warn_about_marks(label_classes, counts)
        classes = label_classes
        if keeps_teacher:
            classes = union_of_classes(label_classes, self.teacher.classes_)
            warn_about_unshared(label_classes, self.teacher.classes_)
        marked = ""
        if len(rows.unlabeled_at) and self.unlabeled_label is not None:
            marked = f" besides unlabeled_label={self.unlabeled_label!r}"
        check_two_classes(classes, marked)
        return classes

    def _gather_knowledge(
        self,
        task: Task,
        teacher: Any,
        labels: list[NDArray[np.float32]],
        accuracy: TeacherAccuracy,
    ) -> Knowledge:
        """Settle what serves as the pool, and how sharp its labels are."""
        rows, (labeled_proba, pool_proba) = task.rows, labels
        pool, pool_weights = rows.pool, rows.pool_weights
        if not len(pool):
            warn_without_pool(self.unlabeled_label)
        if rows.labels_join:
            pool = pool + rows.labeled_rows
            pool_proba = np.concatenate([pool_proba, labeled_proba])
            if rows.weights is not None and pool_weights is not None:
                # Those of the two parts need not be on one scale.
                parts = pool_weights, rows.weights
                pool_weights = np.concatenate(
                    [relative_weights(part, len(part)) for part in parts if len(part)]
                )
        temperature = self.teacher_temperature
        if temperature == "auto":
            temperature = AUTO_SHARPENING * accuracy.temperature_
        return Knowledge(
            task=task,
            teacher=teacher,
            labeled_proba=labeled_proba,
            pool=pool,
            pool_proba=pool_proba,
            pool_weights=pool_weights,
            accuracy=accuracy,
            temperature=temperature,
        )

    def _train(
        self,
        student: BaseStudent,
        knowledge: Knowledge,
        rng: np.random.RandomState,
        progress: Progress,
    ) -> None:
        """Fit a student to what is known, and calibrate it."""
        lesson = make_lesson(
            knowledge, self._make_objective(knowledge), self.labeled_weight
        )
        student._fit_lesson(lesson, progress)
        if self.calibrate:
            student._fit_temperature(
                knowledge.pool,
                knowledge.pool_proba,
                knowledge.accuracy.temperature_,
                knowledge.pool_weights,
                rng,
            )


def warn_without_pool(unlabeled_label: Any) -> None:
    """Say what serves as the pool where there is none."""
    mark = ""
    if unlabeled_label is not None:
        mark = (
            f" unlabeled_label={unlabeled_label!r} is in no row of y: meta-estimators "
            "that number classes (voting, bagging, stacking) make a class of it."
        )
    warn(
        "There are no unlabeled rows: the labeled rows, with the labels of teachers "
        "that did not learn from them, serve as the pool. Pass X_unlabeled, or rows "
        f"of X whose label is missing, to learn from more.{mark}"
    )

"""The methods that student-label mixing is compared with."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from torch import Tensor

from sklearn_slam._base import BaseDistiller
from sklearn_slam._baseline_losses import (
    forward_corrected,
    negative_learning,
    squared_logit_error,
    taylor_cross_entropy,
    where_taught,
)
from sklearn_slam._docs import document_like
from sklearn_slam._knowledge import Knowledge, Objective
from sklearn_slam._losses import cross_entropy
from sklearn_slam._slam import SLaMDistiller
from sklearn_slam._soft_labels import smoothed, temper
from sklearn_slam._training import seeded
from sklearn_slam._uncertainty import ensemble_spread
from sklearn_slam._validation import check_integer, is_real
from sklearn_slam._warn import warn


@document_like(SLaMDistiller)
class PlainDistiller(BaseDistiller):
    """Plain distillation: the student learns the teacher's labels as they are.

    Parameters
    ----------
    teacher_temperature : {"auto"} or float, default=1.0
        Sharpening of the teacher's labels: 1 leaves them, 0 makes them hard, "auto"
        is 0.7 times the temperature that calibrates the teacher.

    Notes
    -----
    The loss on a pool row is the cross-entropy of the teacher's label and the
    student's prediction: soft labels by default, tempered or hard ones by
    ``teacher_temperature``. ``SLaMDistiller(alpha=1.0, teacher_temperature=1.0)`` is
    the same method.

    References
    ----------
    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015,
    arXiv:1503.02531.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_slam import PlainDistiller
    >>> X, y = make_classification(500, class_sep=2.0, random_state=0)
    >>> model = PlainDistiller(GaussianNB(), random_state=0)
    >>> model = model.fit(X[:100], y[:100], X_unlabeled=X[100:400])
    >>> model.score(X[400:], y[400:]) > 0.8
    True
    """

    def __init__(
        self,
        teacher: Any = None,
        student: Any = None,
        *,
        teacher_temperature: float | Literal["auto"] = 1.0,
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
        super().__init__(
            teacher,
            student,
            teacher_temperature=teacher_temperature,
            labeled_weight=labeled_weight,
            calibrate=calibrate,
            cv=cv,
            unlabeled_label=unlabeled_label,
            max_epochs=max_epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            early_stopping=early_stopping,
            device=device,
            n_jobs=n_jobs,
            memory=memory,
            verbose=verbose,
            random_state=random_state,
        )

    def _make_objective(self, knowledge: Knowledge) -> Objective:
        return Objective(cross_entropy)


@document_like(SLaMDistiller)
class TaylorDistiller(BaseDistiller):
    """Plain distillation by a Taylor series of cross-entropy, bounded on noisy labels.

    Parameters
    ----------
    order : int, default=4
        Number of terms kept, at least 1: 1 is half the mean absolute error, many are
        cross-entropy.
    teacher_temperature : {"auto"} or float, default=1.0
        Sharpening of the teacher's labels: 1 leaves them, 0 makes them hard, "auto"
        is 0.7 times the temperature that calibrates the teacher.

    Notes
    -----
    Labeled rows keep the whole cross-entropy: their labels are not noisy. On soft
    labels the loss is the mean over the teacher's classes.

    References
    ----------
    Feng et al., "Can Cross Entropy Loss Be Robust to Label Noise?", IJCAI 2020.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_slam import TaylorDistiller
    >>> X, y = make_classification(500, class_sep=2.0, random_state=0)
    >>> model = TaylorDistiller(GaussianNB(), random_state=0)
    >>> model = model.fit(X[:100], y[:100], X_unlabeled=X[100:400])
    >>> model.score(X[400:], y[400:]) > 0.8
    True
    """

    def __init__(
        self,
        teacher: Any = None,
        student: Any = None,
        *,
        order: int = 4,
        teacher_temperature: float | Literal["auto"] = 1.0,
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
        super().__init__(
            teacher,
            student,
            teacher_temperature=teacher_temperature,
            labeled_weight=labeled_weight,
            calibrate=calibrate,
            cv=cv,
            unlabeled_label=unlabeled_label,
            max_epochs=max_epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            early_stopping=early_stopping,
            device=device,
            n_jobs=n_jobs,
            memory=memory,
            verbose=verbose,
            random_state=random_state,
        )
        self.order = order

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_integer("order", self.order, 1)

    def _make_objective(self, knowledge: Knowledge) -> Objective:
        loss = where_taught(taylor_cross_entropy, self.order)
        return Objective(loss, knowledge.of_teacher)


@document_like(SLaMDistiller)
class ForwardCorrectionDistiller(BaseDistiller):
    """Forward correction: one confusion matrix of the teacher, for all rows.

    Parameters
    ----------
    teacher_temperature : {"auto"} or float, default=0.0
        Sharpening of the teacher's labels: 1 leaves them, 0 makes them hard, "auto"
        is 0.7 times the temperature that calibrates the teacher.

    Notes
    -----
    The student's prediction is multiplied by the probabilities that the teacher says
    j where i is true, estimated from the teacher's hard labels of rows that it did
    not learn from. Each class counts as many rows more as there are classes, with
    the teacher's mean accuracy, so that rare classes have a row of the matrix too.

    References
    ----------
    Patrini et al., "Making Deep Neural Networks Robust to Label Noise: A Loss
    Correction Approach", CVPR 2017, Theorem 2.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_slam import ForwardCorrectionDistiller
    >>> X, y = make_classification(500, class_sep=2.0, random_state=0)
    >>> model = ForwardCorrectionDistiller(GaussianNB(), random_state=0)
    >>> model = model.fit(X[:100], y[:100], X_unlabeled=X[100:400])
    >>> model.score(X[400:], y[400:]) > 0.8
    True
    """

    def __init__(
        self,
        teacher: Any = None,
        student: Any = None,
        *,
        teacher_temperature: float | Literal["auto"] = 0.0,
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
        super().__init__(
            teacher,
            student,
            teacher_temperature=teacher_temperature,
            labeled_weight=labeled_weight,
            calibrate=calibrate,
            cv=cv,
            unlabeled_label=unlabeled_label,
            max_epochs=max_epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            early_stopping=early_stopping,
            device=device,
            n_jobs=n_jobs,
            memory=memory,
            verbose=verbose,
            random_state=random_state,
        )

    def _make_objective(self, knowledge: Knowledge) -> Objective:
        transition = torch.from_numpy(confusion(knowledge)).float()
        loss = where_taught(forward_corrected, transition)
        return Objective(loss, knowledge.of_teacher)


@document_like(SLaMDistiller)
class SemiparametricDistiller(BaseDistiller):
    """Cross-fitted labels, with a correction by the labels themselves.

    Parameters
    ----------
    correction : float, default=1.0
        Share of the correction that is applied, in [0, 1].
    min_proba : float, default=0.1
        Lower bound, in (0, 1], on the teacher's probability that the correction is
        divided by: a bias that keeps its variance bounded.
    teacher_temperature : {"auto"} or float, default=1.0
        Sharpening of the teacher's labels: 1 leaves them, 0 makes them hard, "auto"
        is 0.7 times the temperature that calibrates the teacher.

    Notes
    -----
    The student's log-probabilities are fitted by squared error to the teacher's. On
    labeled rows, where cross-fitted probabilities p are known beside the label y,
    the target is ``log p + correction * (y - p) / max(p, min_proba)``: to first
    order, the teacher's error has no influence on the mean of their loss.

    Reconstructed from the paper: its own bound on the correction is chosen by
    another rule, and its rows are all labeled.

    References
    ----------
    Dao, Kamath, Syrgkanis, Mackey, "Knowledge Distillation as Semiparametric
    Inference", ICLR 2021, arXiv:2104.09732.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_slam import SemiparametricDistiller
    >>> X, y = make_classification(500, class_sep=2.0, random_state=0)
    >>> model = SemiparametricDistiller(GaussianNB(), random_state=0)
    >>> model = model.fit(X[:100], y[:100], X_unlabeled=X[100:400])
    >>> model.score(X[400:], y[400:]) > 0.8
    True
    """

    def __init__(
        self,
        teacher: Any = None,
        student: Any = None,
        *,
        correction: float = 1.0,
        min_proba: float = 0.1,
        teacher_temperature: float | Literal["auto"] = 1.0,
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
        super().__init__(
            teacher,
            student,
            teacher_temperature=teacher_temperature,
            labeled_weight=labeled_weight,
            calibrate=calibrate,
            cv=cv,
            unlabeled_label=unlabeled_label,
            max_epochs=max_epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            early_stopping=early_stopping,
            device=device,
            n_jobs=n_jobs,
            memory=memory,
            verbose=verbose,
            random_state=random_state,
        )
        self.correction = correction
        self.min_proba = min_proba

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not is_real(self.correction, 0, 1):
            raise ValueError(f"correction must lie in [0, 1], got {self.correction!r}.")
        if not is_real(self.min_proba, 0, 1) or self.min_proba == 0:
            raise ValueError(f"min_proba must lie in (0, 1], got {self.min_proba!r}.")

    def _make_objective(self, knowledge: Knowledge) -> Objective:
        labeled, pool = (
            smoothed(temper(proba, knowledge.temperature))
            for proba in (knowledge.labeled_proba, knowledge.pool_proba)
        )
        y = np.arange(labeled.shape[1]) == knowledge.task.codes[:, None]
        correction = self.correction * (y - labeled) / labeled.clip(self.min_proba)
        of_labeled, of_pool = np.log(labeled) + correction, np.log(pool)
        if knowledge.task.rows.labels_join:
            # Labeled rows end the pool, and are the same there.
            of_pool[-len(of_labeled) :] = of_labeled
        return Objective(_semiparametric_loss, {"wanted": (of_labeled, of_pool)})


@document_like(SLaMDistiller)
class UPSDistiller(BaseDistiller):
    """Uncertainty-aware selection of pseudo-labels, positive and negative ones.

    Parameters
    ----------
    min_confidence : float, default=0.7
        Least probability, in [0, 1], of a class that is taken as a hard label.
    max_uncertainty : float, default=0.05
        Bound on the uncertainty of such a class.
    max_negative : float, default=0.05
        Probability, at temperature 2, below which a class counts as excluded.
    max_negative_uncertainty : float, default=0.005
        Bound on the uncertainty of such a class.
    n_passes : int, default=10
        Dropout passes, of a teacher that has dropout.

    Notes
    -----
    Uncertainty is the standard deviation of a class's probability over the members
    of an ensemble (``estimators_`` of a forest, a vote or bagging), or over dropout
    passes of a student of this package used as a teacher. A teacher that shows
    neither has none, with a warning: confidence alone selects then.

    Pool rows that are not selected teach nothing. Where labeled rows join a small
    pool, an ensemble that is fitted here has learned them, and its members agree there:
    its out-of-fold confidence alone selects among them.

    References
    ----------
    Rizve et al., "In Defense of Pseudo-Labeling: An Uncertainty-Aware Pseudo-label
    Selection Framework for Semi-Supervised Learning", ICLR 2021.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn_slam import UPSDistiller
    >>> X, y = make_classification(500, class_sep=2.0, random_state=0)
    >>> model = UPSDistiller(RandomForestClassifier(), random_state=0)
    >>> model = model.fit(X[:100], y[:100], X_unlabeled=X[100:400])
    >>> model.score(X[400:], y[400:]) > 0.8
    True
    """

    def __init__(
        self,
        teacher: Any = None,
        student: Any = None,
        *,
        min_confidence: float = 0.7,
        max_uncertainty: float = 0.05,
        max_negative: float = 0.05,
        max_negative_uncertainty: float = 0.005,
        n_passes: int = 10,
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
        super().__init__(
            teacher,
            student,
            labeled_weight=labeled_weight,
            calibrate=calibrate,
            cv=cv,
            unlabeled_label=unlabeled_label,
            max_epochs=max_epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            early_stopping=early_stopping,
            device=device,
            n_jobs=n_jobs,
            memory=memory,
            verbose=verbose,
            random_state=random_state,
            teacher_temperature=0.0,
        )
        self.min_confidence = min_confidence
        self.max_uncertainty = max_uncertainty
        self.max_negative = max_negative
        self.max_negative_uncertainty = max_negative_uncertainty
        self.n_passes = n_passes

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in (
            "min_confidence",
            "max_uncertainty",
            "max_negative",
            "max_negative_uncertainty",
        ):
            value = getattr(self, name)
            if not is_real(value, 0, 1):
                raise ValueError(f"{name} must lie in [0, 1], got {value!r}.")
        check_integer("n_passes", self.n_passes, 2)

    def _make_objective(self, knowledge: Knowledge) -> Objective:
        proba = knowledge.pool_proba
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        with seeded(int(seed)):
            spread = ensemble_spread(
                knowledge.teacher, knowledge.pool, knowledge.task.classes, self.n_passes
            )
        if spread is None:
            warn(
                "The teacher shows no uncertainty: it is no ensemble whose members "
                "predict probabilities, and has no dropout. Its confidence alone "
                "selects rows."
            )
            spread = np.zeros_like(proba)
        top = proba.argmax(axis=1)[:, None]
        of_top = np.take_along_axis(spread, top, axis=1)[:, 0]
        chosen = (proba.max(axis=1) >= self.min_confidence) & (
            of_top < self.max_uncertainty
        )
        excluded = (temper(proba, 2.0) < self.max_negative) & (
            spread < self.max_negative_uncertainty
        )
        if not (chosen.any() or excluded.any()):
            warn(
                "No row of the pool is selected: the teacher is nowhere as sure as "
                f"min_confidence={self.min_confidence}, with a spread below "
                f"max_uncertainty={self.max_uncertainty}, and rules out no class "
                "either. The student learns from the labeled rows only; relax these."
            )
        return Objective(
            _selected_loss, {"chosen": (True, chosen), "excluded": (False, excluded)}
        )


def confusion(knowledge: Knowledge) -> NDArray[np.float64]:
    """Return how often the teacher says j (column) where i (row) is true."""
    said = knowledge.labeled_proba.argmax(axis=1)
    n_classes = knowledge.labeled_proba.shape[1]
    weights = knowledge.labeled_weights
    # Never exactly 0 or 1: what was not seen in few rows is not impossible.
    accuracy = (weights[said == knowledge.task.codes].sum() + 1) / (weights.sum() + 2)
    counts = np.full((n_classes, n_classes), (1 - accuracy) / (n_classes - 1))
    np.fill_diagonal(counts, accuracy)
    counts *= n_classes
    np.add.at(counts, (knowledge.task.codes, said), weights)
    return counts / counts.sum(axis=1, keepdims=True)


def _semiparametric_loss(log_f: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
    return squared_logit_error(log_f, wanted)


def _selected_loss(
    log_f: Tensor, labels: Tensor, chosen: Tensor, excluded: Tensor
) -> Tensor:
    """Cross-entropy of selected rows, and what is excluded of all."""
    negative = negative_learning(log_f, excluded)
    return chosen * cross_entropy(log_f, labels) + negative

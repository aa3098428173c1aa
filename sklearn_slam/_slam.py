"""Student-label mixing."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sklearn_slam._base import BaseDistiller
from sklearn_slam._baseline_losses import VariationalDistance
from sklearn_slam._folds import fault_of_folds, that_weigh
from sklearn_slam._knowledge import Knowledge, Objective
from sklearn_slam._labeling import Task
from sklearn_slam._losses import ClosedForm, Differentiated, mixing_gradient
from sklearn_slam._peers import label_with_peers
from sklearn_slam._progress import Progress
from sklearn_slam._repeatable import cached
from sklearn_slam._soft_labels import margins, smoothed, top_k_mask
from sklearn_slam._teacher import weighs_classes
from sklearn_slam._teacher_accuracy import (
    TeacherAccuracy,
    check_sources,
    consistent_mixing,
)
from sklearn_slam._validation import is_real
from sklearn_slam._warn import warn
from sklearn_slam.students import as_student

AUTO_ALPHA_MIN = 0.95
"""Lower bound on an estimated alpha. Lower ones win no accuracy that can be told from
noise on tables, and cost log-loss."""

AUTO_VID_WEIGHT, MAX_VID_CLASSES = 0.1, 100
"""The variational term of vid_weight="auto". Where the student finds the label of a
row unlikely, the mixing loss is nearly flat, on purpose; with many labels, most of
which are right, that slows learning, and this term does not. With more classes its
matrix of classes by classes would cost more than the student."""

LABELED_FOR_PEERS = 50, 20_000
"""Labeled rows with which peers="auto" asks peers. How much they count is read off
these rows, and fewer tell little; of more, they take minutes to learn."""


@ClosedForm
def slam_loss(
    log_f: Tensor, labels: Tensor, alpha: Tensor, other: Tensor, top_k: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mixing loss, the weights of the other classes put together here.

    Parameters
    ----------
    log_f, labels : Tensor of shape (n_rows, n_classes)
    alpha, other : Tensor of shape (n_rows,)
        Weight of ``f_j``, and of ``1 - f_j`` in the top k.
    top_k : Tensor of bool, shape (n_rows, n_classes)
        A bit a class is stored, not a float.
    """
    return mixing_gradient(log_f, labels, alpha, top_k * other.unsqueeze(1))


class SLaMDistiller(BaseDistiller):
    """Distill a teacher into a small network by student-label mixing (SLaM).

    A teacher labels a large pool of unlabeled rows, and is often wrong there. Plain
    distillation teaches the student those mistakes. Student-label mixing estimates
    how often the teacher is right at each row, and mixes the *student's* prediction
    accordingly before it is compared with the teacher's label.

    Parameters
    ----------
    teacher : classifier, default=None
        Any classifier with ``predict_proba``. One that arrives fitted
        (:class:`sklearn.frozen.FrozenEstimator`, or any for which
        ``check_is_fitted`` passes) is used as it is; the labeled rows must then be
        new to it. One that arrives unfitted is cloned, cross-fitted on the labeled
        rows, and fitted on all of them. None is gradient boosting for tables and
        logistic regression for sparse rows.
    student : object, default=None
        What is trained: None or :class:`MLPStudent`, a torch module class or
        factory called as ``student(n_features_in, n_classes)``, a module instance
        (copied), a skorch net, or a :class:`~sklearn.pipeline.Pipeline` that ends
        in one of these.
    alpha : {"isotonic"}, float or callable, default="isotonic"
        Probability that the teacher's top class is right: isotonic regression on
        the teacher's margin, a constant in (0, 1], or a function from margins of
        shape (n_rows,) to probabilities. A given alpha speaks of the teacher's own
        labels: where ``alpha_min``, ``peers`` and ``vid_weight`` are "auto", they are
        then off. 1, with ``teacher_temperature=1``, is plain distillation.
    alpha_min : {"auto"} or float, default="auto"
        Lower bound on alpha, in [0, 1]. "auto" is 0.95 where alpha is estimated, and
        leaves a given alpha as far as mixing allows.
    top_k : {"auto"} or int, default="auto"
        The true class is assumed to be among the teacher's k most likely: a number
        of at least 2, or, row by row, the least that reaches ``top_k_accuracy``.
        With ``normalize=False`` and hard labels it changes nothing.
    top_k_accuracy : float, default=0.9
        Probability in (0, 1] that ``top_k="auto"`` reaches for.
    normalize : bool, default=False
        Whether ``1 - alpha`` is divided by ``k - 1`` in the mixture (definition) or
        not (Remark B.1, the form of the paper's experiments).
    peers : {"auto"} or bool, default="auto"
        Whether models of other kinds (a small network, extra trees, logistic
        regression), fitted on the labeled rows, label the pool beside the teacher. The
        labels are then combined: the normalized product of powers of all
        probabilities, with the exponents that minimize the log-loss of the labeled
        rows, predicted out of fold.
        "auto" asks them where ``alpha`` is "isotonic" (a given alpha speaks of the
        teacher's own labels), 50 to 20,000 rows are labeled, two classes have two rows
        each, ``cv`` tests on every row, and no ``class_weight`` or the like of the
        teacher would be undone by models without. They see what the
        student's preprocessing makes of the rows; none are asked where that learns
        from labels.
    vid_weight : {"auto"} or float, default="auto"
        Weight, at least 0, of a variational term that draws the student's
        log-probabilities towards the labels' (:class:`VIDDistiller`). "auto" is 0.1
        where ``alpha`` is "isotonic" and there are at most 100 classes, else 0.
    teacher_temperature : {"auto"} or float, default="auto"
        Sharpening of the teacher's labels: 1 leaves them, 0 makes them hard.
        "auto" is 0.7 times the temperature that calibrates the teacher.
    labeled_weight : {"auto"} or float, default="auto"
        Share of the loss that labeled rows carry, in [0, 1]; "auto" is their share
        of all rows, within 0.05 and 0.15, and where the pool is the smaller part, a
        third to a half.
    calibrate : bool, default=True
        Whether ``predict_proba`` is calibrated: the student's logits are divided
        by the temperature at which it agrees best with the calibrated teacher on
        the pool. Predicted classes stay the same.
    cv : int, splitter or iterable, default=5
        Folds for out-of-fold predictions of a teacher that arrives unfitted, and of
        its peers. An iterable of (train, test) counts labeled rows only, from 0 on.
    unlabeled_label : object, default=None
        A label that marks unlabeled rows, such as -1, beside missing values.
    max_epochs : int or "auto", default="auto"
        Passes over the pool; "auto" makes about 3,000 steps, from 10 to 200 passes.
    batch_size : int or "auto", default="auto"
        Rows in a batch; "auto" is a sixteenth of the pool, from 32 to 256.
    lr : float or "auto", default="auto"
        Highest learning rate; "auto" is up to 0.005 for :class:`MLPStudent`, and 0.001
        for a module.
    weight_decay : float or "auto", default="auto"
        Weight decay of AdamW; "auto" is 0.01.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out a tenth of the pool and stop when the loss there (without
        the variational term) no longer falls; "auto" means from 500 pool rows on.
    device : str, default=None
        Device of torch, such as "cuda"; None is the CPU.
    n_jobs : int, default=None
        Folds of an unfitted teacher, and trees of a peer, that are fitted at once.
    memory : str, joblib.Memory or None, default=None
        Where the teacher's and the peers' labels, and a teacher fitted here, are kept
        between fits. Needs ``random_state``, without which each fit draws other
        folds. Of a function behind a :class:`CallableTeacher` only the name is known; a
        forest that arrives fitted is another after each loading from a file.
    verbose : int, default=0
        1 shows progress bars over the teacher's folds and labels and over epochs,
        2 prints a line for each epoch. A skorch student that prints its own lines
        has no bar.
    random_state : int, RandomState instance or None, default=None
        Decides folds, initial weights, order of rows, dropout, and the ``random_state``
        of an unfitted teacher, of the student and of its preprocessing where that is
        None.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, of labeled rows and of a fitted teacher, sorted.
    n_features_in_ : int
        Number of features seen at fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has names that are strings.
    teacher_ : classifier or None
        The teacher used; None where all its probabilities were given and it did
        not arrive fitted.
    student_ : classifier
        The fitted student, which predicts without the teacher and can be shipped
        alone: a :class:`MLPStudent`, :class:`TorchStudent` or
        :class:`SkorchStudent`.
    teacher_accuracy_ : TeacherAccuracy
        How often the teacher is right: ``alpha`` and ``top_k`` as functions of its
        margin.
    label_accuracy_ : TeacherAccuracy
        The same of the labels that the student learned: the teacher's, or with
        peers the combined ones, and their margin. Mixing uses these.
    label_weights_ : dict of str to float
        Exponents with which the probabilities of the teacher and of each peer are
        multiplied to the labels learned; ``{"teacher": 1.0}`` without peers.
    n_unlabeled_ : int
        Number of unlabeled rows, of X and of ``X_unlabeled``.
    history_ : list of dict
        What was recorded of each epoch, losses among it;
        ``pandas.DataFrame(slam.history_)`` is a frame of it.
    n_epochs_ : int
        Number of epochs run.

    See Also
    --------
    MLPStudent : The default student.
    SemiSupervisedSplit : Cross-validation with unlabeled rows in X.
    UnlabeledPool : A pool that cross-validation leaves whole.

    Notes
    -----
    With f the student's and y the teacher's probabilities, the loss on a pool row
    is the cross-entropy of y and ``alpha f + (1 - alpha) (1 - f) top(y; k)``,
    divided by ``k - 1`` in the second term if ``normalize``. alpha and k are made
    consistent row by row: below 1 / k (normalized) or 1 / 2 the gradient would turn
    away from the teacher's class. Labels that are right on fewer than half of the
    labeled rows are learned unmixed, with a warning, if ``alpha`` is "isotonic" and
    ``normalize`` False.

    Peers go beyond the paper: y is then a logarithmic opinion pool of the teacher and
    of models that know the labeled rows only. Exponents and accuracies are read off
    labeled rows, each judged by models, and with exponents, that did not learn from it;
    peers of all labeled rows label the pool. The variational term (Ahn et al., 2019) is
    combined with mixing in the paper, too. ``peers=False, vid_weight=0.0`` is mixing
    alone, and ``alpha=1.0, teacher_temperature=1.0`` plain distillation, as in
    :class:`PlainDistiller`.

    A frozen teacher behind a scaler in a Pipeline gets scaled rows. Give the
    preprocessing to the student instead:
    ``student=make_pipeline(StandardScaler(), module)``.

    References
    ----------
    Kontonis, Iliopoulos, Trinh, Baykal, Menghani, Vee, "SLaM: Student-Label Mixing
    for Distillation with Unlabeled Examples", NeurIPS 2023, arXiv:2302.03806.

    Ahn et al., "Variational Information Distillation for Knowledge Transfer", CVPR
    2019.

    Genest, Zidek, "Combining Probability Distributions: A Critique and an Annotated
    Bibliography", Statistical Science 1986 (logarithmic opinion pools).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.ensemble import ExtraTreesClassifier
    >>> from sklearn.utils import shuffle
    >>> from sklearn_slam import SLaMDistiller
    >>> X, y = shuffle(*load_digits(return_X_y=True), random_state=0)
    >>> teacher = ExtraTreesClassifier(random_state=0)
    >>> slam = SLaMDistiller(teacher, max_epochs=50, random_state=0)
    >>> slam.fit(X[:300], y[:300], X_unlabeled=X[300:1500])
    SLaMDistiller(max_epochs=50, random_state=0,
                  teacher=ExtraTreesClassifier(random_state=0))
    >>> slam.score(X[1500:], y[1500:]) > 0.9
    True
    """

    def __init__(
        self,
        teacher: Any = None,
        student: Any = None,
        *,
        alpha: Literal["isotonic"] | float | Callable[[Any], Any] = "isotonic",
        alpha_min: float | Literal["auto"] = "auto",
        top_k: Literal["auto"] | int = "auto",
        top_k_accuracy: float = 0.9,
        normalize: bool = False,
        peers: bool | Literal["auto"] = "auto",
        vid_weight: float | Literal["auto"] = "auto",
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
        self.alpha = alpha
        self.alpha_min = alpha_min
        self.top_k = top_k
        self.top_k_accuracy = top_k_accuracy
        self.normalize = normalize
        self.peers = peers
        self.vid_weight = vid_weight

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_sources(self.alpha, self.top_k, self.top_k_accuracy)
        if self.alpha_min != "auto" and not is_real(self.alpha_min, 0, 1):
            raise ValueError(
                f"alpha_min must be 'auto' or lie in [0, 1], got {self.alpha_min!r}."
            )
        if not isinstance(self.normalize, bool | np.bool_):
            raise ValueError(
                f"normalize must be True or False, got {self.normalize!r}."
            )
        if self.vid_weight != "auto" and not is_real(self.vid_weight, 0, np.inf):
            raise ValueError(
                "vid_weight must be 'auto' or a number of at least 0, got "
                f"{self.vid_weight!r}."
            )
        asks = isinstance(self.peers, str) and self.peers == "auto"
        if not (asks or isinstance(self.peers, bool | np.bool_)):
            raise ValueError(
                f"peers must be 'auto', True or False, got {self.peers!r}."
            )

    def _make_accuracy(self, classes: NDArray[Any]) -> TeacherAccuracy:
        check_sources(self.alpha, self.top_k, self.top_k_accuracy, len(classes))
        return TeacherAccuracy(
            alpha=self.alpha, top_k=self.top_k, top_k_accuracy=self.top_k_accuracy
        )

    def _asks_peers(self, task: Task) -> bool:
        """Tell whether other models label the pool beside the teacher."""
        if self.peers != "auto":
            return bool(self.peers)
        if weighs_classes(self.teacher):
            # Peers do not, and the labels combined would undo it.
            return False
        codes, weights = task.codes, task.rows.weights
        learned = np.ones(len(codes), bool) if weights is None else weights > 0
        *_, second, _ = np.sort(np.bincount(codes[learned], minlength=2))
        few, many = LABELED_FOR_PEERS
        if self.alpha != "isotonic" or second < 2 or not few <= learned.sum() <= many:
            return False
        return fault_of_folds(that_weigh(task.folds, weights), codes) is None

    def _choose_labels(
        self,
        task: Task,
        of_teacher: list[NDArray[np.float32]],
        teacher_accuracy: TeacherAccuracy,
        progress: Progress,
    ) -> tuple[list[NDArray[np.float32]], TeacherAccuracy, dict[str, float]]:
        """Return the teacher's labels, combined with those of its peers."""
        of_all = None
        if self._asks_peers(task):
            of_all = cached(
                task.memory, label_with_peers, ignore=["n_jobs", "progress"]
            )(
                as_student(self.student).preprocessor,
                task.rows,
                task.codes,
                task.classes,
                task.folds,
                *of_teacher,
                device=self.device,
                n_jobs=self.n_jobs,
                random_state=task.seed,
                progress=progress,
            )
            if of_all is None and self.peers != "auto":
                warn(
                    "peers=True is not kept: the student's preprocessing learns from "
                    "labels, so that peers behind it would have seen what they are to "
                    "predict. The teacher alone labels the pool."
                )
        if of_all is None:
            return super()._choose_labels(task, of_teacher, teacher_accuracy, progress)
        *labels, label_weights = of_all
        accuracy = self._make_accuracy(task.classes)
        accuracy.fit(labels[0], task.codes, task.rows.weights)
        return labels, accuracy, label_weights

    def _make_objective(self, knowledge: Knowledge) -> Objective:
        pool_proba = knowledge.pool_proba
        n_classes = pool_proba.shape[1]
        alpha, k = self._mixing_weights(knowledge)
        other = (1.0 - alpha) / (k - 1 if self.normalize else 1)
        loss: Differentiated = slam_loss
        # Unmixed, the other classes weigh nothing, whichever they are.
        mixed = bool(other.any())
        top_k = top_k_mask(pool_proba, k) if mixed else np.ones(pool_proba.shape, bool)
        targets: dict[str, tuple[Any, NDArray[Any]]] = {
            "alpha": (1.0, alpha.astype(np.float32)),
            "other": (0.0, other.astype(np.float32)),
            "top_k": (True, top_k),
        }
        vid_weight = self.vid_weight
        if vid_weight == "auto":
            adds = self.alpha == "isotonic" and n_classes <= MAX_VID_CLASSES
            vid_weight = AUTO_VID_WEIGHT if adds else 0.0
        if vid_weight:
            loss = VariationalDistance(loss, n_classes, float(vid_weight))
            of_labels = (0.0, np.log(smoothed(pool_proba)))
            targets |= {"teacher_log_proba": of_labels, **knowledge.of_teacher}
        return Objective(loss, targets)

    def _mixing_weights(
        self, knowledge: Knowledge
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return alpha and k of pool rows, consistent with each other."""
        accuracy = knowledge.accuracy
        margin = margins(knowledge.pool_proba)
        wanted = accuracy.alpha(margin)
        alpha_min = self.alpha_min
        if alpha_min == "auto":
            alpha_min = AUTO_ALPHA_MIN if self.alpha == "isotonic" else 0.0
        right = np.average(accuracy.hits_, weights=accuracy.sample_weight_)
        if self.alpha == "isotonic" and not self.normalize and right < 0.5:
            # The unnormalized mixture follows the teacher only while alpha > 1/2;
            # raised to alpha_min everywhere, it would say nothing of these labels.
            weighted = "" if accuracy.sample_weight_ is None else " (weighted)"
            warn(
                f"The labels to learn are right on {right:.0%} of the labeled rows"
                f"{weighted}, by models that did not learn from these; mixing without "
                "normalization asks for at least half, so they are learned unmixed "
                "(alpha = 1). normalize=True mixes them all the same. Of two classes, "
                "are columns of probabilities in the order of the classes?"
            )
            wanted = np.ones_like(margin)
        wanted_k = accuracy.top_k(margin)
        alpha, k = consistent_mixing(
            wanted,
            wanted_k,
            n_classes=accuracy.n_classes_,
            alpha_min=alpha_min,
            normalize=self.normalize,
        )
        if self.alpha != "isotonic" and (raised := alpha > wanted).any():
            given = self.alpha if isinstance(self.alpha, numbers.Real) else "function"
            warn(
                f"alpha={given} is raised to {alpha[raised].max():.3g} on "
                f"{raised.mean():.0%} of the pool: alpha_min is {self.alpha_min!r}, "
                "and mixing needs alpha above "
                f"{'1 / k' if self.normalize else '1 / 2'}."
            )
        if self.top_k != "auto" and (k > wanted_k).any():
            warn(
                f"top_k={self.top_k} is raised to {k.max()} where alpha is low: with "
                "normalize=True mixing needs alpha above 1 / k."
            )
        return alpha, k

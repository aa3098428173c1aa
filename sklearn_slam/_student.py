"""What all students share: preprocessing, training, prediction."""

from __future__ import annotations

import copy
import itertools
from functools import partial
from typing import Any, Literal, Self

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from torch import Tensor, nn

from sklearn_slam._lesson import Lesson, Split
from sklearn_slam._progress import EpochProgress, Progress
from sklearn_slam._repeatable import with_random_state
from sklearn_slam._rows import (
    Rows,
    columns,
    is_frame,
    is_memory_mapped,
    is_temporal,
    own_copy,
)
from sklearn_slam._soft_labels import TEMPERATURE_BOUNDS, temper
from sklearn_slam._tables import validate_table
from sklearn_slam._training import (
    PREDICT_ROWS,
    BatchSource,
    CheckLoss,
    DenseRows,
    LazyRows,
    RowLoss,
    TrainingSet,
    dense,
    in_memory,
    seeded,
    sensible_threads,
)
from sklearn_slam._validation import (
    check_two_classes,
    check_weights,
    split_labels,
    take_sample_weight,
)
from sklearn_slam._warn import warn

TRIED_ROWS = 64
"""Rows at most that a network is tried on before it is trained."""

OF_MISSING_LABELS = TypeError, ValueError, AttributeError
"""What preprocessing that learns from labels raises without them."""

FIT_ROWS = 50_000
"""Rows at most that preprocessing takes its statistics from."""

LAZY_BYTES = 2**26
"""Bytes of a memory-mapped table beyond which it is read a batch at a time. joblib maps
what it hands to workers from a megabyte on; preprocessing that once is faster."""

TEMPERATURE_ROWS = 5_000
"""Pool rows at most on which the temperature is fitted."""


class BaseStudent(ClassifierMixin, BaseEstimator):
    """What all students share: preprocessing, training, prediction.

    Subclasses say how a table becomes the network's input (``_fit_encoding``,
    ``_encode``), which net learns (``_make_net``), what it is given for training
    (``_prepare_net``) and rid of after (``_release_net``), and what its output means
    (``_to_logits``).
    """

    # Taken from **params, where scikit-learn does not find it by itself.
    __metadata_request__fit = {"sample_weight": None}  # noqa: RUF012

    preprocessor: Any
    early_stopping: bool | Literal["auto"]
    random_state: Any

    def fit(self, X: Any, y: ArrayLike, **params: Any) -> Self:
        """Train on labels alone, without a teacher.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_rows, n_features)
            Rows.
        y : array-like of shape (n_rows,)
            A label for each row.
        **params : dict
            ``sample_weight``, array-like of shape (n_rows,): weights of the rows.

        Returns
        -------
        self : object
            The fitted student.

        Raises
        ------
        ValueError
            If a parameter is out of its range, a label is missing, y has one class, or
            rows, labels and weights do not fit together.
        TypeError
            If module, net or preprocessor is of a kind that cannot be used.
        FloatingPointError
            If the training loss is no longer finite.
        """
        self._check_parameters()
        self._takes_nan = None
        sample_weight = take_sample_weight(params, self.fit)
        X = self._validate(X, reset=True)
        has_label, labels = split_labels(y, n_rows=X.shape[0])
        if not has_label.all():
            raise ValueError(
                f"y misses {np.sum(~has_label)} labels (NaN or None). A student alone "
                "learns from labeled rows; SLaMDistiller takes the others too."
            )
        classes = np.unique(labels)
        check_two_classes(classes)
        weights = check_weights(sample_weight, X.shape[0], "sample_weight")
        lesson = Lesson.of_labels(
            Rows.of(X), np.searchsorted(classes, labels), len(classes), weights
        )
        self._prepare(lesson.labeled, lesson.pool, lesson.y, classes)
        return self._fit_lesson(lesson, Progress())

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Return class probabilities.

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
        return torch.softmax(self._calibrated_logits(X), dim=1).numpy()

    def predict_log_proba(self, X: Any) -> NDArray[np.float32]:
        """Return the logarithm of class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_rows, n_features)
            Rows in the form seen at fit.

        Returns
        -------
        log_proba : ndarray of float32, shape (n_rows, n_classes)
            Exact where the probability itself would be rounded to 0.
        """
        return torch.log_softmax(self._calibrated_logits(X), dim=1).numpy()

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most likely class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame} of shape (n_rows, n_features)
            Rows in the form seen at fit.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
            In the dtype of ``classes_``.
        """
        top = self._calibrated_logits(X).argmax(dim=1)
        return self.classes_[top.numpy()]

    @property
    def module_(self) -> nn.Module:
        """The trained network; returns logits of encoded rows."""
        return self.net_.module_

    @property
    def _dropout(self) -> list[nn.Dropout]:
        """The trained network's dropout layers that drop anything."""
        layers = self.module_.modules()
        return [layer for layer in layers if isinstance(layer, nn.Dropout) and layer.p]

    def _predict_with_dropout(self, X: Any) -> NDArray[np.float32]:
        """Return class probabilities of one pass with dropout."""
        layers = self._dropout
        for layer in layers:
            layer.train()
        try:
            return self.predict_proba(X)
        finally:
            for layer in layers:
                layer.eval()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._allows_nan
        return tags

    # What subclasses say.

    def _check_parameters(self) -> None:
        """Raise where a parameter is out of its range."""
        preprocessor = self.preprocessor
        if preprocessor is not None and not (
            hasattr(preprocessor, "fit") and hasattr(preprocessor, "transform")
        ):
            raise TypeError(
                f"preprocessor must be a transformer or None, got {preprocessor!r}."
            )

    def _fit_encoding(self, table: Any) -> None:
        """Take the encoding's statistics from some raw rows, where it has any."""

    # What float32 does not hold is refused: numpy need not announce it.
    @np.errstate(over="ignore", invalid="ignore")
    def _encode(self, table: Any) -> Any:
        """Return a table as float32, dense or CSR; here one of numbers as it is."""
        try:
            if sp.issparse(table):
                encoded = table.tocsr().astype(np.float32)
            else:
                of_frame = columns(table) if is_frame(table) else []
                table = table.to_numpy() if of_frame else np.asarray(table)
                if table.dtype.kind in "mM" or any(map(is_temporal, of_frame)):
                    raise TypeError("dates or times")
                # A copy, since a module may work in place.
                encoded = np.array(table, dtype=np.float32, order="C")
        except (TypeError, ValueError) as error:
            raise ValueError(
                "A torch or skorch student takes numbers only, but X holds other "
                f"values ({error}). Put its preprocessing in front: "
                "student=make_pipeline(preprocessing, student)."
            ) from error
        preprocessed = self.preprocessor is not None
        assert_all_finite(
            encoded,
            estimator_name=type(self).__name__,
            input_name="X after preprocessing" if preprocessed else "X",
        )
        return encoded

    def _make_net(self, source: BatchSource, split: Split) -> NeuralNet:
        """Return a net with its training parameters, not initialized."""
        raise NotImplementedError

    def _prepare_net(
        self, net: NeuralNet, criterion: RowLoss, held_out: TrainingSet | None
    ) -> None:
        """Put our loss, batches and held-out rows into the net."""
        raise NotImplementedError

    def _release_net(self, net: NeuralNet) -> None:
        """Take out of the trained net what served training only."""
        raise NotImplementedError

    def _to_logits(self, output: Any) -> Tensor:
        """Return the net's output as logits of shape (n_rows, n_classes)."""
        raise NotImplementedError

    _takes_nan: bool | None = None
    """Set by a distiller: whether arrays to predict may miss values. None leaves it to
    the preprocessing, as frames do."""

    _returns_proba = False
    """Whether the module returns probabilities in the place of logits."""

    _n_outputs: int
    """Numbers that the module returns for a row, as found when it was tried."""

    @property
    def _allows_nan(self) -> bool:
        """Whether missing values may reach the preprocessing."""
        return self.preprocessor is not None

    # Rows.

    def _validate(self, X: Any, *, reset: bool) -> Any:
        """Check a table's width, names and entries."""
        allow_nan = self._allows_nan
        if self._takes_nan is not None and not (reset or is_frame(X)):
            allow_nan = self._takes_nan
        try:
            return validate_table(
                self,
                X,
                reset=reset,
                allow_nan=allow_nan,
                numeric=self.preprocessor is None,
            )
        except ValueError as error:
            if self._takes_nan is False and not reset and "NaN" in str(error):
                error.add_note(
                    "No row of fit missed a value, or the teacher takes none; fit with "
                    "some that miss, or pass a frame, whose missing values are filled."
                )
            if not reset and "could not convert" in str(error):
                error.add_note("Where fit was given a frame, pass one here, too.")
            raise

    def _prepare(
        self, labeled: Rows, pool: Rows, y: NDArray[np.intp], classes: NDArray[Any]
    ) -> None:
        """Fit the preprocessing, and try the network on some rows."""
        self._fit_preprocessing(labeled, pool, y, classes)
        self._try_network(labeled)

    def _fit_preprocessing(
        self, labeled: Rows, pool: Rows, y: NDArray[np.intp], classes: NDArray[Any]
    ) -> None:
        """Take over the classes; fit preprocessor and encoding, on all rows alike."""
        self.classes_ = classes
        self._n_outputs = len(classes)
        self.temperature_ = 1.0
        rng = check_random_state(self.random_state)
        some = (labeled + pool).sample(FIT_ROWS, rng)
        self._preprocessed_by_labels = False
        self.__dict__.pop("preprocessor_", None)  # of an earlier fit
        if self.preprocessor is not None:
            seed = int(rng.randint(np.iinfo(np.int32).max))
            preprocessor = with_random_state(clone(self.preprocessor), seed)
            try:
                self.preprocessor_ = clone(preprocessor).fit(some)
            except OF_MISSING_LABELS:
                # No tag tells all steps that want labels (a selection by tests has
                # none). One that fits the labeled rows alone failed at the pool.
                table = labeled.sample(len(labeled), rng)
                try:
                    clone(preprocessor).fit(table)
                except OF_MISSING_LABELS:
                    self.preprocessor_ = clone(preprocessor).fit(table, classes[y])
                    self._preprocessed_by_labels = True
                else:
                    raise
        self._fit_encoding(some)

    def _preprocess(self, table: Any) -> Any:
        if self.preprocessor is None:
            return table
        return self.preprocessor_.transform(own_copy(table))

    def _read(self, table: Any) -> Any:
        """Return a raw table as the network sees it, float32, dense or CSR."""
        return self._encode(self._preprocess(table))

    def _encode_rows(self, rows: Rows) -> BatchSource:
        """Encode rows once, or a batch at a time where they lie in a mapped file."""
        if any(is_memory_mapped(X) and X.nbytes > LAZY_BYTES for X, _ in rows.parts):
            return LazyRows(rows, self._read)
        chunks = ((self._read(table), place) for table, place in rows.chunks())
        first, first_place = next(chunks)
        if sp.issparse(first):
            others = [chunk for chunk, _ in chunks]
            return in_memory(sp.vstack([first, *others], format="csr"))
        encoded = torch.empty(len(rows), first.shape[1], dtype=torch.float32)
        for chunk, place in itertools.chain([(first, first_place)], chunks):
            encoded[place] = torch.from_numpy(chunk)
        return DenseRows(encoded)

    def _calibrated_logits(self, X: Any) -> Tensor:
        """Return the logits of a table, divided by the temperature."""
        check_is_fitted(self, "net_")
        X = self._validate(X, reset=False)
        with torch.no_grad():
            chunks = Rows.of(X).chunks(PREDICT_ROWS)
            logits = [self._logits(table) for table, _ in chunks]
            return torch.cat(logits) / self.temperature_

    def _logits(self, table: Any) -> Tensor:
        encoded = torch.from_numpy(dense(self._read(table)))
        return self._to_logits(self.net_.infer(encoded)).cpu()

    # Training.

    def _try_network(self, labeled: Rows) -> None:
        """Raise where the network does not take encoded rows as it should."""
        table, _ = next(labeled.chunks(TRIED_ROWS))
        encoded = dense(self._read(table))
        if encoded.ndim != 2 or not encoded.shape[1]:
            raise ValueError(
                f"Encoded rows have shape {encoded.shape}; the student takes tables, "
                "with at least one column."
            )
        source = in_memory(encoded)
        none = torch.empty(0, dtype=torch.int64)
        split = Split(torch.arange(len(source)), none, none, none, None)
        with seeded(0):
            net = self._make_net(source, split)
            net.callbacks = "disable"  # a user's callbacks are for training only
            try:
                net.initialize()
            except (TypeError, ValueError) as error:
                error.add_note(
                    "The student's network could not be built. Its module needs all "
                    "its arguments (module__... of a skorch net), and parameters to "
                    "train."
                )
                raise
            self._check_output(net, source.X)

    def _fit_lesson(self, lesson: Lesson, progress: Progress) -> Self:
        """Train a student whose preprocessing is fitted on what it is to learn."""
        rng = check_random_state(self.random_state)
        source = self._encode_rows(lesson.labeled + lesson.pool)
        self._learn(source, lesson, rng, progress)
        if self._interrupted:
            warn(
                f"Training was interrupted in epoch {self.n_epochs_ + 1} of "
                f"{self.net_.max_epochs}; the student keeps what it has learned so "
                "far."
            )
        return self

    def _learn(
        self,
        source: BatchSource,
        lesson: Lesson,
        rng: np.random.RandomState,
        progress: Progress,
    ) -> TrainingSet:
        """Train a new network on encoded rows; return the rows it was trained on."""
        split = Split.of(lesson, self.early_stopping, rng)
        seed = int(rng.randint(np.iinfo(np.int32).max))
        with seeded(seed) as generator:
            net = self._make_net(source, split)
            criterion = RowLoss(lesson.loss, self._to_logits)
            rows = partial(
                TrainingSet,
                source=source,
                targets=lesson.targets,
                weights=split.weights,
                labeled_share=lesson.labeled_share,
                criterion=criterion,
                generator=generator,
            )
            held_out = rows(labeled=split.held_labeled, pool=split.held_pool)
            self._prepare_net(net, criterion, held_out if len(held_out) else None)
            net.initialize()
            training = rows(labeled=split.labeled, pool=split.pool)
            if lesson.refresh is not None:
                logits = partial(training.logits_at, net)
                training.before_epoch = partial(lesson.refresh, logits, lesson.targets)
            self._train(net, training, progress)
        # An epoch that was interrupted has not recorded all that others have.
        self.n_epochs_ = len(net.history) - self._interrupted
        self.history_ = [
            {name: value for name, value in epoch.items() if name != "batches"}
            for epoch in net.history[: self.n_epochs_]
        ]
        net.module_.eval()
        self._release_net(net)
        self.net_ = net
        return training

    def _check_output(self, net: NeuralNet, batch: Tensor) -> None:
        """Raise unless the module returns a number per row and class (or one logit)."""
        net.module_.eval()
        try:
            with torch.no_grad():
                output = net.infer(batch)
        except (RuntimeError, TypeError, IndexError) as error:
            raise ValueError(
                "The student's module fails on encoded rows, a float32 tensor of shape "
                f"{tuple(batch.shape)}: {error}"
            ) from error
        if not isinstance(output, Tensor):
            raise TypeError(
                f"The student's module returned {type(output).__name__}; it must "
                "return one tensor of logits."
            )
        if output.ndim < 2:
            output = output.reshape(-1, 1)
        n_rows, n_classes = len(batch), len(self.classes_)
        # The complement of one probability would have to be made up here.
        one_serves = n_classes == 2 and not self._returns_proba
        widths = (n_classes, 1) if one_serves else (n_classes,)
        if output.ndim != 2 or len(output) != n_rows or output.shape[1] not in widths:
            raise ValueError(
                f"The student's module returned shape {tuple(output.shape)} for "
                f"{n_rows} rows; ({n_rows}, {n_classes}) is expected, one number for "
                "each class (or one logit, for two classes). A module class or factory "
                "is called as student(n_features_in, n_classes)."
            )
        if not any(weight.requires_grad for weight in net.module_.parameters()):
            raise ValueError(
                "The student's module has no parameter that can be trained: "
                "requires_grad is False for all, or there is none."
            )
        self._n_outputs = output.shape[1]
        sums = output.sum(dim=1)
        *_, last = net.module_.modules()
        sums_to_one = torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
        # A sigmoid says no 0, as a last layer that begins with zeros does.
        by_sigmoid = isinstance(last, nn.Sigmoid) and bool((output > 0).all())
        is_proba = bool(((output >= 0) & (output < 1 + 1e-4)).all()) and (
            by_sigmoid or (output.shape[1] > 1 and sums_to_one)
        )
        if is_proba and not self._returns_proba:
            raise ValueError(
                "The student's module returns probabilities; logits are expected. "
                "Leave out its softmax or sigmoid, or pass a skorch net with "
                "criterion=torch.nn.NLLLoss."
            )
        if self._returns_proba and not is_proba:
            raise ValueError(
                "The skorch student has criterion NLLLoss, which means that its module "
                "returns probabilities, but it does not. Add a softmax, or use "
                "criterion=torch.nn.CrossEntropyLoss with logits."
            )

    def _train(self, net: NeuralNet, training: TrainingSet, progress: Progress) -> None:
        """Train an initialized net, and tell of each epoch."""
        # A net that prints an epoch's line itself needs no bar.
        verbose = 0 if net.verbose else getattr(self, "verbose", progress.verbose)
        with progress.part(
            "train student", "epoch", net.max_epochs, verbose=verbose
        ) as part:
            epochs = EpochProgress(part, self._fitted_with)
            ours = [("epoch_progress", epochs), ("check_loss", CheckLoss())]
            defaults = dict(net.get_default_callbacks()).keys() - {"print_log"}
            # After what records an epoch, before what may end training.
            place = sum(name in defaults for name, _ in net.callbacks_)
            net.callbacks_[place:place] = ours
            n_rows = len(training.labeled) + len(training.pool)
            batch_size = net.batch_size if net.batch_size > 0 else n_rows
            with sensible_threads(net.module_, batch_size):
                net.partial_fit(training, None)
            # One knows the rows, and a net is pickled with its callbacks.
            del net.callbacks_[place : place + len(ours)]
        self._interrupted = epochs.within

    def _fitted_with(self, net: NeuralNet) -> dict[str, Any]:
        """Return the fitted attributes of a distiller whose student is in training."""
        student = copy.copy(self)
        student.net_ = net
        net.module_.eval()
        return {"classes_": self.classes_, "student_": student}

    def _fit_temperature(
        self,
        pool: Rows,
        proba: NDArray[np.float32],
        calibrating: float,
        weights: NDArray[np.float64] | None,
        rng: np.random.RandomState,
    ) -> None:
        """Set the temperature at which the student agrees best with a teacher.

        The student learns the clean label and is over-confident by intention. On
        pool rows the teacher, whose probabilities ``proba`` the temperature
        ``calibrating`` makes right, says how sure one can be, and costs no label. A
        teacher that is too sure itself, as one that says 0 and 1 only, is no reason
        to sharpen the student.
        """
        at = np.arange(len(pool)) if weights is None else np.flatnonzero(weights)
        if len(at) > TEMPERATURE_ROWS:
            at = rng.choice(at, TEMPERATURE_ROWS, replace=False)
        logits = np.empty((len(at), proba.shape[1]))
        with torch.no_grad():
            for table, places in pool.take(at):
                for some, within in Rows.of(table).chunks(PREDICT_ROWS):
                    logits[places[within]] = self._logits(some).numpy()
        of_teacher = (temper(proba[at], calibrating) * logits).sum(axis=1)
        weights = None if weights is None else weights[at]

        def cross_entropy(log_temperature: float) -> float:
            inverse = np.exp(-log_temperature)
            losses = logsumexp(inverse * logits, axis=1) - inverse * of_teacher
            return float(np.average(losses, weights=weights))

        bounds = np.log([min(1.0, calibrating), TEMPERATURE_BOUNDS[1]])
        found = minimize_scalar(cross_entropy, bounds=bounds)
        self.temperature_ = float(np.exp(found.x))

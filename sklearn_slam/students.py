"""Students: small networks that learn from a teacher, or from labels alone."""

from __future__ import annotations

import copy
import inspect
import math
import numbers
import sys
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import assert_all_finite
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, PrintLog
from skorch.helper import predefined_split
from torch import Tensor, nn

from sklearn_slam._encoding import TableEncoder
from sklearn_slam._modules import TabularMLP
from sklearn_slam._student import BaseStudent, Split
from sklearn_slam._training import (
    BatchSource,
    HeldOutError,
    RowLoss,
    StopOnNonFiniteLoss,
    StudentNet,
    TensorBatches,
    TrainingSet,
)
from sklearn_slam._validation import check_integer, is_real
from sklearn_slam._warn import warn

__all__ = ["MLPStudent", "SkorchStudent", "TorchStudent"]

TRAINING_PARAMETERS = {
    "max_epochs": "auto",
    "batch_size": "auto",
    "lr": "auto",
    "weight_decay": "auto",
    "early_stopping": "auto",
    "device": None,
}
"""Training parameters and their defaults, of students and of distillers alike."""

AUTO_STEPS = 3_000
AUTO_EPOCHS = 10, 200
AUTO_BATCH_SIZES = 32, 256
AUTO_LR = 1e-3
AUTO_LR_OF_MLP = 5e-3
"""With the largest batches of "auto". Gradients of smaller ones are noisier, and suit a
learning rate smaller by the root of the size."""
AUTO_WEIGHT_DECAY = 1e-2
PATIENCE = 0.2
"""Share of ``max_epochs`` without progress after which training stops."""


def check_training_parameters(estimator: Any) -> None:
    """Raise where a training parameter of a student or a distiller is not usable."""
    bounds = {"max_epochs": 1, "batch_size": 1, "lr": 0, "weight_decay": 0}
    for name, least in bounds.items():
        value = getattr(estimator, name)
        if value == "auto" and isinstance(value, str):
            continue
        counts = least == 1
        if not is_real(value, least, sys.float_info.max) or (
            counts and not isinstance(value, numbers.Integral)
        ):
            what = "an integer" if counts else "a finite number"
            raise ValueError(
                f"{name} must be 'auto' or {what} of at least {least}, got {value!r}."
            )
    if not isinstance(estimator.verbose, numbers.Integral):
        raise ValueError(f"verbose must be an integer, got {estimator.verbose!r}.")
    if estimator.early_stopping not in ("auto", True, False):
        raise ValueError(
            "early_stopping must be 'auto', True or False, got "
            f"{estimator.early_stopping!r}."
        )
    if estimator.device is not None:
        try:
            torch.empty(0, device=estimator.device)
        except (RuntimeError, AssertionError, TypeError) as error:
            raise ValueError(
                f"device={estimator.device!r} is not available here ({error}). Use "
                "device='cpu', or install a build of torch for that device."
            ) from error


class ModuleStudent(BaseStudent):
    """A student whose network we train: training parameters and what they mean."""

    max_epochs: int | Literal["auto"]
    batch_size: int | Literal["auto"]
    lr: float | Literal["auto"]
    weight_decay: float | Literal["auto"]
    device: str | None
    verbose: int

    def _find_lr(self, batch_size: int) -> float:
        """Return the learning rate of lr="auto"."""
        return AUTO_LR

    def _make_module(self, source: BatchSource) -> nn.Module:
        """Return the module, its weights drawn from torch's random state."""
        raise NotImplementedError

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_training_parameters(self)

    def _make_net(self, source: BatchSource, split: Split) -> NeuralNet:
        device = "cpu" if self.device is None else str(self.device)
        n_rows = max(len(split.labeled), len(split.pool))
        batch_size = self.batch_size
        if batch_size == "auto":
            power = 2 ** round(math.log2(max(1, n_rows / 16)))
            batch_size = int(np.clip(power, *AUTO_BATCH_SIZES))
        max_epochs = self.max_epochs
        if max_epochs == "auto":
            epochs = math.ceil(AUTO_STEPS * batch_size / n_rows)
            max_epochs = int(np.clip(epochs, *AUTO_EPOCHS))
        decay = AUTO_WEIGHT_DECAY if self.weight_decay == "auto" else self.weight_decay
        return StudentNet(
            self._make_module(source),
            optimizer=torch.optim.AdamW,
            lr=self._find_lr(batch_size) if self.lr == "auto" else self.lr,
            optimizer__weight_decay=decay,
            # One kernel a step instead of one for each operation and parameter.
            optimizer__fused=device.startswith(("cpu", "cuda")),
            batch_size=batch_size,
            max_epochs=max_epochs,
            device=device,
            verbose=max(0, int(self.verbose) - 1),
        )

    def _prepare_net(
        self, net: NeuralNet, criterion: RowLoss, held_out: TrainingSet | None
    ) -> None:
        callbacks: list[Callback] = [StopOnNonFiniteLoss()]
        if held_out is not None:
            watched = "valid_loss"
            if len(held_out.labeled):
                watched = "valid_score"
                callbacks.append(HeldOutError(held_out))
            patience = max(3, math.ceil(PATIENCE * net.max_epochs))
            callbacks.append(EarlyStopping(watched, patience=patience, load_best=True))
        if net.verbose:
            callbacks.insert(-1, PrintLog())
        _install(net, criterion, held_out, callbacks)

    def _release_net(self, net: NeuralNet) -> None:
        net.trim_for_prediction()

    def _to_logits(self, output: Any) -> Tensor:
        return two_logits(output)


class MLPStudent(ModuleStudent):
    """The default student: a multilayer perceptron for tables.

    Its preprocessing is its own: numbers are centred, scaled robustly, softly clipped
    and binned, missing ones become the median beside an indicator; categories get a
    learned vector each; sparse rows are scaled and densified a batch at a time.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(256, 256)
        Width of each hidden layer.
    dropout : float, default=0.0
        Share of hidden units dropped in training, in [0, 1).
    n_bins : int, default=8
        Bins of each number, between its quantiles: the network also sees its place in
        each, and can treat ranges of a number apart. Wide tables have fewer (1,024 in
        all), sparse rows none; less than 2 leaves numbers as they are.
    preprocessor : transformer, default=None
        Applied to X first; a clone is fitted on labeled and pool rows, without
        labels unless a step requires them.
    max_epochs : int or "auto", default="auto"
        Passes over the pool; "auto" makes about 3,000 steps, from 10 to 200 passes.
    batch_size : int or "auto", default="auto"
        Rows in a batch; "auto" is a sixteenth of the pool, from 32 to 256.
    lr : float or "auto", default="auto"
        Highest learning rate of AdamW (it rises over the first 3 % of steps, then
        falls to 0 along half a cosine); "auto" is 0.005 for batches of 256 and more,
        less by the root of the size for smaller ones.
    weight_decay : float or "auto", default="auto"
        Weight decay of AdamW; "auto" is 0.01.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out a tenth of the pool (5,000 rows at most), to stop when
        the loss there no longer falls, and to restore the best weights. With 2,000
        labeled rows or more a tenth of them is held out too, and their error rate
        is added. "auto" means from 500 pool rows on. Without a pool nothing is
        held out.
    device : str, default=None
        Device of torch, such as "cuda"; None is the CPU.
    verbose : int, default=0
        1 shows a progress bar over epochs, 2 prints a line for each.
    random_state : int, RandomState instance or None, default=None
        Decides initial weights, order of rows and dropout.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    n_features_in_ : int
        Number of features seen at fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has names that are strings.
    module_ : nn.Module
        The trained network; takes encoded rows, returns logits.
    net_ : skorch.NeuralNet
        The net around it, without what served training only.
    encoder_ : TableEncoder
        The fitted preprocessing.
    temperature_ : float
        Logits are divided by it before the softmax.
    history_ : list of dict
        Losses and seconds of each epoch.
    n_epochs_ : int
        Number of epochs run.

    See Also
    --------
    TorchStudent : A network of one's own.
    SkorchStudent : A skorch net with its own training.

    Notes
    -----
    Training uses as many of torch's threads as one step can feed, usually one,
    and restores their number: small networks lose heavily with many threads.

    References
    ----------
    Gorishniy, Rubachev, Babenko, "On Embeddings for Numerical Features in Tabular Deep
    Learning", NeurIPS 2022 (piecewise-linear encoding by bins).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_slam import MLPStudent
    >>> X, y = load_iris(return_X_y=True)
    >>> MLPStudent(random_state=0).fit(X, y).score(X, y) > 0.95
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (256, 256),
        *,
        dropout: float = 0.0,
        n_bins: int = 8,
        preprocessor: Any = None,
        max_epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        lr: float | Literal["auto"] = "auto",
        weight_decay: float | Literal["auto"] = "auto",
        early_stopping: bool | Literal["auto"] = "auto",
        device: str | None = None,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.n_bins = n_bins
        self.preprocessor = preprocessor
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @property
    def _allows_nan(self) -> bool:
        return True

    def _find_lr(self, batch_size: int) -> float:
        return AUTO_LR_OF_MLP * math.sqrt(min(1.0, batch_size / AUTO_BATCH_SIZES[1]))

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_integer("n_bins", self.n_bins, 0)
        if not is_real(self.dropout, 0, 1) or self.dropout == 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout!r}.")
        if not self._widths or not all(
            isinstance(width, numbers.Integral)
            and not isinstance(width, bool)
            and width >= 1
            for width in self._widths
        ):
            raise ValueError(
                "hidden_layer_sizes must be a width or hold at least one, integers of "
                f"at least 1, got {self.hidden_layer_sizes!r}."
            )

    @property
    def _widths(self) -> tuple[int, ...]:
        sizes: Any = self.hidden_layer_sizes
        return tuple(sizes) if np.iterable(sizes) else (sizes,)

    def _fit_encoding(self, table: Any) -> None:
        self.encoder_: TableEncoder = TableEncoder(self.n_bins).fit(
            self._preprocess(table)
        )

    def _encode(self, table: Any) -> Any:
        return self.encoder_.transform(table)

    def _make_module(self, source: BatchSource) -> nn.Module:
        return TabularMLP(
            n_numeric=self.encoder_.n_numeric_,
            bin_edges=self.encoder_.bin_edges_,
            n_categories=self.encoder_.n_categories_,
            hidden_layer_sizes=self._widths,
            n_classes=len(self.classes_),
            dropout=self.dropout,
        )


class TorchStudent(ModuleStudent):
    """A torch module of one's own as a student.

    Parameters
    ----------
    module : nn.Module class or instance, or callable
        A class or factory is called as ``module(n_features_in, n_classes)``; an
        instance is copied, never trained in place. It takes float32 rows of shape
        (n_rows, n_features_in) and returns logits of shape (n_rows, n_classes), or
        one logit a row for two classes.
    preprocessor : transformer, default=None
        Applied to X first; a clone is fitted on labeled and pool rows, without
        labels unless a step requires them.
    max_epochs : int or "auto", default="auto"
        As in :class:`MLPStudent`.
    batch_size : int or "auto", default="auto"
        As in :class:`MLPStudent`.
    lr : float or "auto", default="auto"
        As in :class:`MLPStudent`, except that "auto" is 0.001.
    weight_decay : float or "auto", default="auto"
        As in :class:`MLPStudent`.
    early_stopping : bool or "auto", default="auto"
        As in :class:`MLPStudent`.
    device : str, default=None
        As in :class:`MLPStudent`.
    verbose : int, default=0
        As in :class:`MLPStudent`.
    random_state : int, RandomState instance or None, default=None
        As in :class:`MLPStudent`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    n_features_in_ : int
        Number of features seen at fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has names that are strings.
    module_ : nn.Module
        The trained network.
    net_ : skorch.NeuralNet
        The net around it, without what served training only.
    preprocessor_ : transformer
        The fitted preprocessor, where there is one.
    temperature_ : float
        Logits are divided by it before the softmax.
    history_ : list of dict
        Losses and seconds of each epoch.
    n_epochs_ : int
        Number of epochs run.

    See Also
    --------
    MLPStudent : The default student.
    SkorchStudent : A skorch net with its own training.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from torch import nn
    >>> from sklearn_slam import TorchStudent
    >>> X, y = load_iris(return_X_y=True)
    >>> student = TorchStudent(nn.Linear, lr=0.01, random_state=0).fit(X, y)
    >>> student.module_
    Linear(in_features=4, out_features=3, bias=True)
    """

    def __init__(
        self,
        module: Any,
        *,
        preprocessor: Any = None,
        max_epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        lr: float | Literal["auto"] = "auto",
        weight_decay: float | Literal["auto"] = "auto",
        early_stopping: bool | Literal["auto"] = "auto",
        device: str | None = None,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.module = module
        self.preprocessor = preprocessor
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def _encode(self, table: Any) -> Any:
        return as_float32(self, table)

    def _make_module(self, source: BatchSource) -> nn.Module:
        if isinstance(self.module, nn.Module):
            module = copy.deepcopy(self.module)
        else:
            row = source.batch(torch.zeros(1, dtype=torch.int64))
            sizes = row.shape[1], len(self.classes_)
            try:
                module = self.module(*sizes)
            except TypeError as error:
                raise TypeError(
                    "The student's module is called as module(n_features_in, "
                    f"n_classes), here {sizes}, and does not take that: {error}"
                ) from error
        if not isinstance(module, nn.Module):
            raise TypeError(
                "The student's factory must return a torch nn.Module, got "
                f"{type(module).__name__}."
            )
        return module


class SkorchStudent(BaseStudent):
    """A skorch net as a student, with its own training.

    The net's optimizer, callbacks, scheduler, device, batch size and number of
    epochs are kept. Our loss takes its criterion's place, tensor batches that of
    its data loaders, our held-out pool rows that of its ``train_split``.

    Parameters
    ----------
    net : skorch.NeuralNet
        Cloned, never trained in place. With ``criterion=nn.NLLLoss`` its module
        returns probabilities, with ``nn.CrossEntropyLoss`` logits, one column for
        each class.
    preprocessor : transformer, default=None
        Applied to X first; a clone is fitted on labeled and pool rows, without
        labels unless a step requires them.
    random_state : int, RandomState instance or None, default=None
        Decides initial weights, order of rows and dropout.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    n_features_in_ : int
        Number of features seen at fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has names that are strings.
    module_ : nn.Module
        The trained network.
    net_ : skorch.NeuralNet
        The trained clone of the net.
    preprocessor_ : transformer
        The fitted preprocessor, where there is one.
    temperature_ : float
        Logits are divided by it before the softmax.
    history_ : list of dict
        What the net's callbacks recorded of each epoch.
    n_epochs_ : int
        Number of epochs run.

    See Also
    --------
    MLPStudent : The default student.
    TorchStudent : A torch module trained by us.

    Examples
    --------
    >>> from skorch import NeuralNetClassifier
    >>> from sklearn.datasets import load_iris
    >>> from torch import nn
    >>> from sklearn_slam import SkorchStudent
    >>> X, y = load_iris(return_X_y=True)
    >>> net = NeuralNetClassifier(
    ...     nn.Linear, module__in_features=4, module__out_features=3,
    ...     criterion=nn.CrossEntropyLoss, train_split=None, verbose=0,
    ... )
    >>> SkorchStudent(net, random_state=0).fit(X, y).n_epochs_
    10
    """

    early_stopping = "auto"

    def __init__(
        self, net: Any, *, preprocessor: Any = None, random_state: Any = None
    ) -> None:
        self.net = net
        self.preprocessor = preprocessor
        self.random_state = random_state

    def _encode(self, table: Any) -> Any:
        return as_float32(self, table)

    def _make_net(self, source: BatchSource, split: Split) -> NeuralNet:
        criterion = self.net.criterion
        kind = type(criterion) if isinstance(criterion, nn.Module) else criterion
        if kind not in (nn.NLLLoss, nn.CrossEntropyLoss):
            raise ValueError(
                f"The skorch student has criterion {getattr(kind, '__name__', kind)}; "
                "use nn.CrossEntropyLoss with a module that returns logits, or "
                "nn.NLLLoss with one that returns probabilities. The distillation "
                "loss takes its place."
            )
        given = [name for name in vars(self.net) if name.startswith("criterion__")]
        if given or (isinstance(criterion, nn.Module) and criterion.weight is not None):
            raise ValueError(
                f"The skorch student sets parameters of its criterion ({given}), "
                "whose place the distillation loss takes; remove them."
            )
        self._returns_proba = kind is nn.NLLLoss
        return clone(self.net)

    def _prepare_net(
        self, net: NeuralNet, criterion: RowLoss, held_out: TrainingSet | None
    ) -> None:
        if net.train_split is None:
            held_out = None
        else:
            default = inspect.signature(type(net).__init__).parameters["train_split"]
            if getattr(default.default, "__dict__", 0) != vars(net.train_split):
                warn(
                    "The skorch student's train_split is replaced: held-out pool rows "
                    "with the teacher's labels take its place. train_split=None holds "
                    "none out.",
                )
        if getattr(net, "classes", "none of its own") is None:
            # What scoring callbacks ask for; the net cannot infer it from batches.
            net.set_params(classes=list(range(len(self.classes_))))
        callbacks = net.callbacks
        if callbacks != "disable":
            callbacks = [*(callbacks or []), StopOnNonFiniteLoss()]
        _install(net, criterion, held_out, callbacks)

    def _release_net(self, net: NeuralNet) -> None:
        """Put the user's own parts back, so that no row stays in the net."""
        own = self.net.get_params(deep=False)
        # A module that is an instance was trained in place, on the net's device;
        # the trained one is module_.
        for name in (*INSTALLED, "module"):
            if name in own:
                setattr(net, name, copy.deepcopy(own[name]))
            else:
                delattr(net, name)
        if net.callbacks != "disable":
            net.callbacks = net.callbacks[:-1] or own["callbacks"]
        net.initialize_criterion()

    def _to_logits(self, output: Any) -> Tensor:
        if self._returns_proba:
            return torch.log(output + torch.finfo(output.dtype).tiny)
        return two_logits(output)


INSTALLED = (
    "criterion",
    "iterator_train",
    "iterator_train__shuffle",
    "iterator_valid",
    "iterator_valid__shuffle",
    "train_split",
)
"""What training takes the place of in a net, beside its callbacks."""


def _install(
    net: NeuralNet,
    criterion: RowLoss,
    held_out: TrainingSet | None,
    callbacks: Any,
) -> None:
    """Put loss, batches, held-out rows and callbacks into a net."""
    net.set_params(
        criterion=criterion.itself,
        iterator_train=TensorBatches,
        iterator_train__shuffle=True,
        iterator_valid=TensorBatches,
        iterator_valid__shuffle=False,
        train_split=None if held_out is None else predefined_split(held_out),
    )
    # Its set_params cannot take "disable".
    net.callbacks = callbacks


def two_logits(output: Tensor) -> Tensor:
    """Return logits with a column for each class, where one stands for two."""
    if output.ndim == 1:
        output = output.unsqueeze(1)
    if output.shape[1] == 1:
        output = torch.cat([torch.zeros_like(output), output], dim=1)
    return output


# What float32 does not hold is refused: numpy need not announce it.
@np.errstate(over="ignore", invalid="ignore")
def as_float32(student: BaseStudent, table: Any) -> Any:
    """Return a table of numbers as float32, sparse ones as CSR, or say what is none."""
    try:
        if sp.issparse(table):
            encoded = table.tocsr().astype(np.float32)
        else:
            if hasattr(table, "to_numpy"):
                table = table.to_numpy()
            encoded = np.ascontiguousarray(table, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "A torch or skorch student takes numbers only, but X holds other values "
            f"({error}). Put its preprocessing in front: "
            "student=make_pipeline(preprocessing, student)."
        ) from error
    preprocessed = student.preprocessor is not None
    assert_all_finite(
        encoded,
        estimator_name=type(student).__name__,
        input_name="X after preprocessing" if preprocessed else "X",
    )
    return encoded


def as_student(student: Any) -> BaseStudent:
    """Return a new, unfitted student of any of the forms that distillers accept.

    Parameters
    ----------
    student : None, student, nn.Module (class or instance), factory, skorch net or
        Pipeline that ends in one of these

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if student is None:
        return MLPStudent()
    if isinstance(student, type) and issubclass(student, BaseStudent):
        raise TypeError(
            f"student is the class {student.__name__}; pass an instance, "
            f"{student.__name__}()."
        )
    if isinstance(student, BaseStudent):
        return clone(student)
    if isinstance(student, Pipeline):
        last = as_student(student.steps[-1][1])
        if last.preprocessor is not None:
            raise ValueError(
                "student is a Pipeline that ends in a student with a preprocessor of "
                "its own; make that preprocessor a step of the Pipeline."
            )
        return last.set_params(preprocessor=student[:-1] if student[:-1] else None)
    if isinstance(student, NeuralNet):
        return SkorchStudent(student)
    if isinstance(student, nn.Module) or (
        callable(student) and not hasattr(student, "predict")
    ):
        return TorchStudent(student)
    raise TypeError(
        "student must be None, MLPStudent, a torch nn.Module (class, factory "
        "(n_features_in, n_classes) or instance), a skorch net, or a Pipeline that "
        f"ends in one of these; got {student!r}."
    )


def has_preprocessing(student: Any) -> bool:
    """Tell whether a student in any form applies a preprocessor to X first."""
    if isinstance(student, Pipeline):
        return True
    return getattr(student, "preprocessor", None) is not None


def allows_nan(student: Any) -> bool:
    """Tell whether a student in any form may be given missing values."""
    return (
        student is None or isinstance(student, MLPStudent) or has_preprocessing(student)
    )

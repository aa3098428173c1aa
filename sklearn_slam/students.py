"""Students: small networks that learn from a teacher, or from labels alone."""

from __future__ import annotations

import copy
import inspect
import math
import numbers
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from skorch import NeuralNet
from torch import Tensor, nn

from sklearn_slam._encoding import MAX_CATEGORIES, TableEncoder
from sklearn_slam._lesson import Split
from sklearn_slam._module_student import (
    AUTO_BATCH_SIZES,
    AUTO_LR_OF_MLP,
    ModuleStudent,
    check_device,
)
from sklearn_slam._modules import TabularMLP, as_columns, two_logits
from sklearn_slam._rows import Rows
from sklearn_slam._student import BaseStudent
from sklearn_slam._training import (
    INSTALLED,
    BatchSource,
    RowLoss,
    TrainingSet,
    install,
)
from sklearn_slam._validation import check_integer, is_real
from sklearn_slam._warn import warn

__all__ = ["MLPStudent", "SkorchStudent", "TorchStudent"]

DROPOUT_ALONE, MAX_EPOCHS_ALONE = 0.3, 60
"""Of an MLPStudent that learns from labels only, which it would else know by heart."""


class MLPStudent(ModuleStudent):
    """The default student: a multilayer perceptron for tables.

    Its preprocessing is its own: numbers are centred, scaled robustly, softly clipped
    and binned, missing ones become the median beside an indicator; categories, the
    1,024 most frequent of a column, get a learned vector each; sparse rows are scaled
    and densified a batch at a time.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(256, 256)
        Width of each hidden layer.
    dropout : float or "auto", default="auto"
        Share of hidden units dropped in training, in [0, 1); "auto" drops none beside a
        pool, and 0.3 where there are labels only.
    n_bins : int, default=8
        Bins of each number, between its quantiles: the network also sees its place in
        each, and can treat ranges of a number apart. Wide tables have fewer (1,024 in
        all), sparse rows none; less than 2 leaves numbers as they are.
    preprocessor : transformer, default=None
        Applied to X first; a clone is fitted on labeled and pool rows, without
        labels unless a step requires them.
    max_epochs : int or "auto", default="auto"
        Passes over the pool; "auto" makes about 3,000 steps, from 10 to 200 passes, 60
        at most where there are labels only.
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
        is added. Where there is no pool, a tenth of the labeled rows is held out.
        "auto" means from 500 rows on, of the pool or else of the labeled part.
    device : str, default=None
        Device of torch, such as "cuda"; None is the CPU.
    verbose : int, default=0
        1 shows a progress bar over epochs, 2 prints a line for each.
    random_state : int, RandomState instance or None, default=None
        Decides initial weights, order of rows, dropout, and random steps of the
        preprocessing that have no ``random_state`` of their own.

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
        dropout: float | Literal["auto"] = "auto",
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
        dropout = self.dropout
        if dropout != "auto" and not (is_real(dropout, 0, 1) and float(dropout) < 1):
            raise ValueError(
                f"dropout must be 'auto' or lie in [0, 1), got {dropout!r}."
            )
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

    def _prepare(
        self, labeled: Rows, pool: Rows, y: NDArray[np.intp], classes: NDArray[Any]
    ) -> None:
        super()._prepare(labeled, pool, y, classes)
        if self.encoder_.singular_:
            warn(
                f"Columns {self.encoder_.singular_} hold hardly a value twice; as "
                "categories they tell the student nothing. Drop them, or turn them "
                "into numbers before it, as in "
                "make_pipeline(skrub.TableVectorizer(), MLPStudent())."
            )
        if self.encoder_.crowded_:
            warn(
                f"Columns {self.encoder_.crowded_} hold more than {MAX_CATEGORIES} "
                "categories; the rarer ones count as unknown to the student. Group "
                "them, or turn the columns into numbers before it."
            )

    def _encode(self, table: Any) -> Any:
        return self.encoder_.transform(table)

    def _most_epochs(self, split: Split) -> int:
        return super()._most_epochs(split) if split.has_pool else MAX_EPOCHS_ALONE

    def _make_module(self, source: BatchSource, split: Split) -> nn.Module:
        dropout = self.dropout
        if dropout == "auto":
            dropout = 0.0 if split.has_pool else DROPOUT_ALONE
        return TabularMLP(
            n_numeric=self.encoder_.n_numeric_,
            bin_edges=self.encoder_.bin_edges_,
            n_categories=self.encoder_.n_categories_,
            hidden_layer_sizes=self._widths,
            n_classes=len(self.classes_),
            dropout=dropout,
        ).float()  # whatever torch's default is


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

    def _make_module(self, source: BatchSource, split: Split) -> nn.Module:
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
        if any(map(nn.parameter.is_lazy, module.parameters())):
            with torch.no_grad():
                module(source.batch(torch.zeros(2, dtype=torch.int64)))
        return module


class SkorchStudent(BaseStudent):
    """A skorch net as a student, with its own training.

    The net's optimizer, callbacks, scheduler, device, batch size and number of
    epochs are kept. Our loss takes its criterion's place, tensor batches that of
    its data loaders, a tenth of the pool (without one, of the labeled rows) that of
    its ``train_split``, if it has any. Its scoring callbacks see probabilities and the
    most likely class of each label; they need ``use_caching``, which is their default.

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
        Decides initial weights, order of rows, dropout, and random steps of the
        preprocessing that have no ``random_state`` of their own.

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

    def __init__(
        self, net: Any, *, preprocessor: Any = None, random_state: Any = None
    ) -> None:
        self.net = net
        self.preprocessor = preprocessor
        self.random_state = random_state

    @property
    def early_stopping(self) -> bool:  # type: ignore[override]
        """Whether rows are held out, which the net's callbacks may ask for."""
        return getattr(self.net, "train_split", None) is not None

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not isinstance(self.net, NeuralNet):
            raise TypeError(f"net must be a skorch net, got {self.net!r}.")
        check_device(self.net.device)

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
        if isinstance(criterion, nn.Module):
            default = vars(kind())
            given += [
                name
                for name, value in vars(criterion).items()
                if not name.startswith("_") and value != default[name]
            ]
            given += ["weight"] if criterion.weight is not None else []
        if given:
            raise ValueError(
                f"The skorch student sets parameters of its criterion ({given}), "
                "whose place the distillation loss takes; remove them."
            )
        self._returns_proba = kind is nn.NLLLoss
        return clone(self.net)

    def _prepare_net(
        self, net: NeuralNet, criterion: RowLoss, held_out: TrainingSet | None
    ) -> None:
        if net.train_split is not None and not _is_default_split(net):
            warn(
                "The skorch student's train_split is replaced: a tenth of the pool "
                "(of the labeled rows where there is no pool) takes its place. "
                "train_split=None holds none out."
            )
        if net.predict_nonlinearity == "auto":
            # skorch infers it from the criterion, whose place another takes.
            net.set_params(
                predict_nonlinearity=None
                if self._returns_proba
                else partial(softmax, n_columns=self._n_outputs)
            )
        if getattr(net, "classes", "none of its own") is None:
            # What scoring callbacks ask for; the net cannot infer it from batches.
            net.set_params(classes=list(range(len(self.classes_))))
        install(net, criterion, held_out)

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
        net.initialize_criterion()

    def _to_logits(self, output: Any) -> Tensor:
        output = as_columns(output, self._n_outputs)
        if self._returns_proba:
            return torch.log(output + torch.finfo(output.dtype).tiny)
        return two_logits(output)


def softmax(output: Tensor, n_columns: int) -> Tensor:
    """Return probabilities, for callbacks that score a net in training."""
    return torch.softmax(two_logits(as_columns(output, n_columns)), dim=1)


def _is_default_split(net: NeuralNet) -> bool:
    """Tell whether a net's ``train_split`` is the one that it comes with."""
    for kind in type(net).__mro__:
        own = vars(kind).get("__init__", object.__init__)
        if "train_split" in (parameters := inspect.signature(own).parameters):
            default, given = parameters["train_split"].default, net.train_split
            return type(given) is type(default) and vars(given) == vars(default)
    return False


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


def allows_nan(student: Any) -> bool:
    """Tell whether a student in any form, also one of none, may miss values."""
    if isinstance(student, Pipeline):
        return len(student) > 1 or allows_nan(student[-1])
    return student is None or (isinstance(student, BaseStudent) and student._allows_nan)

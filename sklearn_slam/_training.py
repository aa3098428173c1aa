"""Training a network on tensor batches with skorch; knows nothing of teachers.

A training set holds encoded rows, the targets of a row-wise loss, and which rows
are labeled. Batches are drawn from the labeled part and from the pool separately
and gathered by one indexing operation each, not row by row.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer
from skorch.helper import predefined_split
from skorch.utils import get_map_location
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sklearn_slam._losses import Differentiated, LossFunction
from sklearn_slam._rows import Rows

PREDICT_ROWS = 2_048
"""Rows that are predicted at once: few enough that what is computed of them stays
near the core, enough that a table's columns are not asked for too often."""

FLOPS_PER_THREAD = 5e7
"""Multiplications of one step below which another thread costs more than it
brings; on a busy machine, waiting for it has cost 20 to 60 times the step."""


WARMUP = 0.03
"""Share of all steps over which the learning rate rises."""


def dense(encoded: Any) -> NDArray[np.float32]:
    """Return encoded rows as an array."""
    return encoded.toarray() if sp.issparse(encoded) else encoded


class BatchSource(Protocol):
    """Encoded rows that are read a batch at a time."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def batch(self, rows: Tensor) -> Tensor:
        """Return the given rows as a dense float32 tensor."""


@dataclass(frozen=True)
class DenseRows:
    """Encoded rows in memory."""

    X: Tensor

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.X)

    def batch(self, rows: Tensor) -> Tensor:
        """Return the given rows."""
        return self.X.index_select(0, rows)

    def take(self, rows: NDArray[np.intp]) -> DenseRows:
        """Return the given rows alone."""
        return DenseRows(self.batch(torch.from_numpy(rows)))

    @property
    def table(self) -> NDArray[np.float32]:
        """The rows as scikit-learn reads them."""
        return self.X.numpy()


@dataclass(frozen=True)
class SparseRows:
    """Encoded rows in CSR form, densified a batch at a time."""

    X: sp.csr_matrix

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.X.shape[0])

    def batch(self, rows: Tensor) -> Tensor:
        """Return the given rows, dense."""
        return torch.from_numpy(dense(self.X[rows.numpy()]))

    def take(self, rows: NDArray[np.intp]) -> SparseRows:
        """Return the given rows alone."""
        return SparseRows(self.X[rows])

    @property
    def table(self) -> sp.csr_matrix:
        """The rows as scikit-learn reads them."""
        return self.X


RowsInMemory = DenseRows | SparseRows


def in_memory(encoded: Any) -> RowsInMemory:
    """Return encoded rows as a source of batches."""
    if sp.issparse(encoded):
        return SparseRows(encoded)
    return DenseRows(torch.from_numpy(encoded))


@dataclass(frozen=True)
class LazyRows:
    """Rows of memory-mapped tables, read and encoded a batch at a time."""

    rows: Rows
    encode: Callable[[Any], Any]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def batch(self, rows: Tensor) -> Tensor:
        """Return the given rows, encoded."""
        taken = self.rows.take(rows.numpy())
        encoded = np.concatenate([dense(self.encode(table)) for table, _ in taken])
        places = np.concatenate([places for _, places in taken])
        batch = np.empty_like(encoded)
        batch[places] = encoded
        return torch.from_numpy(batch)


class RowLoss(nn.Module):
    """A loss on the rows of the current batch, in the place of skorch's criterion.

    skorch hands a criterion the network's output and class labels. The targets
    of this loss are more than labels, so the batches leave them here, and users'
    callbacks go on seeing labels.

    Parameters
    ----------
    loss : callable
        From log-probabilities and targets to a loss per row.
    to_logits : callable
        From the network's output to logits of shape (n_rows, n_classes).
    """

    def __init__(self, loss: LossFunction, to_logits: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.loss = loss
        # Asked once, since isinstance of a protocol is slow beside a step.
        self.gradient = (
            loss.weighted_gradient if isinstance(loss, Differentiated) else None
        )
        self.to_logits = to_logits
        self.asked = False
        self.targets: Mapping[str, Tensor] = {}
        self.shares = torch.empty(0)

    def itself(self) -> RowLoss:
        """Return this loss: the factory that skorch wants before initialization."""
        return self

    def forward(self, output: Any, labels: Tensor | None = None) -> Tensor:
        """Return the weighted loss of the batch whose targets were left here."""
        log_f, targets, shares = self._batch(output)
        return torch.dot(self.loss(log_f, **targets), shares)

    def backward(self, output: Any) -> Tensor:
        """Return that loss, its gradients added to the network's parameters."""
        if self.gradient is None:
            loss = self(output)
            loss.backward()
            return loss.detach()
        log_f, targets, shares = self._batch(output)
        with torch.no_grad():
            loss, gradient = self.gradient(log_f, shares, **targets)
        log_f.backward(gradient)
        return loss

    def _batch(self, output: Any) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Return log-probabilities, targets and shares on one device."""
        self.asked = True
        log_f = torch.log_softmax(self.to_logits(output), dim=1)
        device = log_f.device
        targets = {name: rows.to(device) for name, rows in self.targets.items()}
        return log_f, targets, self.shares.to(device)


@dataclass
class TrainingSet(Dataset):
    """Rows to train on: labeled ones first, then the pool.

    Parameters
    ----------
    source : BatchSource
        Encoded rows.
    targets : mapping of str to Tensor
        What the loss takes beside logits; each has a row per row. ``labels``, of
        shape (n_rows, n_classes), is among them.
    weights : Tensor of shape (n_rows,) or None
        Averages 1 over each part; None means equal weights.
    labeled, pool : Tensor of int
        Positions of the rows in use.
    labeled_share : float
        Share of the loss that the labeled rows carry.
    criterion : RowLoss
        Where each batch leaves its targets.
    generator : torch.Generator
        Decides the order of rows.
    before_epoch : callable, default=None
        Called before the batches of an epoch are drawn.
    """

    source: BatchSource
    targets: Mapping[str, Tensor]
    weights: Tensor | None
    labeled: Tensor
    pool: Tensor
    labeled_share: float
    criterion: RowLoss
    generator: torch.Generator
    before_epoch: Callable[[], None] | None = None

    def __len__(self) -> int:
        """Return the number of rows of the larger part."""
        return max(len(self.labeled), len(self.pool))

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        """Return one row of that part and its label."""
        rows = self.pool if len(self.pool) >= len(self.labeled) else self.labeled
        row = rows[at : at + 1]
        return self.source.batch(row)[0], int(self.targets["labels"][row].argmax())

    def logits_at(self, net: NeuralNet, rows: Tensor) -> Tensor:
        """Return a net's logits of rows by position, as in prediction."""
        in_training = net.module_.training
        net.module_.eval()
        with torch.no_grad():
            logits = [
                self.criterion.to_logits(net.infer(self.source.batch(some))).cpu()
                for some in rows.split(PREDICT_ROWS)
            ]
        net.module_.train(in_training)
        return torch.cat(logits)


class TensorBatches:
    """Batches of a training set; stands in for skorch's data loader.

    Parameters
    ----------
    dataset : TrainingSet
    batch_size : int
    shuffle : bool, default=False
        Whether to draw batches for training; otherwise the pool, or the labeled rows
        where there is none, passes in order.
    **loader_options
        What users set for a row-by-row loader (``num_workers``, ``pin_memory``,
        ``drop_last``) has no meaning here.
    """

    def __init__(
        self,
        dataset: TrainingSet,
        batch_size: int,
        shuffle: bool = False,
        **loader_options: Any,
    ) -> None:
        self.dataset = dataset
        self.shuffle = shuffle
        self.n_labeled, self.n_pool = self._split(batch_size)

    def _split(self, batch_size: int) -> tuple[int, int]:
        """Return how many labeled and how many pool rows a batch holds."""
        data = self.dataset
        batch_size = min(batch_size, len(data.labeled) + len(data.pool))
        if not len(data.labeled):
            return 0, batch_size
        if not len(data.pool):
            return batch_size, 0
        n_labeled = round(batch_size * data.labeled_share)
        # A part that carries any of the loss is in every batch.
        n_labeled = int(np.clip(n_labeled, 1, max(1, batch_size - 1)))
        return n_labeled, max(1, batch_size - n_labeled)

    def __len__(self) -> int:
        """Return the number of batches of an epoch.

        In training one passes over the pool; where more rows are labeled, it has as
        many batches as these would fill alone.
        """
        data = self.dataset
        if not self.shuffle:
            return len(self._in_order())
        if len(data.pool) >= len(data.labeled):
            return max(1, len(data.pool) // self.n_pool)
        return max(1, len(data.labeled) // (self.n_labeled + self.n_pool))

    def _in_order(self) -> tuple[Tensor, ...]:
        """Return the rows of one part, the pool where there is one, in batches."""
        part = self.dataset.pool if self.n_pool else self.dataset.labeled
        return part.split(self.n_pool or self.n_labeled)

    def _order(self) -> Iterable[Tensor]:
        """Return the rows of each batch."""
        data = self.dataset
        if not self.shuffle:
            return self._in_order()
        n_batches = len(self)
        drawn = [
            _draw(rows, n_batches * size, data.generator).view(n_batches, size)
            for rows, size in ((data.labeled, self.n_labeled), (data.pool, self.n_pool))
        ]
        return torch.cat(drawn, dim=1)

    def _shares(self, n_rows: int) -> Tensor:
        """Return the weight of each row of a batch; they sum to 1."""
        shares = torch.full((n_rows,), 1.0 / n_rows, dtype=torch.float32)
        if self.shuffle and self.n_labeled and self.n_pool:
            share = self.dataset.labeled_share
            shares[: self.n_labeled] = share / self.n_labeled
            shares[self.n_labeled :] = (1 - share) / self.n_pool
        return shares

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield encoded rows and labels, which skorch and its callbacks ask for."""
        for X in self.rows():
            yield X, self.dataset.criterion.targets["labels"].argmax(dim=1)

    def rows(self) -> Iterator[Tensor]:
        """Yield encoded rows; leave their targets at the criterion."""
        data = self.dataset
        if self.shuffle and data.before_epoch is not None:
            data.before_epoch()
        of_batch = torch.empty(0)
        for rows in self._order():
            if len(of_batch) != len(rows):
                of_batch = self._shares(len(rows))
            shares = of_batch
            if data.weights is not None:
                shares = shares * data.weights.index_select(0, rows)
            targets = {
                name: values.index_select(0, rows)
                for name, values in data.targets.items()
            }
            data.criterion.targets, data.criterion.shares = targets, shares
            yield data.source.batch(rows)


def batches_in_order(dataset: Dataset, **options: Any) -> Any:
    """Return batches of held-out rows, and of what else a callback may predict."""
    if isinstance(dataset, TrainingSet):
        return TensorBatches(dataset, **options)
    return DataLoader(dataset, **options)


def _draw(rows: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Draw rows in random order, each again only when all have been drawn."""
    if not size:
        return rows[:0]
    rounds = math.ceil(size / len(rows))
    orders = [torch.randperm(len(rows), generator=generator) for _ in range(rounds)]
    return rows[torch.cat(orders)[:size]]


class CheckLoss(Callback):
    """End training with an error at an epoch whose loss is not ours, or not finite."""

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Raise ``TypeError``, or ``FloatingPointError`` where the loss is NaN."""
        if not net.criterion_.asked:
            raise TypeError(
                f"The skorch student's net, {type(net).__name__}, computes a loss of "
                "its own and does not ask its criterion, whose place the distillation "
                "loss takes. Let its get_loss call super().get_loss."
            )
        epoch = net.history[-1]
        # Without callbacks, skorch leaves the losses of batches as they are.
        last = epoch["batches"][-1] if epoch["batches"] else epoch
        loss = epoch.get("train_loss", last.get("train_loss", 0.0))
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The training loss became {loss} in epoch {len(net.history)}. Lower "
                "lr, scale the features (the student's own preprocessing may be "
                "missing), or clip gradients."
            )


class StudentNet(NeuralNet):
    """A skorch net without the work per batch that nobody asked for.

    skorch calls every callback and reads the loss back for each batch. Here the
    loss is read once per epoch, and the learning rate follows half a cosine from
    ``lr`` to 0, after a short linear rise, without a callback.

    Its criterion is a :class:`RowLoss` in training, and serves nobody after.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Return what prediction needs, on the CPU.

        skorch would store a module instance twice, once where no other device can
        load it.
        """
        return {"module": copy.deepcopy(self.module_).cpu(), "device": self.device}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build a trained net anew, on the CPU (with a warning) if CUDA is missing."""
        device = str(get_map_location(state["device"]))
        module = state["module"]
        NeuralNet.__init__(self, module, nn.Identity, device=device, verbose=0)
        self.initialize()
        self.trim_for_prediction()

    def get_default_callbacks(self) -> list[tuple[str, Callback]]:
        """Return the callbacks that are always there."""
        return [("epoch_timer", EpochTimer())]

    def run_single_epoch(
        self,
        iterator: TensorBatches | None,
        training: bool,
        prefix: str,
        step_fn: Callable[..., Any],
        **fit_params: Any,
    ) -> None:
        """Pass over the batches once and record the mean loss per row."""
        if iterator is None:
            return
        self.module_.train(training)
        self.criterion_.train(training)
        n_rows, total = 0, torch.zeros((), device=self.device)
        n_steps = self.max_epochs * len(iterator)
        first_step = (len(self.history) - 1) * len(iterator)
        with torch.set_grad_enabled(training):
            for step, X in enumerate(iterator.rows(), first_step):
                if training:
                    self._prepare_step((step + 0.5) / n_steps)
                    loss = self.criterion_.backward(self.infer(X))
                    self.optimizer_.step()
                else:
                    loss = self.criterion_(self.infer(X))
                total += loss * len(X)
                n_rows += len(X)
        self.history.record(f"{prefix}_loss", total.item() / n_rows)

    def _prepare_step(self, done: float) -> None:
        """Forget gradients; set the learning rate for a share ``done`` of all steps."""
        factor = min(1.0, done / WARMUP) * 0.5 * (1.0 + math.cos(math.pi * done))
        for group in self.optimizer_.param_groups:
            group["lr"] = self.lr * factor
            # What zero_grad does, without the record that it keeps for a profiler.
            for parameter in group["params"]:
                parameter.grad = None


class HeldOutError(Callback):
    """Record the error rate on held-out labels, and its sum with the loss.

    The student's log-loss on labels would be no criterion: it learns the clean
    label and is over-confident by intention. Its accuracy is one.

    Parameters
    ----------
    held_out : TrainingSet
        Its labeled rows are predicted after each epoch.
    """

    def __init__(self, held_out: TrainingSet) -> None:
        self.held_out = held_out

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Record ``valid_error`` and ``valid_score``."""
        data = self.held_out
        predicted = data.logits_at(net, data.labeled).argmax(1)
        labels = data.targets["labels"].index_select(0, data.labeled).argmax(1)
        wrong = (predicted != labels).numpy()
        weights = None if data.weights is None else data.weights[data.labeled].numpy()
        error = float(np.average(wrong, weights=weights))
        net.history.record("valid_error", error)
        net.history.record("valid_score", net.history[-1, "valid_loss"] + error)


_global_state = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """Let ``seed`` alone decide, and leave torch's global random state as found.

    That state is one for all threads of a process, which take their turns here. That of
    GPUs which nobody has used yet is left alone: to ask for it would initialize each.
    """
    unused = torch.cuda.is_available() and not torch.cuda.is_initialized()
    devices = () if unused else range(torch.cuda.device_count())
    set_seed = torch.default_generator.manual_seed if unused else torch.manual_seed
    with _global_state, torch.random.fork_rng(devices):
        set_seed(seed)
        yield torch.Generator().manual_seed(seed)


@contextmanager
def sensible_threads(module: nn.Module, batch_size: int) -> Iterator[None]:
    """Use as many threads as a training step can feed; restore the number after."""
    sizes = (
        parameter.numel()
        for parameter in module.parameters()
        if not nn.parameter.is_lazy(parameter)
    )
    n_parameters = sum(sizes)
    found = torch.get_num_threads()
    wanted = int(3 * batch_size * n_parameters / FLOPS_PER_THREAD)
    torch.set_num_threads(min(found, max(1, wanted)))
    try:
        yield
    finally:
        torch.set_num_threads(found)


INSTALLED = (
    "criterion",
    "iterator_train",
    "iterator_train__shuffle",
    "iterator_valid",
    "iterator_valid__shuffle",
    "predict_nonlinearity",
    "train_split",
)
"""What training takes the place of in a net, beside its callbacks."""


def install(
    net: NeuralNet,
    criterion: RowLoss,
    held_out: TrainingSet | None,
) -> None:
    """Put loss, batches and held-out rows into a net."""
    net.set_params(
        criterion=criterion.itself,
        iterator_train=TensorBatches,
        iterator_train__shuffle=True,
        iterator_valid=batches_in_order,
        iterator_valid__shuffle=False,
        train_split=None if held_out is None else predefined_split(held_out),
    )

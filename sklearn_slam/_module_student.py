"""Students whose network we train."""

from __future__ import annotations

import math
import numbers
from typing import Any, Literal

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, PrintLog
from torch import Tensor, nn

from sklearn_slam._lesson import Split
from sklearn_slam._modules import as_columns, two_logits
from sklearn_slam._student import BaseStudent
from sklearn_slam._training import (
    BatchSource,
    HeldOutError,
    RowLoss,
    StudentNet,
    TrainingSet,
    install,
)
from sklearn_slam._validation import is_real

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


def auto_batch_size(wanted: float) -> int:
    """Return the power of two next to a size that is wanted, within the usual ones."""
    power = 2 ** round(math.log2(max(1, wanted)))
    return int(np.clip(power, *AUTO_BATCH_SIZES))


def check_training_parameters(estimator: Any) -> None:
    """Raise where a training parameter of a student or a distiller is not usable."""
    bounds = {"max_epochs": 1, "batch_size": 1, "lr": 0, "weight_decay": 0}
    for name, least in bounds.items():
        value = getattr(estimator, name)
        if value == "auto" and isinstance(value, str):
            continue
        counts = least == 1
        if not is_real(value, least, np.inf) or (
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
    check_device(estimator.device)


def check_device(device: Any) -> None:
    """Raise where torch does not have a device; None is any."""
    if device is None:
        return
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is not available here ({error}). Use device='cpu', or "
            "install a build of torch for that device."
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

    def _most_epochs(self, split: Split) -> int:
        """Return the bound on max_epochs="auto"."""
        return AUTO_EPOCHS[1]

    def _make_module(self, source: BatchSource, split: Split) -> nn.Module:
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
            batch_size = auto_batch_size(n_rows / 16)
        max_epochs = self.max_epochs
        if max_epochs == "auto":
            epochs = math.ceil(AUTO_STEPS * batch_size / n_rows)
            max_epochs = int(np.clip(epochs, AUTO_EPOCHS[0], self._most_epochs(split)))
        decay = AUTO_WEIGHT_DECAY if self.weight_decay == "auto" else self.weight_decay
        return StudentNet(
            self._make_module(source, split),
            torch.nn.Identity,
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
        callbacks: list[Callback] = []
        if held_out is not None:
            watched = "valid_loss"
            if len(held_out.labeled):
                watched = "valid_score"
                callbacks.append(HeldOutError(held_out))
            patience = max(3, math.ceil(PATIENCE * net.max_epochs))
            callbacks.append(EarlyStopping(watched, patience=patience, load_best=True))
        if net.verbose:
            callbacks.insert(-1, PrintLog())
        net.callbacks = callbacks
        install(net, criterion, held_out)

    def _release_net(self, net: NeuralNet) -> None:
        net.trim_for_prediction()

    def _to_logits(self, output: Any) -> Tensor:
        return two_logits(as_columns(output, self._n_outputs))

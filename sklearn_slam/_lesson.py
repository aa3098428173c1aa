"""What a student is to learn, and which rows are held out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_slam._losses import LossFunction, cross_entropy
from sklearn_slam._rows import Rows

HELD_OUT_SHARE = 0.1
MAX_HELD_OUT_POOL = 5_000
MIN_ROWS_TO_HOLD_OUT = 500
"""Rows of the pool, without one of the labeled part, below which early stopping="auto"
holds none out."""

MIN_HELD_OUT_LABELS = 200
"""Held-out labels below which their accuracy is noise, so that none is held out."""


Refresh = Callable[[Callable[[Tensor], Tensor], Mapping[str, Tensor]], None]
"""Changes targets in place; is handed a function from positions to logits."""


@dataclass(frozen=True)
class Lesson:
    """What a student is to learn: targets of labeled rows, then of the pool.

    Parameters
    ----------
    labeled, pool : Rows
    y : ndarray of int, shape (n_labeled,)
        Index of each labeled row's class.
    loss : callable
        From log-probabilities and ``targets`` to a loss per row.
    targets : mapping of str to Tensor
        Each with a row per labeled row, then per pool row; ``labels`` of shape
        (n_rows, n_classes) is among them.
    weights : ndarray of shape (n_rows,) or None
        Of labeled rows, then of the pool.
    labeled_share : float
        Share of the loss that labeled rows carry, in [0, 1].
    refresh : callable, default=None
        Called before each epoch with a function from positions of rows to the
        student's logits, and with ``targets``, which it may change in place.
    labels_join : bool, default=False
        Whether the pool ends with the labeled rows once more.
    """

    labeled: Rows
    pool: Rows
    y: NDArray[np.intp]
    loss: LossFunction
    targets: Mapping[str, Tensor]
    weights: NDArray[np.float64] | None
    labeled_share: float
    refresh: Refresh | None = None
    labels_join: bool = False

    @classmethod
    def of_labels(
        cls,
        labeled: Rows,
        y: NDArray[np.intp],
        n_classes: int,
        weights: NDArray[np.float64] | None = None,
    ) -> Lesson:
        """Return what is to be learned from labels alone."""
        return cls(
            labeled=labeled,
            pool=Rows(()),
            y=y,
            loss=cross_entropy,
            targets={
                "labels": torch.eye(n_classes, dtype=torch.float32)[torch.from_numpy(y)]
            },
            weights=weights,
            labeled_share=1.0,
        )


@dataclass(frozen=True)
class Split:
    """Positions of the rows to train on and of those held out, and their weights."""

    labeled: Tensor
    pool: Tensor
    held_labeled: Tensor
    held_pool: Tensor
    weights: Tensor | None

    @property
    def has_pool(self) -> bool:
        """Whether there is more to learn from than labels."""
        return len(self.pool) + len(self.held_pool) > 0

    @classmethod
    def of(
        cls,
        lesson: Lesson,
        early_stopping: bool | Literal["auto"],
        rng: np.random.RandomState,
    ) -> Split:
        """Hold rows out for early stopping; leave out those that weigh nothing."""
        n_labeled, n_pool = len(lesson.labeled), len(lesson.pool)
        labeled = np.arange(n_labeled)
        pool = np.arange(n_labeled, n_labeled + n_pool)
        weights = None
        if lesson.weights is not None:
            labeled = labeled[lesson.weights[labeled] > 0]
            pool = pool[lesson.weights[pool] > 0]
            scaled = lesson.weights.copy()
            for part in (labeled, pool):
                if len(part):
                    scaled[part] /= scaled[part].mean()
            weights = torch.from_numpy(scaled.astype(np.float32))
        if lesson.labeled_share == 0:
            labeled = labeled[:0]
        if lesson.labeled_share == 1:
            pool = pool[:0]
        if early_stopping == "auto":
            early_stopping = (len(pool) or len(labeled)) >= MIN_ROWS_TO_HOLD_OUT
        n_held_pool = n_held_labeled = 0
        if early_stopping:
            n_held_pool, n_held_labeled = (
                max(1, int(HELD_OUT_SHARE * len(part))) if len(part) > 1 else 0
                for part in (pool, labeled)
            )
            n_held_pool = min(n_held_pool, MAX_HELD_OUT_POOL)
            if n_held_pool and n_held_labeled < MIN_HELD_OUT_LABELS:
                n_held_labeled = 0
        pool, labeled = rng.permutation(pool), rng.permutation(labeled)
        if lesson.labels_join and n_held_pool:
            # What is held out of one part is held out of the other.
            held = pool[:n_held_pool]
            held = held[held >= n_pool] - n_pool
            rest = np.setdiff1d(labeled, held, assume_unique=True)
            labeled = np.concatenate([held, rest] if n_held_labeled else [rest])
            n_held_labeled = len(held) if n_held_labeled else 0
        return cls(
            labeled=torch.from_numpy(labeled[n_held_labeled:]),
            pool=torch.from_numpy(pool[n_held_pool:]),
            held_labeled=torch.from_numpy(labeled[:n_held_labeled]),
            held_pool=torch.from_numpy(pool[:n_held_pool]),
            weights=weights,
        )

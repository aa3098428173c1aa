"""What a fit knows of the teacher, and what it teaches the student of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_slam._labeling import Task
from sklearn_slam._lesson import Lesson, Refresh
from sklearn_slam._losses import LossFunction
from sklearn_slam._rows import Rows
from sklearn_slam._soft_labels import temper
from sklearn_slam._teacher_accuracy import TeacherAccuracy
from sklearn_slam._validation import relative_weights

AUTO_LABELED_WEIGHTS = 0.05, 0.15
"""Bounds on labeled_weight="auto". Rows count alike between them, as in the paper;
below, a batch would hold hardly a label, and beyond, the noise of hard labels is
learned; where the pool is the smaller part, that is better than few rows by heart."""


@dataclass(frozen=True)
class Knowledge:
    """What a fit knows of the teacher before the student is trained.

    Parameters
    ----------
    task : Task
    teacher : classifier or None
        None where all its probabilities were given.
    labeled_proba : ndarray of shape (n_labeled, n_classes)
        The labels of teacher (and peers) on labeled rows that they did not learn from.
    pool : Rows
        Unlabeled rows and, where labels join them, labeled ones.
    pool_proba : ndarray of shape (n_pool, n_classes)
    pool_weights : ndarray of shape (n_pool,) or None
    accuracy : TeacherAccuracy
        How often these labels are right.
    temperature : float
        Of the labels that the student learns, "auto" resolved.
    """

    task: Task
    teacher: Any
    labeled_proba: NDArray[np.float32]
    pool: Rows
    pool_proba: NDArray[np.float32]
    pool_weights: NDArray[np.float64] | None
    accuracy: TeacherAccuracy
    temperature: float

    @property
    def labeled_weights(self) -> NDArray[np.float64]:
        """Weights of labeled rows, 1 in the mean over those that count."""
        return relative_weights(self.task.rows.weights, len(self.task.codes))

    @property
    def of_teacher(self) -> dict[str, tuple[Any, NDArray[Any]]]:
        """The target that tells the teacher's rows from labeled ones."""
        return {"of_teacher": (False, np.ones(len(self.pool), dtype=bool))}


@dataclass(frozen=True)
class Objective:
    """What the student minimizes.

    Parameters
    ----------
    loss : callable
        From log-probabilities and targets to a loss per row. A module's own
        parameters are trained along.
    targets : mapping of str to (labeled, pool)
        What the loss takes beside them and labels: for labeled rows a value or an
        array with an entry for each, for pool rows an array.
    refresh : callable, default=None
        As in :class:`~sklearn_slam._lesson.Lesson`.
    """

    loss: LossFunction
    targets: Mapping[str, tuple[Any, NDArray[Any]]] = field(default_factory=dict)
    refresh: Refresh | None = None


def make_lesson(
    knowledge: Knowledge,
    objective: Objective,
    labeled_weight: float | Literal["auto"],
) -> Lesson:
    """Put together what the student is to learn.

    Parameters
    ----------
    knowledge : Knowledge
    objective : Objective
    labeled_weight : float or "auto"
        Share of the loss that labeled rows carry.
    """
    rows, codes = knowledge.task.rows, knowledge.task.codes
    pool_proba = knowledge.pool_proba
    n_labeled = len(codes)
    labels = np.empty((n_labeled + len(pool_proba), pool_proba.shape[1]), "f4")
    labels[:n_labeled] = np.arange(labels.shape[1]) == codes[:, None]
    labels[n_labeled:] = temper(pool_proba, knowledge.temperature)
    targets = {"labels": torch.from_numpy(labels)}
    for name, (of_labeled, of_pool) in objective.targets.items():
        whole = np.empty((len(labels), *of_pool.shape[1:]), of_pool.dtype)
        whole[:n_labeled], whole[n_labeled:] = of_labeled, of_pool
        targets[name] = torch.from_numpy(whole)
    weights = None
    if rows.weights is not None and knowledge.pool_weights is not None:
        weights = np.concatenate([rows.weights, knowledge.pool_weights])
    share = labeled_weight
    if share == "auto":
        # Rows that weigh nothing are as good as absent.
        counted = np.ones(len(labels)) if weights is None else np.sign(weights)
        share = float(counted[:n_labeled].sum()) / float(counted.sum())
        least, most = AUTO_LABELED_WEIGHTS
        share = float(np.clip(share, least, 1.0 if rows.labels_join else most))
    return Lesson(
        labeled=rows.labeled_rows,
        pool=knowledge.pool,
        y=codes,
        loss=objective.loss,
        targets=targets,
        weights=weights,
        labeled_share=float(share),
        refresh=objective.refresh,
        labels_join=rows.labels_join,
    )

"""Peers: small networks that label rows beside a teacher."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from torch import Tensor

from sklearn_slam._fit_rows import FitRows
from sklearn_slam._losses import cross_entropy
from sklearn_slam._progress import Progress
from sklearn_slam._rows import Rows
from sklearn_slam._student import Lesson
from sklearn_slam._teacher import check_folds_cover
from sklearn_slam.students import MLPStudent

PEER: dict[str, Any] = {
    "hidden_layer_sizes": (128, 128),
    "dropout": 0.3,
    "lr": 3e-3,
    "early_stopping": False,
}
PEER_EPOCHS, MAX_ROWS_BY_EPOCHS = 80, 10_000
"""A peer sees few rows and is trained in less time than a student; with more rows, as
many steps as a student's are fewer epochs."""


def cross_fit_peers(
    preprocessor: Any,
    rows: FitRows,
    codes: NDArray[np.intp],
    classes: NDArray[Any],
    folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]],
    labeled_proba: NDArray[np.float32],
    pool_proba: NDArray[np.float32],
    device: str | None,
    random_state: int,
    progress: Progress,
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return what peers say of labeled rows new to them, and of the pool.

    Parameters
    ----------
    preprocessor : transformer or None
        The student's. It is fitted once, as for the student: without labels, it tells
        a peer nothing of the labels that it is to predict.
    rows : FitRows
    codes : ndarray of int, shape (n_labeled,)
        Index of each labeled row's class.
    classes : ndarray of shape (n_classes,)
    folds : list of (train, test)
        Each labeled row is in at least one test part.
    labeled_proba, pool_proba : ndarray of shape (n_rows, n_classes)
        The teacher's, which stand where a peer has seen no row of a class.
    device : str or None
    random_state : int
    progress : Progress
        Told of each fold.

    Returns
    -------
    labeled, pool : ndarray of float32, shape (n_rows, n_classes)
        Averaged over the peers that a row is new to. None in the place of both where
        the preprocessing learns from labels.
    """
    check_folds_cover(folds, len(codes))
    n_labeled, n_pool = len(codes), len(pool_proba)
    few = n_labeled <= MAX_ROWS_BY_EPOCHS
    peer = MLPStudent(
        **PEER,
        max_epochs=PEER_EPOCHS if few else "auto",
        preprocessor=preprocessor,
        device=device,
        random_state=random_state,
    )
    lesson = Lesson(
        labeled=Rows.of(rows.X_labeled),
        pool=Rows(()),
        y=codes,
        loss=cross_entropy,
        targets={"labels": torch.eye(len(classes))[torch.from_numpy(codes)]},
        weights=None,
        labeled_share=1.0,
    )
    rng = check_random_state(random_state)
    source = peer._encode_lesson(replace(lesson, pool=rows.pool), classes, rng)
    if peer._preprocessed_by_labels:
        return None
    weights = np.ones(n_labeled) if rows.weights is None else rows.weights
    at_pool = torch.arange(n_labeled, n_labeled + n_pool)
    labeled, pool = np.zeros_like(labeled_proba), np.zeros_like(pool_proba)
    times = np.zeros((n_labeled, 1), dtype=np.float32)
    with progress.part("cross-fit peers", "fold", len(folds)) as part:
        for train, test in folds:
            part.begin()
            # A row that weighs nothing is not learned from.
            of_fold = weights * np.bincount(train, minlength=n_labeled)
            learner = copy.copy(peer)
            training = learner._learn(
                source, replace(lesson, weights=of_fold), rng, Progress()
            )
            if learner._interrupted:
                raise KeyboardInterrupt
            known = np.bincount(codes[of_fold > 0], minlength=len(classes)) > 0
            of_test = training.logits_at(learner.net_, torch.from_numpy(test))
            labeled[test] += _fill_in(of_test, known, labeled_proba[test])
            times[test] += 1
            if n_pool:
                of_pool = training.logits_at(learner.net_, at_pool)
                pool += _fill_in(of_pool, known, pool_proba)
            part.end()
    labeled /= times
    pool /= len(folds)
    return labeled, pool


def _fill_in(
    logits: Tensor, known: NDArray[np.bool_], of_teacher: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a peer's probabilities, the teacher's for classes it has not seen."""
    seen = torch.where(torch.from_numpy(known), logits, -torch.inf)
    proba = torch.softmax(seen, dim=1).numpy()
    unseen = np.where(known, 0.0, of_teacher).astype(np.float32)
    return proba * (1.0 - unseen.sum(axis=1, keepdims=True)) + unseen

"""Peers: models of other kinds that label rows beside a teacher."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils import check_random_state

from sklearn_slam._encoding import TableEncoder
from sklearn_slam._fit_rows import FitRows
from sklearn_slam._losses import cross_entropy
from sklearn_slam._progress import Progress
from sklearn_slam._rows import CHUNK_ROWS, Rows
from sklearn_slam._soft_labels import combined, combining_exponents
from sklearn_slam._student import Lesson
from sklearn_slam._teacher import check_folds_cover
from sklearn_slam._training import BatchSource, SparseRows
from sklearn_slam._validation import align_proba
from sklearn_slam.students import MLPStudent

NETWORK: dict[str, Any] = {
    "hidden_layer_sizes": (128, 128),
    "dropout": 0.3,
    "lr": 3e-3,
    "max_epochs": 80,
    "early_stopping": False,
}
"""It sees few rows, and is trained in less time than a student."""

MAX_TREES, FOREST_NUMBERS = 100, 2e7
"""Trees of a forest, and the numbers that one may hold; several forests are held at
once. A fully grown tree has about as many nodes as it has seen rows."""

NUMBERS_PER_NODE = 8
"""Beside one for each class."""

Predicts = Callable[[NDArray[np.intp]], NDArray[np.float32]]
"""From positions of encoded rows to probabilities of all classes."""

Learns = Callable[[NDArray[np.float64]], Predicts]
"""From weights of the labeled rows to a model's predictions."""


@dataclass(frozen=True)
class Peer:
    """A model of one fold, and which classes it has seen."""

    predict: Predicts
    known: NDArray[np.bool_]

    def says(
        self, at: NDArray[np.intp], of_teacher: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return probabilities of rows, the teacher's for classes not seen."""
        proba = self.predict(at)
        if self.known.all():
            return proba
        proba = proba * self.known
        proba /= proba.sum(axis=1, keepdims=True)
        unseen = np.where(self.known, np.float32(0.0), of_teacher)
        return proba * (1.0 - unseen.sum(axis=1, keepdims=True)) + unseen


def label_with_peers(
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
    """Return the labels of a teacher combined with those of its peers.

    Peers are a network, a linear model and trees: models whose errors differ. Each is
    cross-fitted on the labeled rows; how much it counts is read off the rows that it
    did not learn from. The pool is labeled by the mean over the folds' models.

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
        The teacher's, of rows that it did not learn from.
    device : str or None
    random_state : int
    progress : Progress
        Told of each fold.

    Returns
    -------
    labeled, pool : ndarray of float32, shape (n_rows, n_classes)
        None in the place of both where the preprocessing learns from labels.

    Raises
    ------
    ValueError
        If weights leave a fold fewer than two classes to learn from.
    """
    check_folds_cover(folds, len(codes))
    network = MLPStudent(
        **NETWORK, preprocessor=preprocessor, device=device, random_state=random_state
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
    source = network._encode_lesson(replace(lesson, pool=rows.pool), classes, rng)
    if network._preprocessed_by_labels:
        return None
    kinds = _make_kinds(network, source, lesson, rng)
    peers, of_labeled = _cross_fit(
        kinds, folds, codes, rows.weights, labeled_proba, progress
    )
    sources = [labeled_proba, *of_labeled]
    exponents = combining_exponents(sources, codes, rows.weights)
    pool = np.empty_like(pool_proba)
    for start in range(0, len(pool), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        of_teacher = pool_proba[chunk]
        at = np.arange(len(of_teacher)) + start + len(codes)
        said = [
            np.mean([peer.says(at, of_teacher) for peer in of_kind], axis=0)
            for of_kind in peers
        ]
        pool[chunk] = combined([of_teacher, *said], exponents)
    return combined(sources, exponents), pool


def _make_kinds(
    network: MLPStudent, source: BatchSource, lesson: Lesson, rng: np.random.RandomState
) -> list[Learns]:
    """Return how each kind of peer learns from encoded rows, labeled ones first."""
    n_classes = len(network.classes_)
    fit = partial(
        _fit_classifier,
        source=source,
        codes=lesson.y,
        classes=np.arange(n_classes),
        rng=rng,
    )
    forest = ExtraTreesClassifier(_n_trees(len(lesson.y), n_classes))
    indicators = _indicators(network.encoder_, source)
    return [
        partial(_train_network, network, source=source, lesson=lesson, rng=rng),
        partial(fit, forest, None),
        partial(fit, LogisticRegression(max_iter=200), indicators),
    ]


def _cross_fit(
    kinds: list[Learns],
    folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]],
    codes: NDArray[np.intp],
    weights: NDArray[np.float64] | None,
    of_teacher: NDArray[np.float32],
    progress: Progress,
) -> tuple[list[list[Peer]], NDArray[np.float32]]:
    """Return each kind's peers, and what they say of labeled rows new to them."""
    n_labeled, n_classes = of_teacher.shape
    weights = np.ones(n_labeled) if weights is None else weights / weights.mean()
    peers: list[list[Peer]] = [[] for _ in kinds]
    labeled = np.zeros((len(kinds), n_labeled, n_classes), dtype=np.float32)
    times = np.zeros((n_labeled, 1), dtype=np.float32)
    with progress.part("cross-fit peers", "fold", len(folds)) as part:
        for train, test in folds:
            part.begin()
            # A row that weighs nothing is not learned from.
            of_fold = weights * np.bincount(train, minlength=n_labeled)
            known = _find_known(codes[of_fold > 0], n_classes)
            for kind, learn in enumerate(kinds):
                peer = Peer(learn(of_fold), known)
                labeled[kind, test] += peer.says(test, of_teacher[test])
                peers[kind].append(peer)
            times[test] += 1
            part.end()
    labeled /= times
    return peers, labeled


def _train_network(
    network: MLPStudent,
    weights: NDArray[np.float64],
    *,
    source: BatchSource,
    lesson: Lesson,
    rng: np.random.RandomState,
) -> Predicts:
    """Train a copy of a network whose preprocessing is fitted."""
    learner = copy.copy(network)
    training = learner._learn(source, replace(lesson, weights=weights), rng, Progress())
    if learner._interrupted:
        raise KeyboardInterrupt

    def predict(at: NDArray[np.intp]) -> NDArray[np.float32]:
        logits = training.logits_at(learner.net_, torch.from_numpy(at))
        return torch.softmax(logits, dim=1).numpy()

    return predict


def _fit_classifier(
    classifier: Any,
    columns: Any,
    weights: NDArray[np.float64],
    *,
    source: BatchSource,
    codes: NDArray[np.intp],
    classes: NDArray[np.intp],
    rng: np.random.RandomState,
) -> Predicts:
    """Fit a clone of a classifier to encoded rows, as ``columns`` transforms them."""

    def rows_at(at: NDArray[np.intp]) -> Any:
        # Sparse rows stay sparse.
        if isinstance(source, SparseRows):
            return source.X[at]
        rows = source.batch(torch.from_numpy(at)).numpy()
        return rows if columns is None else columns.transform(rows)

    seed = int(rng.randint(np.iinfo(np.int32).max))
    model = clone(classifier).set_params(random_state=seed)
    (learned,) = np.nonzero(weights)
    with warnings.catch_warnings():
        # A linear model that has nearly converged serves as well.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows_at(learned), codes[learned], sample_weight=weights[learned])

    def predict(at: NDArray[np.intp]) -> NDArray[np.float32]:
        return align_proba(model.predict_proba(rows_at(at)), model.classes_, classes)

    return predict


def _find_known(codes: NDArray[np.intp], n_classes: int) -> NDArray[np.bool_]:
    """Mark the classes of a fold's rows; raise where they are too few to learn."""
    known = np.bincount(codes, minlength=n_classes) > 0
    if known.sum() < 2:
        raise ValueError(
            "The labeled rows of a training part of cv that weigh more than 0 are of "
            "fewer than two classes, from which peers learn nothing. Change "
            "sample_weight or cv, or pass peers=False."
        )
    return known


def _n_trees(n_rows: int, n_classes: int) -> int:
    """Return how many trees a forest has, fewer where they would be large."""
    of_tree = n_rows * (n_classes + NUMBERS_PER_NODE)
    return int(np.clip(FOREST_NUMBERS / of_tree, 10, MAX_TREES))


def _indicators(encoder: TableEncoder, source: BatchSource) -> Any:
    """Return a transformer of columns of codes to indicators, None without any."""
    n_numeric, sizes = encoder.n_numeric_, encoder.n_categories_
    if not sizes:
        return None
    categories = [np.arange(size, dtype=np.float32) for size in sizes]
    codes = np.arange(n_numeric, n_numeric + len(sizes))
    return make_column_transformer(
        (OneHotEncoder(categories=categories, dtype=np.float32), codes),
        remainder="passthrough",
    ).fit(source.batch(torch.arange(1)).numpy())

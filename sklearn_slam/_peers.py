"""Peers: models of other kinds that label rows beside a teacher."""

from __future__ import annotations

import copy
import math
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
from sklearn_slam._folds import Folds, check_folds, times_tested
from sklearn_slam._lesson import Lesson
from sklearn_slam._module_student import AUTO_BATCH_SIZES, auto_batch_size
from sklearn_slam._progress import Progress
from sklearn_slam._rows import CHUNK_ROWS
from sklearn_slam._soft_labels import combined, combining_exponents
from sklearn_slam._training import RowsInMemory, in_memory
from sklearn_slam._validation import align_proba, relative_weights
from sklearn_slam.students import MLPStudent

NETWORK: dict[str, Any] = {
    "hidden_layer_sizes": (128, 128),
    "dropout": 0.3,
    "max_epochs": 80,
    "early_stopping": False,
}
"""It sees few rows, and is trained in less time than a student."""

LEAST_LR = 3e-3
"""With the smallest batches. These grow with the root of the number of labeled rows,
and the rate with theirs: a student's smaller batches of some hundred rows take longer
and teach no more."""

LEAST_TREES, MAX_TREES = 10, 100
FOREST_NUMBERS, NUMBERS_PER_NODE = 4e7, 8
"""Numbers that a forest may hold, and those of a node beside one for each class. A
fully grown tree has up to two nodes for each row. Without room for the least number of
trees there is no forest."""

MAX_COEFFICIENTS = 2_000_000
"""Of a linear model, of which the optimizer holds some 25 copies."""

POOL_NUMBERS = 1_000_000
"""Probabilities of the pool handled at once."""

Predicts = Callable[[RowsInMemory], NDArray[np.float32]]
"""From encoded rows to probabilities of all classes."""

Learns = Callable[[NDArray[np.float64]], Predicts]
"""From weights of the labeled rows to a model's predictions."""


@dataclass(frozen=True)
class Peer:
    """A model, and which classes it has seen."""

    predict: Predicts
    known: NDArray[np.bool_]

    def says(
        self, block: RowsInMemory, of_teacher: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return probabilities of rows, the teacher's for classes not seen."""
        proba = self.predict(block)
        if self.known.all():
            return proba
        proba = proba * self.known
        proba /= proba.sum(axis=1, keepdims=True)
        unseen = np.where(self.known, np.float32(0.0), of_teacher)
        # A teacher's probabilities may be rounded, and sum to a little more than 1.
        left = np.maximum(1.0 - unseen.sum(axis=1, keepdims=True), 0.0)
        return proba * left + unseen


def label_with_peers(
    preprocessor: Any,
    rows: FitRows,
    codes: NDArray[np.intp],
    classes: NDArray[Any],
    folds: Folds,
    labeled_proba: NDArray[np.float32],
    pool_proba: NDArray[np.float32],
    device: str | None,
    n_jobs: int | None,
    random_state: int,
    progress: Progress,
) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, float]] | None:
    """Return the labels of a teacher combined with those of its peers.

    Peers are a network, a linear model and trees: models whose errors differ. As a
    teacher, each is cross-fitted on the labeled rows, which tells how much it counts,
    and then fitted on all of them, to label the pool.

    Parameters
    ----------
    preprocessor : transformer or None
        The student's. It is fitted on all rows, not fold by fold: without labels, it
        tells a peer nothing of the labels that it is to predict.
    rows : FitRows
    codes : ndarray of int, shape (n_labeled,)
        Index of each labeled row's class.
    classes : ndarray of shape (n_classes,)
    folds : list of (train, test)
        Each labeled row is in at least one test part.
    labeled_proba, pool_proba : ndarray of shape (n_rows, n_classes)
        The teacher's, of rows that it did not learn from.
    device : str or None
    n_jobs : int or None
        Trees of a forest fitted or asked at once.
    random_state : int
    progress : Progress
        Told of each fold, the fit on all rows, and each block of the pool.

    Returns
    -------
    labeled, pool : ndarray of float32, shape (n_rows, n_classes)
        None in the place of all where the preprocessing learns from labels.
    label_weights : dict of str to float
        Exponents of the teacher and of each kind of peer.

    Raises
    ------
    ValueError
        If weights leave a fold fewer than two classes to learn from.
    """
    check_folds(folds, codes)
    batch_size = auto_batch_size(4 * math.sqrt(len(codes)))
    network = MLPStudent(
        **NETWORK,
        batch_size=batch_size,
        lr=LEAST_LR * math.sqrt(batch_size / AUTO_BATCH_SIZES[0]),
        preprocessor=preprocessor,
        device=device,
        random_state=random_state,
    )
    lesson = Lesson.of_labels(rows.labeled_rows, codes, len(classes))
    network._fit_preprocessing(lesson.labeled, rows.pool, codes, classes)
    if network._preprocessed_by_labels:
        return None
    labeled = in_memory(network._read(rows.X_labeled))
    rng = check_random_state(random_state)
    kinds = _make_kinds(network, labeled, lesson, n_jobs, rng)
    weights = relative_weights(rows.weights, len(codes))
    learners = list(kinds.values())
    of_labeled = _cross_fit(
        learners, labeled, folds, codes, weights, labeled_proba, progress
    )
    sources = [labeled_proba, *of_labeled]
    exponents = combining_exponents(sources, codes, rows.weights)
    with progress.part("fit peers", "fit", 1) as part:
        part.begin()
        peers = _fit(learners, codes, weights, len(classes))
        part.end()
    pool = np.empty_like(pool_proba)
    size = min(CHUNK_ROWS, 1 + POOL_NUMBERS // len(classes))
    with progress.part("ask peers", "chunk", rows.pool.n_chunks(size)) as part:
        for table, place in rows.pool.chunks(size):
            part.begin()
            block, of_teacher = in_memory(network._read(table)), pool_proba[place]
            said = [peer.says(block, of_teacher) for peer in peers]
            pool[place] = combined([of_teacher, *said], exponents)
            part.end()
    names = ["teacher", *kinds]
    label_weights = dict(zip(names, exponents.tolist(), strict=True))
    labeled_proba = _combined_out_of_fold(sources, folds, codes, rows.weights)
    return labeled_proba, pool, label_weights


def _make_kinds(
    network: MLPStudent,
    labeled: RowsInMemory,
    lesson: Lesson,
    n_jobs: int | None,
    rng: np.random.RandomState,
) -> dict[str, Learns]:
    """Return by name how each kind of peer learns from encoded labeled rows."""
    n_rows, n_classes = len(labeled), len(network.classes_)
    kinds: dict[str, Learns] = {
        "network": partial(
            _train_network, network, source=labeled, lesson=lesson, rng=rng
        )
    }
    fit = partial(
        _fit_classifier,
        labeled=labeled,
        codes=lesson.y,
        classes=np.arange(n_classes),
        rng=rng,
    )
    of_tree = 2 * n_rows * (n_classes + NUMBERS_PER_NODE)
    n_trees = min(MAX_TREES, int(FOREST_NUMBERS // of_tree))
    if n_trees >= LEAST_TREES:
        kinds["trees"] = partial(
            fit, ExtraTreesClassifier(n_trees, n_jobs=n_jobs), None
        )
    encoder = network.encoder_
    n_columns = encoder.n_numeric_ + sum(encoder.n_categories_)
    if n_columns * n_classes <= MAX_COEFFICIENTS:
        indicators = _indicators(encoder)
        kinds["linear"] = partial(fit, LogisticRegression(max_iter=200), indicators)
    return kinds


def _fit(
    kinds: list[Learns],
    codes: NDArray[np.intp],
    weights: NDArray[np.float64],
    n_classes: int,
) -> list[Peer]:
    """Return a peer of each kind, fitted on the rows that weigh something."""
    known = np.bincount(codes[weights > 0], minlength=n_classes) > 0
    if known.sum() < 2:
        raise ValueError(
            "The labeled rows of a training part of cv that weigh more than 0 are of "
            "fewer than two classes, from which peers learn nothing. Change "
            "sample_weight or cv, or pass peers=False."
        )
    return [Peer(learn(weights), known) for learn in kinds]


def _cross_fit(
    kinds: list[Learns],
    block: RowsInMemory,
    folds: Folds,
    codes: NDArray[np.intp],
    weights: NDArray[np.float64],
    of_teacher: NDArray[np.float32],
    progress: Progress,
) -> NDArray[np.float32]:
    """Return what peers of each kind say of labeled rows new to them."""
    n_labeled, n_classes = of_teacher.shape
    labeled = np.zeros((len(kinds), n_labeled, n_classes), dtype=np.float32)
    with progress.part("cross-fit peers", "fold", len(folds)) as part:
        for train, test in folds:
            part.begin()
            of_fold = weights * np.bincount(train, minlength=n_labeled)
            rows = block.take(test)
            for said, peer in zip(
                labeled, _fit(kinds, codes, of_fold, n_classes), strict=True
            ):
                said[test] += peer.says(rows, of_teacher[test])
            part.end()
    labeled /= times_tested(folds, n_labeled)[:, None]
    return labeled


def _combined_out_of_fold(
    sources: list[NDArray[np.float32]],
    folds: Folds,
    codes: NDArray[np.intp],
    weights: NDArray[np.float64] | None,
) -> NDArray[np.float32]:
    """Combine labels by exponents that the other folds tell.

    On the rows that exponents are fitted to, what they combine looks calibrated however
    few these are, and righter than on any others.
    """
    labeled = np.zeros_like(sources[0])
    for train, test in folds:
        exponents = combining_exponents(
            [source[train] for source in sources],
            codes[train],
            None if weights is None else weights[train],
        )
        labeled[test] += combined([source[test] for source in sources], exponents)
    labeled /= times_tested(folds, len(codes))[:, None]
    return labeled


def _train_network(
    network: MLPStudent,
    weights: NDArray[np.float64],
    *,
    source: RowsInMemory,
    lesson: Lesson,
    rng: np.random.RandomState,
) -> Predicts:
    """Train a copy of a network whose preprocessing is fitted."""
    learner = copy.copy(network)
    training = learner._learn(source, replace(lesson, weights=weights), rng, Progress())
    if learner._interrupted:
        raise KeyboardInterrupt

    def predict(block: RowsInMemory) -> NDArray[np.float32]:
        of_block = replace(training, source=block)
        logits = of_block.logits_at(learner.net_, torch.arange(len(block)))
        return torch.softmax(logits, dim=1).numpy()

    return predict


def _fit_classifier(
    classifier: Any,
    columns: Any,
    weights: NDArray[np.float64],
    *,
    labeled: RowsInMemory,
    codes: NDArray[np.intp],
    classes: NDArray[np.intp],
    rng: np.random.RandomState,
) -> Predicts:
    """Fit a clone of a classifier to encoded rows, as ``columns`` transforms them."""

    def table(block: RowsInMemory) -> Any:
        return block.table if columns is None else columns.transform(block.table)

    seed = int(rng.randint(np.iinfo(np.int32).max))
    model = clone(classifier).set_params(random_state=seed)
    (at,) = np.nonzero(weights)
    with warnings.catch_warnings():
        # A linear model that has nearly converged serves as well, and what labels are
        # of many classes are classes all the same.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes")
        model.fit(table(labeled.take(at)), codes[at], sample_weight=weights[at])

    def predict(block: RowsInMemory) -> NDArray[np.float32]:
        return align_proba(model.predict_proba(table(block)), model.classes_, classes)

    return predict


def _indicators(encoder: TableEncoder) -> Any:
    """Return a transformer of columns of codes to indicators, None without any."""
    n_numeric, sizes = encoder.n_numeric_, encoder.n_categories_
    if not sizes:
        return None
    categories = [np.arange(size, dtype=np.float32) for size in sizes]
    codes = np.arange(n_numeric, n_numeric + len(sizes))
    transformer = make_column_transformer(
        (OneHotEncoder(categories=categories, dtype=np.float32), codes),
        remainder="passthrough",
    ).set_output(transform="default")
    return transformer.fit(np.zeros((1, n_numeric + len(sizes)), dtype=np.float32))

"""Peers: models of other kinds that label rows beside a teacher."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
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

Says = Callable[[NDArray[np.intp], NDArray[np.float32]], NDArray[np.float32]]
"""From positions of encoded rows, and what the teacher says of them, to a peer's
probabilities: the teacher's for classes that the peer has seen no row of."""


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
        If a fold has fewer than two classes to learn from.
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
    n_labeled, n_classes = labeled_proba.shape
    forest = ExtraTreesClassifier(_n_trees(n_labeled, n_classes))
    indicators = _indicators(network.encoder_, source)
    kinds = [
        partial(_train_network, network, source, lesson),
        partial(_fit_classifier, forest, source, codes, None),
        partial(
            _fit_classifier, LogisticRegression(max_iter=200), source, codes, indicators
        ),
    ]
    models: list[list[Says]] = [[] for _ in kinds]
    labeled = np.zeros((len(kinds), n_labeled, n_classes), dtype=np.float32)
    times = np.zeros((n_labeled, 1), dtype=np.float32)
    weights = np.ones(n_labeled) if rows.weights is None else rows.weights
    weights = weights / weights.mean()
    with progress.part("cross-fit peers", "fold", len(folds)) as part:
        for train, test in folds:
            part.begin()
            # A row that weighs nothing is not learned from.
            of_fold = weights * np.bincount(train, minlength=n_labeled)
            known = _find_known(codes[of_fold > 0], n_classes)
            for kind, fit in enumerate(kinds):
                says = fit(of_fold, known, rng)
                labeled[kind, test] += says(test, labeled_proba[test])
                models[kind].append(says)
            times[test] += 1
            part.end()
    labeled /= times
    exponents = combining_exponents([labeled_proba, *labeled], codes, rows.weights)
    pool = np.empty_like(pool_proba)
    for start in range(0, len(pool), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        of_teacher = pool_proba[chunk]
        at = np.arange(n_labeled + start, n_labeled + start + len(of_teacher))
        said = [
            np.mean([says(at, of_teacher) for says in of_folds], axis=0)
            for of_folds in models
        ]
        pool[chunk] = combined([of_teacher, *said], exponents)
    return combined([labeled_proba, *labeled], exponents), pool


def _train_network(
    network: MLPStudent,
    source: BatchSource,
    lesson: Lesson,
    weights: NDArray[np.float64],
    known: NDArray[np.bool_],
    rng: np.random.RandomState,
) -> Says:
    """Train a copy of a network whose preprocessing is fitted."""
    learner = copy.copy(network)
    training = learner._learn(source, replace(lesson, weights=weights), rng, Progress())
    if learner._interrupted:
        raise KeyboardInterrupt

    def says(
        at: NDArray[np.intp], of_teacher: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        logits = training.logits_at(learner.net_, torch.from_numpy(at))
        seen = torch.where(torch.from_numpy(known), logits, -torch.inf)
        return _fill_in(torch.softmax(seen, dim=1).numpy(), known, of_teacher)

    return says


def _fit_classifier(
    classifier: Any,
    source: BatchSource,
    codes: NDArray[np.intp],
    columns: Any,
    weights: NDArray[np.float64],
    known: NDArray[np.bool_],
    rng: np.random.RandomState,
) -> Says:
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

    def says(
        at: NDArray[np.intp], of_teacher: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        proba = model.predict_proba(rows_at(at))
        aligned = align_proba(proba, model.classes_, np.arange(len(known)))
        return _fill_in(aligned, known, of_teacher)

    return says


def _fill_in(
    proba: NDArray[np.float32],
    known: NDArray[np.bool_],
    of_teacher: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Leave to the teacher what classes get that a peer has not seen."""
    unseen = np.where(known, 0.0, of_teacher).astype(np.float32)
    return proba * (1.0 - unseen.sum(axis=1, keepdims=True)) + unseen


def _find_known(codes: NDArray[np.intp], n_classes: int) -> NDArray[np.bool_]:
    """Mark the classes of a fold's rows; raise where they are too few to learn."""
    known = np.bincount(codes, minlength=n_classes) > 0
    if known.sum() < 2:
        raise ValueError(
            "A training part of cv has labeled rows of fewer than two classes (rows of "
            "weight 0 do not count), from which peers learn nothing. Use a cv that "
            "stratifies or shuffles, or pass peers=False."
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

"""The rows of one fit: checked, and labeled ones told from the pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_slam._rows import Rows, container, take_rows
from sklearn_slam._tables import (
    as_array,
    check_pool_matches,
    compare_with_pool,
    validate_table,
)
from sklearn_slam._validation import check_weights, split_labels
from sklearn_slam._warn import warn
from sklearn_slam.model_selection import UnlabeledPool


@dataclass(frozen=True)
class FitRows:
    """The validated rows of one fit: labeled ones, and the parts of the pool.

    Parameters
    ----------
    X : table
        All rows of X.
    X_labeled : table
        Its labeled rows.
    labels : ndarray of shape (n_labeled,)
    labeled_at, unlabeled_at : ndarray of int
        Their positions, and those of the other rows, in X.
    X_unlabeled : table or None
        The pool beside X.
    weights : ndarray of shape (n_labeled,) or None
    pool_weights : ndarray of shape (n_pool,) or None
        None where ``weights`` is.
    """

    X: Any
    X_labeled: Any
    labels: NDArray[Any]
    labeled_at: NDArray[np.intp]
    unlabeled_at: NDArray[np.intp]
    X_unlabeled: Any
    weights: NDArray[np.float64] | None
    pool_weights: NDArray[np.float64] | None

    @property
    def has_nan(self) -> bool:
        """Whether an array among them misses values."""
        tables = [self.X] if self.X_unlabeled is None else [self.X, self.X_unlabeled]
        return any(
            np.isnan(chunk).any()
            for X in tables
            if container(X) == "array" and X.dtype.kind == "f"
            for chunk, _ in Rows.of(X).chunks()
        )

    @property
    def pool(self) -> Rows:
        """The pool: rows of X without a label, then those of X_unlabeled."""
        return self.unlabeled_rows + self.beside_rows

    @property
    def labeled_rows(self) -> Rows:
        """The rows of X with a label."""
        return Rows.of(self.X_labeled)

    @property
    def unlabeled_rows(self) -> Rows:
        """The rows of X without a label."""
        if not len(self.unlabeled_at):
            return Rows(())
        return Rows(((self.X, self.unlabeled_at),))

    @property
    def beside_rows(self) -> Rows:
        """The rows of X_unlabeled."""
        return Rows(()) if self.X_unlabeled is None else Rows.of(self.X_unlabeled)

    @property
    def labels_join(self) -> bool:
        """Whether labeled rows serve as pool rows, too: where pool rows are fewer.

        A student learns few pool rows by heart. What teachers say of labeled rows that
        are new to them is a pool as well. Rows that weigh nothing do not count.
        """
        n_pool, n_labeled = (
            len(part) if weights is None else int(np.count_nonzero(weights))
            for part, weights in (
                (self.pool, self.pool_weights),
                (self.labels, self.weights),
            )
        )
        return n_pool < n_labeled


def unwrap(held: Any) -> Any:
    """Return what an :class:`UnlabeledPool` holds, and anything else as it is."""
    return held.X if isinstance(held, UnlabeledPool) else held


def validate_fit_rows(
    estimator: Any,
    X: Any,
    y: Any,
    X_unlabeled: Any,
    sample_weight: Any,
    sample_weight_unlabeled: Any,
    groups: Any,
    *,
    unlabeled_label: Any,
    allow_nan: bool,
    numeric: bool,
) -> FitRows:
    """Check the tables, labels, weights and groups of a fit against each other.

    Parameters
    ----------
    estimator : estimator
        Records names and number of the features.
    X, y, X_unlabeled, sample_weight, sample_weight_unlabeled, groups : object
        As given to ``fit``.
    unlabeled_label : object
        A label that marks unlabeled rows.
    allow_nan, numeric : bool
        As in :func:`~sklearn_slam._tables.validate_table`.
    """

    def validated(table: Any, *, reset: bool, name: str) -> Any:
        checks = {"allow_nan": allow_nan, "numeric": numeric}
        try:
            return validate_table(estimator, table, reset=reset, name=name, **checks)
        except ValueError as error:
            if not allow_nan and "NaN" in str(error):
                error.add_note(
                    "The student takes no missing values: put an imputer in front, "
                    "student=make_pipeline(SimpleImputer(), StandardScaler(), module)."
                )
            raise

    X = validated(X, reset=True, name="X")
    n_rows, n_beside = X.shape[0], 0
    pool = unwrap(X_unlabeled)
    if pool is not None:
        pool = pool if hasattr(pool, "shape") else as_array(pool, "X_unlabeled")
        check_pool_matches(X, pool)
        pool = validated(pool, reset=False, name="X_unlabeled")
        n_beside = pool.shape[0]
    has_label, labels = split_labels(y, unlabeled_label, n_rows=n_rows)
    if not len(labels):
        raise ValueError(
            "y has no labeled row; some labels are needed to estimate how often the "
            "teacher is right."
        )
    if groups is not None and np.shape(groups) != (n_rows,):
        raise ValueError(
            f"groups has shape {np.shape(groups)}, expected ({n_rows},): one group for "
            "each row of X, unlabeled ones included."
        )
    (labeled_at,), (unlabeled_at,) = np.nonzero(has_label), np.nonzero(~has_label)
    weights, pool_weights = _split_weights(
        check_weights(sample_weight, n_rows, "sample_weight"),
        check_weights(
            unwrap(sample_weight_unlabeled), n_beside, "sample_weight_unlabeled"
        ),
        has_label,
        n_beside,
    )
    if pool is not None:
        if unlabeled_label is not None and not len(unlabeled_at):
            warn(f"unlabeled_label={unlabeled_label!r} is in no row of y.")
        if n_beside == n_rows and not isinstance(X_unlabeled, UnlabeledPool):
            _warn_about_cut(n_rows)
        compare_with_pool(X, pool)
    return FitRows(
        X=X,
        X_labeled=take_rows(X, labeled_at) if len(unlabeled_at) else X,
        labels=labels,
        labeled_at=labeled_at,
        unlabeled_at=unlabeled_at,
        X_unlabeled=pool,
        weights=weights,
        pool_weights=pool_weights,
    )


def _split_weights(
    weights: NDArray[np.float64] | None,
    beside: NDArray[np.float64] | None,
    has_label: NDArray[np.bool_],
    n_beside: int,
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return weights of labeled rows and of the pool: both, or none."""
    if weights is None and beside is None:
        return None, None
    weights = np.ones(len(has_label)) if weights is None else weights
    beside = np.ones(n_beside) if beside is None else beside
    of_labeled, of_pool = weights[has_label], np.append(weights[~has_label], beside)
    # That of X_unlabeled is not 0 by itself: what is left are rows of X.
    for part, of_part in (("labeled", of_labeled), ("unlabeled", of_pool)):
        if len(of_part) and not of_part.any():
            raise ValueError(
                f"sample_weight is zero for every {part} row of X; give some of them a "
                "positive weight, or leave all of them out."
            )
    return of_labeled, of_pool


def _warn_about_cut(n_rows: int) -> None:
    """Warn of a pool as long as X, which cross-validation cuts like X."""
    warn(
        f"X_unlabeled has as many rows as X ({n_rows}). In a cross-validation it may "
        "have been cut: scikit-learn cuts every fit argument as long as X. Wrapped in "
        "sklearn_slam.UnlabeledPool it stays whole, also where a Pipeline's "
        "transformer has taken it out since; then ignore this warning."
    )

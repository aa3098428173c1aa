"""Cross-validation with unlabeled rows, and pools that it does not cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import StratifiedKFold, check_cv
from sklearn.utils import check_consistent_length

from sklearn_slam._rows import take_rows
from sklearn_slam._validation import split_labels, warn_about_marks

__all__ = ["SemiSupervisedSplit", "UnlabeledPool"]


class SemiSupervisedSplit(BaseEstimator):
    """Folds that test on labeled rows only and train on all unlabeled ones.

    scikit-learn's splitters put unlabeled rows into test folds, where a missing
    label counts as an error, and refuse a y with NaN. This one splits the labeled
    rows by another splitter and adds every unlabeled row to each training part.

    Parameters
    ----------
    cv : int or splitter, default=5
        Splits the labeled rows; an integer means stratified, shuffled folds.
    unlabeled_label : object, default=None
        A label that marks unlabeled rows, beside missing values.
    random_state : int, RandomState instance or None, default=None
        Decides the folds when ``cv`` is an integer.

    See Also
    --------
    UnlabeledPool : A pool beside X that cross-validation leaves whole.

    Notes
    -----
    ``cross_val_predict`` wants each row in one test part and is not supported with
    unlabeled rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_slam import SemiSupervisedSplit
    >>> X = np.arange(6.0).reshape(6, 1)
    >>> y = np.array([0, 1, 0, 1, np.nan, np.nan])
    >>> for train, test in SemiSupervisedSplit(cv=2, random_state=0).split(X, y):
    ...     print(train, test)
    [0 3 4 5] [1 2]
    [1 2 4 5] [0 3]
    """

    # As scikit-learn's splitters by groups do; which cv is one, only cv knows.
    __metadata_request__split = {"groups": True}  # noqa: RUF012

    def __init__(
        self, cv: Any = 5, *, unlabeled_label: Any = None, random_state: Any = None
    ) -> None:
        self.cv = cv
        self.unlabeled_label = unlabeled_label
        self.random_state = random_state

    def _splitter(self, labels: NDArray[Any] | None = None) -> Any:
        if isinstance(self.cv, Iterator):
            raise ValueError(
                "cv is an iterator, which yields its folds once only; pass "
                "list(cv), or a splitter."
            )
        if isinstance(self.cv, int | np.integer):
            return StratifiedKFold(
                self.cv, shuffle=True, random_state=self.random_state
            )
        return check_cv(self.cv, labels, classifier=True)

    def _take_labeled(
        self, X: Any, y: Any, groups: Any
    ) -> tuple[NDArray[np.bool_], Any, NDArray[Any], NDArray[Any] | None]:
        """Tell which rows are labeled, and return what ``cv`` is to see of them."""
        check_consistent_length(X, y, groups)
        has_label, labels = split_labels(y, self.unlabeled_label)
        (labeled,) = np.nonzero(has_label)
        if not len(labeled):
            raise ValueError("y has no labeled row; there is nothing to test on.")
        warn_about_marks(*np.unique(labels, return_counts=True))
        if groups is not None:
            groups = np.asarray(groups)[labeled]
        X = X.tocsr() if sp.issparse(X) else X
        rows = take_rows(X, labeled) if hasattr(X, "shape") else labeled
        return has_label, rows, labels, groups

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield positions of the rows to train on and to test on.

        Parameters
        ----------
        X : table of shape (n_rows, n_features)
            Rows.
        y : array-like of shape (n_rows,)
            Labels; missing ones mark unlabeled rows.
        groups : array-like of shape (n_rows,), default=None
            Handed to ``cv``, for the labeled rows.

        Yields
        ------
        train : ndarray of int
            Some labeled rows and every unlabeled one, in order.
        test : ndarray of int
            Labeled rows.

        Raises
        ------
        ValueError
            If y is None, no row is labeled, or ``cv`` names a row beyond the labeled.
        """
        if y is None:
            raise ValueError("SemiSupervisedSplit needs y to tell labeled rows.")
        has_label, rows, labels, groups = self._take_labeled(X, y, groups)
        (labeled,), (unlabeled,) = np.nonzero(has_label), np.nonzero(~has_label)
        for train, test in self._splitter(labels).split(rows, labels, groups):
            last = max(np.max(part, initial=0) for part in (train, test))
            if last >= len(labeled):
                raise ValueError(
                    f"cv names row {last}, but there are {len(labeled)} labeled rows. "
                    "Folds that are given count labeled rows only, from 0 on."
                )
            yield np.sort(np.concatenate([labeled[train], unlabeled])), labeled[test]

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups : object, default=None
            Handed to ``cv``; where y is given, for the labeled rows.

        Returns
        -------
        n_splits : int
            As many as ``cv`` makes.

        Raises
        ------
        ValueError
            If y is given and no row is labeled.
        """
        if y is not None:
            _, X, y, groups = self._take_labeled(X, y, groups)
        return int(self._splitter(y).get_n_splits(X, y, groups))


class UnlabeledPool:
    """A pool of unlabeled rows that cross-validation leaves whole.

    scikit-learn cuts every fit argument that has as many rows as X. A pool that
    happens to have as many is then cut, without a word. Wrapped in this holder it
    is not: taking rows of the holder returns the holder.

    Parameters
    ----------
    X : {array-like, sparse matrix, frame} of shape (n_rows, n_features)
        The pool, or what belongs to its rows (teacher's probabilities, weights).

    Notes
    -----
    Transformers that read arrays take the holder too, so it passes a ``Pipeline``
    with ``transform_input=["X_unlabeled"]``. A ``ColumnTransformer`` wants a frame,
    and of a sparse pool no array is made: put the pool into X, with missing labels,
    and use :class:`SemiSupervisedSplit`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_slam import UnlabeledPool
    >>> pool = UnlabeledPool(np.zeros((4, 2)))
    >>> pool[np.array([0, 2])] is pool
    True
    """

    def __init__(self, X: Any) -> None:
        self.X = X

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the pool."""
        return tuple(self.X.shape) if hasattr(self.X, "shape") else np.shape(self.X)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.X)

    def __getitem__(self, rows: Any) -> UnlabeledPool:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if sp.issparse(self.X):
            raise TypeError(
                "UnlabeledPool holds a sparse pool, which is not made dense. In a "
                "Pipeline, pass the sparse matrix itself as X_unlabeled; where one is "
                "cross-validated, put the pool into X, with missing labels, and use "
                "SemiSupervisedSplit."
            )
        rows = np.asarray(self.X, dtype=dtype)
        return rows.copy() if copy else rows

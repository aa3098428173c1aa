"""Tables in, one matrix out: what the default student and teacher see of a row.

Statistics are taken once, at fit; ``transform`` is array code without per-call
validation: for one row at a time, that costs more than the network.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection
from numbers import Number
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from sklearn_slam._rows import (
    columns,
    container,
    is_frame,
    is_missing,
    is_numeric,
    is_temporal,
)
from sklearn_slam._warn import warn

MAX_CATEGORIES = 1_024
"""Categories kept of a column, the most frequent; others count as unknown."""

MAX_BOOSTED = 250
"""The same for gradient boosting, which takes at most 255."""

LEAST_SINGLES, SINGLE_SHARE = 50, 0.5
"""Number, and share, of values that occur once beyond which a column looks like text or
names, not like categories."""

LEAST_UNKNOWN = 10
"""Values of a column to predict, all of them unknown, that are no chance."""

SMOOTH_CLIP = 3.0
"""Scaled numbers z become z / sqrt(1 + (z / 3)^2): linear in the bulk, bounded by
3 in the tails, so that one outlier does not rule the network."""

MAX_BINNED = 1_024
"""Numbers at most that bins add to a row; wider tables have fewer bins a column."""

LEAST_BIN = 0.02
"""Width of a bin at least, in encoded numbers: in narrower ones, what float32 rounds
would show."""

FAR = 1e9
"""Scaled numbers beyond it are at the bound already; their squares may overflow."""


class Coded(BaseEstimator):
    """What gives the categories of columns codes, from 1 on.

    Attributes
    ----------
    codes_ : dict of column to dict of category to int
    """

    codes_: dict[Any, dict[Any, int]]

    def __getstate__(self) -> dict[str, Any]:
        """Return categories as lists: skops keeps no types of keys but text's."""
        state = {**super().__getstate__()}
        if "codes_" in state:
            state["codes_"] = [
                [name, list(codes)] for name, codes in state["codes_"].items()
            ]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Count the categories again."""
        if "codes_" in state:
            codes = {name: _number(categories) for name, categories in state["codes_"]}
            state = {**state, "codes_": codes}
        super().__setstate__(state)


class TableEncoder(Coded):
    """Numbers centred, scaled and softly clipped, categories as codes, in float32.

    The encoded columns are the numeric ones, then an indicator for each numeric
    column that had missing values at fit, then one column of codes for each
    categorical one. Missing numbers become the median; code 0 stands for missing,
    unknown and rare categories. Sparse rows are scaled by each column's largest
    absolute value and stay sparse; a missing entry there has no meaning and is refused.

    Attributes
    ----------
    kind_ : str
        Container of the table seen at fit.
    center_, scale_ : ndarray of shape (n_numbers,)
        Median, and inverse of the spread: the interquartile range over that of
        the standard normal, or the standard deviation where that is 0.
    with_missing_ : ndarray of int
        Numeric columns that had missing values at fit.
    n_numeric_ : int
        Encoded columns that hold numbers or indicators; they come first.
    n_categories_ : list of int
        Number of codes of each column of codes.
    singular_ : list
        Columns of categories that hardly occur twice, such as text or names.
    crowded_ : list
        Other columns of more categories than are kept.
    bin_edges_ : dict of int to list of float
        Quantiles of encoded columns of numbers with more than two values, none of
        sparse rows.
    """

    def __init__(self, n_bins: int = 0) -> None:
        self.n_bins = n_bins

    def fit(self, X: Any) -> TableEncoder:
        """Take the statistics from a table of at most some ten thousand rows."""
        self.kind_ = container(X)
        self.names_: list[Any] | None = None
        self.codes_ = {}
        self.singular_: list[Any] = []
        self.crowded_: list[Any] = []
        self.with_missing_ = np.empty(0, dtype=np.intp)
        self.bin_edges_: dict[int, list[float]] = {}
        if self.kind_ == "sparse":
            _check_entries(X.data)
            # In float64: integers hold no opposite of their least.
            largest = abs(X.astype(np.float64)).max(axis=0)
            self.scale_ = _inverse(np.asarray(largest.todense()).ravel())
            self.n_numeric_ = X.shape[1]
            self.n_categories_: list[int] = []
            return self
        self.columns_ = list(X.columns if is_frame(X) else range(X.shape[1]))
        named = self._columns(X)
        if is_frame(X):
            self._fit_columns(X, named)
        values = self._numbers(X, named)
        self._fit_numbers(values)
        self.n_numeric_ = values.shape[1] + len(self.with_missing_)
        self.n_categories_ = [len(codes) + 1 for codes in self.codes_.values()]
        n_bins = min(self.n_bins, MAX_BINNED // max(1, values.shape[1]))
        if n_bins >= 2:  # one bin would repeat the number itself
            self._fit_bins(self.transform(X)[:, : values.shape[1]], n_bins)
        return self

    def _fit_columns(self, X: Any, named: dict[Any, Any]) -> None:
        """Tell columns of numbers from those of categories, and find the latter."""
        self.names_ = []
        for name, column in named.items():
            # Dates are refused where numbers are read, at fit and after.
            if is_numeric(column) or is_temporal(column):
                self.names_.append(name)
                continue
            counts = _count_categories(column)
            singles = list(counts.values()).count(1)
            if singles > max(LEAST_SINGLES, SINGLE_SHARE * counts.total()):
                self.singular_.append(name)
            elif len(counts) > MAX_CATEGORIES:
                self.crowded_.append(name)
            self.codes_[name] = _frequent_categories(counts)

    def _fit_numbers(self, values: NDArray[np.float64]) -> None:
        """Take center and spread of columns of numbers."""
        self._refuse_infinity(values)
        missing = np.isnan(values)
        # A column without any value is constant: it carries nothing.
        values = np.where(missing.all(axis=0), 0.0, values)
        # Halved, since a difference may exceed what float64 holds.
        lower, center, upper = np.nanquantile(
            values / 2, (0.25, 0.5, 0.75), axis=0, method="linear"
        ).reshape(3, -1)
        self.center_ = 2 * center
        with np.errstate(over="ignore"):
            spread = (upper - lower) * (2 / 1.349)
            spread = np.where(spread > 0, spread, np.nanstd(values, axis=0))
        self.scale_ = _inverse(spread)
        (self.with_missing_,) = np.nonzero(missing.any(axis=0))

    def _fit_bins(self, encoded: NDArray[np.float32], n_bins: int) -> None:
        """Find quantiles of encoded numbers that lie far enough apart."""
        for place, column in enumerate(encoded.T):
            lowest, *others = np.quantile(column, np.linspace(0, 1, n_bins + 1))
            edges = [float(lowest)]
            for edge in others:
                if edge - edges[-1] >= LEAST_BIN:
                    edges.append(float(edge))
            if len(edges) > 2:
                self.bin_edges_[place] = edges

    def transform(self, X: Any) -> Any:
        """Return encoded rows, float32 of shape (n_rows, n_encoded) or CSR.

        Raises
        ------
        ValueError
            If a number is infinite, or missing in a sparse row.
        """
        if self.kind_ == "sparse":
            X = sp.csr_matrix(_numbers(X, list(X.columns)) if is_frame(X) else X)
            _check_entries(X.data)
            return X.multiply(self.scale_).tocsr().astype(np.float32)
        if sp.issparse(X):
            X = X.toarray()
        named = self._columns(X)
        values = self._numbers(X, named)
        encoded = np.empty(
            (len(values), self.n_numeric_ + len(self.codes_)), dtype=np.float32
        )
        n_numbers = values.shape[1]
        numbers = encoded[:, :n_numbers]
        with np.errstate(over="ignore", invalid="ignore"):
            # Centred in float64, for columns whose spread is small beside their
            # values; what follows is relative, and float32 in half the time.
            np.multiply(
                values - self.center_, self.scale_, out=numbers, casting="same_kind"
            )
            squares = np.square(numbers)
            regular = np.isfinite(squares.sum())
        encoded[:, n_numbers : self.n_numeric_] = 0.0
        if not regular:
            self._refuse_infinity(values)
            missing = np.isnan(values)
            encoded[:, n_numbers : self.n_numeric_] = missing[:, self.with_missing_]
            numbers[missing] = 0.0
            np.clip(numbers, -FAR, FAR, out=numbers)
            np.square(numbers, out=squares)
        squares *= SMOOTH_CLIP**-2
        squares += 1.0
        np.sqrt(squares, out=squares)
        numbers /= squares
        for place, (name, codes) in enumerate(self.codes_.items(), self.n_numeric_):
            encoded[:, place] = _encode_categories(named[name], codes)
            if not encoded[:, place].any():
                self._report_unknown(named[name], name)
        return encoded

    def _report_unknown(self, column: Any, name: Any) -> None:
        """Raise, or warn, where none of a column's values is known."""
        values = [value for value in column.to_list() if not is_missing(value)]
        codes = self.codes_[name]
        found, known = _kind(values), _kind(codes)
        if found and known and found != known:
            raise ValueError(
                f"Column {name!r} held {known} at fit and now holds {found} of dtype "
                f"{column.dtype}; convert it to {known}."
            )
        expected = codes and name not in (*self.singular_, *self.crowded_)
        if expected and len(values) >= LEAST_UNKNOWN:
            warn(
                f"Column {name!r} holds no value that fit has seen, such as "
                f"{values[0]!r} beside {next(iter(codes))!r}; all count as unknown. If "
                "they mean the same, write them as at fit."
            )

    def _columns(self, X: Any) -> dict[Any, Any]:
        """Return a frame's columns by their names at fit; they go by position.

        Names that are text were compared before, others are none to scikit-learn.
        """
        if not is_frame(X):
            return {}
        return dict(zip(self.columns_, columns(X), strict=True))

    def _numbers(self, X: Any, named: dict[Any, Any]) -> NDArray[np.float64]:
        """Return the numeric columns as float64, missing values as NaN."""
        if not is_frame(X):
            if self.codes_:
                raise TypeError(
                    "The student was fitted on a frame with categorical columns "
                    f"({list(self.codes_)[:5]}); pass a frame with these columns."
                )
            return np.asarray(X, dtype=np.float64)
        return _numbers(X, self._names_of_numbers, named)

    @property
    def _names_of_numbers(self) -> list[Any]:
        """Names, or positions in arrays, of the columns of numbers."""
        return self.columns_ if self.names_ is None else self.names_

    def _refuse_infinity(self, values: NDArray[np.float64]) -> None:
        """Raise where a number is infinite."""
        (at,) = np.nonzero(np.isinf(values).any(axis=0))
        if len(at):
            raise ValueError(
                f"Input contains infinity in column {self._names_of_numbers[at[0]]!r}; "
                "replace it by a large number or NaN."
            )


class OrdinalColumns(TransformerMixin, Coded):
    """Categories as codes, then numbers as they are: what boosting reads of a table.

    Missing and rare categories are NaN, as are those that were not seen at fit. A
    column of numbers without a value is left out: boosting fails on it.

    Parameters
    ----------
    categorical : list of str
        Names of the columns of categories; told, since some rows may show of a column
        of objects numbers only, or nothing.

    Attributes
    ----------
    filled_ : list of columns
        Names, or positions in arrays, of the numbers.
    """

    def __init__(self, categorical: list[Any]) -> None:
        self.categorical = categorical

    def fit(self, X: Any, y: Any = None) -> OrdinalColumns:
        """Find the categories, and the columns of numbers."""
        self.codes_ = {
            name: _frequent_categories(_count_categories(X[name]), MAX_BOOSTED)
            for name in self.categorical
        }
        names = list(X.columns) if is_frame(X) else range(X.shape[1])
        numbers = [name for name in names if name not in self.codes_]
        filled = ~np.isnan(_numbers(X, numbers)).all(axis=0)
        self.filled_ = [numbers[place] for place in np.flatnonzero(filled)]
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Return float64 of shape (n_rows, n_columns)."""
        codes = np.empty((X.shape[0], len(self.codes_)))
        for place, (name, known) in enumerate(self.codes_.items()):
            codes[:, place] = _encode_categories(X[name], known)
        codes[codes == 0] = np.nan
        return np.hstack([codes - 1, _numbers(X, self.filled_)])


def _numbers(X: Any, names: list[Any], named: Any = None) -> NDArray[np.float64]:
    """Return columns of an array, or of a frame (``named``, or its own) as float64."""
    if not is_frame(X):
        return np.asarray(X, dtype=np.float64)[:, names]
    values = np.empty((X.shape[0], len(names)))
    for place, name in enumerate(names):
        column = (X if named is None else named)[name]
        if is_temporal(column):
            raise TypeError(
                f"Column {name!r} holds dates or times ({column.dtype}), "
                "which the default student and teacher do not read: replace it by "
                "numbers (days since a fixed date, the month, the weekday) "
                "or drop it."
            )
        try:
            values[:, place] = column.to_numpy()
        except (TypeError, ValueError):
            values[:, place] = _read_numbers(column, name)
    return values


def _kind(values: Collection[Any]) -> str | None:
    """Tell whether values are all text, all numbers or all dates."""
    for kind, name in ((str, "text"), (Number, "numbers"), (datetime.date, "dates")):
        if values and all(isinstance(value, kind) for value in values):
            return name
    return None


def _read_numbers(column: Any, name: Any) -> NDArray[np.float64]:
    """Return a column that numpy does not convert by itself as float64, or raise."""
    # pandas' NA has to be told what number to become.
    told = {"dtype": np.float64, "na_value": np.nan} if hasattr(column, "iloc") else {}
    try:
        return np.asarray(column.to_numpy(**told), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Column {name!r} held numbers at fit and is now of dtype {column.dtype} "
            f"({error}); convert it to numbers."
        ) from error


def _check_entries(entries: NDArray[np.floating]) -> None:
    """Raise where an entry of sparse rows is infinite or missing."""
    if np.isinf(entries).any():
        raise ValueError("Input contains infinity; replace it by a large number.")
    if np.isnan(entries).any():
        raise ValueError(
            "Input contains NaN in sparse rows, where most entries are 0 and none "
            "is typical: replace it by 0 or another number, or pass a dense table."
        )


def _inverse(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / spread, and 0 for columns that do not vary enough to have one."""
    inverse = np.zeros(len(spread))
    varies = spread >= np.finfo(np.float64).tiny
    return np.divide(1.0, spread, out=inverse, where=varies)


def _count_categories(column: Any) -> Counter[Any]:
    """Return how often each value of a column occurs."""
    try:
        return Counter(value for value in column.to_list() if not is_missing(value))
    except TypeError as error:
        raise TypeError(
            f"Column {column.name!r} holds values that are no categories ({error}); "
            "replace them by numbers or text, or drop it."
        ) from error


def _frequent_categories(
    counts: Counter[Any], most: int = MAX_CATEGORIES
) -> dict[Any, int]:
    """Return codes from 1 for the most frequent categories, in a fixed order."""
    frequent = sorted(counts, key=lambda value: (-counts[value], str(value)))
    return _number(frequent[:most])


def _number(categories: list[Any]) -> dict[Any, int]:
    """Return codes, from 1 on, in the order of categories."""
    return {value: code for code, value in enumerate(categories, 1)}


def _encode_categories(column: Any, codes: dict[Any, int]) -> Any:
    """Return the codes of a column of pandas or polars."""
    own_codes: Any = getattr(getattr(column, "array", None), "codes", None)
    if own_codes is None:
        return [codes.get(value, 0) for value in column.to_list()]
    categories = column.dtype.categories
    if len(own_codes) < len(categories):
        return [codes.get(categories[at], 0) if at >= 0 else 0 for at in own_codes]
    # The last entry is that of code -1, missing.
    table: Any = np.array([codes.get(value, 0) for value in categories] + [0])
    return table[own_codes]

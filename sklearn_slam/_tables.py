"""Tables that come in: what they hold, and whether a pool is like X."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data

from sklearn_slam._rows import (
    Rows,
    columns,
    container,
    is_frame,
    is_missing,
    is_numeric,
    is_temporal,
    take_rows,
)
from sklearn_slam._warn import warn

SAMPLE_ROWS, SAMPLE_NUMBERS = 5_000, 20_000_000
"""Rows, and numbers of a wide table, at most on which the pool is compared with X."""

SHIFT_LIMIT = 3.0
"""Standard deviations between the medians of a column of X and of the pool
beyond which a warning asks whether the pool was preprocessed like X."""

SCALE_LIMIT = 10.0
"""The same of the ratio of interquartile ranges, in the median over columns: a step
that scales does so to all, while a few columns may differ by chance."""

UNSEEN_LIMIT, RARE_LIMIT = 0.5, 0.1
"""Share of a pool's categories beyond which X should have had them, and share of
categories that occur once in X beyond which new ones are no surprise (Good and Turing's
estimate of what is yet unseen)."""


def validate_table(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    allow_nan: bool,
    numeric: bool = True,
    name: str = "X",
) -> Any:
    """Validate a table; return a frame as it is, anything else as array or CSR.

    Parameters
    ----------
    estimator : estimator
        Records, or is compared by, the names and the number of the features.
    X : {array-like, sparse matrix, frame} of shape (n_rows, n_features)
    reset : bool
        Whether to record or to compare.
    allow_nan : bool
        Whether missing values may pass; in frames, infinite ones pass with them.
    numeric : bool, default=True
        Whether arrays of objects are converted to numbers.
    name : str, default="X"
        What messages call it.
    """
    if hasattr(X, "collect"):  # polars' lazy frame, whose columns are costly to ask for
        raise TypeError(f"{name} is a {type(X).__name__}; pass {name}.collect().")
    if is_frame(X):
        if 0 in X.shape:
            raise ValueError(
                f"{name} is a frame of shape {tuple(X.shape)}; at least one row and "
                "one column are required."
            )
        twice = [name for name, n in Counter(X.columns).items() if n > 1]
        if twice:
            raise ValueError(
                f"{name} has several columns of one name ({twice[:5]}); rename them."
            )
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        for values in () if allow_nan else _numeric_columns(X):
            if values is not None:
                assert_all_finite(
                    values, estimator_name=type(estimator).__name__, input_name=name
                )
        return X
    _check_dimensions(X, name)
    # torch's types have no kind, and hold no dates.
    if getattr(getattr(X, "dtype", None), "kind", None) in ("m", "M"):
        raise TypeError(
            f"{name} holds dates or times ({X.dtype}); replace them by numbers (days "
            "since a fixed date, the month, the weekday) or drop them."
        )
    checks = {
        "accept_sparse": "csr",
        "dtype": "numeric" if numeric else None,
        "ensure_all_finite": "allow-nan" if allow_nan else True,
    }
    if name != "X":  # validate_data would call it X in its messages
        X = check_array(X, input_name=name, **checks)
    return validate_data(estimator, X, reset=reset, **checks)


def _check_dimensions(X: Any, name: str) -> None:
    """Raise where X has no rows and columns, and say what gives it some."""
    kind = type(X).__name__
    if hasattr(X, "to_pandas"):
        raise TypeError(f"{name} is a {kind}; pass {name}.to_pandas().")
    records = isinstance(X, list | tuple) and bool(X) and isinstance(X[0], dict)
    # scipy's matrices of keys are dicts.
    if records or (isinstance(X, dict) and not sp.issparse(X)):
        raise TypeError(
            f"{name} is a {kind}{' of records' * records}; pass pandas.DataFrame(...) "
            "of it."
        )
    is_text = isinstance(X, list | tuple) and bool(X) and isinstance(X[0], str)
    n_dimensions = 1 if is_text else getattr(X, "ndim", 2)
    if n_dimensions != 2:
        raise ValueError(
            f"{name} is a {kind} of dimension {n_dimensions}; rows and columns are "
            "expected. Reshape your data: a single row to (1, n_features); texts to a "
            "frame of one column, or vectorize them; images to a row each, which "
            "nn.Unflatten undoes in a module."
        )


def as_array(table: Any, name: str) -> NDArray[Any]:
    """Return what has no shape of its own, such as lists of rows, as an array."""
    try:
        array = np.asarray(table)
    except ValueError as error:
        raise ValueError(
            f"{name} is a {type(table).__name__} of which no table can be made "
            f"({error}); pass one array or frame."
        ) from error
    if array.ndim != 2:
        raise ValueError(
            f"{name} is a {type(table).__name__}, which makes an array of shape "
            f"{array.shape}; pass one array or frame (a single row in brackets, "
            "several tables concatenated)."
        )
    return array


def check_pool_matches(X: Any, X_unlabeled: Any) -> None:
    """Raise where the pool is another kind of table than X.

    A pool that a pipeline did not transform arrives in another container, with
    other names, of other types or on another scale; all but the last are errors.
    """
    way_out = (
        " Give both in the same form. In a Pipeline, the steps before the distiller "
        "transform the pool only under enable_metadata_routing=True and "
        "Pipeline(..., transform_input=['X_unlabeled'])."
    )
    shape = tuple(X_unlabeled.shape)
    if len(shape) != 2 or not shape[0]:
        raise ValueError(
            f"X_unlabeled has shape {shape}, expected (n_unlabeled, {X.shape[1]}) with "
            "at least one row: reshape a single row to (1, n_features), and pass None "
            "where there is no pool."
        )
    kinds = container(X), container(X_unlabeled)
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"X is of kind {kinds[0]!r}, X_unlabeled of kind {kinds[1]!r}.{way_out}"
        )
    if is_frame(X) and list(X.columns) != list(X_unlabeled.columns):
        differing = sorted(
            set(map(str, X.columns)).symmetric_difference(map(str, X_unlabeled.columns))
        )
        if not differing:
            raise ValueError(
                "X_unlabeled has the columns of X in another order; pass "
                "X_unlabeled[list(X.columns)]."
            )
        raise ValueError(
            "X_unlabeled must have the same columns as X, in the same order; "
            f"they differ in {differing[:5]}.{way_out}"
        )
    if X.shape[1] != X_unlabeled.shape[1]:
        raise ValueError(
            f"X_unlabeled has {X_unlabeled.shape[1]} features, X has "
            f"{X.shape[1]}.{way_out}"
        )
    if is_frame(X):
        for name, *both in zip(
            X.columns, columns(X), columns(X_unlabeled), strict=True
        ):
            # A column without a value has no type of its own.
            if is_numeric(both[0]) != is_numeric(both[1]) and not any(
                all(map(is_missing, column.to_list())) for column in both
            ):
                raise ValueError(
                    f"Column {name!r} is of dtype {both[0].dtype} in X and of dtype "
                    f"{both[1].dtype} in X_unlabeled: it holds numbers in one of them "
                    f"only.{way_out}"
                )


def compare_with_pool(X: Any, pool: Any) -> None:
    """Warn where a pool differs from X as it should not; some rows of each tell."""
    fixed = np.random.RandomState(0)
    size = max(100, min(SAMPLE_ROWS, SAMPLE_NUMBERS // X.shape[1]))
    some = [Rows.of(table).sample(size, fixed) for table in (X, pool)]
    warn_about_pool(*some)
    warn_about_empty_columns(*some)
    warn_about_categories(*some)


def warn_about_pool(X: Any, pool: Any) -> None:
    """Warn where a pool lies so far from X that it looks not preprocessed.

    Parameters
    ----------
    X, pool : tables
        At most some thousand rows of each.
    """
    if container(X) == "sparse":
        return
    both = zip(_numeric_columns(X), _numeric_columns(pool), strict=True)
    numeric = {
        place: pair
        for place, pair in enumerate(both)
        if all(
            values is not None and np.isfinite(values).sum() >= 10 for values in pair
        )
    }
    if not numeric:
        return
    quartiles, pool_quartiles, spread = _compare(
        *(np.column_stack(part) for part in zip(*numeric.values(), strict=True))
    )
    found = ""
    shift = abs(quartiles[1] - pool_quartiles[1])
    for at in np.flatnonzero((shift > SHIFT_LIMIT * spread) & (spread > 0))[:1]:
        place = list(numeric)[at]
        found = (
            f"in column {X.columns[place] if is_frame(X) else place!r} the medians are "
            f"{shift[at] / spread[at]:.1f} standard deviations apart"
        )
    widths = np.sort(
        [np.ptp(part[[0, 2]], axis=0) for part in (quartiles, pool_quartiles)], axis=0
    )
    narrow, wide = np.where(widths[0] > 0, widths, 1.0)
    ratio = np.median(wide / narrow)
    if not found and ratio > SCALE_LIMIT:
        found = (
            "in most columns of numbers the interquartile ranges differ by a factor "
            f"of {ratio:.0f} or more"
        )
    if found:
        warn(
            f"X_unlabeled lies far from X: {found}. If a Pipeline step scales X, it "
            "may not have seen the pool: enable metadata routing and pass "
            "transform_input=['X_unlabeled'] to the Pipeline."
        )


def _compare(
    values: NDArray[Any], pool_values: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the quartiles of both tables' columns, and the larger standard deviation.

    In units of each column's largest number, by a power of two, which rounds none:
    squares of large numbers overflow.
    """
    parts = [
        np.where(np.isfinite(part), part, np.nan).astype(np.float64)
        for part in (values, pool_values)
    ]
    largest = np.maximum(*(np.nanmax(abs(part), axis=0) for part in parts))
    parts = [np.ldexp(part, -np.frexp(largest)[1]) for part in parts]
    quartiles = [
        # The form that minds NaN takes each column by itself.
        (np.nanquantile if np.isnan(part).any() else np.quantile)(
            part, (0.25, 0.5, 0.75), axis=0
        )
        for part in parts
    ]
    spread = np.maximum(*(np.nanstd(part, axis=0) for part in parts))
    return quartiles[0], quartiles[1], spread


def warn_about_empty_columns(X: Any, pool: Any) -> None:
    """Warn where a pool has no value in columns that have some in X.

    Parameters
    ----------
    X, pool : tables
        At most some thousand rows of each.
    """
    if container(X) == "sparse" or pool.shape[0] < 10:
        return
    names = X.columns if is_frame(X) else range(X.shape[1])
    both = (columns(table) if is_frame(table) else table.T for table in (X, pool))
    empty = [
        name
        for name, in_X, in_pool in zip(names, *both, strict=True)
        if _is_empty(in_pool) and not _is_empty(in_X)
    ]
    if empty:
        warn(
            f"X_unlabeled has no value in column {empty[:5]}, which X has. The student "
            "learns from the pool above all, and will make little of it in rows to "
            "predict: fill it in the pool, or leave it out of both."
        )


def _is_empty(column: Any) -> bool:
    """Tell whether a column has no value; most have one in the first row."""
    return all(
        is_missing(value)
        for some in (take_rows(column, slice(1)), column)
        for value in (some.to_list() if hasattr(some, "to_list") else some.tolist())
    )


def warn_about_categories(X: Any, pool: Any) -> None:
    """Warn where a frame's pool has other categories than its labeled rows.

    Parameters
    ----------
    X, pool : tables
        At most some thousand rows of each.
    """
    found = {}
    for name, *both in (
        zip(X.columns, columns(X), columns(pool), strict=True) if is_frame(X) else ()
    ):
        if is_numeric(both[0]) or is_temporal(both[0]):
            continue
        values, pool_values = (
            [value for value in column.to_list() if not is_missing(value)]
            for column in both
        )
        if min(len(values), len(pool_values)) < 10:
            continue
        try:
            counts = Counter(values)
        except TypeError:  # lists and the like; who reads the column will say
            continue
        unseen = [value for value in pool_values if value not in counts]
        singles = list(counts.values()).count(1)
        if len(unseen) > UNSEEN_LIMIT * len(
            pool_values
        ) and singles <= RARE_LIMIT * len(values):
            found[name] = (
                f"{len(unseen) / len(pool_values):.0%} of them do not occur there, "
                f"such as {unseen[0]!r} beside {values[0]!r}"
            )
    if found:
        first, *others = found
        so_have = f" So have columns {others[:5]}." if others else ""
        warn(
            f"Column {first!r} has other values in X_unlabeled than in X: "
            f"{found[first]}. If both mean the same, write them alike.{so_have}"
        )


def _numeric_columns(X: Any) -> list[NDArray[Any] | None]:
    """Return a table's columns as float arrays, None where they are not numbers."""
    if not is_frame(X):
        return list(X.T) if X.dtype.kind in "fiu" else [None] * X.shape[1]
    arrays = map(np.asarray, columns(X))
    return [
        array.astype(float) if array.dtype.kind in "fiu" else None for array in arrays
    ]

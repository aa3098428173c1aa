"""Rows of tables of any container, taken without copying what is not asked for."""

from __future__ import annotations

import datetime
import decimal
import numbers
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

CHUNK_ROWS = 32_768
"""Rows handled at once where a whole table would cost too much memory."""


NUMBER = numbers.Real, decimal.Decimal
"""What a column of objects may hold to count as one of numbers."""

TEMPORAL = datetime.date, datetime.time, datetime.timedelta
"""Python's dates and times, which frames keep as objects."""


def container(X: Any) -> str:
    """Name the container of a table: pandas, polars, sparse or array."""
    if sp.issparse(X):
        return "sparse"
    if hasattr(X, "columns") and hasattr(X, "shape"):
        for kind, own in (("pandas", "iloc"), ("polars", "get_columns")):
            if hasattr(X, own):
                return kind
    return "array"


def is_frame(X: Any) -> bool:
    """Tell whether a table is a data frame, with named and typed columns."""
    return container(X) in ("pandas", "polars")


def columns(X: Any) -> list[Any]:
    """Return the columns of a frame, in order."""
    if container(X) == "polars":
        return list(X.get_columns())
    return [column for _, column in X.items()]


def is_missing(value: Any) -> bool:
    """Tell whether an entry of an object array is None, NaN, NaT or pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def is_numeric(column: Any) -> bool:
    """Tell whether a column of a frame holds numbers or booleans.

    By its dtype; of a column of objects, such as a database's decimals, by its values.
    """
    kind = getattr(column.dtype, "kind", None)
    if kind is None:  # polars
        return bool(column.dtype.is_numeric()) or str(column.dtype) == "Boolean"
    if _holds_objects(column):
        values = (value for value in column.to_list() if not is_missing(value))
        one = next(values, None)
        # Values are read on only while they are numbers.
        return all(isinstance(value, NUMBER) for value in chain([one], values))
    return kind in "biuf"


def is_temporal(column: Any) -> bool:
    """Tell whether a column of a frame holds dates, times, durations or periods."""
    kind = getattr(column.dtype, "kind", None)
    if kind is None:  # polars
        return bool(column.dtype.is_temporal())
    if str(column.dtype).startswith("period"):  # whose kind is that of objects
        return True
    if _holds_objects(column):
        values = (value for value in column.to_list() if not is_missing(value))
        return isinstance(next(values, None), TEMPORAL)
    return kind in "Mm"


def _holds_objects(column: Any) -> bool:
    """Tell whether a column of pandas holds objects, Arrow's among them."""
    return column.dtype.kind == "O" and not hasattr(column.dtype, "categories")


def is_memory_mapped(X: Any) -> bool:
    """Tell whether an array, or what it is a view of, lies in a mapped file."""
    while isinstance(X, np.ndarray):
        if isinstance(X, np.memmap):
            return True
        X = X.base
    return False


def take_rows(X: Any, rows: NDArray[np.intp] | slice) -> Any:
    """Return the given rows in the same container."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def own_copy(X: Any) -> Any:
    """Return a table that a transformer may change in place; polars' are immutable."""
    return X.copy() if hasattr(X, "copy") else X


def stack_rows(tables: list[Any]) -> Any:
    """Put tables of one container and one width on top of each other."""
    if len(tables) == 1:
        return tables[0]
    kind = container(tables[0])
    if kind == "pandas":
        import pandas as pd

        # Of unequal categories pandas would make a column of their values.
        as_category = {
            name: pd.CategoricalDtype(_values(table[name] for table in tables))
            for name, dtype in tables[0].dtypes.items()
            if hasattr(dtype, "categories")
            and any(table[name].dtype != dtype for table in tables)
        }
        if as_category:
            tables = [table.astype(as_category) for table in tables]
        return pd.concat(tables)
    if kind == "polars":
        import polars as pl

        # Numbers and text have common types, two sets of categories have none.
        as_text = {
            name: pl.String
            for name, dtype in tables[0].schema.items()
            if isinstance(dtype, pl.Categorical | pl.Enum)
            and any(table.schema[name] != dtype for table in tables)
        }
        tables = [table.cast(as_text) for table in tables]
        return pl.concat(tables, how="vertical_relaxed")
    return sp.vstack(tables, format="csr") if kind == "sparse" else np.vstack(tables)


def _values(columns: Iterable[Any]) -> list[Any]:
    """Return what occurs in some columns of pandas, as categories or as values."""
    found = (
        value
        for column in columns
        for value in getattr(column.dtype, "categories", column).tolist()
    )
    return [value for value in dict.fromkeys(found) if not is_missing(value)]


@dataclass(frozen=True)
class Rows:
    """Some rows of one or two tables, in order; nothing is copied.

    Parameters
    ----------
    parts : tuple of (table, indices)
        ``indices`` is an integer array, or None for all rows of the table.
    """

    parts: tuple[tuple[Any, NDArray[np.intp] | None], ...]

    @classmethod
    def of(cls, X: Any) -> Rows:
        """Return all rows of a table."""
        return cls(((X, None),))

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.offsets[-1])

    @property
    def offsets(self) -> NDArray[np.intp]:
        """Position at which each part begins, and the total."""
        sizes = [X.shape[0] if at is None else len(at) for X, at in self.parts]
        return np.cumsum([0, *sizes])

    def __add__(self, other: Rows) -> Rows:
        """Append the rows of another."""
        return Rows(self.parts + other.parts)

    def n_chunks(self, size: int = CHUNK_ROWS) -> int:
        """Return the number of tables that ``chunks`` yields."""
        return int(np.sum(-(-np.diff(self.offsets) // size)))

    def chunks(self, size: int = CHUNK_ROWS) -> Iterator[tuple[Any, slice]]:
        """Yield all rows: tables of at most ``size``, each with where it belongs."""
        for (X, at), first in zip(self.parts, self.offsets[:-1], strict=True):
            n_rows = X.shape[0] if at is None else len(at)
            for start in range(0, n_rows, size):
                chunk = slice(start, min(start + size, n_rows))
                table = take_rows(X, chunk if at is None else at[chunk])
                yield table, slice(first + chunk.start, first + chunk.stop)

    def take(self, positions: NDArray[np.intp]) -> list[tuple[Any, NDArray[np.intp]]]:
        """Return rows by position: for each part its rows, and where they belong."""
        offsets = self.offsets
        part_of = np.searchsorted(offsets, positions, side="right") - 1
        taken = []
        for part, (X, at) in enumerate(self.parts):
            (places,) = np.nonzero(part_of == part)
            if len(places):
                rows = positions[places] - offsets[part]
                taken.append((take_rows(X, rows if at is None else at[rows]), places))
        return taken

    def sample(self, size: int, rng: np.random.RandomState) -> Any:
        """Return a table of at most ``size`` rows drawn without replacement."""
        n_rows = len(self)
        positions = np.arange(n_rows)
        if n_rows > size:
            positions = np.sort(rng.choice(n_rows, size, replace=False))
        return stack_rows([table for table, _ in self.take(positions)])

"""Tables and pools that come in."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.naive_bayes import GaussianNB
from torch import nn

from sklearn_slam import SLaMDistiller
from sklearn_slam._tables import (
    as_array,
    check_pool_matches,
    warn_about_categories,
    warn_about_empty_columns,
    warn_about_pool,
)

NAN = float("nan")

TABLE = np.arange(6.0).reshape(3, 2)
PANDAS = pd.DataFrame(TABLE, columns=["a", "b"])
POLARS = pl.DataFrame(TABLE, schema=["a", "b"])


@pytest.mark.parametrize("X", [TABLE, PANDAS, POLARS, sp.csr_matrix(TABLE)])
def test_pool_like_the_table_matches(X):
    check_pool_matches(X, X[:2])


def test_numbers_match_numbers_and_text_matches_text():
    check_pool_matches(PANDAS, PANDAS.astype({"a": int, "b": "Float32"}))
    check_pool_matches(POLARS, POLARS.cast({"a": pl.Int8, "b": pl.Boolean}))
    words = pl.DataFrame({"word": ["a", "b"]})
    check_pool_matches(words, words.cast(pl.Categorical))
    check_pool_matches(words.to_pandas().astype("category"), words.to_pandas())


@pytest.mark.parametrize(
    ("X", "pool", "message"),
    [
        (PANDAS, TABLE, "kind 'pandas', X_unlabeled of kind 'array'"),
        (TABLE, PANDAS, "kind 'array', X_unlabeled of kind 'pandas'"),
        (PANDAS, POLARS, "kind 'pandas', X_unlabeled of kind 'polars'"),
        (TABLE, sp.csr_matrix(TABLE), "X_unlabeled of kind 'sparse'"),
        (PANDAS, PANDAS.rename(columns={"b": "c"}), r"differ in \['b', 'c'\]"),
        (POLARS, POLARS.select("a"), r"differ in \['b'\]"),
        (TABLE, TABLE[:, :1], "X_unlabeled has 1 features, X has 2"),
        (PANDAS, PANDAS.astype({"b": str}), "Column 'b' is of dtype float64 in X"),
        (PANDAS.astype({"a": str}), PANDAS > 0, "dtype bool in X_unlabeled"),
        (PANDAS, PANDAS.astype("category"), "dtype category in X_unlabeled"),
        (POLARS, POLARS.cast({"b": pl.String}), "Column 'b' is of dtype Float64"),
    ],
)
def test_pool_of_another_kind_raises(X, pool, message):
    with pytest.raises(ValueError, match=message) as raised:
        check_pool_matches(X, pool)
    assert "transform_input=['X_unlabeled']" in str(raised.value)


def test_a_pool_in_another_order_raises():
    with pytest.raises(ValueError, match=r"another order; pass X_unlabeled\[list\(X"):
        check_pool_matches(PANDAS, PANDAS[["b", "a"]])


@pytest.mark.parametrize(
    "pool",
    [TABLE[0], TABLE[:0], np.array([]), np.array(3.0), PANDAS["a"], PANDAS[:0]],
)
@pytest.mark.parametrize("X", [TABLE, PANDAS])
def test_pool_that_is_no_table_with_rows_raises(X, pool):
    with pytest.raises(ValueError, match=r"X_unlabeled has shape .*\(n_unlabeled, 2\)"):
        check_pool_matches(X, pool)


def far_tables():
    X = np.random.RandomState(0).standard_normal((50, 2))
    return X, X * [1, 1000] + [0, 10_000]


@pytest.mark.parametrize("frame", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_pool_far_away_warns(frame):
    X, pool = map(frame, far_tables())
    with pytest.warns(UserWarning, match="X_unlabeled lies far from X: in column"):
        warn_about_pool(X, pool)


def messages_of(function, *tables):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*tables)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("times", "shift", "n_rows", "warns"),
    [
        (1, 2.9, 41, False),
        (1, 3.1, 41, True),
        (1, -3.1, 41, True),
        # The wider table's deviation counts.
        (5, 14, 41, False),
        (0.2, 2.9, 41, False),
        (9, 0, 41, False),
        (11, 0, 41, True),
        (1 / 11, 0, 41, True),
        (1, 9, 10, True),
        (1, 9, 9, False),
    ],
)
def test_how_far_a_pool_may_lie(times, shift, n_rows, warns):
    X = np.linspace(-1, 1, n_rows)[:, None]
    X /= X.std()
    pool = times * X + shift
    # Text and missing values do not matter.
    frames = [pd.DataFrame({"town": "x", "a": part[:, 0]}) for part in (X, pool)]
    frames[1].loc[n_rows] = ["x", NAN]
    for tables, name in (((X, pool), "0"), (frames, "'a'")):
        found = messages_of(warn_about_pool, *tables)
        assert len(found) == warns
        if warns and shift:
            assert f"in column {name} the medians are {abs(shift):.1f} " in found[0]


@pytest.mark.parametrize("unit", [1e-300, 1e150, 1e300])
def test_the_unit_of_numbers_does_not_matter(unit):
    X, pool = (unit * table for table in far_tables())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_about_pool(X, X)
        with pytest.warns(UserWarning, match="lies far from X: in column 1"):
            warn_about_pool(X, pool)


def test_pool_on_another_scale_warns():
    X = np.random.RandomState(0).standard_normal((50, 3))
    with pytest.warns(UserWarning, match="ranges differ by a factor of"):
        warn_about_pool(X, 100 * X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_about_pool(X, X * [1, 1, 100])
        warn_about_pool(X > 0, X > 1)


@pytest.mark.parametrize("frame", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_pool_nearby_does_not_warn(frame):
    X, _ = far_tables()
    X[:, 1] = 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_about_pool(frame(X), frame(X + 0.5))


@pytest.mark.parametrize("dtype", [bool, int, float, object])
@pytest.mark.parametrize("of_pool", [bool, int, float, object])
def test_pool_of_another_dtype_is_compared_where_both_are_numbers(dtype, of_pool):
    X, pool = far_tables()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_about_pool((X > 0).astype(dtype), (X > 0).astype(of_pool))
    if {dtype, of_pool} <= {int, float}:
        with pytest.warns(UserWarning, match="lies far from X"):
            warn_about_pool(X.astype(dtype), pool.astype(of_pool))


@pytest.mark.parametrize("empty", [pd.DataFrame, pl.DataFrame])
def test_a_pool_column_without_a_value_has_no_type(empty):
    X = empty({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    check_pool_matches(X, empty({"a": [1.0, 2.0], "b": [None, None]}))
    with pytest.raises(ValueError, match="Column 'b' is of dtype"):
        check_pool_matches(X, empty({"a": [1.0, 2.0], "b": ["x", None]}))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_categories_that_are_written_otherwise_warn(frame):
    towns = ["north", "south", "west"] * 10
    X = frame({"town": towns, "number": range(30)})
    for values in ([town.upper() for town in towns], ["1", "2", "3"] * 10):
        with pytest.warns(UserWarning, match="'town' has other values.*100% of them"):
            warn_about_categories(X, frame({"town": values, "number": range(30)}))


@pytest.mark.parametrize(
    ("n_unseen", "n_singles", "n_rows", "warns"),
    [
        (11, 0, 20, True),
        (10, 0, 20, False),
        (20, 2, 20, True),
        (20, 3, 20, False),
        (10, 0, 10, True),
        (9, 0, 9, False),
    ],
)
def test_how_many_categories_may_be_new(n_unseen, n_singles, n_rows, warns):
    singles = [f"single {n}" for n in range(n_singles)]
    X = pd.DataFrame({"town": [*singles, *["a"] * (n_rows - n_singles)]})
    pool = pd.DataFrame({"town": ["b"] * n_unseen + ["a"] * (n_rows - n_unseen)})
    assert len(messages_of(warn_about_categories, X, pool)) == warns


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_dates_are_no_categories_that_could_be_new(frame):
    days = pd.date_range("2026-01-01", periods=40).to_pydatetime().tolist() * 2
    X, pool = frame({"day": days[:20] * 2}), frame({"day": days[20:40] * 2})
    assert messages_of(warn_about_categories, X, pool) == []


def test_new_categories_of_a_column_of_many_do_not_warn():
    # Each value of X occurs once: what the pool holds is mostly new, and no surprise.
    X = pd.DataFrame({"name": [f"a{n}" for n in range(30)], "town": ["x"] * 30})
    pool = pd.DataFrame({"name": [f"b{n}" for n in range(30)], "town": ["x"] * 30})
    warn_about_categories(X, pool)
    warn_about_categories(X.to_numpy(), pool.to_numpy())


def test_one_column_of_a_wide_table_is_seen():
    X = np.random.RandomState(0).normal(size=(30, 2_000))
    pool = X.copy()
    pool[:, 1] += 1e4
    with pytest.warns(UserWarning, match="in column 1 the medians are"):
        warn_about_pool(X, pool)


def test_columns_of_lists_are_compared_by_nobody():
    X = pd.DataFrame({"tags": [[1], [2]] * 10})
    warn_about_categories(X, X)


def test_a_column_without_a_value_serves_in_a_fit(frame):
    X, y = frame
    pool = X[100:].assign(town=np.nan)
    slam = SLaMDistiller(max_epochs=1, peers=False, random_state=0)
    with pytest.warns(UserWarning, match=r"no value in column \['town'\]"):
        slam.fit(X[:100], y[:100], X_unlabeled=pool)
    assert len(slam.predict(pool)) == len(pool)


@pytest.mark.parametrize(
    ("pool", "found"),
    [
        ((TABLE, np.arange(3)), "tuple"),
        ((row for row in TABLE), "generator"),
        ("rows.csv", "str"),
        ([PANDAS, PANDAS], "list"),
        ([1.0, 2.0], "list"),
        (POLARS.lazy(), "LazyFrame"),
    ],
)
def test_a_pool_that_makes_no_table_is_named(pool, found):
    with pytest.raises(ValueError, match=f"X_unlabeled is a {found}"):
        as_array(pool, "X_unlabeled")


def test_lists_of_rows_are_a_table():
    assert as_array(TABLE.tolist(), "X_unlabeled").shape == (3, 2)


@pytest.mark.parametrize(
    "form",
    [pd.DataFrame, pl.DataFrame, lambda columns: np.array([*columns.values()]).T],
)
def test_columns_that_are_empty_in_the_pool_only_are_named(form):
    X = {"a": [1.0] * 20, "b": [NAN] * 19 + [1.0], "c": [NAN] * 20, "d": [2.0] * 20}
    pool = X | {"a": [NAN] * 20, "b": [NAN] * 20, "d": [NAN] * 19 + [1.0]}
    names = r"\[0, 1\]" if form not in (pd.DataFrame, pl.DataFrame) else r"\['a', 'b'\]"
    with pytest.warns(UserWarning, match=f"no value in column {names}, which X has"):
        warn_about_empty_columns(form(X), form(pool))
    warn_about_empty_columns(form(X), form(X))
    warn_about_empty_columns(form(pool), form(X))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            ["some text", "other text"],
            r"X is a list of dimension 1; .* frame of one col",
        ),
        (pd.Series(["some text", "other text"]), "X is a Series of dimension 1"),
        (np.zeros((4, 1, 8, 8)), "ndarray of dimension 4; .* images to a row each"),
        (PANDAS.iloc[0], r"a single row to \(1, n_features\)"),
    ],
)
def test_what_has_no_rows_and_columns_is_named(X, message):
    with pytest.raises(ValueError, match=message):
        SLaMDistiller().fit(X, [0, 1])


def test_tables_that_have_to_be_read_first_are_named():
    arrow = POLARS.to_arrow()
    for X, message in (
        (POLARS.lazy(), r"X is a LazyFrame; pass X.collect\(\)"),
        (arrow, r"X is a Table; pass X.to_pandas\(\)"),
    ):
        with pytest.raises(TypeError, match=message):
            SLaMDistiller().fit(X, [0, 1, 0])


def test_columns_of_other_categories_are_named_in_one_warning():
    X = pd.DataFrame({"town": ["a", "b"] * 10, "job": ["c"] * 20, "same": ["d"] * 20})
    pool = X.assign(town=["A", "B"] * 10, job=["C"] * 20)
    with pytest.warns(UserWarning, match="'town' has other values") as caught:
        warn_about_categories(X, pool)
    assert len(caught) == 1
    assert "So have columns ['job']." in str(caught[0].message)


def test_columns_of_one_name_are_named():
    twice = pd.DataFrame(np.eye(4), columns=["a", "b", "a", "c"])
    with pytest.raises(ValueError, match=r"several columns of one name \(\['a'\]"):
        SLaMDistiller().fit(twice, [0, 1, 0, 1])


@pytest.mark.parametrize("dtype", ["datetime64[s]", "timedelta64[s]"])
def test_arrays_of_dates_are_refused(dtype):
    with pytest.raises(TypeError, match=rf"X holds dates or times \({dtype[:-3]}"):
        SLaMDistiller().fit(np.eye(4, dtype=int).astype(dtype), [0, 1, 0, 1])


@pytest.mark.parametrize("X", [{"a": [1, 2]}, [{"a": 1}, {"a": 2}]])
def test_records_are_to_be_made_a_frame(X):
    with pytest.raises(TypeError, match=r"pass pandas.DataFrame\(...\) of it"):
        SLaMDistiller().fit(X, [0, 1])


def test_tensors_are_arrays():
    X = np.random.RandomState(0).normal(size=(120, 3))
    y = (X[:, 0] > 0).astype(int)
    slam = SLaMDistiller(GaussianNB(), max_epochs=2, peers=False, random_state=0)
    of_arrays = clone(slam).fit(X[:40], y[:40], X_unlabeled=X[40:]).predict_proba(X)
    tensor = torch.from_numpy(X)
    slam.fit(tensor[:40], torch.from_numpy(y[:40]), X_unlabeled=tensor[40:])
    assert_array_equal(slam.predict_proba(tensor), of_arrays)


def test_what_a_module_makes_of_missing_values_is_told():
    missing = np.where(np.eye(4), NAN, 1.0)
    with pytest.raises(ValueError, match="NaN") as caught:
        SLaMDistiller(student=nn.Linear).fit(missing, [0, 1, 0, 1])
    assert any("put an imputer in front" in note for note in caught.value.__notes__)

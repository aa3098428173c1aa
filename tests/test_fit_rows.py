"""The rows of one fit, checked against each other."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator

from sklearn_slam._fit_rows import validate_fit_rows
from sklearn_slam.model_selection import UnlabeledPool

X = np.arange(12.0).reshape(6, 2)
Y = np.array([0, 1, 0, np.nan, np.nan, np.nan])
POOL = X[:4] + 0.5


def validated(
    X_unlabeled=None, rows=X, frame=np.asarray, weights=None, pool_weights=None,
    groups=None, allow_nan=False, numeric=True,
):  # fmt: skip
    return validate_fit_rows(
        BaseEstimator(),
        frame(rows),
        Y,
        X_unlabeled,
        weights,
        pool_weights,
        groups,
        unlabeled_label=None,
        allow_nan=allow_nan,
        numeric=numeric,
    )


def test_a_pool_as_long_as_the_table_may_have_been_cut_unless_it_was_wrapped():
    with pytest.warns(
        UserWarning, match=r"may have been cut.*Wrapped in .* stays whole"
    ):
        validated(X + 0.5)
    validated(UnlabeledPool(X + 0.5))  # warnings are errors here


@pytest.mark.parametrize("frame", [np.asarray, pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_a_student_does_not_take_is_refused_before_a_teacher_learns(frame, value):
    bad = POOL.copy()
    bad[0, 1] = value
    with pytest.raises(ValueError, match="Input X_unlabeled contains"):
        validated(frame(bad), frame=frame)
    with pytest.raises(ValueError, match="Input X contains"):
        validated(rows=np.where(X == 3, value, X), frame=frame)


def test_the_pool_is_what_has_no_label_and_then_what_lies_beside():
    # Labeled rows between the others, so that positions are no slices.
    order = [3, 0, 4, 1, 2, 5]
    rows = validate_fit_rows(
        BaseEstimator(), X[order], Y[order], POOL, np.arange(1.0, 7.0), [7, 8, 9, 10],
        None, unlabeled_label=None, allow_nan=False, numeric=True,
    )  # fmt: skip
    assert_array_equal(rows.X_labeled, X[[0, 1, 2]])
    assert_array_equal(rows.labels, [0, 1, 0])
    pool = np.concatenate([table for table, _ in rows.pool.chunks()])
    assert_array_equal(pool, np.concatenate([X[[3, 4, 5]], POOL]))
    assert_array_equal(rows.weights, [2, 4, 5])
    assert_array_equal(rows.pool_weights, [1, 3, 6, 7, 8, 9, 10])


def test_rows_that_weigh_nothing_leave_their_part_something():
    rows = validated(POOL, weights=[0, 1, 1, 0, 0, 0])
    assert_array_equal(rows.weights, [0, 1, 1])
    assert_array_equal(rows.pool_weights, [0, 0, 0, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights": [0, 0, 0, 1, 1, 1]}, "sample_weight is zero for every labeled"),
        ({"weights": [1, 1, 1, 0, 0, 0]}, "sample_weight is zero for every unlabeled"),
        ({"X_unlabeled": POOL, "pool_weights": np.zeros(4)}, "sample_weight_unlabeled"),
    ],
)
def test_a_part_that_weighs_nothing_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        validated(**given)


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pl.Series])
def test_groups_have_an_entry_for_each_row(kind):
    validated(groups=kind(list("aabbcc")))
    for groups in (list("aabbc"), list("aabbccd")):
        with pytest.raises(ValueError, match=r"groups has shape .*one group for each"):
            validated(groups=kind(groups))


def test_labels_join_a_pool_of_fewer_rows_that_weigh_anything():
    assert not validated().labels_join  # three of each
    assert not validated(weights=[1, 1, 0, 1, 1, 0]).labels_join
    assert validated(weights=[1, 1, 1, 1, 1, 0]).labels_join
    assert not validated(POOL, weights=[1, 1, 1, 1, 0, 0]).labels_join


@pytest.mark.parametrize("where", ["X", "X_unlabeled"])
def test_one_missing_value_of_any_array_is_seen(where):
    tables = {"X": X, "X_unlabeled": POOL}
    tables[where] = np.where(
        tables[where] == tables[where][2, 1], np.nan, tables[where]
    )
    given = {"rows": tables["X"], "X_unlabeled": tables["X_unlabeled"]}
    assert validated(**given, allow_nan=True).has_nan
    assert not validated(POOL, allow_nan=True).has_nan
    assert not validated(rows=X.astype(object), numeric=False).has_nan


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("number", np.arange(20) + 1e3, "X_unlabeled lies far from X"),
        ("town", ["A", "B"] * 10, "'town' has other values in X_unlabeled"),
        ("number", [np.nan] * 20, r"X_unlabeled has no value in column \['number'\]"),
        ("town", [None] * 20, r"X_unlabeled has no value in column \['town'\]"),
    ],
)
def test_a_pool_unlike_the_table_warns(column, values, message):
    rows = pd.DataFrame({"number": np.arange(20.0), "town": ["a", "b"] * 10})
    pool = rows.assign(**{column: values})
    given = {"unlabeled_label": None, "allow_nan": True, "numeric": True}
    with pytest.warns(UserWarning, match=message):
        validate_fit_rows(
            BaseEstimator(),
            rows,
            np.arange(20) % 2,
            UnlabeledPool(pool),
            None,
            None,
            None,
            **given,
        )


def test_a_mark_that_is_nowhere_warns():
    given = {"unlabeled_label": -1, "allow_nan": False, "numeric": True}
    for y, pool, warns in (
        ([0, 1, 0, 1, 0, 1], POOL, True),
        ([0, 1, 0, 1, 0, -1], POOL, False),
        ([0, 1, 0, 1, 0, 1], None, False),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            validate_fit_rows(BaseEstimator(), X, y, pool, None, None, None, **given)
        assert [
            "unlabeled_label=-1 is in no row" in str(warning.message)
            for warning in caught
        ] == [True] * warns

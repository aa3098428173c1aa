"""Folds of the labeled rows: how many, which rows, which are refused."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import GroupKFold

from sklearn_slam._folds import fault_of_folds, make_folds

Y = np.repeat([0, 1], [12, 6])


def folds_of(cv, y=Y, groups=None, seed=0):
    return make_folds(cv, np.zeros((len(y), 1)), y, groups, seed)


def parts_of(*args, **kwargs):
    return [test.tolist() for _, test in folds_of(*args, **kwargs)]


@pytest.mark.parametrize(("cv", "n_folds"), [(3, 3), (np.int64(6), 6), (None, 5)])
def test_a_number_means_stratified_folds_shuffled_by_the_seed(cv, n_folds):
    folds = folds_of(cv)
    assert len(folds) == n_folds
    assert fault_of_folds(folds, Y) is None
    for train, test in folds:
        assert_array_equal(np.sort(np.r_[train, test]), np.arange(len(Y)))
        if len(Y) % n_folds == 0:
            assert_array_equal(np.bincount(Y[test]), [12 / n_folds, 6 / n_folds])
    assert parts_of(cv) == parts_of(cv)
    assert parts_of(cv) != parts_of(cv, seed=1)


def test_the_largest_class_decides_how_many_folds_there_are():
    few = np.array([0, 0, 0, 1])
    assert len(folds_of(3, few)) == 3  # no warning
    with pytest.warns(UserWarning, match="cv=4 .*no class has more than 3 .*; 3 folds"):
        assert len(folds_of(4, few)) == 3
    with pytest.raises(ValueError, match="Every class has one labeled row only"):
        folds_of(2, np.arange(4))
    with pytest.raises(ValueError, match="cv must be at least 2, got 1"):
        folds_of(1)


def test_groups_reach_the_splitter():
    groups = np.arange(len(Y)) // 3
    for train, test in folds_of(GroupKFold(2), groups=groups):
        assert not set(groups[train]) & set(groups[test])


def test_folds_may_be_positions_or_masks():
    masks = [(at < 9, at >= 9) for at in (np.arange(18), np.arange(18)[::-1])]
    positions = [tuple(map(np.flatnonzero, fold)) for fold in masks]
    for folds in (masks, positions, iter(positions)):
        for found, expected in zip(folds_of(folds), positions, strict=True):
            assert_array_equal(found[0], expected[0])
            assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        (([0, 1], [18]), "cv names row 18, but there are 18 labeled rows"),
        (([0, -1], [2]), "cv names row -1"),
        (([0, 1], [1, 2]), "tests on rows that it trains on"),
        (([0.0, 1.0], [2.0]), "folds of dtype float64"),
    ],
)
def test_rows_that_no_fold_can_hold_are_named(fold, message):
    with pytest.raises(ValueError, match=message):
        folds_of([fold])


def test_why_folds_do_not_serve_is_told():
    every = np.arange(18)
    assert "one class only" in fault_of_folds([(every[:12], every[12:])], Y)
    assert "leaves 3 labeled" in fault_of_folds([(every[::2], every[3:])], Y)

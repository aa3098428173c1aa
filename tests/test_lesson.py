"""Which rows are trained on, and which are held out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_slam._lesson import Lesson, Split
from sklearn_slam._rows import Rows


def split(n_labeled, n_pool, early_stopping="auto", *, share=0.5, weights=None, seed=0):
    rows = [Rows.of(np.zeros((size, 1))) for size in (n_labeled, n_pool)]
    lesson = replace(
        Lesson.of_labels(rows[0], np.arange(n_labeled) % 2, 2),
        pool=rows[1],
        labeled_share=share,
        weights=weights,
    )
    return Split.of(lesson, early_stopping, np.random.RandomState(seed))


@pytest.mark.parametrize(
    ("n_pool", "held"), [(499, 0), (500, 50), (5_000, 500), (60_000, 5_000)]
)
def test_a_tenth_of_a_large_pool_is_held_out(n_pool, held):
    made = split(100, n_pool)
    assert len(made.held_pool) == held
    assert len(made.pool) == n_pool - held


@pytest.mark.parametrize("n_pool", [2, 19, 20, 499])
def test_a_small_pool_has_rows_held_out_when_asked_only(n_pool):
    assert len(split(100, n_pool, True).held_pool) == max(1, n_pool // 10)
    for unasked in ("auto", False):
        assert len(split(100, n_pool, unasked).held_pool) == 0


@pytest.mark.parametrize(
    ("n_labeled", "held"), [(1_999, 0), (2_000, 200), (5_000, 500)]
)
def test_labels_are_held_out_beside_a_pool_where_they_are_many(n_labeled, held):
    made = split(n_labeled, 1_000)
    assert len(made.held_pool) == 100
    assert len(made.held_labeled) == held
    assert len(made.labeled) == n_labeled - held


@pytest.mark.parametrize(("n_labeled", "held"), [(499, 0), (500, 50)])
def test_labels_are_held_out_where_there_is_nothing_else(n_labeled, held):
    for made in (split(n_labeled, 0), split(n_labeled, 900, share=1)):
        assert len(made.held_labeled) == held
        assert not made.has_pool
    assert len(split(100, 0, True).held_labeled) == 10
    assert split(n_labeled, 900).has_pool


def test_each_row_is_in_one_part():
    made = split(3_000, 4_000)
    of_labels = torch.cat([made.labeled, made.held_labeled])
    of_pool = torch.cat([made.pool, made.held_pool])
    assert_array_equal(of_labels.sort().values, np.arange(3_000))
    assert_array_equal(of_pool.sort().values, np.arange(3_000, 7_000))


@pytest.mark.parametrize("part", ["labeled", "pool"])
def test_held_out_rows_are_drawn_at_random(part):
    n_rows, n_held = 5_000, 500
    held = getattr(split(n_rows, n_rows), f"held_{part}").numpy()
    first = n_rows if part == "pool" else 0
    # The mean of 500 uniform draws from 5,000 positions has a standard deviation of
    # 5,000 / sqrt(12 * 500) = 65; five of them. Sorted rows would be off by 2,250.
    assert len(held) == n_held
    assert abs(held.mean() - first - n_rows / 2) < 5 * n_rows / np.sqrt(12 * n_held)
    other = getattr(split(n_rows, n_rows, seed=1), f"held_{part}").numpy()
    # Of two draws of a tenth, a tenth is common: 50, with a deviation of 6.4.
    assert len(np.intersect1d(held, other)) < 50 + 5 * 6.4


def test_rows_that_weigh_nothing_are_neither_trained_on_nor_held_out():
    weights = np.random.RandomState(0).randint(0, 3, 7_000).astype(float)
    made = split(3_000, 4_000, weights=weights)
    labeled = torch.cat([made.labeled, made.held_labeled]).sort().values
    pool = torch.cat([made.pool, made.held_pool]).sort().values
    counted = np.flatnonzero(weights)
    assert_array_equal(labeled, counted[counted < 3_000])
    assert_array_equal(pool, counted[counted >= 3_000])


def test_rows_that_weigh_nothing_make_no_pool_large():
    weights = np.ones(1_100)
    weights[-500:] = 0
    assert len(split(100, 1_000, weights=weights).held_pool) == 50
    weights[-501:] = 0
    assert len(split(100, 1_000, weights=weights).held_pool) == 0


def test_weights_average_one_over_each_part():
    weights = np.r_[np.tile([0.0, 1.0, 3.0], 10), np.tile([0.0, 20.0, 20.0, 80.0], 20)]
    made = split(30, 80, False, weights=weights)
    assert_allclose(made.weights[:30], np.tile([0.0, 0.5, 1.5], 10))
    assert_allclose(made.weights[30:], np.tile([0.0, 0.5, 0.5, 2.0], 20))


@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_part_without_a_share_of_the_loss_is_left_out(early_stopping):
    made = split(3_000, 1_000, early_stopping, share=0.0)
    assert len(made.labeled) == len(made.held_labeled) == 0
    assert len(made.pool) + len(made.held_pool) == 1_000
    made = split(3_000, 1_000, early_stopping, share=1.0)
    assert len(made.pool) == len(made.held_pool) == 0
    assert len(made.labeled) + len(made.held_labeled) == 3_000

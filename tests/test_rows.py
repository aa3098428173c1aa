"""What comes in: labels, tables, rows, batches."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sklearn_slam import SemiSupervisedSplit
from sklearn_slam._encoding import MAX_CATEGORIES, TableEncoder
from sklearn_slam._rows import Rows
from sklearn_slam._training import (
    DenseRows,
    RowLoss,
    TensorBatches,
    TrainingSet,
    seeded,
    sensible_threads,
)
from sklearn_slam._validation import align_proba, split_labels, union_of_classes


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (np.array([1.0, np.nan, 0.0]), [1.0, 0.0]),
        ([1, None, 0], [1, 0]),
        ([True, None, False], [True, False]),
        (["b", None, "a"], ["b", "a"]),
        (np.array(["b", np.nan, "a"], dtype=object), ["b", "a"]),
        (pd.Series([1, None, 0], dtype="Int64"), [1, 0]),
        (pd.Series([True, None, False], dtype="boolean"), [True, False]),
        (pd.Series(["b", None, "a"]), ["b", "a"]),
        (pd.Series(["b", None, "a"], dtype="category"), ["b", "a"]),
        (pl.Series(["b", None, "a"]), ["b", "a"]),
        (pl.Series([1, None, 0]), [1, 0]),
    ],
)
def test_missing_labels_of_any_type(y, labels):
    has_label, found = split_labels(y)
    assert_array_equal(has_label, [True, False, True])
    assert_array_equal(found, labels)
    assert_array_equal(np.unique(found), sorted(labels))


def test_a_mark_is_a_missing_label_and_infinity_is_an_error():
    has_label, labels = split_labels([2, -1, 0], -1)
    assert_array_equal(has_label, [True, False, True])
    assert_array_equal(labels, [2, 0])
    words = pd.Series(["a", "?", pd.NA], dtype="string")
    assert_array_equal(split_labels(words, "?")[0], [True, False, False])
    with pytest.raises(ValueError, match="infinity"):
        split_labels([1.0, np.inf])
    with pytest.raises(ValueError, match="y mixes"):
        split_labels(np.array([1, "a", None], dtype=object))


def test_classes_are_united_and_columns_aligned():
    classes = union_of_classes(np.array(["a", "c"]), ["c", "b"])
    assert_array_equal(classes, ["a", "b", "c"])
    aligned = align_proba(np.array([[0.9, 0.1]]), np.array(["c", "b"]), classes)
    assert_allclose(aligned, [[0, 0.1, 0.9]])


def test_rows_are_taken_from_both_tables_in_order():
    first, second = np.arange(10.0)[:, None], np.arange(10.0, 15.0)[:, None]
    rows = Rows(((first, np.array([3, 1])), (second, None)))
    whole = np.concatenate(list(rows.chunks(2)))[:, 0]
    assert_array_equal(whole, [3, 1, 10, 11, 12, 13, 14])
    wanted = np.array([6, 0, 2, 1])
    found = np.empty(4)
    for table, places in rows.take(wanted):
        found[places] = table[:, 0]
    assert_array_equal(found, whole[wanted])
    assert len(rows.sample(3, np.random.RandomState(0))) == 3


def test_encoded_numbers_are_finite_bounded_and_keep_their_order():
    rng = np.random.RandomState(0)
    X = np.column_stack(
        [rng.standard_cauchy(500), np.full(500, 3.0), rng.normal(size=500)]
    )
    X[::7, 2] = np.nan
    encoder = TableEncoder().fit(X)
    encoded = encoder.transform(X)
    assert encoded.dtype == np.float32
    assert encoded.shape == (500, 4)
    assert np.abs(encoded).max() <= 3
    order = np.argsort(X[:, 0])
    assert (np.diff(encoded[order, 0]) >= 0).all()
    assert_array_equal(encoded[:, 1], 0)
    assert_array_equal(encoded[::7, 2], 0)
    assert_array_equal(encoded[:, 3], np.isnan(X[:, 2]))
    with pytest.raises(ValueError, match="infinity"):
        encoder.transform(np.array([[np.inf, 0, 0]]))


def test_a_row_alone_is_encoded_as_in_its_table(frame):
    X, _ = frame
    for table in (X, pl.from_pandas(X)):
        encoder = TableEncoder().fit(table)
        whole = encoder.transform(table)
        alone = np.concatenate([encoder.transform(table[i : i + 1]) for i in range(50)])
        assert_array_equal(alone, whole[:50])
        assert_allclose(whole, TableEncoder().fit(X).transform(X), atol=1e-6)


def test_unknown_missing_and_rare_categories_share_a_code():
    values = [f"v{i}" for i in range(MAX_CATEGORIES + 10)] * 2 + ["v0"]
    X = pd.DataFrame({"word": values})
    encoder = TableEncoder().fit(X)
    codes = encoder.transform(pd.DataFrame({"word": ["v0", "new", None]}))[:, 0]
    assert codes[0] == 1
    assert_array_equal(codes[1:], 0)
    assert encoder.transform(X).max() == MAX_CATEGORIES
    numbers = pd.DataFrame(
        {"word": pd.Series([np.int64(1), np.int64(2)], dtype=object)}
    )
    assert TableEncoder().fit(numbers).n_categories_ == [3]
    with pytest.raises(TypeError, match="dates or times"):
        TableEncoder().fit(pd.DataFrame({"day": pd.to_datetime(["2026-01-01"])}))


def test_sparse_rows_stay_sparse():
    X = sp.random(50, 30, density=0.1, random_state=0, format="csr")
    encoded = TableEncoder().fit(X).transform(X)
    assert sp.issparse(encoded)
    assert encoded.nnz == X.nnz
    assert abs(encoded).max() <= 1


def training_set(n_labeled=7, n_pool=50, share=0.25):
    """Rows whose number is their feature, their target and their weight."""
    numbers = torch.arange(float(n_labeled + n_pool))
    return TrainingSet(
        source=DenseRows(numbers.unsqueeze(1)),
        targets={"labels": torch.stack([numbers, -numbers], dim=1), "number": numbers},
        weights=None,
        labeled=torch.arange(n_labeled),
        pool=torch.arange(n_labeled, n_labeled + n_pool),
        labeled_share=share,
        criterion=RowLoss(lambda logits, labels, number: number, lambda output: output),
        generator=torch.Generator().manual_seed(0),
    )


def test_batches_keep_rows_and_targets_together():
    data = training_set()
    data.weights = torch.arange(57.0)
    batches = TensorBatches(data, batch_size=8, shuffle=True)
    seen = []
    for X, _ in batches:
        numbers = data.criterion.targets["number"]
        assert torch.equal(X[:, 0], numbers)
        assert (numbers < 7).sum() == 2
        plain = torch.tensor([0.125, 0.125] + [0.125] * 6)
        torch.testing.assert_close(data.criterion.shares, plain * numbers)
        seen += numbers[numbers >= 7].tolist()
    assert len(seen) == len(set(seen)) == 48
    assert len(batches) == 8


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_labeled_rows_carry_their_share(share):
    data = training_set(share=share)
    for _ in TensorBatches(data, batch_size=16, shuffle=True):
        shares, numbers = data.criterion.shares, data.criterion.targets["number"]
        assert_allclose(float(shares.sum()), 1, rtol=1e-6)
        assert_allclose(float(shares[numbers < 7].sum()), share, rtol=1e-5)


def test_held_out_rows_pass_once_in_order():
    data = training_set(n_labeled=0)
    passed = [X[:, 0] for X, _ in TensorBatches(data, batch_size=16)]
    assert torch.equal(torch.cat(passed), torch.arange(50.0))


def interrupted_training():
    with seeded(3), sensible_threads(nn.Linear(2, 2), 8):
        torch.rand(1)
        raise KeyError(torch.get_num_threads())


def test_random_state_and_threads_are_left_as_found():
    before = torch.get_rng_state(), torch.get_num_threads()
    with pytest.raises(KeyError, match="1"):
        interrupted_training()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]


def test_every_unlabeled_row_is_trained_on_and_none_tested():
    y = np.array([0, 1] * 10 + [np.nan] * 30)
    tested = []
    for train, test in SemiSupervisedSplit(5, random_state=0).split(y[:, None], y):
        assert set(range(20, 50)) <= set(train)
        assert not set(train) & set(test)
        tested += list(test)
    assert sorted(tested) == list(range(20))
    assert SemiSupervisedSplit(3).get_n_splits() == 3
    with pytest.raises(ValueError, match="no labeled row"):
        next(SemiSupervisedSplit().split(y[20:, None], y[20:]))

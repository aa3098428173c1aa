import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    LeaveOneOut,
    PredefinedSplit,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.preprocessing import MaxAbsScaler
from sklearn.utils import _safe_indexing, resample, shuffle

from sklearn_slam import SemiSupervisedSplit, UnlabeledPool

N_ROWS = 60


class LabeledRowsOnly(ClassifierMixin, BaseEstimator):
    def __init__(self, C=1.0):
        self.C = C

    def fit(self, X, y, X_unlabeled=None):
        labeled = ~np.isnan(y)
        self.n_unlabeled_ = int((~labeled).sum())
        self.pool_ = X_unlabeled
        self.model_ = LogisticRegression(C=self.C).fit(X[labeled], y[labeled])
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(X)


def table(seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((N_ROWS, 2))
    y = (X[:, 0] > 0).astype(float)
    y[rng.choice(N_ROWS, 20, replace=False)] = np.nan
    return X, y


@pytest.mark.parametrize("cv", [3, np.int64(3), StratifiedKFold(4), LeaveOneOut()])
def test_folds_test_on_labeled_rows_and_train_on_the_rest(cv):
    X, y = table()
    (unlabeled,) = np.nonzero(np.isnan(y))
    (labeled,) = np.nonzero(~np.isnan(y))
    tested = []
    for train, test in SemiSupervisedSplit(cv, random_state=0).split(X, y):
        assert not np.isnan(y[test]).any()
        assert np.isin(unlabeled, train).all()
        assert_array_equal(np.sort(np.r_[train, test]), np.arange(N_ROWS))
        assert (np.diff(train) > 0).all()
        tested.append(test)
    assert_array_equal(np.sort(np.concatenate(tested)), labeled)


@pytest.mark.parametrize("as_table", [pd.DataFrame, pl.DataFrame, sp.coo_array, list])
@pytest.mark.parametrize("as_labels", [pd.Series, pl.Series, list])
def test_containers_do_not_matter(as_table, as_labels):
    X, y = table()
    splitter = SemiSupervisedSplit(3, random_state=0)
    expected = list(splitter.split(X, y))
    actual = list(splitter.split(as_table(X), as_labels(y)))
    for folds in zip(actual, expected, strict=True):
        for one, other in zip(*folds, strict=True):
            assert_array_equal(one, other)


@pytest.mark.parametrize("mark", [-1, "none"])
def test_folds_keep_marked_rows_for_training(mark):
    _, y = table()
    marked = np.where(
        np.isnan(y), mark, np.nan_to_num(y).astype(int).astype(type(mark))
    )
    splitter = SemiSupervisedSplit(3, unlabeled_label=mark, random_state=0)
    for train, test in splitter.split(np.zeros(N_ROWS), marked):
        assert (marked[test] != mark).all()
        assert (marked[train] == mark).sum() == 20


def test_complete_labels_split_as_the_inner_splitter_does():
    X, y = table()
    y = np.nan_to_num(y)
    inner = StratifiedKFold(3)
    splits = zip(SemiSupervisedSplit(inner).split(X, y), inner.split(X, y), strict=True)
    for (train, test), (inner_train, inner_test) in splits:
        assert_array_equal(train, inner_train)
        assert_array_equal(test, inner_test)


def test_groups_of_labeled_rows_are_not_divided():
    X, y = table()
    groups = np.arange(N_ROWS) % 7
    for train, test in SemiSupervisedSplit(GroupKFold(3)).split(X, y, groups):
        labeled = train[~np.isnan(y[train])]
        assert not set(groups[labeled]) & set(groups[test])


def test_random_state_decides_the_folds():
    X, y = table()

    def tests(seed):
        split = SemiSupervisedSplit(3, random_state=seed).split(X, y)
        return [tuple(test) for _, test in split]

    assert tests(0) == tests(0)
    assert tests(0) != tests(1)


@pytest.mark.parametrize("seed", range(5))
def test_each_fold_has_its_share_of_each_class(seed):
    y = np.repeat([0.0, 1.0, 2.0, np.nan], [5, 15, 30, 10])
    X = np.zeros((len(y), 1))
    for train, test in SemiSupervisedSplit(5, random_state=seed).split(X, y):
        assert_array_equal(np.bincount(y[test].astype(int)), [1, 3, 6])
        of_labeled = y[train][~np.isnan(y[train])].astype(int)
        assert_array_equal(np.bincount(of_labeled), [4, 12, 24])


@pytest.mark.parametrize("cv", [3, StratifiedKFold(4)])
def test_number_of_folds(cv):
    splitter = clone(SemiSupervisedSplit(cv))
    assert splitter.get_n_splits() == len(list(splitter.split(*table())))


@pytest.mark.parametrize("cv", [3, LeaveOneOut(), LeaveOneGroupOut()])
def test_number_of_folds_is_that_of_labeled_rows(cv):
    X, y = table()
    groups = None
    if isinstance(cv, LeaveOneGroupOut):
        groups = np.where(np.isnan(y), -1, np.arange(N_ROWS) % 4)
    splitter = SemiSupervisedSplit(cv)
    n_splits = len(list(splitter.split(X, y, groups)))
    for rows in (X, X.tolist(), None):
        assert splitter.get_n_splits(rows, y, groups) == n_splits


@pytest.mark.parametrize(
    ("y", "message"),
    [(None, "needs y"), (np.full(N_ROWS, np.nan), "no labeled row")],
)
def test_nothing_to_test_on_raises(y, message):
    with pytest.raises(ValueError, match=message):
        next(SemiSupervisedSplit(3).split(np.zeros((N_ROWS, 2)), y))
    if y is not None:
        with pytest.raises(ValueError, match=message):
            SemiSupervisedSplit(3).get_n_splits(np.zeros((N_ROWS, 2)), y)


def test_marks_that_count_as_a_class_warn():
    X, y = np.zeros((6, 1)), np.array([0, 1, 0, 1, -1, -1])
    with pytest.warns(UserWarning, match="pass unlabeled_label=-1"):
        list(SemiSupervisedSplit(2).split(X, y))
    list(SemiSupervisedSplit(2, unlabeled_label=-1).split(X, y))  # no warning


def test_rows_and_labels_are_as_many():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        next(SemiSupervisedSplit(2).split(np.zeros((3, 1)), np.arange(6) % 2))


def test_cross_validation_takes_missing_labels():
    X, y = table()
    cv = SemiSupervisedSplit(4, random_state=0)
    scores = cross_val_score(LabeledRowsOnly(), X, y, cv=cv, error_score="raise")
    assert scores.shape == (4,)
    assert (scores > 0.5).all()
    fits = cross_validate(LabeledRowsOnly(), X, y, cv=cv, return_estimator=True)
    assert [model.n_unlabeled_ for model in fits["estimator"]] == [20] * 4


def test_grid_search_takes_missing_labels():
    X, y = table()
    cv = SemiSupervisedSplit(3, random_state=0)
    search = GridSearchCV(LabeledRowsOnly(), {"C": [1e-3, 1.0]}, cv=cv).fit(X, y)
    assert search.best_estimator_.n_unlabeled_ == 20


def test_groups_are_routed_to_the_splitter():
    X, y = table()
    groups = np.arange(N_ROWS) % 7
    cv = SemiSupervisedSplit(GroupKFold(3))
    given = {"cv": cv, "return_indices": True, "error_score": "raise"}
    with config_context(enable_metadata_routing=True):
        fits = cross_validate(
            LabeledRowsOnly(), X, y, params={"groups": groups}, **given
        )
    for test, (_, expected) in zip(
        fits["indices"]["test"], cv.split(X, y, groups), strict=True
    ):
        assert_array_equal(test, expected)


def test_unlabeled_rows_may_have_a_group_of_their_own():
    X, y = table()
    groups = np.where(np.isnan(y), -1, np.arange(N_ROWS) % 4)
    cv = SemiSupervisedSplit(LeaveOneGroupOut())
    search = GridSearchCV(LabeledRowsOnly(), {"C": [1.0]}, cv=cv)
    assert search.fit(X, y, groups=groups).n_splits_ == 4


POOL = np.arange(8.0).reshape(4, 2)


@pytest.mark.parametrize(
    "rows", [0, slice(2), np.array([1, 3]), [True, False, True, False], ...]
)
def test_pool_survives_indexing(rows):
    pool = UnlabeledPool(POOL)
    assert pool[rows] is pool


@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame, pl.DataFrame, sp.csr_array])
def test_pool_looks_like_what_it_holds(form):
    pool = UnlabeledPool(form(POOL))
    assert pool.shape == (4, 2)
    assert len(pool) == 4
    if form is not sp.csr_array:
        assert_array_equal(np.asarray(pool), POOL)


@pytest.mark.parametrize("form", [sp.csr_array, sp.csc_matrix])
def test_sparse_pool_is_not_made_dense(form):
    pool = UnlabeledPool(form(POOL))
    with pytest.raises(TypeError, match="pass the sparse matrix itself"):
        MaxAbsScaler().fit(form(POOL)).transform(pool)


def test_pool_of_lists_has_a_shape():
    assert UnlabeledPool(POOL.tolist()).shape == (4, 2)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("rows", [[0, 2], np.array([True, False, True, False])])
def test_pool_survives_slicing_by_scikit_learn(rows, form):
    pool = UnlabeledPool(form(POOL))
    assert _safe_indexing(pool, rows) is pool
    assert shuffle(pool, POOL, random_state=0)[0] is pool
    assert resample(pool, POOL, n_samples=2, random_state=0)[0] is pool


@pytest.mark.parametrize("n_rows", [N_ROWS, 7])
def test_pool_stays_whole_in_cross_validation(n_rows):
    X, y = table()
    pool = UnlabeledPool(np.zeros((n_rows, 2)))
    fits = cross_validate(
        LabeledRowsOnly(),
        X,
        y,
        cv=SemiSupervisedSplit(3, random_state=0),
        params={"X_unlabeled": pool},
        return_estimator=True,
    )
    assert all(model.pool_ is pool for model in fits["estimator"])


def test_pool_ends_and_its_copies_are_copies():
    rows = np.arange(8.0).reshape(4, 2)
    pool = UnlabeledPool(rows)
    assert len(list(pool)) == 4
    assert not np.shares_memory(np.array(pool), rows)
    assert np.shares_memory(np.asarray(pool), rows)
    assert np.asarray(pool, dtype=np.float32).dtype == np.float32


def test_folds_that_pass_once_only_are_refused():
    X, y = np.zeros((6, 1)), np.arange(6) % 2
    with pytest.raises(ValueError, match=r"pass list\(cv\), or a splitter"):
        SemiSupervisedSplit(KFold(3).split(X)).get_n_splits(X, y)


class ByFirstFeature:
    """A splitter that looks at the rows themselves."""

    def split(self, X, y=None, groups=None):
        (low,), (high,) = np.nonzero(X[:, 0] < 0), np.nonzero(X[:, 0] >= 0)
        yield low, high


def test_the_splitter_sees_the_labeled_rows():
    X, y = table()
    ((train, test),) = SemiSupervisedSplit(ByFirstFeature()).split(X, y)
    assert (X[test, 0] >= 0).all()
    assert (X[train, 0][~np.isnan(y[train])] < 0).all()


@pytest.mark.parametrize(
    ("folds", "beyond"), [([0, 0, 0, 1, 1, 1], 5), ([0, 0, 1, 1, 1], 4)]
)
def test_folds_of_all_rows_are_named(folds, beyond):
    y = np.array([0, 1, np.nan, 0, 1, np.nan])
    split = SemiSupervisedSplit(PredefinedSplit(folds))
    with pytest.raises(ValueError, match=f"cv names row {beyond}, but there are 4 lab"):
        next(split.split(np.zeros((6, 1)), y))

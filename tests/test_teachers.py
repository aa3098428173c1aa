"""Teachers from elsewhere, and how folds reach them."""

import pickle
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from catboost import CatBoostClassifier
from joblib import parallel_config
from lightgbm import LGBMClassifier
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    StratifiedShuffleSplit,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.utils import get_tags
from sklearn.utils.parallel import Parallel
from skorch import NeuralNetClassifier
from torch import nn
from xgboost import XGBClassifier

from sklearn_slam import (
    CallableTeacher,
    SLaMDistiller,
    TorchStudent,
    UnlabeledPool,
    UPSDistiller,
    _teacher,
)
from sklearn_slam._progress import Progress
from sklearn_slam._teacher import (
    cross_fit,
    default_teacher,
    fit_teacher,
    name_of_weights,
    warn_if_memorized,
    weighs_classes,
)


def quick(teacher, **params):
    params = {"max_epochs": 2, "peers": False, "random_state": 0, **params}
    return SLaMDistiller(teacher, nn.Linear, **params)


class Renamed(GaussianNB):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y + 10, sample_weight)


def test_classes_that_are_no_labels_are_named(table):
    X, y, pool = table
    with pytest.raises(
        ValueError, match=r"classes \[10, 11, 12\], which are no labels"
    ):
        quick(Renamed()).fit(X, y, X_unlabeled=pool)


def test_a_pipeline_that_is_fitted_at_its_end_only_is_named(table):
    X, y, pool = table
    model = FrozenEstimator(GaussianNB().fit(X, y))
    with pytest.raises(NotFittedError) as caught:
        quick(make_pipeline(MaxAbsScaler(), model)).fit(X, y, X_unlabeled=pool)
    assert any("counts as fitted" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("backend", ["multiprocessing", "threading", "loky"])
def test_every_backend_of_joblib_serves(table, backend):
    X, y, pool = table
    alone = quick(GaussianNB()).fit(X, y, X_unlabeled=pool)
    with parallel_config(backend, n_jobs=2):
        slam = quick(GaussianNB()).fit(X, y, X_unlabeled=pool)
    assert_array_equal(slam.predict_proba(X), alone.predict_proba(X))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_the_default_teacher_refuses_dates(frame):
    when = pd.date_range("2020-01-01", periods=60).to_pydatetime().tolist()
    X = frame({"when": when, "a": np.arange(60.0)})
    with pytest.raises(TypeError, match="Column 'when' holds dates or times"):
        default_teacher(X, 0).fit(X, np.arange(60) % 2)


def test_a_teacher_whose_fit_fails_is_named(table):
    X, y, _ = table
    frame = pd.DataFrame(X).add_prefix("x").assign(town="north")
    with pytest.raises(ValueError, match=r"convert|cast") as caught:
        SLaMDistiller(GaussianNB()).fit(frame, y, X_unlabeled=frame[:50])
    (note,) = (note for note in caught.value.__notes__ if "preprocessing" in note)
    assert "The teacher, GaussianNB, could not be fitted" in note


class Float32Net(NeuralNetClassifier):
    def fit(self, X, y):
        return super().fit(X.astype(np.float32), y)

    def predict_proba(self, X):
        return super().predict_proba(X.astype(np.float32))


TEACHERS = {
    "catboost": CatBoostClassifier(
        iterations=5, verbose=0, thread_count=1, allow_writing_files=False
    ),
    "calibrated": CalibratedClassifierCV(GaussianNB(), cv=2),
    "self-training": SelfTrainingClassifier(GaussianNB()),
    "label spreading": LabelSpreading(kernel="knn"),
    "skorch": Float32Net(
        nn.Linear,
        module__in_features=8,
        module__out_features=3,
        criterion=nn.CrossEntropyLoss,
        train_split=None,
        max_epochs=20,
        lr=0.1,
        verbose=0,
    ),
}


@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.filterwarnings("ignore:y contains no unlabeled samples")
def test_teachers_from_elsewhere_are_cross_fitted(table, name):
    X, y, pool = table
    torch.manual_seed(0)
    slam = quick(TEACHERS[name]).fit(X, y, X_unlabeled=pool)
    assert len(slam.teacher_accuracy_.margins_) == len(y)
    assert_allclose(slam.predict_proba(pool).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2, 3, 1, 5, 1])])
def test_rows_that_are_tested_again_get_the_average(weights):
    y = np.array(["a", "a", "b", "b", "b", "c"])
    folds = [
        (np.array([0, 2, 3]), np.array([1, 4, 5])),
        (np.array([1, 2, 4, 5]), np.array([0, 3])),
        (np.array([1, 2, 5]), np.array([4, 0])),
        (np.array([0, 1, 3]), np.array([2, 4])),
    ]
    # A teacher that says how often it has seen each class.
    said = []
    for train, _ in folds:
        counts = [
            np.sum((np.ones(6) if weights is None else weights)[train][y[train] == c])
            for c in "abcd"
        ]
        said.append(np.array(counts) / np.sum(counts))
    expected = np.array(
        [
            (said[1] + said[2]) / 2,
            said[0],
            said[3],
            said[1],
            (said[0] + said[2] + said[3]) / 3,
            said[0],
        ]
    )
    teacher, classes = DummyClassifier(strategy="prior"), np.array(list("abcd"))
    proba = cross_fit(
        teacher, np.zeros((6, 1)), y, folds, classes, weights, None, Progress()
    )
    assert_allclose(proba, expected, rtol=1e-6)


def test_a_semi_supervised_teacher_may_arrive_fitted_with_the_pool(table):
    X, y, pool = table
    marked = np.concatenate([y[:60], np.full(len(pool), -1)])
    spreading = LabelSpreading(kernel="knn").fit(np.concatenate([X[:60], pool]), marked)
    slam = quick(FrozenEstimator(spreading)).fit(X[60:], y[60:], X_unlabeled=pool)
    assert slam.teacher_.estimator is spreading


class Predictor:
    """With the interface of AutoGluon's predictor: frames in, a frame out."""

    def __init__(self, frame, labels):
        self.class_labels = sorted(set(labels))
        self.model = GaussianNB().fit(frame.to_numpy(), labels)

    def predict_proba(self, frame):
        assert list(frame.columns) == [f"c{i}" for i in range(8)]
        proba = self.model.predict_proba(frame.to_numpy())
        return pd.DataFrame(proba, columns=self.class_labels, index=frame.index)


class PriorFitted(ClassifierMixin, BaseEstimator):
    """With the interface of TabPFN's classifier: fit stores the rows."""

    def fit(self, X, y):
        self.classes_, self.model_ = np.unique(y), GaussianNB().fit(X, y)
        return self

    def predict_proba(self, X):
        return self.model_.predict_proba(X)


def test_stand_ins_for_automl_and_prior_fitted_networks(table):
    X, y, pool = table
    names = [f"c{i}" for i in range(8)]
    frame, rest = pd.DataFrame(X, columns=names), pd.DataFrame(pool, columns=names)
    predictor = Predictor(frame[:60], y[:60])
    with pytest.raises(TypeError, match="CallableTeacher"):
        quick(predictor).fit(frame, y, X_unlabeled=rest)
    teacher = CallableTeacher(
        lambda rows: predictor.predict_proba(rows).to_numpy(), predictor.class_labels
    )
    slam = quick(teacher).fit(frame[60:], y[60:], X_unlabeled=rest)
    assert slam.predict(rest).shape == (len(pool),)
    assert quick(PriorFitted()).fit(X, y, X_unlabeled=pool).teacher_.classes_.size == 3


@pytest.mark.parametrize("unlabeled", [0, 20])
def test_groups_reach_the_folds(table, unlabeled):
    """No teacher sees a row of a group that it is asked about."""
    X, y, pool = table
    groups = np.arange(len(y)) // 15
    target = y.astype(float)
    target[:unlabeled] = np.nan
    seen = []

    class Spy(LogisticRegression):
        def fit(self, X, y):
            seen.append(X)
            return super().fit(X, y)

    slam = quick(Spy(max_iter=1000), cv=GroupKFold(3))
    slam.fit(X, target, X_unlabeled=pool, groups=groups)
    assert len(seen) == 4
    for rows in seen[:3]:
        known = {tuple(row) for row in rows}
        inside = np.array([tuple(row) in known for row in X])
        assert not set(groups[inside]) & set(groups[unlabeled:][~inside[unlabeled:]])


def test_the_random_state_decides_the_folds(table):
    X, y, pool = table
    first, second, other = (
        quick(GaussianNB(), random_state=seed).fit(X, y, X_unlabeled=pool)
        for seed in (0, 0, 1)
    )
    said = first.teacher_accuracy_.proba_
    assert_array_equal(second.teacher_accuracy_.proba_, said)
    assert (other.teacher_accuracy_.proba_ != said).any()


@pytest.mark.parametrize("teacher", [RandomForestClassifier(2), None])
def test_the_random_state_decides_a_teacher_that_has_none_of_its_own(table, teacher):
    X, y, pool = table
    first, second = (
        quick(teacher, random_state=seed, cv=2)
        .fit(X[:30], y[:30] > 0, X_unlabeled=pool)
        .teacher_
        for seed in (0, 1)
    )
    if teacher is None:
        first, second = first[-1], second[-1]
    else:
        assert teacher.random_state is None
    assert None is not first.random_state != second.random_state


def test_weights_reach_the_teacher_in_folds_and_on_all_rows(table):
    X, y, pool = table
    weights, places = np.linspace(0.1, 3, len(y)), np.arange(len(y))
    halves = places[::2], places[1::2]
    cv = [halves, halves[::-1]]
    slam = quick(GaussianNB(), cv=cv)
    slam.fit(X, y, X_unlabeled=pool, sample_weight=weights)

    def said_by(train, rows):
        model = GaussianNB().fit(X[train], y[train], weights[train])
        return model.predict_proba(rows)

    for train, test in cv:
        said = slam.teacher_accuracy_.proba_[test]
        assert_allclose(said, said_by(train, X[test]), atol=1e-6)
    assert_allclose(slam.teacher_.predict_proba(pool), said_by(places, pool))


@pytest.mark.parametrize("of_pool_too", [False, True])
def test_a_teacher_is_fitted_only_where_it_is_asked(table, of_pool_too):
    X, y, pool = table
    of_pool = np.full((len(pool), 3), 1 / 3) if of_pool_too else None
    slam = quick(GaussianNB(), alpha=1.0).fit(
        X,
        y,
        X_unlabeled=pool,
        teacher_proba=np.full((len(X), 3), 1 / 3),
        teacher_proba_unlabeled=of_pool,
    )
    assert (slam.teacher_ is None) == of_pool_too


def test_folds_are_fitted_by_as_many_jobs_as_asked_for(table, monkeypatch):
    X, y, pool = table
    seen = []

    def parallel(n_jobs, **params):
        seen.append(n_jobs)
        return Parallel(**params)

    monkeypatch.setattr(_teacher, "Parallel", parallel)
    quick(GaussianNB(), n_jobs=3).fit(X, y, X_unlabeled=pool)
    assert seen == [3]


def test_given_probabilities_go_with_their_rows(table):
    X, y, pool = table
    rng = np.random.RandomState(0)
    proba, of_pool = (rng.dirichlet(np.ones(3), len(rows)) for rows in (X, pool))
    # Each labeled row among rows of the pool, whose last ones lie beside X.
    at = np.arange(len(y)) * 2
    rows, target, given = (
        np.insert(part, np.arange(len(y)), of_labeled, axis=0)
        for part, of_labeled in (
            (pool[: len(y)], X),
            (np.full(len(y), np.nan), y),
            (of_pool[: len(y)], proba),
        )
    )
    assert_array_equal(rows[at], X)
    slam = quick(None, alpha=1.0)
    among = slam.fit(
        rows,
        target,
        X_unlabeled=pool[len(y) :],
        teacher_proba=given,
        teacher_proba_unlabeled=of_pool[len(y) :],
    ).predict_proba(pool)
    apart = slam.fit(
        X,
        y.astype(float),
        X_unlabeled=pool,
        teacher_proba=proba,
        teacher_proba_unlabeled=of_pool,
    ).predict_proba(pool)
    assert_array_equal(among, apart)


def test_folds_fitted_at_once_give_the_same(table):
    X, y, pool = table
    one, two = (
        quick(GaussianNB(), n_jobs=n_jobs).fit(X, y, X_unlabeled=pool)
        for n_jobs in (None, 2)
    )
    assert_allclose(one.predict_proba(pool), two.predict_proba(pool))


class Weighed(GaussianNB):
    """Keep the weights that reached ``fit``."""

    def fit(self, X, y, sample_weight=None):
        self.weighed_ = sample_weight is not None
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize(
    ("teacher", "found"),
    [
        (StackingClassifier([("a", Weighed())]), lambda t: t.estimators_[0]),
        (VotingClassifier([("a", Weighed())]), lambda t: t.estimators_[0]),
        (GridSearchCV(Weighed(), {}, cv=2), lambda t: t.best_estimator_),
        (make_pipeline(MaxAbsScaler(), Weighed()), lambda t: t[-1]),
        (
            make_pipeline(MaxAbsScaler(), StackingClassifier([("a", Weighed())])),
            lambda t: t[-1].estimators_[0],
        ),
        (
            GridSearchCV(make_pipeline(MaxAbsScaler(), Weighed()), {}, cv=2),
            lambda t: t.best_estimator_[-1],
        ),
    ],
)
def test_weights_reach_what_a_meta_estimator_holds(table, teacher, found):
    X, y, _ = table
    assert found(fit_teacher(teacher, X, y, np.ones(len(y)))).weighed_
    assert not found(fit_teacher(teacher, X, y, None)).weighed_


def test_routed_weights_reach_a_stack(table):
    X, y, _ = table
    with config_context(enable_metadata_routing=True):
        unasked = StackingClassifier([("a", Weighed().set_fit_request())])
        assert not fit_teacher(unasked, X, y, np.ones(len(y))).estimators_[0].weighed_
        asked = StackingClassifier(
            [("a", Weighed().set_fit_request(sample_weight=True))]
        )
        assert fit_teacher(asked, X, y, np.ones(len(y))).estimators_[0].weighed_


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
def test_default_teacher_takes_routed_weights(table, kind):
    X, y, _ = table
    X, weights = kind(X), (y < 2).astype(float)
    with config_context(enable_metadata_routing=True):
        teacher = default_teacher(X, 0)
        teacher[-1].set_params(max_iter=20)
        fitted = fit_teacher(teacher, X, y, weights)
    assert set(fitted.predict(X)) == {0, 1}


def test_weights_that_do_not_reach_the_teacher_warn(table):
    X, y, pool = table
    neighbors = KNeighborsClassifier()
    for teacher in (neighbors, StackingClassifier([("a", neighbors)])):
        with pytest.warns(UserWarning, match="does not reach the teacher") as caught:
            quick(teacher).fit(X, y, X_unlabeled=pool, sample_weight=np.ones(len(y)))
        assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize(
    ("teacher", "name"),
    [
        (GaussianNB(), "sample_weight"),
        (KNeighborsClassifier(), None),
        (make_pipeline(MaxAbsScaler(), GaussianNB()), "gaussiannb__sample_weight"),
        (make_pipeline(MaxAbsScaler(), KNeighborsClassifier()), None),
        (VotingClassifier([("a", GaussianNB()), ("b", "drop")]), "sample_weight"),
        (VotingClassifier([("a", GaussianNB()), ("b", KNeighborsClassifier())]), None),
        (StackingClassifier([("a", GaussianNB())], GaussianNB()), "sample_weight"),
        (StackingClassifier([("a", GaussianNB())], KNeighborsClassifier()), None),
        (GridSearchCV(KNeighborsClassifier(), {}), None),
    ],
)
def test_weights_go_by_the_name_under_which_all_take_them(teacher, name):
    assert name_of_weights(teacher) == name


@pytest.mark.parametrize(
    ("teacher", "weighs"),
    [
        (CatBoostClassifier(), False),
        (CatBoostClassifier(auto_class_weights="Balanced"), True),
        (CatBoostClassifier(class_weights=[1, 2]), True),
        (LGBMClassifier(is_unbalance=False), False),
        (XGBClassifier(scale_pos_weight=1), False),
        (XGBClassifier(scale_pos_weight=1.0), False),
        (XGBClassifier(scale_pos_weight=3), True),
        (BaggingClassifier(LogisticRegression(class_weight="balanced")), True),
    ],
)
def test_who_weighs_classes(teacher, weighs):
    assert weighs_classes(teacher) == weighs


def test_the_default_teacher_knows_its_seed_and_its_categories(frame):
    X, _ = frame
    boosting = default_teacher(X, 3)[-1]
    assert boosting.random_state == 3
    assert boosting.categorical_features == [0, 1]  # town and grade come first
    assert default_teacher(X[["number"]].to_numpy(), 3)[-1].categorical_features is None


def test_the_default_teacher_takes_more_categories_than_boosting():
    X = pd.DataFrame({"town": [f"town {n}" for n in range(300)] * 2})
    teacher = default_teacher(X, 0).set_params(**{f"{BOOSTING}__max_iter": 2})
    assert_array_equal(teacher.fit(X, np.arange(600) % 2).classes_, [0, 1])


def test_the_default_teacher_of_sparse_rows_minds_no_output_of_frames(table):
    X, y, _ = table
    with config_context(transform_output="pandas"):
        default_teacher(csr_matrix(X), 0).fit(csr_matrix(X), y)


def test_a_function_takes_what_it_takes():
    tags = get_tags(CallableTeacher(len, [0, 1])).input_tags
    assert tags.allow_nan
    assert tags.sparse


BOOSTING = "histgradientboostingclassifier"


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1.0, None] * 45, "b": ["u", None, "v"] * 30}),
        pd.DataFrame({"a": [1, None] * 45, "b": ["u", None, "v"] * 30}).astype(
            {"a": "Int64", "b": "string"}
        ),
        pd.DataFrame({"a": [True, None] * 45}, dtype="boolean"),
        pd.DataFrame({"b": pd.Categorical(["u", None, "v"] * 30), "c": None}),
        pd.DataFrame({"b": ["u", 3, None] * 30}),
    ],
)
def test_default_teacher_reads_any_frame(frame):
    y = np.arange(90) % 2 == 0
    teacher = default_teacher(frame, 0).set_params(**{f"{BOOSTING}__max_iter": 5})
    teacher.fit(frame, y)
    assert_allclose(teacher.predict_proba(frame).sum(axis=1), 1)


def test_default_teacher_keeps_the_kinds_of_columns_in_folds():
    """Some rows show of a column of objects numbers only, or nothing."""
    mixed = pd.Series([1, 2] * 30 + ["u", 500] * 15, dtype=object)
    late = pd.Series([None] * 60 + [Decimal("0.5"), Decimal("2")] * 15, dtype=object)
    frame = pd.DataFrame({"mixed": mixed, "late": late, "n": np.arange(90.0) - 45})
    y = np.arange(90) % 2 == 0
    teacher = default_teacher(frame, 0).set_params(**{f"{BOOSTING}__max_iter": 5})
    assert teacher.fit(frame[:60], y[:60]).predict(frame).shape == (90,)
    assert list(teacher[0].codes_) == ["mixed"]
    assert teacher[0].filled_ == ["n"]
    assert teacher.fit(frame, y)[0].filled_ == ["late", "n"]


@pytest.mark.usefixtures("quick_peers")
def test_what_the_teacher_takes_may_be_missing(table):
    X, y, pool = table
    X = np.where(np.arange(X.size).reshape(X.shape) % 7 == 0, np.nan, X)
    pipeline = make_pipeline(SimpleImputer(), GaussianNB())
    for teacher in (pipeline, FrozenEstimator(clone(pipeline).fit(X, y))):
        slam = SLaMDistiller(teacher, max_epochs=2, random_state=0)
        assert np.isfinite(slam.fit(X, y, X_unlabeled=pool).predict_proba(X)).all()
    with pytest.raises(ValueError, match="GaussianNB does not accept missing"):
        SLaMDistiller(GaussianNB()).fit(X, y, X_unlabeled=pool)


@pytest.mark.parametrize("cv", [KFold(2), StratifiedShuffleSplit(2)])
def test_peers_are_not_asked_where_folds_do_not_serve(three_classes, cv):
    X, y = three_classes
    order = np.argsort(y[:120])
    X[:120], y[:120] = X[order], y[order]
    y = y > 0
    fitted = GaussianNB().fit(X[200:], y[200:])
    slam = quick(fitted, cv=cv).fit(X[:120], y[:120], X_unlabeled=X[120:200])
    assert slam.label_accuracy_ is slam.teacher_accuracy_
    with pytest.raises(ValueError, match=r"fold of cv|cv leaves"):
        quick(fitted, cv=cv, peers=True).fit(X[:120], y[:120], X_unlabeled=X[120:200])


def test_folds_beyond_the_labeled_rows_are_refused(table):
    X, y, pool = table
    target = np.where(np.arange(len(y)) < 60, y, np.nan)
    cv = PredefinedSplit(np.arange(len(y)) % 3)
    with pytest.raises(ValueError, match="cv names row 61, but there are 60 labeled"):
        quick(GaussianNB(), cv=cv).fit(X, target, X_unlabeled=pool)


def test_given_frames_are_read_by_the_names_of_their_columns(table):
    X, y, pool = table
    names = np.array(["a", "b", "c"])
    rng = np.random.RandomState(0)
    given = [rng.dirichlet(np.ones(3), len(rows)) for rows in (X, pool)]
    slam = quick(None, alpha=1.0)

    def predict(columns, order=(0, 1, 2)):
        frames = [pd.DataFrame(proba[:, order], columns=columns) for proba in given]
        slam.fit(
            X,
            names[y],
            X_unlabeled=pool,
            teacher_proba=frames[0],
            teacher_proba_unlabeled=UnlabeledPool(frames[1]),
        )
        return slam.predict_proba(pool)

    expected = predict(["a", "b", "c"])
    assert_array_equal(predict(["c", "a", "b"], (2, 0, 1)), expected)
    assert_array_equal(predict(None), expected)
    for columns in (["a", "b", "other"], ["p2", "p1", "p0"]):
        with pytest.raises(ValueError, match="Name a column after each class"):
            predict(columns)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_of_a_function_are_read_by_the_names_of_their_columns(table, frame):
    X, y, _ = table
    proba = GaussianNB().fit(X, y).predict_proba(X)
    named = {str(label): proba[:, label] for label in (2, 0, 1)}
    teacher = CallableTeacher(lambda X: frame(named), [0, 1, 2])
    assert_array_equal(teacher.predict_proba(X), proba)
    unnamed = CallableTeacher(lambda X: frame(proba), [0, 1, 2])
    assert_array_equal(unnamed.predict_proba(X), proba)
    other = CallableTeacher(lambda X: frame({"x": proba[:, 0], **named}), [0, 1, 2])
    with pytest.raises(ValueError, match="predict_proba_function returned has columns"):
        other.predict_proba(X)
    with pytest.raises(TypeError, match="predict_proba_function must be a function"):
        CallableTeacher("http://localhost", [0, 1]).predict_proba(X)


def test_a_function_is_asked_about_so_many_rows_at_once(table):
    X, y, _ = table
    model, sizes = GaussianNB().fit(X, y), []

    def ask(rows):
        sizes.append(len(rows))
        return model.predict_proba(rows)

    teacher = CallableTeacher(ask, [0, 1, 2], batch_size=40)
    assert_array_equal(teacher.predict_proba(X), model.predict_proba(X))
    assert sizes == [40, 40, 10]
    assert_array_equal(teacher.predict(X.tolist()), model.predict(X))
    with pytest.raises(ValueError, match="batch_size must be an integer"):
        CallableTeacher(ask, [0, 1, 2], batch_size=0).predict_proba(X)


@pytest.mark.parametrize("answer", [None, ["a"] * 90, np.zeros(90), np.ones((90, 3))])
def test_what_a_function_should_not_return_is_named(table, answer):
    X, _, _ = table
    with pytest.raises(ValueError, match="What predict_proba_function returned"):
        CallableTeacher(lambda rows: answer, [0, 1, 2]).predict_proba(X)


@pytest.mark.parametrize("name", ["teacher_proba", "teacher_proba_unlabeled"])
def test_probabilities_of_some_rows_and_no_teacher_are_refused(table, name):
    X, y, pool = table
    rows = X if name == "teacher_proba" else pool
    given = {name: np.full((len(rows), 3), 1 / 3)}
    with pytest.raises(ValueError, match=f"{name} is given, teacher_proba"):
        quick(None).fit(X, y, X_unlabeled=pool, **given)


class Stateless(ClassifierMixin, BaseEstimator):
    """Predict without having been fitted, and without saying which classes."""

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)

    def __sklearn_is_fitted__(self):
        return True


def test_columns_need_one_class_each(table):
    X, y, pool = table
    with pytest.raises(TypeError, match="has no classes_"):
        quick(Stateless()).fit(X, y, X_unlabeled=pool)
    for classes in ([1, 0, 0], "abc", None):
        teacher = CallableTeacher(Stateless().predict_proba, classes)
        with pytest.raises(ValueError, match=r"teacher\.classes_ must"):
            quick(teacher).fit(X, y, X_unlabeled=pool)


def test_a_fitted_teacher_is_not_cloned(table):
    X, y, _ = table

    class Unclonable(GaussianNB):
        def __sklearn_clone__(self):
            raise RuntimeError

    teacher = Unclonable().fit(X, y)
    assert clone(SLaMDistiller(teacher)).teacher is teacher


@pytest.mark.parametrize(
    "teacher",
    [
        HistGradientBoostingClassifier(max_iter=20, learning_rate=0.3, random_state=0),
        RandomForestClassifier(100, random_state=0),
        StackingClassifier(
            [("a", RandomForestClassifier(20, random_state=0)), ("b", GaussianNB())]
        ),
    ],
)
def test_rows_that_a_teacher_learned_from_are_noticed(teacher):
    X, y = make_classification(
        1600, 15, n_informative=8, flip_y=0.1, class_sep=0.8, random_state=0
    )
    for learned, warned in ((slice(0, 300), True), (slice(300, 600), False)):
        fitted = clone(teacher).fit(X[learned], y[learned])
        rows = [fitted.predict_proba(part) for part in (X[:300], X[600:])]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_if_memorized(*rows)
        assert len(caught) == warned


@pytest.mark.parametrize(
    ("n_rows", "share_above", "warned"),
    [
        (20, 0.8, True),
        (19, 1.0, False),
        (20, 0.7, False),  # may be chance
        (100, 0.62, False),  # by three standard errors
        (1_000, 0.6, True),
        (20_000, 0.54, False),  # not chance, but next to nothing
        (1_000, 0.2, False),
    ],
)
def test_margins_that_are_larger_by_more_than_chance_are_noticed(
    n_rows, share_above, warned
):
    # Some labeled rows have larger margins than all rows of the pool, the rest smaller.
    above = np.arange(n_rows) < share_above * n_rows
    noise = np.linspace(0, 0.1, n_rows)
    labeled, pool = (
        np.column_stack([1 + margin, 1 - margin]) / 2
        for margin in (np.where(above, 0.8, 0.2) + noise, 0.5 + noise)
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_memorized(labeled, pool)
    assert len(caught) == warned
    if warned:
        assert f"with probability {share_above:.2f}" in str(caught[0].message)


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ([(np.arange(90), np.arange(90))], "tests on rows that it trains on"),
        ([1, 2, 3], "cv must be a number of folds, a splitter, or folds"),
        (2.5, "cv must be a number of folds, a splitter, or folds"),
        ([([], np.arange(90))], "one class only among its training rows"),
        ([(np.arange(45), np.arange(-45, 0))], "cv names row -45"),
        ([(np.arange(90) < 9, np.arange(50) > 9)], "masks of 50 rows"),
    ],
)
def test_folds_that_do_not_serve_are_named(table, cv, message):
    X, y, pool = table
    with pytest.raises(ValueError, match=message):
        quick(GaussianNB(), cv=cv).fit(X, y, X_unlabeled=pool)


class Odd(GaussianNB):
    """A teacher whose fit returns nothing."""

    def fit(self, X, y):
        super().fit(X, y)


def test_a_teacher_may_return_nothing_from_fit(table):
    X, y, pool = table
    odd, even = (
        quick(teacher).fit(X, y, X_unlabeled=pool) for teacher in (Odd(), GaussianNB())
    )
    assert_array_equal(odd.predict_proba(pool), even.predict_proba(pool))


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda model, X, y: model,
        lambda model, X, y: make_pipeline(StandardScaler(), model),
        lambda model, X, y: FrozenEstimator(model.fit(X, y)),
    ],
)
def test_a_threshold_is_no_part_of_what_is_distilled(table, wrapped):
    X, y, pool = table
    teacher = wrapped(FixedThresholdClassifier(GaussianNB(), threshold=0.2), X, y > 0)
    with pytest.warns(UserWarning, match="decides by a threshold of its own"):
        slam = quick(teacher).fit(X, y > 0, X_unlabeled=pool)
    threshold = FixedThresholdClassifier(FrozenEstimator(slam), threshold=0.2)
    predicted = threshold.fit(X, y > 0).predict(pool)
    assert_array_equal(predicted, slam.predict_proba(pool)[:, 1] >= 0.2)


def test_what_is_no_teacher_is_named_in_few_words(table):
    X, y, pool = table
    with pytest.raises(TypeError, match="go into fit as teacher_proba") as caught:
        quick(np.full((5_000, 3), 1 / 3)).fit(X, y, X_unlabeled=pool)
    assert len(str(caught.value)) < 400


def test_what_is_no_classifier_is_named(table):
    X, y, pool = table
    with pytest.raises(TypeError, match=r"GaussianMixture has no classes_"):
        quick(GaussianMixture(3)).fit(X, y, X_unlabeled=pool)


def test_a_class_that_a_fold_lacks_is_named():
    X, y = make_classification(60, n_informative=3, n_classes=3, random_state=0)
    (at,) = np.nonzero(y == 1)
    rows = np.setdiff1d(np.arange(60), at[1:])
    with pytest.raises(ValueError, match="Invalid classes") as caught:
        quick(XGBClassifier(n_estimators=2)).fit(X[rows], y[rows], X_unlabeled=X)
    assert "A fold's training rows lack class [1]" in caught.value.__notes__[-1]


def test_weights_under_routing_go_where_they_are_taken(table):
    X, y, pool = table
    given = {"X_unlabeled": pool, "sample_weight": np.ones(len(y))}
    with config_context(enable_metadata_routing=True):
        weighed = GaussianNB().set_fit_request(sample_weight=True)
        for teacher in (
            CalibratedClassifierCV(weighed),
            BaggingClassifier(weighed),
        ):
            quick(teacher).fit(X, y, **given)  # no warning
        for teacher in (AdaBoostClassifier(), CalibratedClassifierCV(GaussianNB())):
            with pytest.warns(UserWarning, match="does not reach the teacher"):
                quick(teacher).fit(X, y, **given)


def test_weights_are_checked_where_the_teacher_is_asked_about_the_pool_only(table):
    X, y, pool = table
    proba = 0.1 + 0.8 * np.eye(2)[(y > 0).astype(int)]
    given = {"teacher_proba": proba, "X_unlabeled": pool}
    first = (y > 0) == (y > 0)[0]
    with pytest.raises(ValueError, match=r"one class only .* where sample_weight"):
        quick(GaussianNB()).fit(X, y > 0, sample_weight=1.0 * first, **given)
    with pytest.warns(UserWarning, match="does not reach the teacher"):
        quick(KNeighborsClassifier()).fit(
            X, y > 0, sample_weight=np.ones(len(X)), **given
        )


def test_the_default_teacher_holds_nothing_out():
    # Beyond 10,000 rows boosting would, at least two of each class.
    assert default_teacher(np.zeros((3, 1)), 0)[-1].early_stopping is False


def test_folds_are_good_for_more_than_one_fit(table):
    X, y, pool = table
    with pytest.raises(ValueError, match=r"pass list\(cv\)"):
        quick(GaussianNB(), cv=KFold(3).split(X)).fit(X, y, X_unlabeled=pool)


def test_labels_of_one_class_that_weigh_anything_are_refused(table):
    X, y, pool = table
    weights = (y == 0).astype(float)
    with pytest.raises(ValueError, match=r"one class only \(0\) where sample_weight"):
        quick(GaussianNB()).fit(X, y, X_unlabeled=pool, sample_weight=weights)


def test_probabilities_of_no_pool_are_refused(table):
    X, y, _ = table
    given = {"teacher_proba_unlabeled": np.ones((3, 3)) / 3}
    with pytest.raises(ValueError, match="is given, but X_unlabeled is not"):
        quick(GaussianNB()).fit(X, y, **given)


def test_memory_names_what_it_cannot_keep_answers_of(table, tmp_path):
    X, y, pool = table
    fitted = GaussianNB().fit(X, y)
    teacher = CallableTeacher(lambda rows: fitted.predict_proba(rows), [0, 1, 2])
    with pytest.raises(ValueError, match="memory keeps answers by what was asked"):
        quick(teacher, memory=str(tmp_path)).fit(X, y, X_unlabeled=pool)


def test_one_class_that_weighs_anything_serves_where_no_teacher_is_fitted(table):
    X, y, pool = table
    proba = np.full((len(X) + len(pool), 3), 1 / 3)
    slam = quick(None).fit(
        X,
        y,
        X_unlabeled=pool,
        sample_weight=(y == 0).astype(float),
        teacher_proba=proba[: len(X)],
        teacher_proba_unlabeled=proba[len(X) :],
    )
    assert_array_equal(slam.classes_, [0, 1, 2])


class Locked(GaussianNB):
    """A teacher that cannot be sent to another process."""

    def __getstate__(self):
        raise pickle.PicklingError("holds a connection")


def test_what_workers_cannot_be_sent_is_no_matter_of_memory(table):
    X, y, pool = table
    with pytest.raises(pickle.PicklingError):
        quick(Locked(), n_jobs=2).fit(X, y, X_unlabeled=pool)


@pytest.mark.usefixtures("quick_peers")
@pytest.mark.parametrize(
    ("teacher", "asks"),
    [
        (LogisticRegression(class_weight=None), True),
        (LogisticRegression(class_weight="balanced"), False),
        (make_pipeline(LogisticRegression(class_weight={0: 1, 1: 2, 2: 1})), False),
        (XGBClassifier(n_estimators=2), True),
        (LGBMClassifier(n_estimators=2, verbose=-1, is_unbalance=True), False),
    ],
)
def test_peers_leave_the_weights_of_classes_to_the_teacher(table, teacher, asks):
    X, y, pool = table
    slam = quick(teacher, peers="auto").fit(X, y, X_unlabeled=pool)
    assert (len(slam.label_weights_) > 1) == asks
    if not asks:
        slam = quick(teacher, peers=True).fit(X, y, X_unlabeled=pool)
        assert len(slam.label_weights_) > 1


def test_class_weights_are_found_in_what_is_frozen_and_in_what_a_search_has_found(
    three_classes,
):
    weighted = LogisticRegression(class_weight="balanced").fit(*three_classes)
    search = GridSearchCV(LogisticRegression(), {"class_weight": ["balanced"]}, cv=2)
    search.fit(*three_classes)
    for holds in (FrozenEstimator(weighted), search):
        assert weighs_classes(holds)
        assert weighs_classes(make_pipeline(holds))
    assert not weighs_classes(FrozenEstimator(LogisticRegression()))


@pytest.mark.parametrize("form", [np.array, pd.DataFrame, csr_matrix])
@pytest.mark.parametrize("distiller", [SLaMDistiller, UPSDistiller])
def test_scaling_in_place_changes_no_row_of_the_caller(table, form, distiller):
    X, y, pool = form(table[0] * 10), table[1], form(table[2] * 10)
    before = X.copy(), pool.copy()

    def fitted(copied):
        scaler = MaxAbsScaler(copy=copied)
        slam = distiller(
            make_pipeline(scaler, RandomForestClassifier(5)),
            make_pipeline(scaler, TorchStudent(nn.Linear)),
            max_epochs=2,
            random_state=0,
        )
        return slam.fit(X, y, X_unlabeled=pool).predict_proba(pool)

    assert_array_equal(fitted(copied=False), fitted(copied=True))
    for now, then in zip((X, pool), before, strict=True):
        assert abs(now - then).max().max() == 0


def test_rows_that_weigh_nothing_teach_no_teacher(table):
    X, y, pool = table
    counted = np.arange(len(y)) % 2 == 0
    wrong = np.where(counted, y, (y + 1) % 3)
    neighbours = KNeighborsClassifier(1)  # takes no weights
    with pytest.warns(UserWarning, match="does not reach the teacher"):
        slam = quick(neighbours).fit(X, wrong, X_unlabeled=pool, sample_weight=counted)
    alone = clone(neighbours).fit(X[counted], y[counted])
    assert_array_equal(slam.teacher_.predict_proba(pool), alone.predict_proba(pool))


def test_the_scale_of_weights_is_no_matter_where_labels_join_the_pool(table):
    X, y, pool = table
    few = pool[:20]
    weights = np.linspace(1, 2, len(y))
    plain, scaled = (
        quick(GaussianNB())
        .fit(X, y, X_unlabeled=few, sample_weight=factor * weights)
        .predict_proba(pool)
        for factor in (1, 1024)
    )
    assert_array_equal(plain, scaled)

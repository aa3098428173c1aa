"""The distiller as a scikit-learn classifier."""

import pickle
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch import NeuralNetClassifier
from skrub import TableVectorizer
from torch import nn

from sklearn_slam import (
    CallableTeacher,
    MLPStudent,
    PlainDistiller,
    SemiSupervisedSplit,
    SLaMDistiller,
    TeacherAccuracy,
    TorchStudent,
    UnlabeledPool,
    WeightedDistiller,
    _student,
)
from sklearn_slam._student import BaseStudent
from sklearn_slam._training import DenseRows, LazyRows


class SmallNet(nn.Sequential):
    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__(nn.Linear(n_features, 16), nn.ReLU(), nn.Linear(16, n_classes))


def quick(teacher=None, student=SmallNet, **params):
    params = {"max_epochs": 3, "peers": False, "random_state": 0, **params}
    return SLaMDistiller(teacher, student, **params)


mostly_wrong_teacher = pytest.mark.filterwarnings(
    "ignore:The labels to learn are right on:UserWarning"
)

CHECKED = [
    SLaMDistiller(GaussianNB(), max_epochs=20),
    SLaMDistiller(GaussianNB(), alpha=0.9, max_epochs=20, normalize=True),
    SLaMDistiller(
        GaussianNB(),
        SmallNet,
        lr=0.01,
        max_epochs=20,
        peers=False,
        teacher_temperature=0,
    ),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("quick_peers")
@parametrize_with_checks(CHECKED)
def test_estimator_checks(estimator, check):
    check(estimator)


def test_student_beats_chance_and_follows_the_teacher(table, teacher):
    X, y, pool = table
    slam = SLaMDistiller(teacher, max_epochs=40, random_state=0)
    slam.fit(X, y, X_unlabeled=pool)
    agreement = (slam.predict(pool) == slam.teacher_.predict(pool)).mean()
    assert agreement > 0.8
    proba = slam.predict_proba(pool)
    assert proba.dtype == np.float32
    assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    assert_allclose(np.exp(slam.predict_log_proba(pool)), proba, atol=1e-6)
    assert slam.n_epochs_ == len(slam.history_) <= 40


@pytest.mark.parametrize("labels", ["float", "Int64", "object", "mark"])
def test_rows_without_label_are_the_pool(table, teacher, labels):
    X, y, pool = table
    rows = np.concatenate([X, pool])
    target = np.concatenate([y.astype(float), np.full(len(pool), np.nan)])
    mark = None
    if labels == "Int64":
        target = pd.array(target, dtype="Int64")
    elif labels == "object":
        target = np.array([None if np.isnan(t) else int(t) for t in target])
    elif labels == "mark":
        target, mark = np.nan_to_num(target, nan=-1).astype(int), -1
    slam = quick(teacher, unlabeled_label=mark).fit(rows, target)
    beside = quick(teacher).fit(X, y, X_unlabeled=pool)
    assert_array_equal(slam.classes_, [0, 1, 2])
    assert_allclose(slam.predict_proba(X), beside.predict_proba(X), atol=1e-6)
    assert 0 <= slam.score(rows, target) <= 1


def test_both_kinds_of_pool_are_used(table, teacher):
    X, y, pool = table
    target = np.where(np.arange(len(y)) < 60, y.astype(float), np.nan)
    both = quick(teacher).fit(X, target, X_unlabeled=pool)
    assert both.n_unlabeled_ == 30 + len(pool)
    alone = quick(teacher).fit(X[:60], y[:60], X_unlabeled=np.r_[X[60:], pool])
    assert_allclose(both.predict_proba(X), alone.predict_proba(X), atol=1e-6)
    # Order decides what is drawn together: the other one is another student.
    swapped = quick(teacher).fit(X[:60], y[:60], X_unlabeled=np.r_[pool, X[60:]])
    assert np.abs(both.predict_proba(X) - swapped.predict_proba(X)).max() > 1e-4


@pytest.fixture
def taught(monkeypatch):
    """What the student was given to learn, and to be calibrated by."""
    given = SimpleNamespace(lesson=None, calibration=None)
    fit_lesson, fit_temperature = BaseStudent._fit_lesson, BaseStudent._fit_temperature

    def keep_lesson(student, lesson, progress):
        given.lesson = lesson
        return fit_lesson(student, lesson, progress)

    def keep_calibration(student, pool, proba, calibrating, weights, rng):
        given.calibration = pool, proba, calibrating, weights
        return fit_temperature(student, pool, proba, calibrating, weights, rng)

    monkeypatch.setattr(BaseStudent, "_fit_lesson", keep_lesson)
    monkeypatch.setattr(BaseStudent, "_fit_temperature", keep_calibration)
    return given


def rows_of(rows):
    return np.concatenate([X for X, _ in rows.chunks()])


def powers(proba, temperature):
    """Return tempered probabilities as the definition has them."""
    raised = np.asarray(proba, dtype=np.float64) ** (1 / temperature)
    return raised / raised.sum(axis=1, keepdims=True)


def two_part_pool(table):
    """Return a fit's arguments: every second row of X is unlabeled, all differ.

    The teacher is right in four rows of five, and says so of two in three.
    """
    X, y, pool = table
    rng = np.random.RandomState(0)
    number = np.arange(len(X))
    has_label = number % 2 == 0

    def saying(top):
        return 0.5 * rng.dirichlet(np.ones(3), len(top)) + 0.5 * np.eye(3)[top]

    return has_label, {
        "X": X,
        "y": np.where(has_label, y, np.nan),
        "X_unlabeled": pool,
        "teacher_proba": saying(np.where(number // 2 % 5, y, (y + 1) % 3)),
        "teacher_proba_unlabeled": saying(np.arange(len(pool)) % 3),
        "sample_weight": rng.uniform(1, 2, len(X)),
        "sample_weight_unlabeled": rng.uniform(1, 2, len(pool)),
    }


@pytest.mark.parametrize("temperature", [0.5, 2.0, "auto"])
def test_each_row_is_taught_its_own_label_and_weight(table, taught, temperature):
    has_label, given = two_part_pool(table)
    slam = quick(teacher_temperature=temperature, alpha_min=0.55).fit(**given)
    lesson, n_labeled = taught.lesson, has_label.sum()
    assert_array_equal(rows_of(lesson.labeled), given["X"][has_label])
    assert_array_equal(
        rows_of(lesson.pool), np.r_[given["X"][~has_label], given["X_unlabeled"]]
    )
    said = np.r_[given["teacher_proba"][~has_label], given["teacher_proba_unlabeled"]]
    if temperature == "auto":
        temperature = 0.7 * slam.teacher_accuracy_.temperature_
        assert abs(temperature - 1) > 0.01  # which would leave labels as they are
    labels = lesson.targets["labels"].numpy()
    assert_array_equal(labels[:n_labeled], np.eye(3)[table[1][has_label]])
    assert_allclose(labels[n_labeled:], powers(said, temperature), atol=1e-5)
    weights = given["sample_weight"]
    assert_allclose(
        lesson.weights,
        np.r_[
            weights[has_label], weights[~has_label], given["sample_weight_unlabeled"]
        ],
    )
    # Margins are of the labels before they are tempered.
    ordered = np.sort(said, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    alpha = np.maximum(slam.teacher_accuracy_.alpha(margin), 0.55)
    assert_allclose(lesson.targets["alpha"][n_labeled:], alpha, atol=1e-5)
    assert_array_equal(lesson.targets["alpha"][:n_labeled], 1)


@pytest.mark.parametrize("weight_of", ["sample_weight", "sample_weight_unlabeled"])
def test_weights_of_one_part_are_kept_without_those_of_the_other(
    table, taught, weight_of
):
    has_label, given = two_part_pool(table)
    n_rows, n_beside = len(given["X"]), len(given["X_unlabeled"])
    for name in {"sample_weight", "sample_weight_unlabeled"} - {weight_of}:
        del given[name]
    quick().fit(**given)
    weights = given.get("sample_weight", np.ones(n_rows))
    beside = given.get("sample_weight_unlabeled", np.ones(n_beside))
    expected = np.r_[weights[has_label], weights[~has_label], beside]
    assert_allclose(taught.lesson.weights, expected)


@pytest.mark.parametrize("sure", [False, True])
def test_the_student_is_calibrated_by_the_calibrated_teacher(table, taught, sure):
    has_label, given = two_part_pool(table)
    if sure:
        # Right as often, and sure of nearly all it says.
        for name in ("teacher_proba", "teacher_proba_unlabeled"):
            given[name] = powers(given[name], 0.1)
    slam = quick().fit(**given)
    pool, proba, calibrating, weights = taught.calibration
    temperature = slam.label_accuracy_.temperature_
    assert temperature > 1.1 if sure else temperature < 0.9
    said = np.r_[given["teacher_proba"][~has_label], given["teacher_proba_unlabeled"]]
    assert_allclose(proba, said, atol=1e-6)
    assert calibrating == temperature
    assert_array_equal(rows_of(pool), rows_of(taught.lesson.pool))
    assert_array_equal(weights, taught.lesson.weights[has_label.sum() :])


def test_rows_that_weigh_nothing_count_in_no_share(table, taught, teacher):
    X, y, pool = table
    weights = np.r_[np.zeros(20), np.full(20, 3.0)]
    beside = np.r_[np.zeros(110), np.full(200, 5.0)]
    quick(teacher).fit(
        X[:40],
        y[:40],
        X_unlabeled=pool,
        sample_weight=weights,
        sample_weight_unlabeled=beside,
    )
    # Within the bounds of .05 and .15; 40 of 350 rows would be .114.
    assert taught.lesson.labeled_share == pytest.approx(20 / 220)
    quick(teacher).fit(X[:40], y[:40], X_unlabeled=pool)
    assert taught.lesson.labeled_share == pytest.approx(40 / 350)


@pytest.mark.parametrize("alpha", ["isotonic", 0.6, lambda margin: 0.6 + 0 * margin])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.filterwarnings("ignore:alpha=.* is raised to 0.8")
def test_the_bound_on_alpha_holds_for_every_source(table, taught, alpha, normalize):
    X, y, pool = table
    # Right in three rows of five, so that no estimate exceeds .8 everywhere.
    said = np.where(np.arange(len(y)) % 5 < 3, y, (y + 1) % 3)
    proba = 0.5 * np.eye(3)[said] + 0.5 / 3
    slam = quick(alpha=alpha, alpha_min=0.8, normalize=normalize)
    slam.fit(
        X,
        y,
        X_unlabeled=pool,
        teacher_proba=proba,
        teacher_proba_unlabeled=np.resize(proba, (len(pool), 3)),
    )
    assert slam.teacher_accuracy_.alpha([0.5]) == pytest.approx(0.6)
    assert_allclose(taught.lesson.targets["alpha"][len(y) :], 0.8)


def test_score_weighs_rows(table, teacher):
    X, y, pool = table
    slam = quick(teacher).fit(X, y, X_unlabeled=pool)
    predicted = slam.predict(X)
    right = np.arange(len(X)) % 3 > 0
    truth = np.where(right, predicted, (predicted + 1) % 3).astype(float)
    weights = np.random.RandomState(0).uniform(size=len(X))
    expected = weights[right].sum() / weights.sum()
    assert slam.score(X, truth, sample_weight=weights) == pytest.approx(expected)
    assert slam.score(X, truth) == pytest.approx(2 / 3)
    assert abs(expected - 2 / 3) > 1e-3
    # A row without a label takes its weight with it.
    known = np.arange(len(X)) >= 40
    truth[~known] = np.nan
    expected = weights[right & known].sum() / weights[known].sum()
    assert slam.score(X, truth, sample_weight=weights) == pytest.approx(expected)


def test_what_is_known_of_the_teacher_is_weighted(table):
    has_label, given = two_part_pool(table)
    # The fifth that it is wrong about counts three times, yet less than the others.
    right = given["teacher_proba"].argmax(axis=1) == table[1]
    given["sample_weight"] = np.where(right, 1.0, 3.0)
    slam = quick().fit(**given)
    proba, codes = given["teacher_proba"][has_label], table[1][has_label]
    weights, grid = given["sample_weight"][has_label], np.linspace(0, 1, 21)
    weighted = TeacherAccuracy().fit(proba, codes, weights)
    plain = TeacherAccuracy().fit(proba, codes)
    assert_array_equal(slam.teacher_accuracy_.sample_weight_, weights)
    assert_allclose(slam.teacher_accuracy_.alpha(grid), weighted.alpha(grid))
    found = slam.teacher_accuracy_.temperature_
    assert found == pytest.approx(weighted.temperature_, rel=1e-3)
    assert found != pytest.approx(plain.temperature_, rel=1e-2)


@pytest.mark.parametrize("names", [["no", "yes", "maybe"], [3.5, 1.5, 2.5]])
def test_labels_of_any_type(table, teacher, names):
    X, y, pool = table
    labels = np.array(names, dtype=object if isinstance(names[0], str) else None)[y]
    if isinstance(names[0], float):
        with pytest.raises(ValueError, match="Unknown label type"):
            quick(teacher).fit(X, labels, X_unlabeled=pool)
        return
    slam = quick(teacher).fit(X, labels, X_unlabeled=pool)
    assert_array_equal(slam.classes_, sorted(names))
    assert set(slam.predict(X)) <= set(names)


def test_without_pool_labeled_rows_serve_and_a_warning_says_so(table, teacher):
    X, y, _ = table
    with pytest.warns(UserWarning, match="no unlabeled rows"):
        quick(teacher).fit(X, y)


def test_nothing_passed_in_changes(table):
    X, y, pool = table
    kept = X.copy(), y.copy(), pool.copy()
    teacher, module = GaussianNB().fit(X, y), SmallNet(8, 3)
    before = pickle.dumps(teacher), [p.clone() for p in module.parameters()]
    slam = quick(FrozenEstimator(teacher), module).fit(X, y, X_unlabeled=pool)
    for now, then in zip((X, y, pool), kept, strict=True):
        assert_array_equal(now, then)
    assert pickle.dumps(teacher) == before[0]
    for now, then in zip(module.parameters(), before[1], strict=True):
        assert torch.equal(now, then)
    assert slam.student_.module_ is not module


def test_random_state_alone_decides_and_is_left_as_found(table, teacher, two_threads):
    X, y, pool = table
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = quick(teacher).fit(X, y, X_unlabeled=pool).predict_proba(X)
    assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    torch.manual_seed(2)
    assert_array_equal(
        quick(teacher).fit(X, y, X_unlabeled=pool).predict_proba(X), first
    )
    other = quick(teacher, random_state=1).fit(X, y, X_unlabeled=pool)
    assert not np.array_equal(other.predict_proba(X), first)
    assert torch.get_num_threads() == two_threads
    assert torch.is_grad_enabled()


def test_pickled_and_alone_the_student_predicts_the_same(table, teacher):
    X, y, pool = table
    slam = quick(teacher, student=None).fit(X, y, X_unlabeled=pool)
    again = pickle.loads(pickle.dumps(slam))
    alone = pickle.loads(pickle.dumps(slam.student_))
    assert_array_equal(again.predict_proba(X), slam.predict_proba(X))
    assert_array_equal(alone.predict_proba(X), slam.predict_proba(X))
    assert_array_equal(alone.classes_, slam.classes_)
    # Neither the pool nor the teacher travels with the student.
    assert not hasattr(alone, "teacher_")
    small = len(pickle.dumps(alone))
    larger = quick(teacher, student=None).fit(X, y, X_unlabeled=np.tile(pool, (20, 1)))
    assert len(pickle.dumps(larger.student_)) < small + 20_000


def test_alpha_one_is_plain_distillation(table, teacher):
    X, y, pool = table
    plain = [
        quick(teacher, alpha=1.0, normalize=form, top_k=k, teacher_temperature=1)
        for form, k in [(True, 2), (False, 3)]
    ]
    first, second = (p.fit(X, y, X_unlabeled=pool).predict_proba(X) for p in plain)
    assert_array_equal(first, second)


def test_two_classes_make_both_forms_coincide(table, teacher):
    X, y, pool = table
    forms = [quick(teacher, normalize=form) for form in (True, False)]
    first, second = (f.fit(X, y > 0, X_unlabeled=pool).predict_proba(X) for f in forms)
    assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("n_pool", [0, 1, 60, 89, 90, 200])
def test_labeled_rows_join_a_pool_that_is_smaller(table, teacher, n_pool, monkeypatch):
    X, y, pool = table
    lessons = []

    def keep(student, lesson, progress):
        lessons.append(lesson)
        return fit_lesson(student, lesson, progress)

    fit_lesson = BaseStudent._fit_lesson
    monkeypatch.setattr(BaseStudent, "_fit_lesson", keep)
    target = np.concatenate([y.astype(float), np.full(n_pool, np.nan)])
    slam = quick(teacher, teacher_temperature=1.0, alpha=1.0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There are no unlabeled rows")
        slam.fit(np.concatenate([X, pool[:n_pool]]), target)
    (lesson,) = lessons
    joined = n_pool < len(X)
    assert lesson.labels_join == joined
    assert len(lesson.pool) == n_pool + joined * len(X)
    share = len(X) / (len(X) + len(lesson.pool))
    assert lesson.labeled_share == pytest.approx(share if joined else 0.15)
    if joined:
        # What teachers said of these rows that did not learn from them.
        assert_allclose(
            lesson.targets["labels"][-len(X) :],
            slam.teacher_accuracy_.proba_,
            atol=1e-6,
        )
    assert slam.n_unlabeled_ == n_pool


def test_calibration_keeps_classes(table, teacher):
    X, y, pool = table
    plain = quick(teacher, calibrate=False).fit(X, y, X_unlabeled=pool)
    calibrated = quick(teacher).fit(X, y, X_unlabeled=pool)
    assert_array_equal(plain.predict(pool), calibrated.predict(pool))
    assert plain.student_.temperature_ == 1
    assert calibrated.student_.temperature_ != 1


def test_a_teacher_that_is_too_sure_sharpens_no_student(table):
    X, y, pool = table
    rng = np.random.RandomState(0)
    hard = np.eye(3, dtype=np.float32)[rng.permutation(y)]
    slam = quick(None, alpha=1.0, teacher_temperature=0, max_epochs=60, lr=0.05)
    slam.fit(
        X,
        y,
        X_unlabeled=pool,
        teacher_proba=hard,
        teacher_proba_unlabeled=np.eye(3)[(pool[:, 0] > 0).astype(int)],
    )
    # Wrong two times in three, it is over-confident; the student agrees with it.
    assert slam.teacher_accuracy_.temperature_ > 1
    assert slam.student_.temperature_ == pytest.approx(1, abs=0.01)


def test_zero_weights_leave_rows_out(table):
    X, y, pool = table
    weights = np.r_[np.ones(70), np.zeros(20)]
    # A constant teacher, so that only loss, statistics and calibration use weights.
    teacher = CallableTeacher(lambda rows: np.full((len(rows), 3), 1 / 3), [0, 1, 2])
    wrong = np.where(weights > 0, y, (y + 1) % 3)
    fits = [
        # Without peers: labels decide folds, and so what peers see of the others.
        quick(teacher, normalize=True, peers=False).fit(
            X, labels, X_unlabeled=pool, sample_weight=weights
        )
        for labels in (y, wrong)
    ]
    assert_array_equal(fits[0].predict_proba(X), fits[1].predict_proba(X))
    with pytest.raises(ValueError, match="sample_weight_unlabeled has shape"):
        quick(teacher).fit(X, y, X_unlabeled=pool, sample_weight_unlabeled=[1.0])


@mostly_wrong_teacher
def test_given_probabilities_replace_the_teacher(table, teacher):
    X, y, pool = table
    fitted = clone(teacher).fit(pool, np.resize([0, 1, 2], len(pool)))
    known = quick(FrozenEstimator(fitted)).fit(X, y, X_unlabeled=pool)
    given = quick().fit(
        X,
        y,
        X_unlabeled=pool,
        teacher_proba=fitted.predict_proba(X),
        teacher_proba_unlabeled=fitted.predict_proba(pool),
    )
    assert given.teacher_ is None
    assert_allclose(
        given.teacher_accuracy_.margins_, known.teacher_accuracy_.margins_, atol=1e-6
    )
    with pytest.raises(ValueError, match="teacher_proba_unlabeled has shape"):
        quick().fit(X, y, X_unlabeled=pool, teacher_proba_unlabeled=np.ones((3, 3)) / 3)


# Pipelines, searches, routing.


def test_grid_search_in_two_processes(table):
    X, y, pool = table
    search = GridSearchCV(
        quick(GaussianNB(), MLPStudent((8,))),
        {
            "alpha_min": [0.55, 0.7],
            "top_k": [2, "auto"],
            "teacher_temperature": [0.5],
            "student__hidden_layer_sizes": [(8,), (16,)],
            "teacher__var_smoothing": [1e-9],
        },
        cv=2,
        n_jobs=2,
    )
    search.fit(X, y, X_unlabeled=pool)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@mostly_wrong_teacher
def test_a_fitted_teacher_survives_clone_and_search(table):
    X, y, pool = table
    teacher = RandomForestClassifier(5, random_state=0).fit(pool[:80], np.resize(y, 80))
    slam = quick(teacher)
    assert clone(slam).teacher is teacher
    search = GridSearchCV(slam, {"alpha_min": [0.55, 0.6]}, cv=2, n_jobs=2)
    search.fit(X, y, X_unlabeled=pool)
    assert_array_equal(search.best_estimator_.teacher_.predict(X), teacher.predict(X))
    with pytest.raises(ValueError, match="the teacher is fitted"):
        slam.set_params(alpha_min=0.9, teacher__n_estimators=7)
    assert slam.alpha_min == "auto"
    assert teacher.n_estimators == 5
    pipeline = make_pipeline(StandardScaler(), slam)
    assert clone(pipeline)[-1].teacher is teacher


def test_cross_validation_with_missing_labels(table, teacher):
    X, y, pool = table
    rows = np.r_[X, pool]
    target = np.r_[y, np.full(len(pool), np.nan)]
    slam = quick(teacher, student=None, max_epochs=40)
    scores = cross_val_score(slam, rows, target, cv=SemiSupervisedSplit(3))
    assert len(scores) == 3
    assert scores.mean() > 0.6


def test_pool_passes_a_pipeline(table, teacher):
    X, y, pool = table
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(
            StandardScaler(), quick(teacher), transform_input=["X_unlabeled"]
        )
        pipeline.fit(X * 100, y, X_unlabeled=pool * 100)
        search = GridSearchCV(pipeline, {"slamdistiller__alpha_min": [0.6]}, cv=2)
        search.fit(X * 100, y, X_unlabeled=pool * 100)
    scaler = StandardScaler().fit(X * 100)
    by_hand = quick(teacher).fit(
        scaler.transform(X * 100), y, X_unlabeled=scaler.transform(pool * 100)
    )
    assert_allclose(
        pipeline.predict_proba(X * 100),
        by_hand.predict_proba(scaler.transform(X * 100)),
        atol=1e-5,
    )


def test_an_untransformed_pool_warns(table, teacher):
    X, y, pool = table
    with pytest.warns(UserWarning, match="X_unlabeled lies far from X"):
        quick(teacher).fit(X, y, X_unlabeled=pool * 100 + 1000)


@mostly_wrong_teacher
def test_a_cut_pool_is_caught_and_a_held_one_is_whole(table, teacher):
    X, y, pool = table
    seen = []

    def spy(rows):
        seen.append(len(rows))
        return np.full((len(rows), 3), 1 / 3)

    slam = quick(CallableTeacher(spy, [0, 1, 2]), student=SmallNet)
    same_length = pool[: len(X)]
    with pytest.warns(UserWarning, match="may have been cut"):
        cross_val_score(slam, X, y, cv=2, params={"X_unlabeled": same_length})
    assert max(seen) == len(X) // 2
    with config_context(enable_metadata_routing=True):
        pool = UnlabeledPool(same_length)
        cross_val_score(slam, X, y, cv=2, params={"X_unlabeled": pool})
    assert max(seen) == len(X)


# Tables.


def test_frames_reach_the_teacher_untouched(frame):
    X, y = frame
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["town", "grade"]),
        remainder="drop",
    )
    teacher = make_pipeline(columns, LogisticRegression())
    slam = quick(teacher, student=None, max_epochs=30)
    slam.fit(X[:140], y[:140], X_unlabeled=X[140:])
    assert list(slam.feature_names_in_) == list(X.columns)
    one_by_one = np.concatenate([slam.predict_proba(X[i : i + 1]) for i in range(20)])
    assert_allclose(one_by_one, slam.predict_proba(X[:20]), atol=1e-6)
    unseen = X[:3].assign(town="moon")
    assert np.isfinite(slam.predict_proba(unseen)).all()
    with pytest.raises(ValueError, match="feature names"):
        slam.predict(X[X.columns[::-1]])
    with pytest.raises(ValueError, match="must have the same columns"):
        clone(slam).fit(X[:140], y[:140], X_unlabeled=X[140:].drop(columns="town"))
    with pytest.raises(ValueError, match="kind 'pandas', X_unlabeled of kind 'array'"):
        clone(slam).fit(X[:140], y[:140], X_unlabeled=X[140:].to_numpy())


def test_default_teacher_reads_frames_and_polars_equals_pandas(frame):
    X, y = frame
    kinds = [X, pl.from_pandas(X)]
    probas = [
        quick(student=None).fit(Z[:140], y[:140], X_unlabeled=Z[140:]).predict_proba(Z)
        for Z in kinds
    ]
    assert_allclose(probas[0], probas[1], atol=1e-5)


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_default_teacher_passes_over_columns_without_a_value(table, kind):
    X, y, pool = table
    X, empty = X.copy(), X.copy()
    X[:, 0] = empty[:, 0] = np.nan
    X[0, 0] = 1.0  # filled in some folds only
    for rows in (X, empty):
        slam = quick(student=None, cv=2).fit(kind(rows), y, X_unlabeled=kind(pool))
        assert slam.teacher_.score(kind(rows), y) > 0.9


@pytest.mark.parametrize("routing", [False, True])
def test_default_teacher_takes_weights(table, routing):
    X, y, pool = table
    kept = y < 2
    with config_context(enable_metadata_routing=routing):
        slam = quick(student=None, cv=2)
        slam.fit(X, y, X_unlabeled=pool, sample_weight=kept.astype(float))
    assert set(slam.teacher_.predict(X)) == {0, 1}


@pytest.mark.parametrize(
    "teacher",
    [
        MLPStudent(max_epochs=60),
        PlainDistiller(LogisticRegression(), max_epochs=60),
        make_pipeline(StandardScaler(), MLPStudent(max_epochs=60)),
    ],
)
@pytest.mark.filterwarnings("ignore:There are no unlabeled rows:UserWarning")
def test_weights_reach_a_student_that_teaches(table, teacher):
    X, y, pool = table
    slam = quick(teacher, cv=2)
    slam.fit(X, y, X_unlabeled=pool, sample_weight=(y < 2).astype(float))
    assert set(slam.teacher_.predict(X)) == {0, 1}


def by_number():
    """Return a teacher that says of any kind of frame what its numbers say."""

    def function(X):
        number = np.asarray(X["number"], dtype=float)
        right = np.where(np.isnan(number) | (number <= 0), 0.3, 0.8)
        return np.column_stack([1 - right, right])

    return CallableTeacher(function, ["no", "yes"])


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.from_pandas])
def test_skrub_prepares_rows_for_the_student(frame, kind):
    X, y = frame
    days = pd.Timestamp("2026-01-01") + pd.to_timedelta(X["count"], "D")
    X = kind(X.assign(day=days))
    student = make_pipeline(TableVectorizer(), MLPStudent((16,)))
    slam = quick(by_number(), student, max_epochs=30, lr=0.01, peers=True)
    slam.fit(X[:140], y[:140], X_unlabeled=X[140:])
    assert slam.score(X[140:], y[140:]) > 0.6
    assert_array_equal(slam.predict(X[140:150]), slam.student_.predict(X[140:150]))


def test_sparse_text():
    words = np.array(["good", "fine", "bad", "poor", "film", "play", "plot"])
    rng = np.random.RandomState(0)
    y = rng.randint(0, 2, 300)
    texts = [
        " ".join([*rng.choice(words[:2] if label else words[2:4], 2), words[4 + i % 3]])
        for i, label in enumerate(y)
    ]
    X = TfidfVectorizer().fit_transform(texts)
    slam = SLaMDistiller(max_epochs=30, random_state=0)
    slam.fit(X[:60], y[:60], X_unlabeled=X[60:])
    assert sp.issparse(X)
    assert slam.score(X[60:], y[60:]) > 0.95


def test_memory_mapped_rows_equal_rows_in_memory(table, teacher, tmp_path, monkeypatch):
    X, y, pool = table
    np.save(tmp_path / "pool.npy", pool)
    mapped = np.load(tmp_path / "pool.npy", mmap_mode="r")
    trained_on = []

    def recorded(student, source, *args):
        trained_on.append(type(source))
        return learn(student, source, *args)

    learn = BaseStudent._learn
    monkeypatch.setattr(BaseStudent, "_learn", recorded)
    probas = []
    for rows, least in ((pool, 0), (mapped, 0), (mapped, mapped.nbytes)):
        monkeypatch.setattr(_student, "LAZY_BYTES", least)
        slam = quick(teacher).fit(X, y, X_unlabeled=rows)
        probas.append(slam.predict_proba(X))
    # Small tables are read whole, wherever they lie.
    assert trained_on == [DenseRows, LazyRows, DenseRows]
    for proba in probas[1:]:
        assert_allclose(proba, probas[0], atol=1e-6)


@pytest.mark.filterwarnings("ignore:There are no unlabeled rows")
def test_parameters_of_a_fitted_teacher_are_none_of_the_distillers(table):
    X, _, pool = table
    fitted = RandomForestClassifier(5, random_state=0).fit(pool, pool[:, 0] > 0)
    slam = quick(fitted)
    assert not any(name.startswith("teacher__") for name in slam.get_params())
    assert "teacher__n_estimators" in quick(RandomForestClassifier()).get_params()
    slam.set_params(**slam.get_params())
    given = {"X_unlabeled": UnlabeledPool(pool)}
    with config_context(enable_metadata_routing=True):
        bagged = BaggingClassifier(slam, 2, random_state=0)
        bagged.fit(X, X[:, 0] > 0, **given)
    assert bagged.score(pool, pool[:, 0] > 0) > 0.5
    # A distiller of a fitted teacher, within a teacher whose seeds are settled.
    twice = quick(quick(fitted), cv=2).fit(X, X[:, 0] > 0, X_unlabeled=pool)
    assert twice.score(pool, pool[:, 0] > 0) > 0.5


def test_memory_keeps_what_the_teacher_said(table, tmp_path):
    X, y, pool = table
    first = quick(GaussianNB(), memory=str(tmp_path)).fit(X, y, X_unlabeled=pool)
    assert any(tmp_path.rglob("output.pkl"))
    second = quick(GaussianNB(), memory=str(tmp_path)).fit(X, y, X_unlabeled=pool)
    assert_array_equal(first.predict_proba(X), second.predict_proba(X))


class CountingForest(RandomForestClassifier):
    asked = 0

    def predict_proba(self, X):
        CountingForest.asked += len(X)
        return super().predict_proba(X)


def test_memory_knows_a_teacher_by_what_it_was_fitted_from(table, tmp_path):
    X, y, pool = table
    CountingForest.asked = 0
    for _ in range(3):
        slam = quick(CountingForest(5), memory=str(tmp_path))
        slam.fit(X, y, X_unlabeled=pool)
    assert CountingForest.asked == len(X) + len(pool)
    slam.fit(X, y, X_unlabeled=pool[:-1])
    assert CountingForest.asked == len(X) + 2 * len(pool) - 1


# Teachers.


@mostly_wrong_teacher
def test_columns_of_the_teacher_are_aligned(table):
    X, y, pool = table

    def reversed_columns(rows):
        return np.tile([0.7, 0.1, 0.1, 0.1], (len(rows), 1))

    teacher = CallableTeacher(reversed_columns, classes=[2, 1, 0, 9])
    with pytest.warns(UserWarning, match=r"No labeled row has class \[9\]"):
        slam = quick(teacher, labeled_weight=0).fit(X, y, X_unlabeled=pool)
    assert_array_equal(slam.classes_, [0, 1, 2, 9])
    assert (slam.teacher_accuracy_.hits_ == (y == 2)).all()
    few = CallableTeacher(lambda rows: np.full((len(rows), 2), 0.5), classes=[0, 1])
    with pytest.warns(UserWarning, match=r"does not know class \[2\] of y"):
        assert_array_equal(quick(few).fit(X, y, X_unlabeled=pool).classes_, [0, 1, 2])


def test_memorized_rows_warn_and_fresh_rows_do_not(table):
    X, y, pool = table
    forest = ExtraTreesClassifier(50, random_state=0)
    with pytest.warns(UserWarning, match="trained on the labeled rows"):
        quick(clone(forest).fit(X, y)).fit(X, y, X_unlabeled=pool)
    fresh = clone(forest).fit(X[:60], y[:60])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(fresh).fit(X[60:], y[60:], X_unlabeled=pool)


def test_cross_fitting_is_out_of_fold(table):
    X, y, pool = table
    forest = ExtraTreesClassifier(30, random_state=0)
    slam = quick(forest).fit(X, y, X_unlabeled=pool)
    assert slam.teacher_.score(X, y) == 1
    assert slam.teacher_accuracy_.hits_.mean() < 1
    assert not hasattr(forest, "classes_")


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "stack"])
def test_real_teachers(frame, name):
    X, y = frame
    codes = (y == "yes").astype(int)
    X = X.assign(town=X["town"].astype("category"))
    if name == "stack":
        numbers = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["town", "grade"]),
            (StandardScaler(), ["count", "member"]),
        )
        teacher = make_pipeline(
            numbers,
            StackingClassifier(
                [("tree", ExtraTreesClassifier(10)), ("lr", LogisticRegression())]
            ),
        )
    else:
        module = pytest.importorskip(name)
        if name == "lightgbm":
            teacher = module.LGBMClassifier(n_estimators=10, verbose=-1, n_jobs=1)
        else:
            teacher = module.XGBClassifier(
                n_estimators=10, enable_categorical=True, n_jobs=1
            )
    slam = quick(teacher, student=None).fit(X[:200], codes[:200], X_unlabeled=X[200:])
    assert slam.predict_proba(X).shape == (300, 2)


# Bad input.


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": 0}, "alpha must be"),
        ({"alpha": 1.5}, "alpha must be"),
        ({"alpha": "linear"}, "alpha must be"),
        ({"alpha_min": -0.1}, "alpha_min must be 'auto' or lie"),
        ({"peers": "some"}, "peers must be 'auto', True or False"),
        ({"top_k": 1}, "top_k must be"),
        ({"top_k": 4}, "top_k=4 exceeds the number of classes, 3"),
        ({"top_k_accuracy": 0}, "top_k_accuracy must lie"),
        ({"normalize": "yes"}, "normalize must be"),
        ({"teacher_temperature": -1}, "teacher_temperature must be"),
        ({"labeled_weight": 2}, "labeled_weight must be"),
        ({"calibrate": "isotonic"}, "calibrate must be"),
        ({"cv": 1}, "cv must be at least 2"),
        ({"max_epochs": 0}, "max_epochs must be"),
        ({"batch_size": 0.5}, "batch_size must be"),
        ({"lr": -1}, "lr must be"),
        ({"early_stopping": 3}, "early_stopping must be"),
        ({"device": "nowhere"}, "device='nowhere' is not available"),
        ({"n_jobs": 0}, "n_jobs must be None or an integer but 0"),
        ({"n_jobs": 1.5}, "n_jobs must be None or an integer but 0"),
        ({"alpha": lambda margin: margin[:1]}, "alpha returned shape"),
        ({"alpha": lambda margin: margin - 2}, "alpha returned values outside"),
        ({"alpha": lambda margin: margin + 2}, "alpha returned values outside"),
    ],
)
def test_bad_parameters(table, teacher, params, message):
    X, y, pool = table
    with pytest.raises(ValueError, match=message):
        quick(teacher, **params).fit(X, y, X_unlabeled=pool)


@pytest.mark.parametrize(
    ("teacher", "error", "message"),
    [
        (LinearSVC(), TypeError, "has no predict_proba"),
        (LogisticRegression, TypeError, r"pass an instance, LogisticRegression\(\)"),
        (LinearRegression(), TypeError, "is a regressor"),
        (len, TypeError, "FrozenEstimator.*CallableTeacher"),
        (FrozenEstimator(GaussianNB()), NotFittedError, "fit it first"),
        (
            CallableTeacher(lambda X: np.full((len(X), 3), np.nan), [0, 1, 2]),
            ValueError,
            "NaN or infinity",
        ),
        (
            CallableTeacher(lambda X: np.full((len(X), 3), 0.5), [0, 1, 2]),
            ValueError,
            "must sum to 1",
        ),
        (
            CallableTeacher(lambda X: np.tile([-1.0, 1, 1], (len(X), 1)), [0, 1, 2]),
            ValueError,
            "negative entries",
        ),
        (
            CallableTeacher(lambda X: np.ones((len(X), 2)) / 2, [0, 1, 2]),
            ValueError,
            "has shape",
        ),
        (
            CallableTeacher(lambda X: np.ones((len(X), 2)) / 2, [7, 8]),
            ValueError,
            "share no class",
        ),
        (
            CallableTeacher(lambda X: np.ones((len(X), 2)) / 2, ["a", "b"]),
            ValueError,
            "matched by value",
        ),
    ],
)
def test_bad_teachers(table, teacher, error, message):
    X, y, pool = table
    with pytest.raises(error, match=message):
        quick(teacher).fit(X, y, X_unlabeled=pool)


def test_bad_rows(table, teacher):
    X, y, pool = table
    slam = quick(teacher)
    with pytest.raises(ValueError, match="no labeled row"):
        slam.fit(X, np.full(len(y), np.nan), X_unlabeled=pool)
    with pytest.raises(ValueError, match="one class only"):
        slam.fit(X, np.zeros(len(y)), X_unlabeled=pool)
    with pytest.raises(ValueError, match="X_unlabeled has 7 features"):
        slam.fit(X, y, X_unlabeled=pool[:, :7])
    with pytest.raises(ValueError, match=r"X_unlabeled has shape \(0, 8\)"):
        slam.fit(X, y, X_unlabeled=pool[:0])
    with pytest.raises(ValueError, match="X_unlabeled contains NaN"):
        slam.fit(X, y, X_unlabeled=np.full((3, 8), np.nan))
    with pytest.raises(ValueError, match="multi-output"):
        slam.fit(X, np.c_[y, y], X_unlabeled=pool)
    with pytest.raises(TypeError, match="unexpected keyword"):
        slam.fit(X, y, X_unlabeled=pool, weight=y)
    assert not hasattr(slam, "classes_")


def test_marks_in_labels_warn(table, teacher):
    X, y, pool = table
    with pytest.warns(UserWarning, match="unlabeled_label=-1"):
        slam = quick(teacher).fit(X, y - 1 + (y > 0), X_unlabeled=pool)
    assert -1 in slam.classes_
    with (
        pytest.warns(UserWarning, match="contains -1"),
        pytest.warns(UserWarning, match="unlabeled_label='-1' is in no row of y"),
    ):
        quick(teacher, unlabeled_label="-1").fit(X, y - 1 + (y > 0), X_unlabeled=pool)
    with pytest.raises(ValueError, match="besides unlabeled_label=0"):
        quick(teacher, unlabeled_label=0).fit(X, y > 0, X_unlabeled=pool)
    for mark in ("nan", "", "?", "unlabeled"):
        with pytest.warns(UserWarning, match=f"class '{re.escape(mark)}'"):
            quick(teacher).fit(X, np.where(y > 0, mark, "b"), X_unlabeled=pool)


def test_few_rows_of_a_class_are_said(table):
    X, y, pool = table
    keep = np.r_[np.nonzero(y == 0)[0][:3], np.nonzero(y == 1)[0][:3]]
    with pytest.warns(UserWarning, match="3 folds are used"):
        quick(GaussianNB()).fit(X[keep], y[keep], X_unlabeled=pool)


def test_student_parameters_without_student_name_it():
    with pytest.raises(ValueError, match="MLPStudent"):
        SLaMDistiller().set_params(student__dropout=0.1)


def test_a_top_k_that_is_too_small_warns(table):
    X, y, pool = table
    slam = quick(GaussianNB(), alpha=0.4, top_k=2, normalize=True)
    with pytest.warns(UserWarning, match="top_k=2 is raised to 3"):
        slam.fit(X, y, X_unlabeled=pool)


@pytest.mark.parametrize("alpha", [0.3, lambda margin: 0.3 + 0.0 * margin])
def test_alpha_below_the_bound_warns(table, teacher, alpha):
    X, y, pool = table
    with pytest.warns(UserWarning, match="is raised to 0.52 on 100% of the pool"):
        quick(teacher, alpha=alpha).fit(X, y, X_unlabeled=pool)


def test_digits_are_distilled():
    X, y = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(X))
    X, y = X[order], y[order]
    slam = SLaMDistiller(ExtraTreesClassifier(50), max_epochs=60, random_state=0)
    slam.fit(X[:300], y[:300], X_unlabeled=X[300:1400])
    # Binomial with 397 rows: 0.85 is 5 standard errors below 0.92.
    assert slam.score(X[1400:], y[1400:]) > 0.85
    assert isinstance(slam.student_, MLPStudent)
    assert isinstance(clone(slam.student_), MLPStudent)
    assert not isinstance(slam.student_, TorchStudent | NeuralNetClassifier)


@pytest.mark.parametrize("teacher", ["forest", GaussianNB, LinearSVC(), object()])
def test_clone_leaves_judging_the_teacher_to_fit(table, teacher):
    X, y, pool = table
    copy = clone(SLaMDistiller(teacher))
    assert type(copy.teacher) is type(teacher)
    with pytest.raises(TypeError, match="teacher"):
        copy.fit(X, y, X_unlabeled=pool)


def test_teacher_that_is_mostly_wrong_is_learned_unmixed(table):
    X, y, pool = table
    wrong = np.eye(3)[(y + 1) % 3] * 0.8 + 0.2 / 3
    of_pool = np.eye(3)[np.arange(len(pool)) % 3] * 0.8 + 0.2 / 3
    given = {"teacher_proba": wrong, "teacher_proba_unlabeled": of_pool}
    isotonic = quick(GaussianNB(), peers=False, vid_weight=0.0)
    with pytest.warns(UserWarning, match="right on 0% of the labeled rows"):
        isotonic.fit(X, y, X_unlabeled=pool, **given)
    plain = quick(GaussianNB(), alpha=1.0).fit(X, y, X_unlabeled=pool, **given)
    assert_array_equal(isotonic.predict_proba(X), plain.predict_proba(X))
    normalized = quick(GaussianNB(), normalize=True, peers=False)
    normalized.fit(X, y, X_unlabeled=pool, **given)  # warnings are errors here
    assert not np.array_equal(normalized.predict_proba(X), plain.predict_proba(X))


@pytest.mark.usefixtures("quick_peers")
@pytest.mark.parametrize(
    ("distiller", "params", "times", "message"),
    [
        (SLaMDistiller, {"cv": 80, "peers": False}, 1.0, "folds were asked for"),
        (SLaMDistiller, {"alpha": 0.3}, 1.0, "is raised to"),
        (WeightedDistiller, {"alpha": 0.3}, 1.0, "is raised to"),
        (SLaMDistiller, {}, None, "There are no unlabeled rows"),
        (SLaMDistiller, {}, 1e4, "lies far from X"),
    ],
)
def test_warnings_name_the_line_that_called_fit(
    table, teacher, distiller, params, times, message
):
    X, y, pool = table
    rows = None if times is None else times * pool
    model = distiller(teacher, SmallNet, max_epochs=3, random_state=0, **params)
    with pytest.warns(UserWarning, match=message) as caught:
        model.fit(X, y, X_unlabeled=rows)
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.usefixtures("quick_peers")
def test_warnings_of_folds_for_peers_name_that_line(table, teacher):
    X, y, pool = table
    slam = quick(teacher.fit(X[60:], y[60:]), peers=True, cv=30)
    with pytest.warns(UserWarning, match="folds were asked for") as caught:
        slam.fit(X[:60], y[:60], X_unlabeled=pool)
    assert {warning.filename for warning in caught} == {__file__}


class CountsFits(ClassifierMixin, BaseEstimator):
    """A teacher that costs much to fit."""

    n_fits = 0

    def fit(self, X, y):
        type(self).n_fits += 1
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


@pytest.mark.parametrize(
    ("student", "error", "message"),
    [
        (nn.Linear(7, 3), ValueError, "module fails on encoded rows"),
        (lambda n_features: nn.Linear(n_features, 3), TypeError, "n_features_in"),
        (lambda n_in, n_out: nn.Linear(n_in, 2), ValueError, "returned shape"),
        (MLPStudent(preprocessor="scale"), TypeError, "must be a transformer"),
        (MLPStudent, TypeError, r"pass an instance, MLPStudent\(\)"),
    ],
)
def test_faults_of_the_student_are_known_before_a_teacher_is_fitted(
    table, student, error, message
):
    X, y, pool = table
    CountsFits.n_fits = 0
    with pytest.raises(error, match=message):
        quick(CountsFits(), student).fit(X, y, X_unlabeled=pool)
    assert CountsFits.n_fits == 0


@pytest.mark.usefixtures("quick_peers")
def test_what_fails_on_missing_values_is_told(table, teacher):
    X, y, pool = table
    slam = SLaMDistiller(teacher, max_epochs=1, random_state=0)
    missing = np.full((1, X.shape[1]), np.nan)
    with pytest.raises(ValueError, match="NaN") as caught:
        slam.fit(X, y, X_unlabeled=np.concatenate([pool, missing]))
    assert caught.value.__notes__ == ["The teacher was asked about X_unlabeled."]
    with pytest.raises(ValueError, match="NaN") as caught:
        slam.fit(X, y, X_unlabeled=pool).predict(missing)
    assert "No row of fit missed a value" in caught.value.__notes__[0]

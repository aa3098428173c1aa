"""Soft labels, and how often the teacher is right."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_slam import TeacherAccuracy
from sklearn_slam._soft_labels import (
    TEMPERATURE_BOUNDS,
    calibrating_temperature,
    margins,
    temper,
    top_k_mask,
    true_class_rank,
)
from sklearn_slam._teacher_accuracy import consistent_mixing


@pytest.fixture
def proba():
    return np.random.RandomState(0).dirichlet(np.ones(5), size=3000)


def drawn_from(proba, seed=1):
    """Draw true classes so that the teacher's probabilities are exact."""
    uniform = np.random.RandomState(seed).uniform(size=(len(proba), 1))
    return (proba.cumsum(axis=1) < uniform).sum(axis=1).clip(max=proba.shape[1] - 1)


def test_margins_lie_between_zero_and_one(proba):
    ordered = np.sort(proba, axis=1)
    assert_allclose(margins(proba), ordered[:, -1] - ordered[:, -2])
    assert_array_equal(margins(np.array([[0.5, 0.5], [1.0, 0.0]])), [0, 1])


def test_ties_go_to_the_lower_class():
    tied = np.array([[0.25, 0.25, 0.25, 0.25]])
    assert_array_equal(top_k_mask(tied, np.array([2])), [[True, True, False, False]])
    for truth in range(4):
        assert_array_equal(true_class_rank(tied, np.array([truth])), [truth])


def test_rank_and_mask_agree(proba):
    y = drawn_from(proba)
    for k in range(1, 6):
        mask = top_k_mask(proba, np.full(len(proba), k))
        assert (mask.sum(axis=1) == k).all()
        inside = mask[np.arange(len(y)), y]
        assert_array_equal(inside, true_class_rank(proba, y) < k)


@pytest.mark.parametrize("temperature", [0, 1e-3, 0.5, 1, 3])
def test_tempered_rows_are_distributions_with_the_same_order(proba, temperature):
    tempered = temper(proba, temperature)
    assert_allclose(tempered.sum(axis=1), 1)
    assert_array_equal(tempered.argmax(axis=1), proba.argmax(axis=1))
    if temperature == 1:
        assert tempered is proba
    if temperature < 0.01:
        sure = margins(proba) > 0.1
        assert_allclose(tempered[sure].max(axis=1), 1)


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.0])
def test_calibrating_temperature_is_found(proba, true_temperature):
    y = drawn_from(proba)
    said = temper(proba, true_temperature)  # p ** (1 / T): undone by 1 / T
    found = calibrating_temperature(said, y)
    # 3,000 rows: the standard error of log T is about 0.03; five of them.
    assert abs(np.log(found * true_temperature)) < 0.15


def test_calibrating_temperature_is_bounded():
    certain = np.eye(2)[np.zeros(50, dtype=int)]
    low, high = TEMPERATURE_BOUNDS
    assert low <= calibrating_temperature(certain, np.zeros(50, dtype=int)) <= high
    assert low <= calibrating_temperature(certain, np.ones(50, dtype=int)) <= high


def test_alpha_increases_with_the_margin(proba):
    accuracy = TeacherAccuracy().fit(proba, drawn_from(proba))
    alpha = accuracy.alpha(np.linspace(0, 1, 50))
    assert (np.diff(alpha) >= 0).all()
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    # Isotonic regression keeps the mean.
    assert_allclose(accuracy.alpha(accuracy.margins_).mean(), accuracy.hits_.mean())


def test_estimates_are_of_the_last_fit_and_survive_pickling(proba):
    y, grid = drawn_from(proba), np.linspace(0, 1, 20)
    accuracy = TeacherAccuracy().fit(proba[:100], y[:100])
    accuracy.top_k(grid)
    for refitted in (accuracy.fit(proba, y), pickle.loads(pickle.dumps(accuracy))):
        for k in (1, 2, 5):
            assert_array_equal(
                refitted.top_k_accuracy(grid, k),
                TeacherAccuracy().fit(proba, y).top_k_accuracy(grid, k),
            )


def test_alpha_is_one_on_rows_that_the_teacher_memorized():
    accuracy = TeacherAccuracy().fit(np.eye(3), [0, 1, 2])
    assert_array_equal(accuracy.alpha([0.0, 0.3, 1.0]), 1)


def test_weights_equal_repeated_rows(proba):
    y, few = drawn_from(proba)[:200], proba[:200]
    weights = np.random.RandomState(2).randint(1, 4, 200)
    weighted = TeacherAccuracy().fit(few, y, weights)
    repeated = TeacherAccuracy().fit(np.repeat(few, weights, 0), np.repeat(y, weights))
    grid = np.linspace(0, 1, 20)
    assert_allclose(weighted.alpha(grid), repeated.alpha(grid))
    assert_array_equal(weighted.top_k(grid), repeated.top_k(grid))
    assert_allclose(weighted.temperature_, repeated.temperature_, rtol=1e-4)


@pytest.mark.parametrize("threshold", [0.5, 0.9, 1.0])
def test_k_is_the_least_that_reaches_the_threshold(proba, threshold):
    accuracy = TeacherAccuracy(top_k_accuracy=threshold).fit(proba, drawn_from(proba))
    grid = np.linspace(0, 1, 30)
    for margin, k in zip(grid, accuracy.top_k(grid), strict=True):
        reached = [
            accuracy.top_k_accuracy([margin], j)[0] >= threshold for j in range(2, 5)
        ]
        assert k == (2 + reached.index(True) if any(reached) else 5)


def test_constants_and_functions_are_taken(proba):
    y = drawn_from(proba)
    fixed = TeacherAccuracy(alpha=0.7, top_k=3).fit(proba, y)
    assert_array_equal(fixed.alpha([0.1, 0.9]), 0.7)
    assert_array_equal(fixed.top_k([0.1, 0.9]), 3)
    own = TeacherAccuracy(alpha=lambda margin: 0.5 + margin / 2).fit(proba, y)
    assert_allclose(own.alpha([0.0, 1.0]), [0.5, 1.0])


@pytest.mark.parametrize(
    "params", [{}, {"alpha": 0.7, "top_k": 3}, {"alpha": np.sqrt, "top_k_accuracy": 1}]
)
def test_parameters_are_those_of_an_estimator(proba, params):
    accuracy = TeacherAccuracy(**params)
    assert accuracy.get_params() == {**TeacherAccuracy().get_params(), **params}
    assert all(f"{name}=" in repr(accuracy) for name in params)
    copy = clone(accuracy.fit(proba, drawn_from(proba)))
    assert copy.get_params() == accuracy.get_params()
    assert TeacherAccuracy().set_params(**params).get_params() == copy.get_params()
    with pytest.raises(ValueError, match=r"\['beta'\] .*valid ones are \['alpha'"):
        copy.set_params(beta=1)


def test_nothing_is_estimated_before_fit():
    accuracy = TeacherAccuracy(alpha=0.7, top_k=2)
    for estimate in (accuracy.alpha, accuracy.top_k):
        with pytest.raises(NotFittedError):
            estimate([0.5])
    with pytest.raises(NotFittedError):
        accuracy.top_k_accuracy([0.5], 2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": "x"}, "alpha must be .*got 'x'"),
        ({"alpha": 0}, "alpha must be"),
        ({"alpha": True}, "alpha must be"),
        ({"top_k": 1}, "top_k must be .*got 1"),
        ({"top_k": 3}, "exceeds the number of classes, 2"),
        ({"top_k_accuracy": 0}, "top_k_accuracy must"),
    ],
)
def test_parameters_out_of_range_are_named(params, message):
    with pytest.raises(ValueError, match=message):
        TeacherAccuracy(**params).fit(np.eye(2), [0, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.eye(2), [-1, 0]), "got -1 to 0"),
        ((np.eye(2), [0, 2]), "from 0 to 1; got 0 to 2"),
        ((np.eye(2), [0.7, 1.9]), "dtype float64"),
        ((np.eye(2), ["a", "b"]), "dtype <U1"),
        (([[9, 1], [2, 8]], [0, 1]), "proba must sum to 1"),
        (([[np.nan, 1], [0, 1]], [0, 1]), "proba contains NaN"),
        (([0.5, 0.5], [0, 1]), r"proba has shape \(2,\)"),
        (([[1.0], [1.0]], [0, 0]), "two classes"),
        ((np.eye(2), [0]), r"y \(1,\)"),
        ((np.empty((0, 2)), []), "at least one row"),
        ((np.eye(2), [0, 1], [1, -1]), "sample_weight"),
    ],
)
def test_held_out_rows_that_are_none_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        TeacherAccuracy().fit(*arguments)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("alpha_min", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("n_classes", [2, 3, 18])
def test_mixing_keeps_the_teachers_direction(normalize, alpha_min, n_classes):
    alpha = np.linspace(0, 1, 101)
    k = np.full(101, 2)
    bounded, wider = consistent_mixing(
        alpha, k, n_classes=n_classes, alpha_min=alpha_min, normalize=normalize
    )
    assert (bounded > (1 / wider if normalize else 0.5)).all()
    assert (bounded >= np.maximum(alpha, alpha_min)).all()
    assert bounded.max() <= 1
    assert ((k <= wider) & (wider <= n_classes)).all()


def test_held_out_statistics_follow_from_the_probabilities_kept(proba):
    y = drawn_from(proba)
    accuracy = TeacherAccuracy().fit(proba, y)
    assert_array_equal(accuracy.margins_, margins(accuracy.proba_))
    assert_array_equal(accuracy.hits_, accuracy.proba_.argmax(axis=1) == y)


@pytest.mark.parametrize("k", [0, 1.5, 6])
def test_k_is_a_number_of_classes(proba, k):
    accuracy = TeacherAccuracy().fit(proba, drawn_from(proba))
    with pytest.raises(ValueError, match="k"):
        accuracy.top_k_accuracy([0.5], k)


def test_a_function_that_returns_no_numbers_is_named(proba):
    accuracy = TeacherAccuracy(alpha=lambda margin: "x").fit(proba, drawn_from(proba))
    with pytest.raises(ValueError, match="alpha must return a probability for each"):
        accuracy.alpha([0.5])


def test_a_function_that_works_in_place_changes_no_margin(proba):
    def halved(margin):
        margin *= 0.5
        return margin

    margin = np.array([0.2, 0.8])
    accuracy = TeacherAccuracy(alpha=halved).fit(proba, drawn_from(proba))
    assert_array_equal(accuracy.alpha(margin), [0.1, 0.4])
    assert_array_equal(margin, [0.2, 0.8])

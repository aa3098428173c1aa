"""How often the teacher is right."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_slam import TeacherAccuracy
from sklearn_slam._soft_labels import margins
from sklearn_slam._teacher_accuracy import consistent_mixing


@pytest.fixture
def proba():
    return np.random.RandomState(0).dirichlet(np.ones(5), size=3000)


def drawn_from(proba, seed=1):
    """Draw true classes so that the teacher's probabilities are exact."""
    uniform = np.random.RandomState(seed).uniform(size=(len(proba), 1))
    return (proba.cumsum(axis=1) < uniform).sum(axis=1).clip(max=proba.shape[1] - 1)


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


@pytest.mark.parametrize("alpha_min", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("n_classes", [2, 3, 18])
def test_bounds_on_alpha_and_k_are_those_of_the_method(alpha_min, n_classes):
    # Powers of two, whose inverse is exact: at alpha = 1/4, three classes are too few,
    # and so are four, since alpha has to lie above 1/k.
    values = [0.0, 0.0625, 0.1, 0.125, 0.25, 0.4, 0.5, 0.519, 0.521, 0.6, 0.99, 1.0]
    pairs = [(a, k) for a in values for k in range(2, n_classes + 1)]
    alpha, k = map(np.array, zip(*pairs, strict=True))
    before = alpha.copy(), k.copy()

    def bounds(normalize):
        return consistent_mixing(
            alpha, k, n_classes=n_classes, alpha_min=alpha_min, normalize=normalize
        )

    normalized, unnormalized = [], []
    for a, j in pairs:
        a = max(a, alpha_min)
        wider = n_classes if a == 0 else min(n_classes, max(j, int(1 / a) + 1))
        normalized.append((min(1.0, max(a, 1 / wider + 0.02)), wider))
        unnormalized.append((max(a, 0.52), j))
    assert_allclose(np.transpose(bounds(True)), normalized)
    assert_allclose(np.transpose(bounds(False)), unnormalized)
    assert_array_equal((alpha, k), before)


@pytest.mark.parametrize(
    ("normalize", "alpha", "k"), [(True, 0.36, 3), (True, 0.53, 2), (False, 0.53, 2)]
)
def test_mixing_that_is_consistent_is_left_alone(normalize, alpha, k):
    bounded, wider = consistent_mixing(
        np.array([alpha]),
        np.array([k]),
        n_classes=9,
        alpha_min=0.35,
        normalize=normalize,
    )
    assert (bounded[0], wider[0]) == (alpha, k)


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


@pytest.mark.parametrize("value", [-0.1, 1.01, np.nan])
def test_a_function_that_returns_no_probability_is_named(proba, value):
    def one_is_none(margin):
        return np.where(margin == 0.5, value, 0.7)

    accuracy = TeacherAccuracy(alpha=one_is_none).fit(proba, drawn_from(proba))
    assert_array_equal(accuracy.alpha([0.2, 0.8]), 0.7)
    with pytest.raises(ValueError, match=r"values outside \[0, 1\]"):
        accuracy.alpha([0.2, 0.5, 0.8])


def test_a_function_that_works_in_place_changes_no_margin(proba):
    def halved(margin):
        margin *= 0.5
        return margin

    margin = np.array([0.2, 0.8])
    accuracy = TeacherAccuracy(alpha=halved).fit(proba, drawn_from(proba))
    assert_array_equal(accuracy.alpha(margin), [0.1, 0.4])
    assert_array_equal(margin, [0.2, 0.8])

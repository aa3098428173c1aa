import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_slam import _soft_labels
from sklearn_slam._soft_labels import (
    calibrating_temperature,
    combined,
    combining_exponents,
    margins,
    smoothed,
    temper,
    top_k_mask,
    true_class_rank,
)

TIED = np.array([[0.25, 0.25, 0.25, 0.25], [0.1, 0.4, 0.1, 0.4], [0.0, 0.5, 0.5, 0.0]])


@pytest.fixture(params=[3, 32_768], ids=["many chunks", "one chunk"])
def chunks(request, monkeypatch):
    monkeypatch.setattr(_soft_labels, "CHUNK_ROWS", request.param)


def draw(n_rows=50, n_classes=4, seed=0, dtype=np.float64):
    rng = np.random.RandomState(seed)
    return rng.dirichlet(np.ones(n_classes), n_rows).astype(dtype)


def sample(proba, rng):
    return (rng.uniform(size=(len(proba), 1)) > proba.cumsum(axis=1)).sum(axis=1)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_margin_is_first_minus_second(n_classes, dtype):
    proba = draw(n_classes=n_classes, dtype=dtype)
    ordered = np.sort(proba, axis=1).astype(np.float64)
    assert_array_equal(margins(proba), ordered[:, -1] - ordered[:, -2])


def test_margin_limits():
    assert_array_equal(margins(np.eye(3)), 1.0)
    assert_array_equal(margins(TIED), 0.0)
    assert_array_equal(margins(np.array([[1 + 1e-6, 0.0]])), 1.0)  # rounded
    assert margins(np.empty((0, 3))).shape == (0,)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("proba", [draw(), TIED, np.eye(4)])
def test_mask_holds_k_classes_none_less_likely_than_the_rest(proba):
    k = 1 + np.arange(len(proba)) % proba.shape[1]
    mask = top_k_mask(proba, k)
    assert_array_equal(mask.sum(axis=1), k)
    inside = np.where(mask, proba, np.inf).min(axis=1)
    outside = np.where(mask, -np.inf, proba).max(axis=1)
    assert (inside >= outside).all()


def test_mask_gives_ties_to_the_lower_index():
    assert_array_equal(
        top_k_mask(TIED, np.array([2, 1, 3])),
        np.array([[1, 1, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0]], dtype=bool),
    )


@pytest.mark.parametrize("proba", [draw(), np.repeat(TIED, 4, axis=0)])
def test_rank_below_k_is_membership_of_the_top_k(proba):
    y = np.arange(len(proba)) % proba.shape[1]
    rank = true_class_rank(proba, y)
    for k in range(1, proba.shape[1] + 1):
        mask = top_k_mask(proba, np.full(len(proba), k))
        assert_array_equal(mask[np.arange(len(y)), y], rank < k)


def test_many_ties_go_to_the_lower_index():
    # Twenty classes: some sorts keep the order of fewer equals by chance.
    proba = np.random.RandomState(0).randint(1, 4, (200, 20)).astype(float)
    proba[0] = 1.0
    proba /= proba.sum(axis=1, keepdims=True)
    for k in (1, 7, 13):
        mask = top_k_mask(proba, np.full(200, k))
        for row, inside in zip(proba, mask, strict=True):
            order = sorted(range(20), key=lambda j, row=row: (-row[j], j))
            assert_array_equal(np.flatnonzero(inside), sorted(order[:k]))
    for truth in (0, 9, 19):
        assert true_class_rank(proba[:1], np.array([truth])) == truth


def test_rank_is_zero_where_the_teacher_is_right():
    proba = draw()
    assert_array_equal(true_class_rank(proba, proba.argmax(axis=1)), 0)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [0, 0.01, 0.5, 1, 2, 100])
def test_tempered_labels_are_distributions_of_the_same_order(temperature, dtype):
    proba = draw(dtype=dtype)
    before = proba.copy()
    tempered = temper(proba, temperature)
    assert tempered.dtype == dtype
    assert_allclose(tempered.sum(axis=1), 1.0, rtol=1e-5)
    assert_array_equal(tempered.argmax(axis=1), proba.argmax(axis=1))
    assert_array_equal(proba, before)


def test_temperature_one_leaves_labels():
    proba = draw()
    assert_array_equal(temper(proba, 1), proba)
    assert_allclose(temper(proba, 1 + 1e-9), proba, rtol=1e-6)


def test_temperature_zero_is_the_first_indicator():
    assert_array_equal(temper(TIED, 0).argmax(axis=1), [0, 1, 1])
    assert_array_equal(temper(TIED, 0).max(axis=1), 1.0)


def test_small_temperature_approaches_the_indicator():
    proba = draw()
    clear = proba[margins(proba) > 0.1]
    assert_allclose(temper(clear, 1e-3), temper(clear, 0), atol=1e-6)


def test_large_temperature_approaches_the_uniform():
    assert_allclose(temper(draw(), 1e6), 0.25, atol=1e-4)


def test_temperatures_multiply():
    proba = draw()
    assert_allclose(temper(temper(proba, 0.5), 3.0), temper(proba, 1.5))


def test_impossible_classes_stay_impossible():
    assert_array_equal(temper(np.eye(3), 5.0), np.eye(3))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0])
def test_calibration_recovers_a_known_temperature(temperature):
    rng = np.random.RandomState(0)
    truth = temper(rng.dirichlet(np.full(4, 5.0), 20_000), 0.7)
    teacher = temper(truth, 1 / temperature)
    found = calibrating_temperature(teacher, sample(truth, rng))
    assert_allclose(found, temperature, rtol=0.1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_calibrating_temperature_is_bounded(dtype):
    lower, upper = 0.1, 10
    proba = draw(200, dtype=dtype)
    right = calibrating_temperature(proba, proba.argmax(axis=1))
    wrong = calibrating_temperature(proba, proba.argmin(axis=1))
    sure_and_wrong = calibrating_temperature(
        np.eye(3, dtype=dtype), np.array([1, 2, 0])
    )
    assert_allclose(right, lower, rtol=0.01)
    assert_allclose([wrong, sure_and_wrong], upper, rtol=0.01)
    assert lower <= right < sure_and_wrong <= upper


def test_calibration_weighs_rows_like_repeated_ones():
    rng = np.random.RandomState(0)
    proba = draw(100)
    y, times = sample(proba, rng), rng.randint(0, 4, 100)
    weighted = calibrating_temperature(proba, y, times)
    repeated = calibrating_temperature(proba.repeat(times, axis=0), y.repeat(times))
    assert_allclose(weighted, repeated, rtol=1e-3)


@pytest.mark.parametrize("share_right", [0.6, 0.9])
def test_a_teacher_that_says_exactly_zero_is_calibrated_as_if_it_said_a_little(
    share_right,
):
    y = (np.arange(100) >= 100 * share_right).astype(int)
    certain = np.tile([1.0, 0.0], (100, 1))
    # A share of .001 of the uniform leaves odds of .9995 to .0005; tempered, they are
    # to be those of being right.
    wanted = np.log(0.9995 / 0.0005) / np.log(share_right / (1 - share_right))
    found = calibrating_temperature(certain, y)
    # 18.7 is beyond the bound.
    assert_allclose(found, min(wanted, 10), rtol=1e-3)


def test_a_source_that_says_exactly_zero_excludes_no_class_alone():
    never, sure = np.array([[1.0, 0.0]]), np.array([[0.001, 0.999]])
    assert_allclose(smoothed(never), [[0.9995, 0.0005]])
    assert_allclose(combined([never], [1.0]), [[0.9995, 0.0005]], rtol=1e-5)
    odds = 0.0005 / 0.9995 * (0.999 * 0.999 + 0.0005) / (0.999 * 0.001 + 0.0005)
    both = combined([never, sure], [1.0, 1.0])
    assert_allclose(both, [[1 / (1 + odds), odds / (1 + odds)]], rtol=1e-5)
    # Three to one against it, the class is possible after all.
    assert combined([never, sure], [1.0, 3.0])[0, 1] > 0.99


@pytest.mark.usefixtures("chunks")
def test_combined_labels_of_one_source_are_its_own():
    proba = draw()
    assert_allclose(combined([proba], [1.0]), proba, atol=2e-3)
    assert combined([proba], [1.0]).dtype == np.float32
    others = draw(seed=1)
    assert_allclose(
        combined([proba, others], [0.7, 0.0]), combined([proba], [0.7]), atol=1e-6
    )
    both = combined([proba, others], [0.7, 0.4])
    assert_allclose(both.sum(axis=1), 1, atol=1e-6)
    assert_allclose(both, combined([others, proba], [0.4, 0.7]), atol=1e-6)


def test_exponent_of_one_source_is_its_inverse_temperature():
    proba = draw(n_rows=2_000, n_classes=5)
    y = sample(temper(proba, 2.0), np.random.RandomState(0))
    (exponent,) = combining_exponents([proba], y)
    assert exponent == pytest.approx(1 / calibrating_temperature(proba, y), rel=0.01)
    repeated = np.repeat(np.arange(2_000), 1 + (y == 0))
    weights = 1.0 + (y == 0)
    assert_allclose(
        combining_exponents([proba], y, weights),
        combining_exponents([proba[repeated]], y[repeated]),
        rtol=1e-3,
    )


def test_exponents_lie_between_none_and_ten():
    sure = np.tile([0.6, 0.4], (20, 1))
    right, wrong = (np.full(20, label) for label in (0, 1))
    assert_allclose(combining_exponents([sure], right), 10)
    assert_array_equal(combining_exponents([sure], wrong), 0)


def test_sources_count_by_what_they_say_of_the_labels():
    rng = np.random.RandomState(0)
    told, noise = draw(n_rows=4_000), draw(n_rows=4_000, seed=1)
    y = sample(told, rng)
    exponents = combining_exponents([told, noise], y)
    # The truth itself: exponents 1 and 0, with standard errors of about .02.
    assert_allclose(exponents, [1.0, 0.0], atol=0.1)

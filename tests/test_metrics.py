"""Calibration error: limit cases, bounds, invariances."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import accuracy_score

from sklearn_slam import expected_calibration_error
from sklearn_slam.metrics import HitRates, wilson_interval


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(4), size=300)
    return rng.integers(4, size=300), proba


def test_error_by_hand():
    # Two bins of two rows: .6 and .7, both right; .8 and .9, one of them right.
    proba = np.array([[0.6, 0.4], [0.3, 0.7], [0.8, 0.2], [0.1, 0.9]])
    error = expected_calibration_error([0, 1, 1, 1], proba, n_bins=2)
    assert error == pytest.approx(0.5 * abs(1 - 0.65) + 0.5 * abs(0.5 - 0.85))


def test_error_is_zero_where_probabilities_are_the_rates():
    certain = np.eye(3)[[0, 2, 1, 1]]
    assert expected_calibration_error([0, 2, 1, 1], certain) == 0
    often = np.tile([0.75, 0.25], (4, 1))
    assert expected_calibration_error([0, 0, 0, 1], often) == pytest.approx(0)


def test_error_is_one_where_certain_and_always_wrong():
    assert expected_calibration_error([0, 1, 2], np.eye(3)[[1, 2, 0]]) == 1


def test_error_vanishes_with_rows_of_a_calibrated_model():
    rng = np.random.default_rng(0)
    n_rows, n_bins = 50_000, 15
    positive = rng.uniform(size=n_rows)
    y = rng.uniform(size=n_rows) < positive
    proba = np.column_stack([1 - positive, positive])
    # A bin's rate is off by at most sqrt(1 / 4n) in the mean; 4 times as much is far.
    bound = 4 * np.sqrt(n_bins / (4 * n_rows))
    assert expected_calibration_error(y, proba, n_bins=n_bins) < bound


@pytest.mark.parametrize("n_bins", [1, 2, np.int64(15), 1000])
def test_error_lies_between_the_gap_of_means_and_one(predictions, n_bins):
    y, proba = predictions
    gap = abs(accuracy_score(y, proba.argmax(axis=1)) - proba.max(axis=1).mean())
    error = expected_calibration_error(y, proba, n_bins=n_bins)
    assert gap - 1e-12 <= error <= 1
    if n_bins == 1:
        assert error == pytest.approx(gap)


def test_error_does_not_depend_on_order_of_rows_or_columns(predictions):
    y, proba = predictions
    # Ties in the confidence must not tear rows apart by their order.
    y, proba = y[:200], np.repeat(proba[:50], 4, axis=0)
    error = expected_calibration_error(y, proba, labels=range(4))
    rows = np.random.default_rng(1).permutation(len(y))
    columns = np.array([2, 0, 3, 1])
    assert expected_calibration_error(
        y[rows], proba[rows], labels=range(4)
    ) == pytest.approx(error)
    assert expected_calibration_error(
        y, proba[:, columns], labels=columns
    ) == pytest.approx(error)


@pytest.mark.parametrize("n_bins", [15, 1000])
def test_weights_count_like_repeated_rows(predictions, n_bins):
    y, proba = predictions
    weights = np.arange(len(y)) % 3
    weighted = expected_calibration_error(
        y, proba, sample_weight=weights, n_bins=n_bins
    )
    repeated = expected_calibration_error(
        np.repeat(y, weights), np.repeat(proba, weights, axis=0), n_bins=n_bins
    )
    assert weighted == pytest.approx(repeated)


def test_labels_of_any_type_name_the_columns(predictions):
    y, proba = predictions
    names = np.array(["b", "d", "a", "c"])
    assert expected_calibration_error(
        names[y], proba, labels=names
    ) == expected_calibration_error(y, proba)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([0, 1], np.eye(3)), {}, "y_true has shape"),
        (([0, 1], [[2.0, -1.0], [0.5, 0.5]]), {}, "negative entries"),
        (([0, 1], [[np.nan, 1.0], [0.5, 0.5]]), {}, "contains NaN"),
        (([0, 1], [[0.6, 0.4], [0.1, 0.1]]), {}, "row 1 sums to 0.2"),
        (([0, 1], [[0.51, 0.51], [0.5, 0.5]]), {}, "row 0 sums to 1.02"),
        (([], np.empty((0, 2))), {"labels": [0, 1]}, "with at least one row"),
        (([0, 0], np.eye(2)), {}, "y_true holds 1 classes"),
        (([0, None], np.eye(2)), {}, "y_true misses labels"),
        (([0, np.nan], np.eye(2)), {"labels": [0, 1]}, "y_true misses labels"),
        (([0, 1], np.eye(2)), {"labels": 3}, "labels names 1 classes"),
        (([0, 1], np.eye(2)), {"labels": [0, 1, 2]}, "labels names 3 classes"),
        (([0, 0], np.eye(2)), {"labels": [0, 0]}, r"class of its own, got \[0, 0\]"),
        (([0, 7], np.eye(2)), {"labels": [0, 1]}, r"stands for: \[7\]"),
        ((["x", "y"], np.eye(2)), {"labels": ["x", "z"]}, r"stands for: \['y'\]"),
        (([0, 1], np.eye(2)), {"labels": np.array(["a", "b"], object)}, "stands for"),
        (([0, 1], np.eye(2)), {"n_bins": 0}, "n_bins"),
        (([0, 1], np.eye(2)), {"n_bins": 2.5}, "n_bins"),
        (([0, 1], np.eye(2)), {"sample_weight": [1]}, r"expected \(2,\)"),
        (([0, 1], np.eye(2)), {"sample_weight": [0, 0]}, "sample_weight"),
        (
            ([0, 1], np.eye(2)),
            {"sample_weight": [-1, 1]},
            "must be finite and not negative",
        ),
        (([0, 1], np.eye(2)), {"sample_weight": [np.nan, 1]}, "must be finite"),
        (([0, 1], np.eye(2)), {"sample_weight": [np.inf, 1]}, "must be finite"),
    ],
)
def test_what_does_not_fit_is_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(*arguments, **options)


def test_bins_have_equal_mass_and_hold_all_rows():
    score = np.random.default_rng(0).uniform(size=120)
    hits = score > 0.5
    rates = HitRates.of(score, hits, 8)
    np.testing.assert_allclose(rates.share, 1 / 8)
    assert np.sum(rates.share * rates.rate) == pytest.approx(hits.mean())
    assert (np.diff(rates.score) > 0).all()


def test_equal_scores_share_a_bin():
    rates = HitRates.of(np.array([0.5] * 9 + [1.0]), np.ones(10, bool), 5)
    np.testing.assert_allclose(rates.score, [0.5, 1.0])
    np.testing.assert_allclose(rates.share, [0.9, 0.1])
    # It is the bin in which the middle of their mass lies: .15, .6 and .95.
    rates = HitRates.of(np.repeat([0.1, 0.5, 0.9], [3, 6, 1]), np.ones(10, bool), 2)
    np.testing.assert_allclose(rates.share, [0.3, 0.7])


def test_bins_and_what_is_in_them_are_weighted():
    # The first row is half of the weight, and so alone in the first of two bins.
    score = np.array([0.2, 0.4, 0.6, 0.8])
    hits = np.array([True, False, True, True])
    rates = HitRates.of(score, hits, 2, np.array([6.0, 3.0, 1.0, 2.0]))
    np.testing.assert_allclose(rates.share, [0.5, 0.5])
    np.testing.assert_allclose(rates.score, [0.2, (3 * 0.4 + 0.6 + 2 * 0.8) / 6])
    np.testing.assert_allclose(rates.rate, [1.0, 0.5])
    assert rates.distance == pytest.approx(0.5 * 0.8 + 0.5 * abs(0.5 - 3.4 / 6))
    # So are equal scores, which are one value.
    ties = HitRates.of(np.array([0.5, 0.5, 0.9]), hits[:3], 1, np.array([2.0, 1.0, 3]))
    np.testing.assert_allclose(ties.score, [(3 * 0.5 + 3 * 0.9) / 6])
    np.testing.assert_allclose(ties.rate, [5 / 6])


@pytest.mark.parametrize("unit", [1e-200, 1e307])
def test_the_unit_of_weights_is_no_matter(unit):
    score, hits = np.array([0.2, 0.4, 0.6, 0.8]), np.array([True, False, True, True])
    weights = np.array([6.0, 3.0, 1.0, 2.0])
    of_unit, of_one = (
        HitRates.of(score, hits, 2, part) for part in (unit * weights, weights)
    )
    for name in ("score", "rate", "low", "high", "share"):
        np.testing.assert_allclose(getattr(of_unit, name), getattr(of_one, name))


def test_a_rate_is_at_most_one_also_where_weights_are_rounded():
    # Summed in one order these weights are .6, in the other a little more.
    score, weights = np.array([0.9, 0.5, 0.5]), np.array([0.1, 0.2, 0.3])
    assert weights.sum() > weights[::-1].sum()
    assert HitRates.of(score, np.ones(3, bool), 1, weights).rate == 1


def test_wilson_interval_holds_the_rate_and_stays_in_the_unit_interval():
    size = np.arange(1.0, 1_000.0)
    for value in (0.0, 0.5, 1.0):
        rate = np.full(len(size), value)
        low, high = wilson_interval(rate, size)
        assert ((low >= 0) & (low <= rate) & (rate <= high) & (high <= 1)).all()


def test_wilson_interval_solves_its_equation_and_stays_in_the_unit_interval():
    rate, size = np.array([0.0, 0.3, 1.0]), np.array([10.0, 50.0, 5.0])
    low, high = wilson_interval(rate, size)
    assert low[0] == 0
    assert high[2] == 1
    # The ends are the rates p from which the observed one is z standard errors off.
    z = norm.ppf(0.975)
    for end, at in [(low, [1, 2]), (high, [0, 1])]:
        error = np.sqrt(end * (1 - end) / size)
        np.testing.assert_allclose(np.abs(rate - end)[at], z * error[at], rtol=1e-5)


def test_intervals_widen_with_unequal_weights():
    score, hits = np.linspace(0, 1, 40), np.arange(40) % 2 == 0
    equal = HitRates.of(score, hits, 1, np.full(40, 7.0))
    unequal = HitRates.of(score, hits, 1, np.where(np.arange(40) < 4, 10.0, 1.0))
    plain = HitRates.of(score, hits, 1)
    assert equal.high - equal.low == pytest.approx(plain.high - plain.low)
    assert unequal.high - unequal.low > equal.high - equal.low


def test_columns_of_a_frame_are_found_by_name():
    pd = pytest.importorskip("pandas")  # `make package` tests without extras
    proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    y = np.array([0, 0, 1])
    frame = pd.DataFrame(proba[:, ::-1], columns=[1, 0])
    expected = expected_calibration_error(y, proba)
    assert expected_calibration_error(y, frame) == expected
    assert expected_calibration_error(y, frame, labels=[0, 1]) == expected


def test_probabilities_may_be_rounded():
    proba = np.array([[1 + 2e-16, 0.0], [0.0, 1 + 4e-16]])
    assert (proba > 1).any()
    assert expected_calibration_error([0, 1], proba) == pytest.approx(0, abs=1e-15)
    # To a hundredth, as a teacher's.
    assert expected_calibration_error([0, 1], 0.995 * np.eye(2)) == pytest.approx(0.005)

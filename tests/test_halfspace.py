import pickle
from itertools import islice

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_slam import HalfspaceClassifier

CONFIGURATIONS = [{}, {"noise_rate": 0.1}, {"iterate": "best"}]


def flip(signs, rate, rng):
    return np.where(rng.random(signs.size) < rate, -signs, signs)


def long_servedio(n, g, rng):
    """Points of one class, mirrored at the origin with their label."""
    points = np.array([[1, 0], [g, 5 * g], [g, -g], [g, -g]])
    signs = rng.choice([-1, 1], size=n)
    return points[rng.integers(4, size=n)] * signs[:, np.newaxis], signs


def with_margin(n, margin, rng, n_features=10):
    """Rows on the unit sphere, all exactly the margin away from the hyperplane."""
    signs = rng.choice([-1, 1], size=n)
    rest = rng.standard_normal((n, n_features - 1))
    rest *= np.sqrt(1 - margin**2) / np.linalg.norm(rest, axis=1, keepdims=True)
    return np.column_stack([margin * signs, rest]), signs


def gaussian(n, rng, n_features=5):
    X = rng.standard_normal((n, n_features))
    return X, np.where(X[:, 0] + 0.3 > 0, 1, -1)


def through_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


@parametrize_with_checks(
    [
        HalfspaceClassifier(),
        HalfspaceClassifier(noise_rate=0.1),
        HalfspaceClassifier(noise_rate=0.0, fit_intercept=False, max_iter=1),
        HalfspaceClassifier(iterate="best"),
        HalfspaceClassifier(noise_rate=0.2, iterate="best", margin=1.0),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)


# Laws of the update


def mixed_steps(Z, signs, rate, margin):
    """Yield the iterates of steps along the mixed direction, written out."""
    w, squares = np.zeros(Z.shape[1]), 0.0
    while True:
        scores = Z @ w
        residual = (1 - 2 * rate) * np.sign(scores) - signs
        g = Z.T @ (residual / np.maximum(np.abs(scores), margin)) / len(Z)
        squares += g @ g
        w = w - np.sqrt(2) * g / np.sqrt(squares)
        w /= max(1, np.linalg.norm(w))
        yield w


def test_steps_follow_the_mixed_direction():
    X, signs = gaussian(50, np.random.default_rng(0))
    rate, margin = 0.2, 0.05
    halfspace = HalfspaceClassifier(
        noise_rate=rate, margin=margin, fit_intercept=False, batch_size=50
    )
    Z = X / np.linalg.norm(X, axis=1).max()
    total = np.zeros(5)
    for w in islice(mixed_steps(Z, signs, rate, margin), 5):
        total += w
        halfspace.partial_fit(X, signs, classes=[-1, 1])
        expected = Z @ total / np.linalg.norm(total)
        assert_allclose(halfspace.decision_function(X), expected, atol=1e-12)


@pytest.mark.parametrize("max_iter", [1, 3, 7])
def test_fit_averages_over_as_many_passes_as_are_asked_for(max_iter):
    # A pass is one step, of all rows, so that their order does not matter.
    X, signs = gaussian(50, np.random.default_rng(0))
    signs = flip(signs, 0.2, np.random.default_rng(1))
    rate, margin = 0.2, 0.05
    halfspace = HalfspaceClassifier(
        noise_rate=rate,
        margin=margin,
        fit_intercept=False,
        batch_size=50,
        max_iter=max_iter,
        random_state=0,
    ).fit(X, signs)
    Z = X / np.linalg.norm(X, axis=1).max()
    iterates = list(islice(mixed_steps(Z, signs, rate, margin), max_iter))
    average = np.mean(iterates, axis=0)
    expected = Z @ average / np.linalg.norm(average)
    assert_allclose(halfspace.decision_function(X), expected, atol=1e-12)
    assert halfspace.n_iter_ == max_iter
    if max_iter > 1:  # or the average would be the last one
        last = Z @ iterates[-1] / np.linalg.norm(iterates[-1])
        assert abs(halfspace.decision_function(X) - last).max() > 1e-3


@pytest.mark.parametrize("right", [0, 3, 8])
def test_best_is_the_iterate_that_disagrees_least_with_held_out_rows(right):
    # A pass is one step; the held-out rows have the labels that one iterate predicts.
    X, signs = gaussian(90, np.random.default_rng(0))
    y = flip(signs, 0.2, np.random.default_rng(1))
    Z, learned, held_out = X / np.linalg.norm(X, axis=1).max(), slice(60), slice(60, 90)
    iterates = list(islice(mixed_steps(Z[learned], y[learned], 0.2, 0.05), 9))
    y[held_out] = np.sign(Z[held_out] @ iterates[right])
    halfspace = HalfspaceClassifier(
        noise_rate=0.2,
        margin=0.05,
        fit_intercept=False,
        iterate="best",
        batch_size=60,
        max_iter=9,
    ).fit(X, y)
    halfspace._descent = halfspace._new_descent([0.2])
    rows = halfspace._lift(X, y, np.linalg.norm(X, axis=1))
    parts = np.arange(60), np.arange(60, 90)
    found = halfspace._best_iterate(rows, *parts, np.random.RandomState(0))
    wrong = [np.mean(Z[held_out] @ w * y[held_out] < 0) for w in iterates]
    assert wrong[right] == 0
    assert_allclose(found[:-1, 0], iterates[np.argmin(wrong)])


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_constant_is_the_root_mean_square_of_the_lengths(fit_intercept):
    X = np.array([[3.0, 0.0], [0.0, -4.0], [0.0, 5.0]])
    halfspace = HalfspaceClassifier(noise_rate=0.1, fit_intercept=fit_intercept)
    halfspace.fit(X, [0, 0, 1])
    square = (9 + 16 + 25) / 3 if fit_intercept else 0.0
    assert halfspace.radius_ == pytest.approx(np.sqrt(25 + square))


def test_without_noise_only_mistakes_move_the_halfspace():
    # Steps are at most 2 / margin long and none without a mistake; a mistake
    # has inner product >= 2 with w - w* (>= 1 at w = 0). The regret bound
    # 2 sqrt(2) sqrt(sum |g|^2) thus gives 2 M <= 2 sqrt(2) (2 / margin) sqrt(M),
    # M <= 8 / margin^2 mistakes, however long the stream: a perceptron.
    margin = 0.25
    X, signs = with_margin(3_000, margin, np.random.default_rng(1))
    perceptron = HalfspaceClassifier(
        noise_rate=0.0, margin=margin, fit_intercept=False, batch_size=1
    ).partial_fit(X[:1], signs[:1], classes=[-1, 1])
    mistakes = 1
    for row in range(1, len(X)):
        before = perceptron._descent.weights
        right = signs[row] * (X[row] @ before[:-1, 0]) > 0
        perceptron.partial_fit(X[[row]], signs[[row]])
        moved = not np.allclose(perceptron._descent.weights, before, rtol=1e-12)
        assert moved == (not right)
        mistakes += not right
    assert mistakes <= 8 / margin**2


def test_each_noise_rate_is_an_independent_column():
    # The candidates of "estimate" go through the rows together; each must be
    # what it would be alone.
    X, signs = gaussian(64, np.random.default_rng(2))
    alone = HalfspaceClassifier(noise_rate=0.3, batch_size=16)
    alone.partial_fit(X, signs, classes=[-1, 1])
    together = alone._new_descent([0.0, 0.3, 0.45])
    rows = alone._lift(X, signs, np.linalg.norm(X, axis=1))
    for start in range(0, 64, 16):
        together.step(rows.take(slice(start, start + 16)))
    assert_allclose(together.total[:, 1], alone._descent.total[:, 0], rtol=1e-9)


@pytest.mark.parametrize("params", CONFIGURATIONS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_scaling_all_rows_changes_nothing(params, fit_intercept):
    X, signs = gaussian(400, np.random.default_rng(3))
    y = flip(signs, 0.1, np.random.default_rng(4))
    halfspace = HalfspaceClassifier(
        fit_intercept=fit_intercept, random_state=0, **params
    )
    reference = clone(halfspace).fit(X, y).decision_function(X)
    for scale in (2.0**-20, 3.7, 2.0**10, 1e-200, 1e200):
        scaled = clone(halfspace).fit(scale * X, y).decision_function(scale * X)
        assert_allclose(scaled, reference, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("params", CONFIGURATIONS)
def test_flipping_the_labels_flips_the_halfspace(params):
    X, signs = gaussian(400, np.random.default_rng(5))
    halfspace = HalfspaceClassifier(random_state=0, **params).fit(X, signs)
    mirrored = HalfspaceClassifier(random_state=0, **params).fit(X, -signs)
    assert_array_equal(mirrored.coef_, -halfspace.coef_)
    assert_array_equal(mirrored.intercept_, -halfspace.intercept_)
    assert mirrored.noise_rate_ == halfspace.noise_rate_


def test_names_of_the_classes_do_not_matter():
    X, signs = gaussian(300, np.random.default_rng(6))
    names = np.where(signs > 0, "yes", "no")
    by_sign = HalfspaceClassifier(random_state=0).fit(X, signs)
    by_name = HalfspaceClassifier(random_state=0).fit(X, names)
    assert_array_equal(by_name.coef_, by_sign.coef_)
    assert_array_equal(by_name.predict(X) == "yes", by_sign.predict(X) == 1)


@pytest.mark.parametrize("params", CONFIGURATIONS)
@pytest.mark.parametrize("convert", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_rows_give_what_dense_rows_give(params, convert):
    rng = np.random.default_rng(7)
    X = rng.standard_normal((300, 8)) * (rng.random((300, 8)) < 0.3)
    y = X[:, 0] + X[:, 1] > 0
    dense = HalfspaceClassifier(random_state=0, **params).fit(X, y)
    other = HalfspaceClassifier(random_state=0, **params).fit(convert(X), y)
    assert_allclose(other.coef_, dense.coef_, rtol=1e-9, atol=1e-12)
    assert_allclose(
        other.decision_function(convert(X)), dense.decision_function(X), atol=1e-9
    )


def test_float32_rows_give_float64_weights():
    X, signs = gaussian(300, np.random.default_rng(8))
    narrow = HalfspaceClassifier(noise_rate=0.1, random_state=0)
    # Rows this long overflow when they are squared in their own precision.
    narrow.fit((1e25 * X).astype(np.float32), signs)
    assert narrow.coef_.dtype == np.float64
    wide = HalfspaceClassifier(noise_rate=0.1, random_state=0)
    wide.fit((1e25 * X).astype(np.float32).astype(np.float64), signs)
    assert_allclose(narrow.coef_, wide.coef_, rtol=1e-6)


# Statistical laws


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("g", [1 / 20, 1 / 30])
def test_long_servedio_defeats_convex_losses_only(rate, g):
    rng = np.random.default_rng(9)
    X, signs = long_servedio(8_000, g, rng)
    y = flip(signs, rate, rng)
    for noise_rate in (rate, "estimate"):
        mixed = HalfspaceClassifier(
            noise_rate=noise_rate,
            margin=g,
            fit_intercept=False,
            max_iter=1,
            random_state=0,
        ).fit(X, y)
        # Three distinct points up to their sign: any error is a quarter of the
        # mass at least, so 1 % of the rows is a tolerance for none at all.
        assert mixed.score(X, signs) > 0.99


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("g", [1 / 20, 1 / 30])
@pytest.mark.parametrize(
    "learner",
    [
        LogisticRegression(C=1e6, fit_intercept=False, tol=1e-10),
        LinearSVC(C=1e3, loss="squared_hinge", fit_intercept=False, dual=False),
    ],
    ids=["logistic", "svm"],
)
def test_convex_losses_fail_on_long_servedio(rate, g, learner):
    # Not on a draw but on the distribution itself, by weights: each point with
    # the right and the wrong label. Half of the mass is at (g, -g).
    points = np.array([[1, 0], [g, 5 * g], [g, -g]])
    mass = np.array([0.25, 0.25, 0.5])
    learner.fit(
        np.vstack([points, points]),
        np.repeat([1, -1], 3),
        sample_weight=1e4 * np.concatenate([(1 - rate) * mass, rate * mass]),
    )
    assert mass[learner.predict(points) == -1].sum() == 0.5


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3])
def test_mistakes_along_a_stream_stay_below_the_guarantee(rate):
    # Each row is predicted before it is learned from, and judged by its clean
    # label. With G = 2 (1 - rate) / margin the longest step, n rows:
    # - regret: the sum of <g, w - w*> is at most 2 sqrt(2) G sqrt(n);
    # - given the row, the mean of <g, w - w*> over the noise is at least
    #   2 (1 - 2 rate) on a mistake and at least 0 otherwise;
    # - around that mean it lies in an interval of length 2 * 2 / margin (only
    #   the label is random, |w - w*| <= 2), so that Azuma-Hoeffding bounds the
    #   deviation of the sum with probability 1 - delta.
    margin, n, delta = 0.5, 20_000, 1e-6
    rng = np.random.default_rng(11)
    X, signs = with_margin(n, margin, rng, n_features=5)
    halfspace = HalfspaceClassifier(
        noise_rate=rate, margin=margin, fit_intercept=False, batch_size=1
    )
    y = flip(signs, rate, rng)
    halfspace.partial_fit(X[:1], y[:1], classes=[-1, 1])
    descent = halfspace._descent
    rows = halfspace._lift(X, y, np.ones(n))
    mistakes = 1
    for row in range(1, n):
        mistakes += signs[row] * (X[row] @ descent.weights[:-1, 0]) <= 0
        descent.step(rows.take(slice(row, row + 1)))
    regret = 2 * np.sqrt(2) * 2 * (1 - rate) / margin * np.sqrt(n)
    luck = 4 / margin * np.sqrt(n * np.log(1 / delta) / 2)
    bound = (regret + luck) / (2 * (1 - 2 * rate))
    assert bound < n / 2  # or the test would say nothing
    assert mistakes <= bound


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.4])
def test_estimated_noise_rate(rate):
    rng = np.random.default_rng(12)
    X, signs = with_margin(20_000, 0.3, rng)
    halfspace = HalfspaceClassifier(fit_intercept=False, random_state=0)
    halfspace.fit(X, flip(signs, rate, rng))
    # Hoeffding on the 4,000 held-out rows, for ten candidates, delta = 1e-6. A
    # candidate's own error can only add; it is the size of the tolerance here.
    deviation = np.sqrt(np.log(2 * 10 * 1e6) / (2 * 4_000))
    assert abs(halfspace.noise_rate_ - rate) <= deviation


def test_the_noise_rate_is_what_held_out_rows_show():
    # One feature: each candidate finds its sign, as the rows to learn are clean. Three
    # of ten held-out labels are flipped.
    X = np.tile([1.0, -1.0], 15)[:, np.newaxis]
    y = X[:, 0].copy()
    y[20:23] *= -1
    halfspace = HalfspaceClassifier(fit_intercept=False).fit(X, y)
    rows = halfspace._lift(X, y, np.ones(30))
    rng = np.random.RandomState(0)
    parts = np.arange(20), np.arange(20, 30)
    assert halfspace._estimate_noise(rows, *parts, rng) == pytest.approx(0.3)


def test_the_rows_that_show_the_noise_rate_are_not_learned_from(monkeypatch):
    seen = []
    estimate = HalfspaceClassifier._estimate_noise

    def recorded(self, rows, learned, held_out, rng):
        seen.append((learned, held_out))
        return estimate(self, rows, learned, held_out, rng)

    monkeypatch.setattr(HalfspaceClassifier, "_estimate_noise", recorded)
    X, signs = gaussian(100, np.random.default_rng(0))
    HalfspaceClassifier(validation_fraction=0.3, random_state=0).fit(X, signs)
    ((learned, held_out),) = seen
    assert (len(learned), len(held_out)) == (70, 30)
    assert sorted([*learned, *held_out]) == list(range(100))


def test_pure_noise_gives_the_largest_estimate_and_still_predicts():
    rng = np.random.default_rng(13)
    X = rng.standard_normal((5_000, 3))
    halfspace = HalfspaceClassifier(random_state=0).fit(X, rng.integers(2, size=5_000))
    # At most 0.45, and the least of ten rates around 1/2 (Hoeffding, 1e-6).
    lower = 0.5 - np.sqrt(np.log(10 * 1e6) / (2 * 1_000))
    assert lower <= halfspace.noise_rate_ <= 0.45
    assert set(halfspace.predict(X)) <= {0, 1}


@pytest.mark.parametrize("iterate", ["average", "best"])
def test_predictions_are_cleaner_than_the_labels_learned_from(iterate):
    rng = np.random.default_rng(14)
    X, signs = gaussian(20_000, rng)
    halfspace = HalfspaceClassifier(iterate=iterate, random_state=0)
    y = flip(signs, 0.3, rng)
    score = halfspace.fit(X, y).score(X, signs)
    # Beyond what sampling explains: five standard deviations of a binomial.
    assert score > (y == signs).mean() + 5 * np.sqrt(0.25 / 20_000)


# Streams


def test_stream_in_pieces_is_the_stream_at_once():
    X, signs = gaussian(640, np.random.default_rng(15))
    whole = HalfspaceClassifier(noise_rate=0.1, batch_size=32)
    whole.partial_fit(X[:64], signs[:64], classes=[-1, 1])  # fixes the radius
    pieces = through_pickle(whole)
    whole.partial_fit(X[64:], signs[64:])
    for first in range(64, 640, 64):
        pieces.partial_fit(X[first : first + 64], signs[first : first + 64])
    assert_array_equal(pieces.coef_, whole.coef_)
    assert_array_equal(pieces.intercept_, whole.intercept_)


def test_longer_rows_of_a_stream_are_pulled_back():
    X, signs = gaussian(200, np.random.default_rng(16))
    far = HalfspaceClassifier(noise_rate=0.1, fit_intercept=False)
    far.partial_fit(X, signs, classes=[-1, 1])
    rim = through_pickle(far)
    # Along the hyperplane: within the margin, a step depends on the length of its row.
    along = X[:1] - X[:1] @ far.coef_.T @ far.coef_ / np.sum(far.coef_**2)
    radius, direction = far.radius_, along / np.linalg.norm(along)
    far.partial_fit(1e6 * radius * direction, signs[:1])
    rim.partial_fit(radius * direction, signs[:1])
    assert far.radius_ == radius
    assert_allclose(far.coef_, rim.coef_)


def test_a_row_is_left_to_learn_from():
    halfspace = HalfspaceClassifier(
        noise_rate=0.1, iterate="best", validation_fraction=0.9, random_state=0
    )
    X = np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert_array_equal(halfspace.fit(X, [1, 0]).predict(X), [1, 0])


def test_stream_continues_after_fit_and_fit_starts_anew():
    X, signs = gaussian(300, np.random.default_rng(17))
    halfspace = HalfspaceClassifier(noise_rate=0.1, random_state=0).fit(X, signs)
    fitted = halfspace.coef_
    halfspace.partial_fit(X, -signs)
    assert not np.array_equal(halfspace.coef_, fitted)
    assert_array_equal(halfspace.fit(X, signs).coef_, fitted)


def test_each_call_of_a_stream_reads_the_parameters():
    X, signs = gaussian(300, np.random.default_rng(24))
    stream = HalfspaceClassifier(noise_rate=0.1).partial_fit(X, signs, classes=[-1, 1])
    # Of what came before, only the iterates and their steps are taken along.
    descent = through_pickle(stream._descent)
    descent.shrink, descent.margin = 1 - 2 * 0.4, 0.9
    rows = stream._lift(X, signs, np.linalg.norm(X, axis=1))
    for start in range(0, 300, 7):
        descent.step(rows.take(slice(start, start + 7)))
    stream.set_params(noise_rate=0.4, margin=0.9, batch_size=7).partial_fit(X, signs)
    assert_allclose(stream._descent.total, descent.total)
    assert stream.noise_rate_ == 0.4


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_no_stream_gains_or_loses_its_intercept(fit_intercept):
    X, signs = gaussian(20, np.random.default_rng(25))
    stream = HalfspaceClassifier(noise_rate=0.1, fit_intercept=fit_intercept)
    stream.partial_fit(X, signs, classes=[-1, 1])
    coef = stream.coef_
    stream.set_params(fit_intercept=not fit_intercept)
    with pytest.raises(ValueError, match=f"fit_intercept was {fit_intercept}.*clone"):
        stream.partial_fit(X, signs)
    assert_array_equal(stream.coef_, coef)
    stream.fit(X, signs).partial_fit(X, signs)


@pytest.mark.parametrize("params", [{}, {"noise_rate": 0.1, "iterate": "best"}])
def test_no_stream_where_rows_are_held_out(params):
    assert not hasattr(HalfspaceClassifier(**params), "partial_fit")
    assert hasattr(HalfspaceClassifier(noise_rate=0.1), "partial_fit")


def test_stream_needs_both_classes_and_knows_no_other():
    X, signs = gaussian(20, np.random.default_rng(18))
    halfspace = HalfspaceClassifier(noise_rate=0.1)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        halfspace.partial_fit(X, signs)
    with pytest.raises(ValueError, match="one class"):
        halfspace.partial_fit(X, signs, classes=[1])
    with pytest.raises(ValueError, match="not in classes"):
        halfspace.partial_fit(X, signs + 5, classes=[-1, 1])
    with pytest.raises(NotFittedError):
        halfspace.predict(X)
    halfspace.partial_fit(X[:1], signs[:1], classes=[-1, 1])
    with pytest.raises(ValueError, match="not the same as on the last call"):
        halfspace.partial_fit(X, signs, classes=[0, 1])
    with pytest.raises(ValueError, match=r"labels \[7\].*not in classes"):
        halfspace.partial_fit(X[:1], [7])


# Conventions


@pytest.mark.usefixtures("leaves_random_state")
@pytest.mark.parametrize("params", CONFIGURATIONS)
def test_same_seed_same_halfspace_and_global_state_untouched(params):
    X, signs = gaussian(300, np.random.default_rng(19))
    first = HalfspaceClassifier(random_state=3, **params).fit(X, signs)
    second = HalfspaceClassifier(random_state=3, **params).fit(X, signs)
    assert_array_equal(first.coef_, second.coef_)


def test_pickled_halfspace_predicts_and_streams_on():
    X, signs = gaussian(200, np.random.default_rng(20))
    halfspace = HalfspaceClassifier(noise_rate=0.1, random_state=0).fit(X, signs)
    copy = through_pickle(halfspace)
    assert_array_equal(copy.predict(X), halfspace.predict(X))
    copy.partial_fit(X, -signs)
    assert_array_equal(copy.coef_, halfspace.partial_fit(X, -signs).coef_)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_decision_function_is_a_share_of_the_radius(fit_intercept):
    X, signs = gaussian(200, np.random.default_rng(21))
    halfspace = HalfspaceClassifier(fit_intercept=fit_intercept, random_state=0)
    scores = halfspace.fit(100 * X, signs).decision_function(100 * X)
    assert np.abs(scores).max() <= 1 + 1e-12
    assert_allclose(scores, 100 * X @ halfspace.coef_[0] + halfspace.intercept_)
    assert (halfspace.intercept_[0] == 0) == (not fit_intercept)


def test_serves_calibration_and_one_against_rest():
    X = np.random.default_rng(22).standard_normal((600, 2))
    y = (X @ np.array([[1, -0.5, -0.5], [0, 0.8, -0.8]])).argmax(axis=1)
    calibrated = CalibratedClassifierCV(HalfspaceClassifier(random_state=0), cv=3)
    probabilities = calibrated.fit(X, y == 0).predict_proba(X)
    assert_allclose(probabilities.sum(axis=1), 1)
    rest = OneVsRestClassifier(HalfspaceClassifier(random_state=0)).fit(X, y)
    assert rest.score(X, y) > 0.5  # chance is a third


# Bad input


@pytest.mark.parametrize("noise_rate", [-0.1, 0.5, 0.7, np.nan, "auto", None])
def test_noise_rate_out_of_range(noise_rate):
    with pytest.raises(ValueError, match=r"noise_rate must be .*got .*swap"):
        HalfspaceClassifier(noise_rate=noise_rate).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize("margin", [0, -0.1, 1.5, np.nan, "auto", True])
def test_margin_out_of_range(margin):
    with pytest.raises(ValueError, match=r"margin must be .*got .*small positive"):
        HalfspaceClassifier(margin=margin).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize(
    "params",
    [
        {"iterate": "last"},
        {"max_iter": 0},
        {"max_iter": True},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"validation_fraction": 0},
        {"validation_fraction": 1.0},
    ],
)
def test_other_parameters_out_of_range(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        HalfspaceClassifier(**params).fit([[0.0], [1.0]], [0, 1])


def test_wrong_number_of_classes():
    X = np.arange(6.0).reshape(-1, 1)
    with pytest.raises(ValueError, match=r"two classes, got one class: \[1\]"):
        HalfspaceClassifier().fit(X, [1] * 6)
    with pytest.raises(ValueError, match=r"multiclass.*OneVsRestClassifier"):
        HalfspaceClassifier().fit(X, [0, 1, 2] * 2)


def test_missing_values_and_unfitted():
    with pytest.raises(ValueError, match="NaN"):
        HalfspaceClassifier().fit([[np.nan], [1.0]], [0, 1])
    with pytest.raises(NotFittedError):
        HalfspaceClassifier().predict([[1.0]])


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
def test_zero_rows_teach_nothing_without_intercept(convert):
    X, signs = gaussian(200, np.random.default_rng(23))
    zero = convert(np.zeros((20, 5)))
    halfspace = HalfspaceClassifier(noise_rate=0.1, fit_intercept=False)
    halfspace.partial_fit(convert(X), signs, classes=[-1, 1])
    before = halfspace._descent.weights
    halfspace.partial_fit(zero, np.ones(20))
    assert_allclose(halfspace._descent.weights, before, rtol=1e-12)
    # They lie on the hyperplane, which counts as the side of classes_[0].
    assert_array_equal(halfspace.decision_function(zero), 0)
    assert_array_equal(halfspace.predict(zero), -1)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_nothing_but_zero_rows(fit_intercept):
    halfspace = HalfspaceClassifier(
        noise_rate=0.3, fit_intercept=fit_intercept, random_state=0
    ).fit(np.zeros((30, 2)), [0] * 10 + [1] * 20)
    assert_array_equal(halfspace.coef_, 0)
    # Only an intercept can tell that one class is the larger.
    assert halfspace.predict([[0.0, 0.0]]) == int(fit_intercept)


def test_a_refused_first_call_of_a_stream_begins_none():
    X, y = np.eye(4), np.array([0, 1, 0, 1])
    halfspace = HalfspaceClassifier(noise_rate=0.1)
    with pytest.raises(ValueError, match="not in classes"):
        halfspace.partial_fit(X, y, classes=[1, 2])
    halfspace.partial_fit(X, y, classes=[0, 1]).predict(X)


def test_what_partial_fit_takes_is_said():
    with pytest.raises(AttributeError) as caught:
        _ = HalfspaceClassifier().partial_fit
    assert "noise_rate as a number" in str(caught.value.__cause__)
    with pytest.raises(ValueError, match="fit_intercept must be True or False"):
        HalfspaceClassifier(fit_intercept="x").fit([[0.0], [1.0]], [0, 1])

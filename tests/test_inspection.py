"""Displays and the report."""

import matplotlib
import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_slam import (
    CallableTeacher,
    ForwardCorrectionDistiller,
    LatencyAccuracyDisplay,
    MLPStudent,
    PlainDistiller,
    ReliabilityDisplay,
    SemiparametricDistiller,
    SkorchStudent,
    SLaMDistiller,
    TaylorDistiller,
    TeacherAccuracy,
    TeacherAccuracyDisplay,
    TrainingHistoryDisplay,
    UnlabeledPool,
    UPSDistiller,
    VIDDistiller,
    WeightedDistiller,
    _report,
    distillation_report,
    expected_calibration_error,
)
from sklearn_slam.metrics import HitRates

QUALITY = [
    "accuracy",
    "balanced_accuracy",
    "roc_auc",
    "log_loss",
    "calibration_error",
    "agreement",
]
LATENCY = ["row_us", "row_us_p99", "batch_us", "batch_us_p99"]


@pytest.fixture(autouse=True)
def closed_figures():
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def quick(teacher=None, method=SLaMDistiller, **params):
    params = {"max_epochs": 2, "random_state": 0, **params}
    if method is SLaMDistiller:
        params.setdefault("peers", False)
    return method(teacher, MLPStudent((8,)), **params)


def report_on(slam, X_test, y_test, **params):
    return distillation_report(slam, X_test, y_test, n_repeats=1, **params)


class CountingTeacher(GaussianNB):
    """Counts the fits of all its clones."""

    fits = 0

    def fit(self, X, y):
        type(self).fits += 1
        return super().fit(X, y)


# Displays.


def test_teacher_accuracy_of_a_distiller(table, teacher):
    X, y, pool = table
    slam = quick(teacher).fit(X, y, X_unlabeled=pool)
    display = TeacherAccuracyDisplay.from_estimator(slam, n_bins=5)
    accuracy = slam.teacher_accuracy_
    assert_array_equal(display.alpha, accuracy.alpha(display.margin))
    assert display.margin[[0, -1]].tolist() == [0, 1]
    assert (display.top_k_accuracy >= display.alpha).all()
    rates = display.alpha_rates
    assert np.sum(rates.share * rates.rate) == pytest.approx(accuracy.hits_.mean())
    assert_array_equal(display.line_.get_ydata(), display.alpha)
    assert_array_equal(display.errorbar_.lines[0].get_ydata(), rates.rate)
    assert display.figure_ is display.ax_.figure


@pytest.mark.filterwarnings("ignore:The labels to learn are right on")
def test_teacher_accuracy_from_predictions_is_that_of_the_distiller(table):
    X, y, pool = table
    names = np.array(["a", "b", "c"])[y]
    guesser = GaussianNB().fit(pool[:60], np.arange(60) % 3)
    proba = guesser.predict_proba(X)
    slam = quick(GaussianNB())
    slam.fit(
        X,
        names,
        X_unlabeled=pool,
        teacher_proba=proba,
        teacher_proba_unlabeled=guesser.predict_proba(pool),
    )
    fitted = TeacherAccuracyDisplay.from_estimator(slam)
    given = TeacherAccuracyDisplay.from_predictions(names, proba)
    assert_allclose(given.alpha_rates.rate, fitted.alpha_rates.rate)
    assert_allclose(given.top_k_rates.rate, fitted.top_k_rates.rate)


def test_two_classes_have_no_second_curve():
    proba = np.random.default_rng(0).dirichlet([1, 1], size=50)
    display = TeacherAccuracyDisplay.from_predictions(np.arange(50) % 2, proba)
    assert display.top_k is None
    assert display.top_k_line_ is None
    assert display.top_k_errorbar_ is None
    assert len(display.ax_.get_legend_handles_labels()[1]) == 1


def test_points_follow_the_weights():
    proba = np.tile([0.7, 0.3], (4, 1))
    display = TeacherAccuracyDisplay.from_predictions(
        [0, 0, 1, 1], proba, sample_weight=[3, 3, 1, 1]
    )
    assert_allclose(display.alpha_rates.rate, [0.75])
    assert_allclose(display.alpha, 0.75)


def segments_of(errorbar):
    """Return the lower and upper ends of an error bar's intervals."""
    return np.array(errorbar.lines[2][0].get_segments())[:, :, 1].T


def drawing_axes():
    return matplotlib.figure.Figure().subplots()


def test_predictions_are_drawn_with_what_was_given():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(4), size=80)
    y = np.array([rng.choice(4, p=row) for row in proba])
    labels, order, ax = np.array(list("badc")), [1, 0, 3, 2], drawing_axes()
    given = {"sample_weight": np.arange(80.0), "top_k": 3, "n_bins": 5}
    display = TeacherAccuracyDisplay.from_predictions(
        labels[y], proba, labels=labels, ax=ax, **given
    )
    assert display.ax_ is ax
    assert display.top_k == 3
    assert len(display.alpha_rates.rate) == len(display.top_k_rates.rate) == 5
    accuracy = TeacherAccuracy().fit(proba, y, given["sample_weight"])
    assert_array_equal(display.alpha, accuracy.alpha(display.margin))
    assert_array_equal(
        display.top_k_accuracy, accuracy.top_k_accuracy(display.margin, 3)
    )
    among = np.argsort(-proba, axis=1)[:, :3] == y[:, None]
    for rates, hits in (
        (display.alpha_rates, among[:, 0]),
        (display.top_k_rates, among.any(axis=1)),
    ):
        mean = np.average(hits, weights=given["sample_weight"])
        assert np.sum(rates.share * rates.rate) == pytest.approx(mean)
    assert_array_equal(display.top_k_line_.get_ydata(), display.top_k_accuracy)
    assert_allclose(
        segments_of(display.errorbar_),
        [display.alpha_rates.low, display.alpha_rates.high],
    )
    other = TeacherAccuracyDisplay.from_predictions(labels[y], proba[:, order], **given)
    assert_allclose(other.top_k_rates.rate, display.top_k_rates.rate)


@pytest.mark.parametrize("top_k", [1, 3])
def test_no_second_curve_of_one_class_or_of_all(table, teacher, top_k):
    X, y, pool = table
    slam, ax = quick(teacher).fit(X, y, X_unlabeled=pool), drawing_axes()
    display = TeacherAccuracyDisplay.from_estimator(slam, top_k=top_k, n_bins=3, ax=ax)
    assert display.top_k is None
    assert display.ax_ is ax
    assert len(display.alpha_rates.rate) <= 3


def test_a_constant_alpha_is_drawn_over_what_was_observed(table, teacher):
    X, y, pool = table
    slam = quick(teacher, alpha=0.8).fit(X, y, X_unlabeled=pool)
    display = TeacherAccuracyDisplay.from_estimator(slam)
    assert_array_equal(display.alpha, 0.8)
    rates = display.alpha_rates
    assert np.sum(rates.share * rates.rate) == pytest.approx(
        slam.teacher_accuracy_.hits_.mean()
    )


def test_history_of_distiller_and_student(table, teacher):
    X, y, pool = table
    slam = quick(teacher, early_stopping=True).fit(X, y, X_unlabeled=pool)
    ax = drawing_axes()
    display = TrainingHistoryDisplay.from_estimator(slam, ax=ax)
    assert display.ax_ is ax
    assert_array_equal(display.epoch, [1, 2])
    assert_array_equal(
        display.line_.get_xydata(),
        [[e["epoch"], e["train_loss"]] for e in slam.history_],
    )
    assert_array_equal(
        display.valid_line_.get_ydata(), [e["valid_loss"] for e in slam.history_]
    )
    alone = MLPStudent((8,), max_epochs=2, random_state=0).fit(X, y)
    display = TrainingHistoryDisplay.from_estimator(alone)
    assert display.valid_loss is None
    assert len(display.ax_.lines) == 1


def test_history_is_a_frame(table, teacher):
    X, y, pool = table
    slam = quick(teacher).fit(X, y, X_unlabeled=pool)
    frame = pd.DataFrame(slam.history_)
    assert len(frame) == slam.n_epochs_
    assert frame["train_loss"].dtype == np.float64
    assert frame["epoch"].tolist() == [1, 2]


def test_history_without_losses_says_why(table):
    X, y, _ = table
    net = NeuralNetClassifier(
        nn.Linear,
        module__in_features=8,
        module__out_features=3,
        criterion=nn.CrossEntropyLoss,
        train_split=None,
        callbacks__train_loss=None,
        callbacks__print_log=None,
        max_epochs=1,
    )
    student = SkorchStudent(net, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="callback 'train_loss'"):
        TrainingHistoryDisplay.from_estimator(student)


def test_reliability_from_estimator_and_predictions_agree(table):
    X, y, _ = table
    names = np.array(["c", "a", "b"])[y]
    model = GaussianNB().fit(X[:60], names[:60])
    display = ReliabilityDisplay.from_estimator(model, X[60:], names[60:])
    proba = model.predict_proba(X[60:])
    given = ReliabilityDisplay.from_predictions(names[60:], proba)
    error = expected_calibration_error(names[60:], proba)
    assert display.expected_calibration_error == pytest.approx(error)
    assert given.expected_calibration_error == pytest.approx(error)
    label = display.ax_.get_legend_handles_labels()[1][1]
    assert label == f"GaussianNB, calibration error {error:.3f}"


def test_reliability_is_drawn_with_what_was_given(table):
    X, y, _ = table
    model, rows = GaussianNB().fit(X[:60], y[:60]), y != 0  # one class is absent
    given = {"sample_weight": np.arange(rows.sum()), "n_bins": 4, "name": "mine"}
    ax = drawing_axes()
    display = ReliabilityDisplay.from_estimator(model, X[rows], y[rows], ax=ax, **given)
    assert display.ax_ is ax
    assert display.name == "mine"
    proba = model.predict_proba(X[rows])
    rates = HitRates.of_top_class(y[rows], proba, 4, given["sample_weight"])
    assert_array_equal(display.rates.rate, rates.rate)
    assert_array_equal(
        display.errorbar_.lines[0].get_xydata().T, [rates.score, rates.rate]
    )
    assert_allclose(segments_of(display.errorbar_), [rates.low, rates.high])


def test_two_reliabilities_share_axes_and_diagonal():
    proba, y = np.array([[0.8, 0.2], [0.3, 0.7]]), [0, 1]
    first = ReliabilityDisplay.from_predictions(y, proba, name="one")
    second = ReliabilityDisplay.from_predictions(y, proba, name="two", ax=first.ax_)
    assert second.ax_ is first.ax_
    labels = first.ax_.get_legend_handles_labels()[1]
    assert labels.count("perfectly calibrated") == 1
    assert len(labels) == 3


def test_plot_again_returns_the_display():
    proba = np.array([[0.8, 0.2], [0.3, 0.7]])
    display = ReliabilityDisplay.from_predictions([0, 1], proba)
    first = display.ax_
    assert display.plot() is display
    assert display.ax_ is not first


@pytest.mark.parametrize("display", [TeacherAccuracyDisplay, TrainingHistoryDisplay])
def test_unfitted_is_refused(display):
    with pytest.raises(NotFittedError):
        display.from_estimator(SLaMDistiller())


# The report.


def test_report_measures_what_scikit_learn_measures(table, teacher, two_threads):
    X, y, pool = table
    slam = quick(teacher).fit(X[:60], y[:60], X_unlabeled=pool)
    report = report_on(slam, X[60:], y[60:], X=X[:60], y=y[:60], X_unlabeled=pool)
    assert torch.get_num_threads() == two_threads
    methods = ["teacher", "labels only", "plain distillation", "SLaM"]
    assert report.index.tolist() == methods
    assert report.columns.tolist() == [*QUALITY, *LATENCY, "size_bytes"]
    proba = slam.predict_proba(X[60:])
    measured = report.loc["SLaM"]
    assert measured["accuracy"] == pytest.approx(slam.score(X[60:], y[60:]))
    assert measured["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(y[60:], slam.predict(X[60:]))
    )
    assert measured["log_loss"] == pytest.approx(log_loss(y[60:], proba))
    assert measured["roc_auc"] == pytest.approx(
        roc_auc_score(y[60:], proba, multi_class="ovr")
    )
    assert measured["calibration_error"] == pytest.approx(
        expected_calibration_error(y[60:], proba)
    )
    assert measured["agreement"] == np.mean(
        slam.predict(X[60:]) == slam.teacher_.predict(X[60:])
    )
    assert report.loc["teacher", "agreement"] == 1
    assert (report[LATENCY] > 0).all(axis=None)
    assert (report["row_us_p99"] >= report["row_us"]).all()


class Clocked:
    """Takes as many microseconds a row as it is told, call by call."""

    def __init__(self, costs):
        self.now, self.costs, self.seen = 0.0, iter(costs), []

    def perf_counter(self):
        return self.now

    def predict_proba(self, X):
        self.seen.append(X[:, 0].tolist())
        self.now += 1e-6 * next(self.costs) * len(X)


def test_latency_is_that_of_calls_after_the_first_third(monkeypatch):
    model = Clocked([70, 70, 1, 2, 9, 80, 80, 3, 3, 6])
    monkeypatch.setattr(_report, "time", model)
    latency = _report.measure_latency(model, np.arange(4.0)[:, None], 3)
    expected = {"row_us": 2, "batch_us": 3}
    expected |= {"row_us_p99": 2 + 0.98 * 7, "batch_us_p99": 3 + 0.98 * 3}
    assert latency == pytest.approx(expected)
    # Rows by turns, then all of them.
    assert model.seen == [[0], [1], [2], [3], [0]] + [[0, 1, 2, 3]] * 5


def test_students_to_compare_with_are_those_of_a_fit_by_hand(table):
    X, y, pool = table
    CountingTeacher.fits = 0
    slam = quick(CountingTeacher(), cv=3).fit(X, y, X_unlabeled=pool)
    fits = CountingTeacher.fits
    report = report_on(slam, pool, np.arange(len(pool)) % 3, X=X, y=y, X_unlabeled=pool)
    assert CountingTeacher.fits == fits == 4  # three folds and all rows
    plain = quick(CountingTeacher(), cv=3, alpha=1.0, teacher_temperature=1)
    plain.fit(X, y, X_unlabeled=pool)
    seed = slam.student_.random_state
    alone = MLPStudent((8,), max_epochs=2, random_state=seed).fit(X, y)
    for name, model in [("plain distillation", plain), ("labels only", alone)]:
        loss = log_loss(np.arange(len(pool)) % 3, model.predict_proba(pool))
        assert report.loc[name, "log_loss"] == pytest.approx(loss)


@pytest.mark.parametrize("form", ["in X", "beside", "held"])
def test_unlabeled_rows_in_any_place_give_one_report(table, form):
    X, y, pool = table
    slam = quick(GaussianNB())
    given = {"X": X, "y": y.astype(float)}
    if form == "in X":
        given["X"] = np.concatenate([X, pool])
        given["y"] = np.concatenate([y, np.full(len(pool), np.nan)])
    else:
        given["X_unlabeled"] = pool if form == "beside" else UnlabeledPool(pool)
    slam.fit(**given)
    report = report_on(slam, X, y, **given)
    plain = quick(GaussianNB(), alpha=1.0, teacher_temperature=1)
    plain.fit(X, y.astype(float), X_unlabeled=pool)
    loss = log_loss(y, plain.predict_proba(X))
    assert report.loc["plain distillation", "log_loss"] == pytest.approx(loss)


def test_fitted_teacher_and_weights(table):
    X, y, pool = table
    fitted = GaussianNB().fit(X[:45], y[:45])
    weights = {"sample_weight": np.linspace(0.5, 2, 45)}
    slam = quick(FrozenEstimator(fitted))
    slam.fit(X[45:], y[45:], X_unlabeled=pool, **weights)
    report = report_on(
        slam, X[:45], y[:45], X=X[45:], y=y[45:], X_unlabeled=pool, **weights
    )
    seed = slam.student_.random_state
    alone = MLPStudent((8,), max_epochs=2, random_state=seed)
    alone.fit(X[45:], y[45:], **weights)
    loss = log_loss(y[:45], alone.predict_proba(X[:45]))
    assert report.loc["labels only", "log_loss"] == pytest.approx(loss)
    loss = log_loss(y[:45], fitted.predict_proba(X[:45]).astype(np.float32))
    assert report.loc["teacher", "log_loss"] == pytest.approx(loss)


def test_weights_of_labeled_rows_among_others_are_theirs(table):
    X, y, pool = table
    target = np.where(np.arange(len(y)) % 3 > 0, y, np.nan)
    labeled, weights = ~np.isnan(target), np.linspace(0.5, 2, len(y))
    given = {"X": X, "y": target, "X_unlabeled": pool, "sample_weight": weights}
    slam = quick(GaussianNB()).fit(**given)
    report = report_on(slam, X, y, **given)
    seed = slam.student_.random_state
    alone = MLPStudent((8,), max_epochs=2, random_state=seed)
    alone.fit(X[labeled], target[labeled], sample_weight=weights[labeled])
    loss = log_loss(y, alone.predict_proba(X))
    assert report.loc["labels only", "log_loss"] == pytest.approx(loss)


@pytest.mark.parametrize(
    "method",
    [
        ForwardCorrectionDistiller,
        PlainDistiller,
        SemiparametricDistiller,
        TaylorDistiller,
        UPSDistiller,
        VIDDistiller,
        WeightedDistiller,
    ],
)
def test_report_on_any_distiller_compares_with_the_same_students(table, method):
    X, y, pool = table
    given = {"X": X, "y": y, "X_unlabeled": pool}
    forest = RandomForestClassifier(5, random_state=0)
    expected, found = (
        report_on(distiller.fit(**given), X, y, **given)
        for distiller in (quick(forest), quick(forest, method))
    )
    assert found.index[-1] == method.__name__.removesuffix("Distiller")
    for name in ("teacher", "labels only", "plain distillation"):
        assert_allclose(found.loc[name, QUALITY], expected.loc[name, QUALITY])


@pytest.mark.filterwarnings("ignore:The labels to learn are right on")
def test_given_probabilities_are_asked_for_again(table):
    X, y, pool = table
    given = {
        "X_unlabeled": pool,
        "teacher_proba": np.full((len(X), 3), 1 / 3),
        "teacher_proba_unlabeled": np.full((len(pool), 3), 1 / 3),
    }
    slam = quick(GaussianNB()).fit(X, y, **given)
    with pytest.raises(ValueError, match="teacher_proba_unlabeled"):
        report_on(slam, X, y, X=X, y=y, X_unlabeled=pool)
    report = report_on(slam, X, y, X=X, y=y, **given)
    assert report.index.tolist() == ["labels only", "plain distillation", "SLaM"]
    assert report["agreement"].isna().all()


def test_report_on_absent_classes(table, teacher):
    X, y, pool = table
    slam = quick(teacher).fit(X, y, X_unlabeled=pool)
    for rows in (y != 2, y == 0):
        report = report_on(slam, X[rows], y[rows])
        assert report["roc_auc"].isna().all()
        assert report[["accuracy", "log_loss"]].notna().all(axis=None)


@pytest.mark.filterwarnings("ignore:unlabeled_label=-1 is in no row of y")
@pytest.mark.parametrize(("mark", "missing"), [(None, np.nan), (-1, -1)])
def test_rows_without_a_label_are_not_measured(table, teacher, mark, missing):
    X, y, pool = table
    slam = quick(teacher, unlabeled_label=mark).fit(X, y, X_unlabeled=pool)
    labeled = np.arange(len(y)) % 3 > 0
    report = report_on(slam, X, np.where(labeled, y, missing))
    expected = report_on(slam, X[labeled], y[labeled])
    pd.testing.assert_frame_equal(report[QUALITY], expected[QUALITY])


def test_labels_only_may_lack_a_class_that_the_teacher_knows(table):
    X, y, pool = table
    fitted = GaussianNB().fit(X[:60], y[:60])
    rows = np.flatnonzero(y[60:] != 2) + 60
    slam = quick(fitted)
    given = {"X": X[rows], "y": y[rows], "X_unlabeled": pool}
    with pytest.warns(UserWarning, match="No labeled row has class"):
        slam.fit(**given)
    with pytest.warns(UserWarning, match="No labeled row has class"):
        report = report_on(slam, X[:60], y[:60], **given)
    assert report[QUALITY].notna().all(axis=None)


def test_report_on_two_classes_takes_the_second_for_the_auc(table, teacher):
    X, y, pool = table
    positive = np.where(y == 0, "yes", "no")
    slam = quick(teacher).fit(X, positive, X_unlabeled=pool)
    report = report_on(slam, X, positive)
    expected = roc_auc_score(positive == "yes", slam.predict_proba(X)[:, 1])
    assert report.loc["SLaM", "roc_auc"] == pytest.approx(expected)


def test_report_on_sparse_rows(table, teacher):
    X, y, pool = table
    X, pool = sp.coo_matrix(X), sp.csr_matrix(pool)
    slam = quick(teacher).fit(X, y, X_unlabeled=pool)
    report = report_on(slam, X, y, X=X, y=y, X_unlabeled=pool)
    assert report.loc["SLaM", "accuracy"] == slam.score(X, y)
    assert report.loc["teacher", "accuracy"] == slam.teacher_.score(X, y)


def test_report_on_frames(frame):
    X, y = frame
    rows = X.drop(columns=["number"])
    teacher = make_pipeline(
        OneHotEncoder(handle_unknown="ignore"), LogisticRegression()
    )
    slam = quick(teacher).fit(rows[:100], y[:100], X_unlabeled=rows[100:])
    report = report_on(
        slam, rows[:50], y[:50], X=rows[:100], y=y[:100], X_unlabeled=rows[100:]
    )
    assert report[QUALITY].notna().all(axis=None)


@pytest.mark.filterwarnings("ignore:The labels to learn are right on")
def test_a_teacher_that_cannot_be_pickled_has_no_size(table):
    X, y, pool = table
    teacher = CallableTeacher(lambda rows: np.full((len(rows), 3), 1 / 3), [0, 1, 2])
    slam = quick(teacher).fit(X, y, X_unlabeled=pool)
    size = report_on(slam, X, y)["size_bytes"]
    assert np.isnan(size["teacher"])
    assert size["SLaM"] > 0


@pytest.mark.usefixtures("leaves_random_state")
def test_report_leaves_the_distiller_as_it_is(table, teacher):
    X, y, pool = table
    slam = quick(teacher).fit(X, y, X_unlabeled=pool)
    student, before = slam.student_, slam.predict_proba(X)
    report_on(slam, X, y, X=X, y=y, X_unlabeled=pool)
    assert slam.student_ is student
    assert slam.alpha == "isotonic"
    assert_array_equal(slam.predict_proba(X), before)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"distiller": DummyClassifier()}, TypeError, "A distiller is wanted"),
        ({"distiller": SLaMDistiller()}, NotFittedError, "SLaMDistiller"),
        ({"y_test": [None] * 3}, ValueError, "y_test has no labeled row"),
        ({"y_test": [0, 1, 9]}, ValueError, r"y_test .* stands for: \[9\]"),
        ({"y_test": [0, 1]}, ValueError, "inconsistent"),
        ({"n_repeats": 0}, ValueError, "n_repeats"),
        ({"X": np.zeros((3, 8))}, ValueError, "X and y go together"),
        ({"X_unlabeled": np.zeros((3, 8))}, ValueError, "X and y go together"),
        ({"X": np.zeros((3, 8)), "y": [0, 1, 2]}, ValueError, "holds 3 labels"),
    ],
)
def test_what_does_not_go_together_is_named(table, teacher, changes, error, message):
    X, y, pool = table
    slam = quick(teacher).fit(X, y, X_unlabeled=pool)
    arguments = {"distiller": slam, "X_test": X[:3], "y_test": y[:3], **changes}
    with pytest.raises(error, match=message):
        distillation_report(**arguments)


def test_picture_of_a_report(table, teacher):
    X, y, pool = table
    slam = quick(teacher).fit(X, y, X_unlabeled=pool)
    report = report_on(slam, X, y)
    for latency in ("row_us", "batch_us"):
        display = LatencyAccuracyDisplay.from_report(report, latency=latency)
        for line, (name, measured) in zip(
            display.lines_, report.iterrows(), strict=True
        ):
            assert line.get_label() == name
            assert line.get_xdata() == measured[latency]
            assert line.get_ydata() == measured["accuracy"]


@pytest.mark.parametrize("fault", ["order", "pool", "part of the pool", "rows"])
def test_report_on_other_rows_than_those_of_fit_is_refused(table, teacher, fault):
    X, y, pool = table
    slam = quick(teacher).fit(X, y, X_unlabeled=pool)
    given = {"X": X, "y": y, "X_unlabeled": pool}
    given |= {
        "order": {"y": y[::-1]},
        "pool": {"X_unlabeled": None},
        "part of the pool": {"X_unlabeled": pool[:50]},
        "rows": {"X": pool[:90], "y": np.roll(y, 1)},
    }[fault]
    with pytest.raises(ValueError, match="fitted on"):
        report_on(slam, X, y, **given)


def test_report_takes_what_fit_was_not_given_as_none(table, teacher):
    X, y, pool = table
    slam = quick(teacher).fit(X, y, X_unlabeled=pool)
    given = {"X": X, "y": y, "X_unlabeled": pool}
    report, other = (
        report_on(slam, X, y, **given, **more) for more in ({}, {"teacher_proba": None})
    )
    assert_array_equal(report[QUALITY], other[QUALITY])


def test_displays_say_what_they_want(table, teacher):
    X, y, pool = table
    slam = quick(teacher).fit(X, y, X_unlabeled=pool)
    for display, other in (
        (TeacherAccuracyDisplay, slam.student_),
        (TeacherAccuracyDisplay, make_pipeline(slam)),
        (TrainingHistoryDisplay, slam.teacher_),
    ):
        with pytest.raises(TypeError, match="A distiller is wanted, got"):
            display.from_estimator(other)
    with pytest.raises(ValueError, match="top_k must be an integer"):
        TeacherAccuracyDisplay.from_estimator(slam, top_k="2")
    report = report_on(slam, X, y)
    with pytest.raises(ValueError, match="latency must be 'row_us' or 'batch_us'"):
        LatencyAccuracyDisplay.from_report(report, latency="us")

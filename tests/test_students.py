"""Students: their forms, their training, their prediction."""

import datetime
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_iris
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.random_projection import GaussianRandomProjection
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn

from sklearn_slam import (
    MLPStudent,
    SkorchStudent,
    SLaMDistiller,
    TorchStudent,
    _module_student,
    _student,
)
from sklearn_slam._lesson import Lesson, Split
from sklearn_slam._progress import Progress
from sklearn_slam._rows import Rows
from sklearn_slam._training import StudentNet
from sklearn_slam.students import allows_nan, as_student


class SmallNet(nn.Sequential):
    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__(nn.Linear(n_features, 16), nn.ReLU(), nn.Linear(16, n_classes))


class Softmax(nn.Module):
    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_features, n_classes)

    def forward(self, X):
        return torch.softmax(self.linear(X), dim=1)


def skorch_net(kind=NeuralNetClassifier, **params):
    params = {
        "module": nn.Linear,
        "module__in_features": 8,
        "module__out_features": 3,
        "criterion": nn.CrossEntropyLoss,
        "train_split": None,
        "max_epochs": 4,
        "verbose": 0,
        **params,
    }
    return kind(params.pop("module"), **params)


def distill(table, student, **params):
    X, y, pool = table
    params = {"peers": False, "random_state": 0, **params}
    slam = SLaMDistiller(LogisticRegression(max_iter=1000), student, **params)
    return slam.fit(X, y, X_unlabeled=pool)


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([MLPStudent((32,), lr=0.01), TorchStudent(SmallNet, lr=0.02)])
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("student", "kind"),
    [
        (None, MLPStudent),
        (MLPStudent((8,)), MLPStudent),
        (nn.Linear, TorchStudent),
        (SmallNet, TorchStudent),
        (nn.Linear(8, 3), TorchStudent),
        (skorch_net(), SkorchStudent),
        (make_pipeline(StandardScaler(), SmallNet), TorchStudent),
        (make_pipeline(SelectKBest(k=4), MLPStudent((8,))), MLPStudent),
        (make_pipeline(StandardScaler(), skorch_net()), SkorchStudent),
    ],
)
def test_every_form_learns(table, student, kind):
    params = {} if kind is SkorchStudent else {"max_epochs": 4}
    slam = distill(table, student, **params)
    assert type(slam.student_) is kind
    assert slam.predict_proba(table[0]).shape == (90, 3)
    assert slam.n_epochs_ == 4
    again = distill(table, student, **params)
    assert_array_equal(slam.predict_proba(table[0]), again.predict_proba(table[0]))


def test_one_logit_serves_two_classes(table):
    X, y, pool = table
    slam = distill((X, y > 0, pool), lambda n_in, n_out: nn.Linear(n_in, 1))
    assert slam.predict_proba(X).shape == (90, 2)
    assert slam.score(X, y > 0) > 0.6


def test_labels_alone_are_learned(table):
    X, y, _ = table
    student = MLPStudent((64,), dropout=0, max_epochs=100, random_state=0).fit(X, y)
    assert student.score(X, y) > 0.95
    with pytest.raises(ValueError, match="misses 1 labels"):
        clone(student).fit(X, np.r_[y[:-1], np.nan])
    with pytest.raises(ValueError, match="one class only"):
        clone(student).fit(X, np.zeros(len(y)))


def test_labeled_weight_one_ignores_the_pool(table):
    X, y, pool = table
    fits = [
        distill((X, y, rows), SmallNet, labeled_weight=1, calibrate=False,
                early_stopping=False, batch_size=32, max_epochs=3)
        for rows in (pool, pool[::-1].copy())
    ]  # fmt: skip
    assert_array_equal(fits[0].predict_proba(X), fits[1].predict_proba(X))


@pytest.mark.parametrize("unit", [2.0**-1000, 2.0**-150, 2.0**150, 2.0**1000])
def test_the_unit_of_weights_does_not_matter(table, unit):
    X, y, _ = table
    weights = np.random.RandomState(0).uniform(size=len(y))
    student = MLPStudent((8,), max_epochs=2, random_state=0)
    probas = [
        clone(student).fit(X, y, sample_weight=scaled).predict_proba(X)
        for scaled in (weights, unit * weights)
    ]
    assert_array_equal(*probas)


class Watch(Callback):
    def on_train_begin(self, net, **kwargs):
        self.batches = 0

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        X, y = batch
        assert X.dtype == torch.float32
        assert y.dtype == torch.int64
        self.batches += training


def test_a_skorch_net_keeps_what_is_its_own(table):
    net = skorch_net(
        optimizer=torch.optim.Adam,
        batch_size=64,
        lr=0.01,
        callbacks=[
            Watch(),
            ("scheduler", LRScheduler("StepLR", step_size=1)),
            ("stop", EarlyStopping(patience=50)),
            ("pool", EpochScoring("accuracy", name="agreement", use_caching=True)),
        ],
    )
    net = net.set_params(train_split=NeuralNetClassifier(nn.Linear).train_split)
    slam = distill((table[0], table[1], np.tile(table[2], (3, 1))), net)
    trained = slam.student_.net_
    assert isinstance(trained.optimizer_, torch.optim.Adam)
    assert trained.criterion is nn.CrossEntropyLoss
    # Only the classes, which its scoring callbacks ask for, are told to it.
    before, after = (n.get_params(deep=False) for n in (net, trained))
    assert set(after) == set(before)
    assert isinstance(trained.criterion_, nn.CrossEntropyLoss)
    assert dict(trained.callbacks_)["Watch"].batches > 0
    assert {"train_loss", "valid_loss", "agreement"} <= set(slam.history_[-1])
    assert not net.initialized_
    # The net predicts on its own, too.
    X = table[0].astype(np.float32)
    assert_array_equal(trained.predict(X), slam.predict(X))


def test_a_net_with_probabilities_equals_one_with_logits(table):
    logits = distill(table, skorch_net())
    net = NeuralNetClassifier(
        Softmax,
        module__n_features=8,
        module__n_classes=3,
        train_split=None,
        max_epochs=4,
        verbose=0,
    )
    proba = distill(table, net)
    assert_allclose(
        logits.predict_proba(table[0]), proba.predict_proba(table[0]), atol=1e-4
    )


def test_train_split_of_ones_own_warns(table):
    with pytest.warns(UserWarning, match="train_split is replaced"):
        distill(table, skorch_net(train_split=ValidSplit(3)))


class BestAfterThree(nn.Linear):
    """Agrees best with a teacher that knows nothing after three epochs of four steps.

    Against equal probabilities the loss of logits (s, 0, 0) is convex in s, and least
    at s = 0.
    """

    def __init__(self, n_features, n_classes):
        super().__init__(n_features, n_classes)
        self.register_buffer("n_steps", torch.zeros(()))
        self.seen = {}

    def forward(self, X):
        if self.training:
            self.n_steps += 1
            return super().forward(X)
        self.seen[int(self.n_steps)] = self.weight.detach().clone()
        logits = torch.zeros(len(X), self.out_features)
        logits[:, 0] = self.n_steps - 12
        return logits


def test_early_stopping_ends_training_and_restores_the_best_epoch():
    X = np.random.RandomState(0).normal(size=(81, 5))
    lesson = replace(
        Lesson.of_labels(Rows.of(X[:1]), np.array([0]), 3),
        pool=Rows.of(X[1:]),
        targets={"labels": torch.full((81, 3), 1 / 3)},
        labeled_share=0.0,
    )
    student = TorchStudent(
        BestAfterThree,
        max_epochs=50,
        batch_size=18,  # of 72 rows: 8 of 80 are held out
        early_stopping=True,
        lr=0.1,
        random_state=0,
    )
    student._validate(X, reset=True)
    student._prepare(lesson.labeled, lesson.pool, lesson.y, np.arange(3))
    student._fit_lesson(lesson, Progress())
    losses = [epoch["valid_loss"] for epoch in student.history_]
    assert int(np.argmin(losses)) == 2
    assert losses[2] == pytest.approx(np.log(3))
    # Ten epochs, a fifth of 50, passed without progress.
    assert len(losses) == student.n_epochs_ == 13
    module = student.module_
    assert module.n_steps == 12
    assert torch.equal(module.weight, module.seen[12])
    assert not torch.equal(module.weight, module.seen[13 * 4])


@pytest.mark.parametrize("early_stopping", ["auto", False])
def test_training_that_is_not_watched_goes_to_its_end(table, early_stopping):
    X, y, _ = table
    student = MLPStudent((8,), max_epochs=7, early_stopping=early_stopping)
    assert student.fit(X, y).n_epochs_ == 7
    assert "valid_loss" not in student.history_[0]


@pytest.mark.parametrize(("weight_decay", "found"), [("auto", 0.01), (0.3, 0.3)])
def test_each_step_has_its_learning_rate_and_its_weight_decay(
    table, weight_decay, found, monkeypatch
):
    X, y, _ = table
    seen = []

    def prepare_step(net, done):
        (group,) = net.optimizer_.param_groups
        seen.append((done, group["weight_decay"]))
        return of_net(net, done)

    of_net = StudentNet._prepare_step
    monkeypatch.setattr(StudentNet, "_prepare_step", prepare_step)
    MLPStudent((8,), max_epochs=3, batch_size=30, weight_decay=weight_decay).fit(X, y)
    # Three epochs of 90 rows.
    done, decays = zip(*seen, strict=True)
    assert_allclose(done, (np.arange(9) + 0.5) / 9)
    assert set(decays) == {found}


def calibrated(logs, times, proba, weights=None, calibrating=0.1):
    """Return the temperature of a student whose logits are its input, scaled.

    ``proba`` is what the teacher says once it is calibrated.
    """
    student = MLPStudent()
    student._logits = lambda table: torch.from_numpy(times * table)
    half = len(logs) // 3
    pool = Rows.of(logs[:half]) + Rows.of(logs[half:])
    rng = np.random.RandomState(0)
    said = proba**calibrating
    said /= said.sum(axis=1, keepdims=True)
    student._fit_temperature(pool, said, calibrating, weights, rng)
    return student.temperature_


@pytest.mark.parametrize("n_rows", [200, 6_000])
@pytest.mark.parametrize("true_temperature", [0.25, 1.0, 3.0])
def test_temperature_of_a_student_is_that_of_its_logits(n_rows, true_temperature):
    proba = np.random.RandomState(0).dirichlet(np.ones(4), n_rows)
    # Divided by the true temperature the logits give the teacher's probabilities, at
    # which the cross-entropy is least of all; the search stops within 1e-5 of log T
    # or, at a flat minimum, within the square root of the rounding.
    found = calibrated(np.log(proba), true_temperature, proba)
    assert_allclose(found, true_temperature, rtol=1e-3)


@pytest.mark.parametrize(("times", "bound"), [(0.01, 0.5), (100.0, 10.0)])
def test_temperature_of_a_student_is_bounded(times, bound):
    proba = np.random.RandomState(0).dirichlet(np.ones(4), 200)
    found = calibrated(np.log(proba), times, proba, calibrating=0.5)
    assert_allclose(found, bound, rtol=1e-3)


def test_weights_count_in_the_temperature_as_repeated_rows():
    rng = np.random.RandomState(0)
    proba = rng.dirichlet(np.ones(4), 300)
    # Rows of the first half are four times too sure, the others are right.
    logs = np.log(proba) * np.repeat([4.0, 1.0], 150)[:, None]
    weights = rng.randint(0, 3, 300)
    weights[:150] *= 3
    weighted = calibrated(logs, 1.0, proba, weights.astype(float))
    repeated = calibrated(
        logs.repeat(weights, axis=0), 1.0, proba.repeat(weights, axis=0)
    )
    assert_allclose(weighted, repeated, rtol=1e-3)
    assert weighted > 1.05 * calibrated(logs, 1.0, proba)
    only = np.repeat([1.0, 0.0], 150)
    assert_allclose(calibrated(logs, 1.0, proba, only), 4.0, rtol=1e-3)


class Interrupt(nn.Linear):
    def forward(self, X):
        if self.training:
            raise KeyboardInterrupt
        return super().forward(X)


def test_an_interrupted_student_is_usable(table):
    with pytest.warns(UserWarning, match="interrupted in epoch 1"):
        slam = distill(table, Interrupt)
    assert slam.predict(table[0]).shape == (90,)
    assert slam.history_ == []
    assert slam.n_epochs_ == 0


class NaNInTraining(nn.Linear):
    def forward(self, X):
        return super().forward(X) * (float("nan") if self.training else 1.0)


@pytest.mark.parametrize("form", ["module", "skorch"])
def test_a_loss_that_is_not_finite_stops_training(table, form):
    student = NaNInTraining
    if form == "skorch":
        student = skorch_net(module=NaNInTraining)
    with pytest.raises(FloatingPointError, match=r"epoch 1.*Lower lr"):
        distill(table, student)


@pytest.mark.parametrize(
    ("student", "params", "error", "message"),
    [
        (lambda n, k: nn.Linear(n, 7), {}, ValueError, r"returned shape \(64, 7\)"),
        (lambda n, k: nn.LSTM(n, k), {}, TypeError, "returned tuple"),
        (lambda n, k: "net", {}, TypeError, "must return a torch nn.Module"),
        (Softmax, {}, ValueError, "returns probabilities"),
        (3, {}, TypeError, "student must be None"),
        (skorch_net(criterion=nn.MSELoss), {}, ValueError, "criterion MSELoss"),
        (skorch_net(criterion=nn.NLLLoss), {}, ValueError, "Add a softmax"),
        (
            skorch_net(criterion__label_smoothing=0.1),
            {},
            ValueError,
            "parameters of its criterion",
        ),
        (skorch_net(), {"lr": 0.1}, ValueError, "beside a skorch student"),
        (MLPStudent(lr=0.2), {"lr": 0.1}, ValueError, "given twice"),
        (MLPStudent(()), {}, ValueError, "hidden_layer_sizes must be"),
        (MLPStudent((8, 0)), {}, ValueError, "hidden_layer_sizes must be"),
        (MLPStudent(True), {}, ValueError, "hidden_layer_sizes must be"),
        (MLPStudent(n_bins=-1), {}, ValueError, "n_bins must be an integer"),
        (MLPStudent(n_bins=2.5), {}, ValueError, "n_bins must be an integer"),
        (MLPStudent(n_bins=True), {}, ValueError, "n_bins must be an integer"),
        (MLPStudent(dropout=1), {}, ValueError, "dropout must be"),
    ],
)
def test_bad_students(table, student, params, error, message):
    with pytest.raises(error, match=message):
        distill(table, student, **params)


def test_words_need_preprocessing(frame):
    X, y = frame
    X = X.assign(number=0.0)
    codes = (y == "yes").astype(int)
    with pytest.raises(ValueError, match="make_pipeline"):
        SLaMDistiller(None, SmallNet).fit(X[:140], codes[:140], X_unlabeled=X[140:])


@pytest.mark.parametrize("kind", ["numpy", "pandas", "polars"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([np.nan, 0], "X contains NaN"),
        ([np.inf, 0], "X contains inf"),
        ([1e39, -1e39], "too large"),
    ],
)
@pytest.mark.parametrize(
    "student", [TorchStudent(SmallNet), SkorchStudent(skorch_net())]
)
def test_what_float32_does_not_hold_is_refused(table, kind, values, message, student):
    X, y, _ = table
    read = np.asarray if kind == "numpy" else pytest.importorskip(kind).DataFrame
    bad = X.copy()
    bad[:2, 1] = values
    with pytest.raises(ValueError, match=message):
        clone(student).fit(read(bad), y)
    student = clone(student).fit(read(X), y)
    with pytest.raises(ValueError, match=message):
        student.predict_proba(read(bad))


def test_what_a_preprocessor_leaves_missing_is_refused(table):
    X, y, _ = table
    halves = FunctionTransformer(lambda X: np.where(X > 0, X, np.nan))
    with pytest.raises(ValueError, match="X after preprocessing contains NaN"):
        TorchStudent(SmallNet, preprocessor=halves).fit(X, y)
    MLPStudent(preprocessor=halves, max_epochs=1).fit(X, y)


def test_a_row_alone_equals_the_row_in_a_batch(table):
    slam = distill(table, None, max_epochs=2)
    X = table[2]
    alone = np.concatenate([slam.predict_proba(row[None]) for row in X])
    assert_allclose(alone, slam.predict_proba(X), atol=1e-6)


def test_training_says_nothing_unasked_and_shows_epochs_when_asked(table, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distill(table, None, max_epochs=2)
    assert capsys.readouterr().out == ""
    distill(table, None, max_epochs=2, verbose=2)
    assert "train_loss" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("n_labeled", "n_pool", "batch_size", "max_epochs"),
    [
        (100, 0, 32, 200),
        (100, 1_024, 64, 188),  # of 16 steps
        (2_048, 100, 128, 188),
        (10, 800, 64, 200),
        (10, 4_096, 256, 188),
        (10, 20_000, 256, 39),
        (10, 100_000, 256, 10),
    ],
)
def test_auto_means_a_sixteenth_in_a_batch_and_three_thousand_steps(
    n_labeled, n_pool, batch_size, max_epochs
):
    nothing = torch.empty(0)
    split = Split(torch.arange(n_labeled), torch.arange(n_pool), nothing, nothing, None)
    student = TorchStudent(nn.Linear)
    student._make_module = lambda source, split: nn.Linear(1, 1)
    net = student._make_net(None, split)
    assert (net.batch_size, net.max_epochs) == (batch_size, max_epochs)


@pytest.mark.parametrize("n_pool", [0, 20])
def test_the_default_student_has_dropout_and_fewer_passes_on_labels_alone(n_pool):
    X, nothing = np.zeros((64, 2)), torch.empty(0)
    split = Split(torch.arange(64), torch.arange(n_pool), nothing, nothing, None)
    for dropout, found in (("auto", 0.0 if n_pool else 0.3), (0.1, 0.1), (0, 0.0)):
        student = MLPStudent((4,), dropout=dropout)
        student._prepare(Rows.of(X), Rows(()), np.arange(64) % 2, np.arange(2))
        net = student._make_net(None, split)
        layers = [layer for layer in net.module.head if isinstance(layer, nn.Dropout)]
        assert [layer.p for layer in layers] == [found] * bool(found)
        assert net.max_epochs == (200 if n_pool else 60)


@pytest.mark.parametrize(
    ("max_epochs", "patience"), [(2, 3), (15, 3), (16, 4), (50, 10)]
)
def test_patience_is_a_fifth_of_the_epochs_or_three(
    table, max_epochs, patience, monkeypatch
):
    seen = []

    def stopping(watched, **params):
        seen.append((watched, params))
        raise KeyError

    monkeypatch.setattr(_module_student, "EarlyStopping", stopping)
    student = MLPStudent((8,), max_epochs=max_epochs, early_stopping=True)
    with pytest.raises(KeyError):
        student.fit(*table[:2])
    assert seen == [("valid_score", {"patience": patience, "load_best": True})]


def test_any_form_becomes_a_new_student():
    student = MLPStudent((8,))
    assert as_student(student) is not student
    assert as_student(make_pipeline(SmallNet)).preprocessor is None
    assert len(as_student(make_pipeline(StandardScaler(), SmallNet)).preprocessor) == 1
    for other in (MLPStudent, LogisticRegression, LogisticRegression()):
        with pytest.raises(TypeError, match="student "):
            as_student(other)
    of_its_own = MLPStudent(preprocessor=StandardScaler())
    with pytest.raises(ValueError, match="a preprocessor of its own"):
        as_student(make_pipeline(StandardScaler(), of_its_own))


@pytest.mark.parametrize(
    ("student", "allows"),
    [
        (None, True),
        (MLPStudent(), True),
        (SmallNet, False),
        (TorchStudent(SmallNet), False),
        (make_pipeline(SmallNet), False),
        (make_pipeline(MLPStudent()), True),
        (make_pipeline(StandardScaler(), SmallNet), True),
    ],
)
def test_who_may_miss_values(student, allows):
    assert allows_nan(student) == allows


class Sure(Softmax):
    def forward(self, X):
        return super().forward(1e6 * X)


def test_probabilities_of_exactly_zero_can_be_learned_from(table):
    net = NeuralNetClassifier(
        Sure,
        module__n_features=8,
        module__n_classes=3,
        train_split=None,
        max_epochs=1,
        verbose=0,
    )
    proba = distill(table, net).predict_proba(table[0])
    assert np.isfinite(proba).all()


@pytest.mark.parametrize(
    ("student", "batch_size", "lr"),
    [
        (MLPStudent(), 64, 0.0025),
        (MLPStudent(), 256, 0.005),
        (MLPStudent(), 1024, 0.005),
        (MLPStudent(lr=0.01), 64, 0.01),
        (TorchStudent(nn.Linear), 64, 0.001),
    ],
)
def test_learning_rate_follows_the_batch_size(student, batch_size, lr):
    X, y = load_iris(return_X_y=True)
    student = clone(student).set_params(batch_size=batch_size, max_epochs=1)
    assert student.fit(X, y).net_.lr == pytest.approx(lr)


class InPlace(nn.Module):
    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_features, n_classes)

    def forward(self, X):
        return self.linear(X.sub_(1))


def test_a_module_that_works_in_place_changes_no_row_of_the_caller(table):
    X, y, pool = (np.asarray(part, order="C") for part in table)
    X, pool = X.astype(np.float32), pool.astype(np.float32)
    kept = X.copy(), pool.copy()
    slam = distill((X, y, pool), InPlace, max_epochs=2)
    assert_array_equal(slam.predict_proba(pool), slam.predict_proba(pool))
    assert_array_equal(X, kept[0])
    assert_array_equal(pool, kept[1])


def test_all_of_the_loss_on_labels_holds_some_out_where_there_is_no_pool(table):
    X, y, _ = table
    slam = SLaMDistiller(
        LogisticRegression(max_iter=1000),
        MLPStudent((8,)),
        labeled_weight=1.0,
        early_stopping=True,
        max_epochs=2,
        random_state=0,
    )
    with pytest.warns(UserWarning, match="no unlabeled rows"):
        slam.fit(X, y)
    assert "valid_loss" in slam.history_[0]


@pytest.mark.parametrize("n_pool", [0, 300])
def test_a_net_that_watches_held_out_rows_has_some(table, n_pool):
    X, y, pool = table
    net = skorch_net(callbacks=[EarlyStopping(patience=2)])
    net = net.set_params(train_split=NeuralNetClassifier(nn.Linear).train_split)
    student = SkorchStudent(net, random_state=0)
    if n_pool:
        student = distill((X, y, pool[:n_pool]), net).student_
    else:
        student.fit(X, y)
    assert "valid_loss" in student.history_[-1]


def test_scoring_callbacks_see_probabilities(table):
    seen = []

    def recorded(net, X, y):
        seen.append(net.predict_proba(X))
        return 0.0

    for criterion in (nn.CrossEntropyLoss, nn.NLLLoss):
        module = SmallNet if criterion is nn.CrossEntropyLoss else Softmax
        net = NeuralNetClassifier(
            module,
            module__n_features=8,
            module__n_classes=3,
            criterion=criterion,
            max_epochs=2,
            callbacks=[EpochScoring(recorded, name="seen")],
            verbose=0,
        )
        trained = distill(table, net).student_.net_
        assert trained.predict_nonlinearity == "auto"
        assert_allclose(np.concatenate(seen).sum(axis=1), 1, atol=1e-5)
        assert np.concatenate(seen).min() >= 0
        seen.clear()


def test_callbacks_may_predict_rows_of_their_own(table):
    rows, seen = table[0][:7].astype(np.float32), []

    class Watch(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(net.predict_proba(rows))

    net = skorch_net(max_epochs=2, callbacks=[Watch()])
    slam = distill(table, net, calibrate=False)
    assert len(seen) == 2
    assert_allclose(seen[-1], slam.predict_proba(rows), atol=1e-6)


class OwnNet(NeuralNetClassifier):
    """A subclass in skorch's usual form."""

    def __init__(self, *args, own=1, **kwargs):
        super().__init__(*args, **kwargs)
        self.own = own


def test_a_net_of_a_subclass_keeps_its_default_split(table):
    net = OwnNet(
        nn.Linear,
        module__in_features=8,
        module__out_features=3,
        criterion=nn.CrossEntropyLoss,
        max_epochs=2,
        verbose=0,
    )
    assert "valid_loss" in distill(table, net).history_[-1]  # no warning


def test_a_net_without_a_timer_was_not_interrupted(table):
    net = skorch_net(callbacks__epoch_timer=None)
    assert distill(table, net).n_epochs_ == 4  # no warning


@pytest.mark.parametrize(
    "criterion",
    [
        nn.CrossEntropyLoss(label_smoothing=0.3),
        nn.CrossEntropyLoss(weight=torch.ones(3)),
        nn.CrossEntropyLoss(ignore_index=0),
    ],
)
def test_parameters_of_a_criterion_are_refused(table, criterion):
    with pytest.raises(ValueError, match="sets parameters of its criterion"):
        distill(table, skorch_net(criterion=criterion))


def test_a_criterion_may_be_an_instance(table):
    assert distill(table, skorch_net(criterion=nn.CrossEntropyLoss())).n_epochs_ == 4


class Squeezed(nn.Linear):
    def forward(self, X):
        return super().forward(X).squeeze()


def one_logit(n_features, n_classes):
    return Squeezed(n_features, 1)


@pytest.mark.parametrize(("module", "n_classes"), [(one_logit, 2), (Squeezed, 3)])
def test_a_squeezed_output_serves_one_row(table, module, n_classes):
    X, y, _ = table
    y = np.minimum(y, n_classes - 1)
    student = TorchStudent(module, max_epochs=2, random_state=0).fit(X, y)
    proba = student.predict_proba(X)
    assert proba.shape == (len(X), n_classes)
    assert_allclose(student.predict_proba(X[:1]), proba[:1], atol=1e-6)


class OtherPrecision(nn.Linear):
    def __init__(self, n_features: int, n_classes: int, dtype: torch.dtype) -> None:
        super().__init__(n_features, n_classes, dtype=dtype)

    def forward(self, X):
        return super().forward(X.to(self.weight.dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("vid_weight", [0.0, 0.1])
def test_a_module_may_compute_in_another_precision(table, dtype, vid_weight):
    other = partial(OtherPrecision, dtype=dtype)
    slams = [
        distill(table, module, vid_weight=vid_weight, max_epochs=40, lr=0.05)
        for module in (nn.Linear, other)
    ]
    single, proba = (slam.predict_proba(table[0]) for slam in slams)
    assert proba.dtype == np.float32
    # The initial weights differ with the precision; what is learned hardly does.
    assert (single.argmax(axis=1) == proba.argmax(axis=1)).mean() > 0.9


def test_lazy_modules_learn_their_sizes(table):
    slam = distill(table, lambda n, k: nn.LazyLinear(k), max_epochs=1)
    assert slam.student_.module_.weight.shape == (3, 8)


def test_dropout_may_be_a_number_of_numpy(table):
    slam = distill(table, MLPStudent((8,), dropout=np.float64(0.5)), max_epochs=1)
    assert any(isinstance(layer, nn.Dropout) for layer in slam.student_.module_.head)


class LossOfItsOwn(NeuralNetClassifier):
    def get_loss(self, y_pred, y_true, *args, **kwargs):
        return nn.functional.cross_entropy(y_pred, y_true)


def test_a_net_that_ignores_the_distillation_loss_is_refused(table):
    for callbacks in (None, "disable"):
        with pytest.raises(TypeError, match="LossOfItsOwn, computes a loss of its own"):
            distill(table, skorch_net(LossOfItsOwn, callbacks=callbacks))


@pytest.mark.parametrize("callbacks", [None, "disable"])
def test_a_net_that_diverges_is_stopped(table, callbacks):
    net = skorch_net(lr=1e30, callbacks=callbacks)
    with pytest.raises(FloatingPointError, match=r"loss became (nan|inf)"):
        distill(table, net)


def test_one_probability_is_none_for_each_class(table):
    X, y, pool = table
    module = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())
    net = NeuralNetClassifier(module, criterion=nn.NLLLoss, train_split=None)
    with pytest.raises(ValueError, match=r"returned shape \(64, 1\)"):
        distill((X, y > 0, pool), net)


def test_a_student_trained_anew_forgets_what_its_distiller_knew(table):
    X, y, _ = table
    student = distill(table, MLPStudent((4,)), max_epochs=1).student_
    missing = np.where(np.arange(X.size).reshape(X.shape) % 7 == 0, np.nan, X)
    with pytest.raises(ValueError, match="NaN"):
        student.predict(missing)
    assert np.isfinite(student.fit(missing, y).predict_proba(missing)).all()


class CenterByLabels(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.center_ = X[y == y.max()].mean(axis=0)
        return self

    def transform(self, X):
        return X - self.center_


def test_preprocessing_that_uses_labels_gets_them(table):
    slam = distill(table, make_pipeline(CenterByLabels(), nn.Linear), max_epochs=1)
    X, y, _ = table
    assert_allclose(slam.student_.preprocessor_[0].center_, X[y == 2].mean(axis=0))


def test_a_sigmoid_is_no_logit(table):
    X, y, _ = table

    def factory(n_features, n_classes):
        return nn.Sequential(nn.Linear(n_features, 1), nn.Sigmoid())

    with pytest.raises(ValueError, match="returns probabilities"):
        TorchStudent(factory).fit(X, y > 0)


def test_a_gate_that_is_declared_last_gives_logits(table):
    class Gated(nn.Module):
        def __init__(self, n_features: int, n_classes: int) -> None:
            super().__init__()
            self.hidden, self.out = nn.Linear(n_features, 8), nn.Linear(8, n_classes)
            self.gate = nn.Sigmoid()

        def forward(self, X):
            return self.out(self.gate(self.hidden(X)))

    class FromZero(Gated):
        def __init__(self, n_features: int, n_classes: int) -> None:
            super().__init__(n_features, n_classes)
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    for module in (Gated, FromZero):
        student = TorchStudent(module, max_epochs=1, random_state=0).fit(*table[:2])
        assert student.predict_proba(table[2]).shape == (len(table[2]), 3)


def test_mapped_rows_may_be_encoded_as_sparse_ones(table, tmp_path, monkeypatch):
    monkeypatch.setattr(_student, "LAZY_BYTES", 0)
    X, y, pool = (np.round(part).clip(-2, 2) for part in table)
    np.save(tmp_path / "pool.npy", pool)
    mapped = np.load(tmp_path / "pool.npy", mmap_mode="r")
    student = make_pipeline(OneHotEncoder(handle_unknown="ignore"), SmallNet)
    of_mapped, of_array = (
        distill((X, y, rows), student, max_epochs=2).predict_proba(X)
        for rows in (mapped, pool)
    )
    assert_allclose(of_mapped, of_array, atol=1e-5)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_dates_are_no_numbers(library):
    frame = pytest.importorskip(library).DataFrame  # `make package` has no extras
    days = [datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 2)] * 10
    # Beside numbers, polars makes numbers of them.
    table = frame({"day": days, "number": np.arange(20.0)})
    with pytest.raises(ValueError, match=r"takes numbers only.*dates or times"):
        TorchStudent(nn.Linear, preprocessor=FunctionTransformer()).fit(
            table, np.arange(20) % 2
        )
    of_sparse = MLPStudent((4,), max_epochs=1).fit(
        sp.csr_matrix(np.eye(20)[:, :2]), np.arange(20) % 2
    )
    with (
        pytest.warns(UserWarning, match="feature names"),
        pytest.raises(TypeError, match="'day' holds dates or times"),
    ):
        of_sparse.predict(table)


def test_a_net_with_lazy_layers_learns(table):
    net = NeuralNetClassifier(
        nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3)),
        criterion=nn.CrossEntropyLoss,
        max_epochs=20,
        lr=0.1,
        verbose=0,
    )
    X, y, _ = table
    assert SkorchStudent(net, random_state=0).fit(X, y).score(X, y) > 0.6


def test_what_an_earlier_fit_has_preprocessed_by_is_forgotten(table):
    student = MLPStudent((4,), preprocessor=StandardScaler(), max_epochs=1)
    student.fit(*table[:2])
    assert hasattr(student, "preprocessor_")
    student.set_params(preprocessor=None).fit(*table[:2])
    assert not hasattr(student, "preprocessor_")


def test_what_keeps_a_network_from_being_built_is_explained(table):
    X, y, _ = table
    nets = (
        nn.Flatten(),  # without a parameter
        NeuralNetClassifier(nn.Linear, criterion=nn.CrossEntropyLoss, verbose=0),
    )
    for net in nets:
        with pytest.raises((ValueError, TypeError)) as caught:
            as_student(net).fit(X, y)
        (note,) = caught.value.__notes__
        assert "could not be built" in note


def test_early_stopping_holds_out_labels_where_there_is_no_pool(table):
    X, y, _ = table
    student = MLPStudent((8,), max_epochs=3, random_state=0)
    assert "valid_loss" not in student.fit(X, y).history_[0]
    student.set_params(early_stopping=True).fit(X, y)
    assert {"valid_loss", "valid_error"} <= set(student.history_[0])


def test_random_steps_of_the_preprocessing_are_decided_too(table):
    X, y, pool = table
    student = make_pipeline(GaussianRandomProjection(4), SmallNet)
    first, second = (
        distill((X, y, pool), student, max_epochs=2).predict_proba(X) for _ in range(2)
    )
    assert_array_equal(first, second)
    alone = MLPStudent(
        (8,), preprocessor=GaussianRandomProjection(4), max_epochs=2, random_state=0
    )
    assert_array_equal(
        alone.fit(X, y).predict_proba(X), clone(alone).fit(X, y).predict_proba(X)
    )


def test_a_random_state_of_the_students_own_is_kept(table):
    students = [MLPStudent((8,), max_epochs=2, random_state=seed) for seed in (3, 3, 4)]
    first, second, other = (
        distill(table, student).predict_proba(table[0]) for student in students
    )
    assert_array_equal(first, second)
    assert (first != other).any()


def test_a_net_is_a_skorch_net(table):
    with pytest.raises(TypeError, match="net must be a skorch net"):
        SkorchStudent(nn.Linear(8, 3)).fit(*table[:2])


def frozen(n_features, n_classes):
    return nn.Linear(n_features, n_classes).requires_grad_(False)


def test_a_module_without_a_parameter_to_train_is_refused(table):
    with pytest.raises(ValueError, match="no parameter that can be trained"):
        distill(table, frozen)

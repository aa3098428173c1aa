"""The methods that mixing is compared with: laws, limits, checks."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import (
    BaggingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch.autograd import gradcheck

from sklearn_slam import (
    ForwardCorrectionDistiller,
    MLPStudent,
    PlainDistiller,
    SemiparametricDistiller,
    SLaMDistiller,
    TaylorDistiller,
    UPSDistiller,
    VIDDistiller,
    WeightedDistiller,
    _slam,
)
from sklearn_slam._baseline_losses import (
    VariationalDistance,
    forward_corrected,
    negative_learning,
    squared_logit_error,
    taylor_cross_entropy,
    where_taught,
)
from sklearn_slam._composed import Weighted
from sklearn_slam._losses import ClosedForm, cross_entropy
from sklearn_slam._rows import Rows
from sklearn_slam._soft_labels import smoothed
from sklearn_slam._uncertainty import _spread, ensemble_spread

THREE = np.arange(3)
FAMILY = [
    PlainDistiller,
    TaylorDistiller,
    ForwardCorrectionDistiller,
    SemiparametricDistiller,
    UPSDistiller,
    WeightedDistiller,
    VIDDistiller,
]


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    labels = torch.rand(6, 4, generator=generator, dtype=torch.float64)
    log_f = torch.log_softmax(logits, dim=1)
    return log_f.requires_grad_(), labels / labels.sum(dim=1, keepdim=True)


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([method(GaussianNB(), max_epochs=20) for method in FAMILY])
def test_estimator_checks(estimator, check):
    check(estimator)


def test_one_taylor_term_is_half_the_absolute_error(batch):
    log_f, _ = batch
    labels = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3, 0, 1]]
    error = (labels - log_f.exp()).abs().sum(dim=1)
    loss = taylor_cross_entropy(log_f, labels, 1)
    assert_allclose(loss.detach(), error.detach() / 2)


def test_taylor_terms_add_up_to_cross_entropy(batch):
    log_f, labels = batch
    exact = cross_entropy(log_f, labels).detach()
    off = [
        (exact - taylor_cross_entropy(log_f, labels, order).detach()).max()
        for order in (1, 4, 16, 1000)
    ]
    # The rest of the series is below (1 - f)^(order + 1) / (order + 1) / f.
    least = log_f.exp().min().item()
    assert off == sorted(off, reverse=True)
    assert 0 <= off[-1] <= (1 - least) ** 1001 / 1001 / least + 1e-12


def test_forward_correction_by_the_identity_is_cross_entropy(batch):
    log_f, labels = batch
    loss = forward_corrected(log_f, labels, torch.eye(4, dtype=torch.float64))
    assert_allclose(loss.detach(), cross_entropy(log_f, labels).detach())


def test_forward_correction_is_least_where_the_student_is_clean():
    """The noisy label's mean loss is least where f is the true distribution."""
    generator = torch.Generator().manual_seed(0)
    transition = 0.7 * torch.eye(3) + 0.1
    transition = transition / transition.sum(dim=1, keepdim=True)
    clean = torch.tensor([[0.6, 0.3, 0.1]])
    noisy = clean @ transition
    at_clean = forward_corrected(clean.log(), noisy, transition)
    for _ in range(50):
        noise = 0.3 * torch.randn(1, 3, generator=generator)
        other = torch.log_softmax(clean.log() + noise, dim=1)
        assert forward_corrected(other, noisy, transition) >= at_clean - 1e-6


def test_forward_correction_by_a_matrix_that_is_not_symmetric():
    # Where class 0 is true the teacher says 1 in three of ten rows; else it is right.
    transition = torch.tensor([[0.7, 0.3], [0.0, 1.0]])
    f = torch.tensor([[0.6, 0.4]]).repeat(3, 1)
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    # It says 0 with .6 * .7, and 1 with .6 * .3 + .4.
    zero, one = -np.log(0.42), -np.log(0.58)
    loss = forward_corrected(f.log(), labels, transition)
    assert_allclose(loss, [zero, one, (zero + one) / 2], rtol=1e-6)


def test_only_what_is_taught_gets_the_loss_of_the_method(batch):
    log_f, labels = batch[0].detach(), batch[1]
    of_teacher = torch.tensor([True, False, False, True, True, False])
    loss = where_taught(taylor_cross_entropy, 2)(log_f, labels, of_teacher)
    taylor = taylor_cross_entropy(log_f, labels, 2)
    plain = cross_entropy(log_f, labels)
    assert (abs(taylor - plain) > 1e-3).all()
    expected = [taylor[0], plain[1], plain[2], taylor[3], taylor[4], plain[5]]
    assert_array_equal(loss, torch.stack(expected))


def test_negative_learning_is_a_mean_over_what_is_excluded():
    log_f = torch.tensor([[0.5, 0.3, 0.2]]).log().repeat(3, 1)
    excluded = torch.tensor([[False, True, True], [True, True, True], [False] * 3])
    half, third, fifth = -np.log([0.5, 0.7, 0.8])
    expected = [(third + fifth) / 2, (half + third + fifth) / 3, 0.0]
    loss = negative_learning(log_f, excluded)
    assert_allclose(loss, expected, rtol=1e-5, atol=1e-7)


def test_squared_logit_error_is_half_the_mean_of_squares():
    log_f = torch.tensor([[-1.0, -2.0, -4.0], [0.0, 0.0, 0.0]])
    wanted = torch.tensor([[-2.0, -4.0, -4.0], [0.0, 0.0, 6.0]])
    # (1 + 4 + 0) / 3 / 2 and 36 / 3 / 2.
    assert_allclose(squared_logit_error(log_f, wanted), [5 / 6, 6.0], rtol=1e-6)


def test_variational_distance_is_its_formula_in_training_and_absent_else(batch):
    log_f, labels = batch[0].detach(), batch[1]
    rng = np.random.RandomState(0)
    matrix, offset, rho = (
        rng.normal(size=(4, 4)),
        rng.normal(size=4),
        rng.normal(size=4),
    )
    teacher_log_proba = np.log(rng.dirichlet(np.ones(4), size=6))
    of_teacher = np.array([True, False, True, True, False, True])
    loss = VariationalDistance(cross_entropy, 4, 0.3).double()
    for name, value in {"matrix": matrix, "offset": offset, "rho": rho}.items():
        getattr(loss, name).data = torch.from_numpy(value)
    targets = {
        "labels": labels,
        "teacher_log_proba": torch.from_numpy(teacher_log_proba),
        "of_teacher": torch.from_numpy(of_teacher),
    }
    plain = cross_entropy(log_f, labels).numpy()
    mean = log_f.numpy() @ matrix + offset
    variance = np.log1p(np.exp(rho)) + 1e-5
    terms = (mean - teacher_log_proba) ** 2 / variance + np.log(variance)
    term = 0.3 * terms.mean(axis=1) / 2
    with torch.no_grad():
        assert_allclose(loss(log_f, **targets), plain + of_teacher * term)
        # What is learned would go on falling, whatever becomes of the student.
        assert_array_equal(loss.eval()(log_f, **targets), plain)


def test_uncertainty_is_the_standard_deviation():
    answers = [np.array([[0.2, 0.5]]), np.array([[0.4, 0.5]]), np.array([[0.9, 0.5]])]
    # Around .5 the squares of .3, .1 and .4 add up to .26.
    expected = [[np.sqrt(0.26 / 3), 0.0]]
    assert_allclose(_spread(iter(answers)), expected, atol=1e-12)


def test_negative_learning_costs_what_is_excluded_only(batch):
    log_f, _ = batch
    none = torch.zeros(6, 4, dtype=torch.bool)
    assert_allclose(negative_learning(log_f, none).detach(), 0)
    first = none.clone()
    first[:, 0] = True
    expected = -torch.log1p(-log_f.exp()[:, 0])
    assert_allclose(negative_learning(log_f, first).detach(), expected.detach())


@pytest.mark.parametrize("gap", [0.0, 1.0, 14.0, 200.0])
def test_negative_learning_moves_a_student_sure_of_what_is_excluded(gap):
    logits = torch.tensor([[gap, 0.0]], requires_grad=True)
    loss = negative_learning(logits.log_softmax(1), torch.tensor([[True, False]]))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    # -log(1 - f) = log(1 + exp(gap)) for two classes, with slope f.
    assert_allclose(loss.detach(), [np.logaddexp(0, gap)], rtol=1e-6)
    f = 1 / (1 + np.exp(-gap))
    assert_allclose(gradient, [[f, -f]], rtol=1e-6)


def test_squared_logit_error_is_zero_at_the_teacher(batch):
    log_f, labels = batch
    assert_allclose(squared_logit_error(labels.log(), labels.log()), 0, atol=1e-15)
    assert (squared_logit_error(log_f, labels.log()) > 0).all()


def test_variational_distance_adds_nothing_with_weight_or_flag_0(batch):
    log_f, labels = batch
    with torch.no_grad():
        plain = cross_entropy(log_f, labels)
        for weight, flag in ((0.0, 1.0), (1.0, 0.0)):
            loss = VariationalDistance(cross_entropy, 4, weight).double()(
                log_f,
                labels=labels,
                teacher_log_proba=labels.log(),
                of_teacher=torch.full((6,), flag),
            )
            assert_allclose(loss, plain)
        learned = VariationalDistance(cross_entropy, 4, 1.0)
        variance = torch.nn.functional.softplus(learned.rho) + 1e-5
    assert_allclose(variance, 5, rtol=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
def test_written_out_gradient_of_the_variational_distance_is_autograds(batch, weighted):
    log_f, labels = batch
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.rand, generator=generator, dtype=torch.float64)
    loss = VariationalDistance(
        ClosedForm(lambda log_f, labels: (cross_entropy(log_f, labels), -labels)),
        n_classes=4,
        weight=0.7,
    ).double()
    for parameter in loss.parameters():
        parameter.data += draw(parameter.shape)
    learned = [log_f, *loss.parameters()]
    targets = {
        "labels": labels,
        "teacher_log_proba": draw(6, 4).log(),
        "of_teacher": torch.arange(6) > 1,
    }
    if weighted:
        loss, targets["weight"] = Weighted(loss), draw(6)
    shares = draw(6)
    expected = torch.dot(loss(log_f, **targets), shares)
    wanted = torch.autograd.grad(expected, learned)
    with torch.no_grad():
        value, by_log_f = loss.weighted_gradient(log_f, shares, **targets)
    assert_allclose(value, expected.detach())
    for found, of_tape in zip(
        [by_log_f, *(part.grad for part in loss.parameters())], wanted, strict=True
    ):
        assert_allclose(found, of_tape, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["taylor", "forward", "negative", "squared", "vid"])
def test_gradients_agree_with_finite_differences(batch, name):
    log_f, labels = batch
    mixing = torch.full((4, 4), 0.1, dtype=torch.float64) + 0.6 * torch.eye(4)
    vid = VariationalDistance(cross_entropy, 4, 0.5).double()
    losses = {
        "taylor": lambda z: taylor_cross_entropy(z, labels, 3),
        "forward": lambda z: forward_corrected(z, labels, mixing),
        "negative": lambda z: negative_learning(z, labels < 0.2),
        "squared": lambda z: squared_logit_error(z, labels.log()),
        "vid": lambda z: vid(
            z,
            labels=labels,
            teacher_log_proba=labels.log(),
            of_teacher=torch.ones(6, dtype=torch.float64),
        ),
    }
    assert gradcheck(losses[name], (log_f,))


def fitted(method, table, teacher=None, **params):
    X, y, pool = table
    params = {"max_epochs": 3, "random_state": 0, **params}
    return method(teacher or GaussianNB(), **params).fit(X, y, X_unlabeled=pool)


def test_plain_is_mixing_with_a_teacher_that_is_always_right(table):
    plain = fitted(PlainDistiller, table)
    sure = fitted(SLaMDistiller, table, alpha=1.0, teacher_temperature=1.0)
    pool = table[2]
    assert_allclose(plain.predict_proba(pool), sure.predict_proba(pool), atol=1e-5)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        (TaylorDistiller, {"order": 400}),
        (WeightedDistiller, {"n_neighbors": 1}),
        (VIDDistiller, {"vid_weight": 0.0}),
    ],
)
def test_limits_that_are_plain_distillation(table, method, params):
    X, y, pool = table
    # A teacher that is right on each labeled row: no reason for any weight.
    if method is WeightedDistiller:
        teacher = FrozenEstimator(LogisticRegression(max_iter=1000).fit(X, y))
        y = teacher.predict(X)
    else:
        teacher = GaussianNB()
    plain = fitted(PlainDistiller, (X, y, pool), teacher)
    limit = fitted(method, (X, y, pool), teacher, **params)
    assert_allclose(plain.predict_proba(pool), limit.predict_proba(pool), atol=2e-3)


def test_weights_fall_where_the_teacher_is_wrong(table):
    """A teacher that is wrong everywhere teaches less than one that is right."""
    X, y, pool = table
    lessons = {}

    class Spy(WeightedDistiller):
        def _make_objective(self, knowledge):
            objective = super()._make_objective(knowledge)

            def refresh(logits_at, targets):
                objective.refresh(logits_at, targets)
                lessons["weight"] = targets["weight"][len(y) :].clone()

            return type(objective)(objective.loss, objective.targets, refresh)

    weights = []
    for shift in (0, 1):
        said = np.full((len(y), 3), 0.1)
        said[np.arange(len(y)), (y + shift) % 3] = 0.8
        of_pool = np.tile([0.8, 0.1, 0.1], (len(pool), 1))
        Spy(GaussianNB(), max_epochs=10, labeled_weight=0.5, random_state=0).fit(
            X, y, X_unlabeled=pool, teacher_proba=said, teacher_proba_unlabeled=of_pool
        )
        weights.append(lessons["weight"])
    assert_allclose(weights[0], 1)
    assert (weights[1] >= 0).all()
    assert weights[1].mean() < 0.8


@pytest.mark.parametrize("method", FAMILY)
@pytest.mark.filterwarnings("ignore:The teacher shows no uncertainty")
@pytest.mark.usefixtures("leaves_random_state")
def test_global_random_state_is_left_as_found(table, method):
    fitted(method, table)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("method", [*FAMILY, SLaMDistiller])
@pytest.mark.filterwarnings("ignore:The teacher shows no uncertainty")
def test_training_on_a_gpu(table, method):
    model = fitted(method, table, device="cuda")
    assert np.isfinite(model.predict_proba(table[2])).all()


def test_held_out_rows_know_no_variational_term(table):
    """The rate is so low that nothing is learned: both see the same network."""
    losses = [
        [
            epoch["valid_loss"]
            for epoch in fitted(
                VIDDistiller, table, vid_weight=weight, lr=1e-12, early_stopping=True
            ).history_
        ]
        for weight in (0.0, 10.0)
    ]
    assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_vid_has_no_weight_of_mixing(table):
    with pytest.raises(ValueError, match="give a number of at least 0"):
        fitted(VIDDistiller, table, vid_weight="auto")


@pytest.mark.parametrize("method", [WeightedDistiller, VIDDistiller])
def test_mixing_composes(table, method):
    mixed = fitted(method, table, alpha="isotonic", teacher_temperature="auto")
    alone = fitted(method, table)
    pool = table[2]
    assert abs(mixed.predict_proba(pool) - alone.predict_proba(pool)).max() > 1e-4


def test_ups_takes_uncertainty_from_members(table):
    X, y, pool = table
    members = [
        RandomForestClassifier(5, random_state=0),
        BaggingClassifier(GaussianNB(), 5, max_features=0.5, random_state=0),
        VotingClassifier(
            [("a", GaussianNB()), ("b", LogisticRegression(max_iter=500))],
            voting="soft",
        ),
    ]
    for teacher in members:
        teacher = make_pipeline(StandardScaler(), teacher).fit(X, y)
        spread = ensemble_spread(FrozenEstimator(teacher), Rows.of(pool), THREE, 2)
        assert spread.shape == (len(pool), 3)
        assert spread.min() >= 0
        # The standard deviation of numbers in [0, 1].
        assert 0 < spread.max() <= 0.5
    forest = members[0].fit(X, y)
    said = [tree.predict_proba(pool) for tree in forest.estimators_]
    assert_allclose(
        ensemble_spread(forest, Rows.of(pool), THREE, 2),
        np.std(said, axis=0),
        atol=1e-6,
    )
    # What a member has not seen it gives 0, as bagging itself does.
    few = BaggingClassifier(KNeighborsClassifier(3), 9, max_samples=8, random_state=0)
    few.fit(X[:40], np.where(np.arange(40) < 2, 2, y[:40] > 0))
    assert any(len(member.classes_) < 3 for member in few.estimators_)
    said = np.zeros((9, len(pool), 3))
    for place, member in zip(said, few.estimators_, strict=True):
        place[:, member.classes_] = member.predict_proba(pool)
    assert_allclose(said.mean(axis=0), few.predict_proba(pool))
    assert_allclose(
        ensemble_spread(few, Rows.of(pool), THREE, 2), said.std(axis=0), atol=1e-6
    )
    assert ensemble_spread(GaussianNB().fit(X, y), Rows.of(pool), THREE, 2) is None
    with pytest.warns(UserWarning, match="shows no uncertainty") as caught:
        fitted(UPSDistiller, table)
    assert {warning.filename for warning in caught} == {__file__}


def test_ups_takes_uncertainty_from_dropout(table):
    X, y, pool = table
    student = MLPStudent((8,), dropout=0.5, max_epochs=2, random_state=0).fit(X, y)
    before = student.predict_proba(pool)
    state = torch.random.get_rng_state()
    selected = {"min_confidence": 0.4, "max_uncertainty": 0.4}
    model = fitted(UPSDistiller, (X, y, pool), student, **selected)
    assert torch.equal(state, torch.random.get_rng_state())
    assert_allclose(student.predict_proba(pool), before)
    again = fitted(UPSDistiller, (X, y, pool), student, **selected)
    assert_allclose(model.predict_proba(X), again.predict_proba(X))
    torch.manual_seed(0)
    assert ensemble_spread(student, Rows.of(pool), THREE, 4).max() > 0
    without = MLPStudent((8,), dropout=0, max_epochs=2, random_state=0).fit(X, y)
    assert ensemble_spread(without, Rows.of(pool), THREE, 4) is None


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        (TaylorDistiller, {"order": 0}, "order must be"),
        (SemiparametricDistiller, {"correction": 2}, "correction must"),
        (SemiparametricDistiller, {"min_proba": 0}, "min_proba must"),
        (UPSDistiller, {"min_confidence": -1}, "min_confidence must"),
        (UPSDistiller, {"n_passes": 1}, "n_passes must"),
        (WeightedDistiller, {"n_neighbors": 0}, "n_neighbors must"),
        (VIDDistiller, {"vid_weight": -1}, "vid_weight must"),
    ],
)
def test_parameters_out_of_range(table, method, params, message):
    with pytest.raises(ValueError, match=message):
        fitted(method, table, **params)


@pytest.mark.parametrize("method", [m for m in FAMILY if m is not UPSDistiller])
def test_temperature_auto_is_resolved(table, method):
    automatic = fitted(method, table, teacher_temperature="auto")
    resolved = 0.7 * automatic.teacher_accuracy_.temperature_
    given = fitted(method, table, teacher_temperature=resolved)
    pool = table[2]
    assert_allclose(automatic.predict_proba(pool), given.predict_proba(pool))


def test_without_correction_labels_do_not_matter(table):
    """Labeled rows then learn what the teacher says, as pool rows do."""
    X, y, pool = table
    rng = np.random.RandomState(0)
    outputs = {
        "teacher_proba": rng.dirichlet(np.ones(3), len(X)),
        "teacher_proba_unlabeled": rng.dirichlet(np.ones(3), len(pool)),
    }
    for correction, same in ((0.0, True), (1.0, False)):
        first, second = (
            SemiparametricDistiller(
                correction=correction, calibrate=False, max_epochs=2, random_state=0
            )
            .fit(X, labels, X_unlabeled=pool, **outputs)
            .predict_proba(pool)
            for labels in (y, (y + 1) % 3)
        )
        assert np.allclose(first, second) == same


@pytest.mark.parametrize("n_pool", [0, 20])
@pytest.mark.filterwarnings("ignore:There are no unlabeled rows")
def test_labels_that_join_the_pool_correct_there_too(table, n_pool):
    X, y, pool = table
    seen = []

    class Spy(SemiparametricDistiller):
        def _make_objective(self, knowledge):
            objective = super()._make_objective(knowledge)
            seen.append((*objective.targets["wanted"], knowledge.pool_proba))
            return objective

    slam = Spy(GaussianNB(), max_epochs=1, random_state=0)
    slam.fit(X, y, X_unlabeled=pool[:n_pool] if n_pool else None)
    ((of_labeled, of_pool, proba),) = seen
    assert_array_equal(of_pool[n_pool:], of_labeled)
    assert_allclose(of_pool[:n_pool], np.log(smoothed(proba[:n_pool])), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:The teacher shows no uncertainty")
@pytest.mark.filterwarnings("ignore:No row of the pool is selected")
def test_rows_that_ups_does_not_select_teach_nothing(table):
    X, y, pool = table
    rng = np.random.RandomState(0)
    first, second = (rng.dirichlet(np.ones(3), len(pool)) for _ in range(2))
    held_out = rng.dirichlet(np.ones(3), len(X))
    for confidence, same in ((1.0, True), (0.5, False)):
        students = [
            UPSDistiller(
                min_confidence=confidence,
                max_negative=0.0,
                calibrate=False,
                max_epochs=2,
                random_state=0,
            ).fit(
                X,
                y,
                X_unlabeled=pool,
                teacher_proba=held_out,
                teacher_proba_unlabeled=proba,
            )
            for proba in (first, second)
        ]
        one, two = (student.predict_proba(pool) for student in students)
        assert np.allclose(one, two) == same


@pytest.mark.filterwarnings("ignore:The teacher shows no uncertainty")
def test_ups_says_where_it_selects_nothing(table):
    with pytest.warns(UserWarning, match="a spread below max_uncertainty=0.0"):
        fitted(UPSDistiller, table, max_uncertainty=0.0, max_negative=0.0)


def test_weights_count_in_training_only(batch):
    log_f, labels = batch[0].detach(), batch[1]
    weighted, plain = Weighted(cross_entropy), cross_entropy(log_f, labels)
    weight = torch.linspace(0, 1, len(labels))
    assert_allclose(weighted(log_f, labels=labels, weight=weight), weight * plain)
    # Held-out rows would look better and better as the method lets weights fall.
    assert_allclose(weighted.eval()(log_f, labels=labels, weight=weight), plain)


def test_members_of_an_ensemble_take_frames(table):
    X, y, pool = table
    names = [f"c{i}" for i in range(8)]
    frame, rest = pd.DataFrame(X, columns=names), pd.DataFrame(pool, columns=names)
    for teacher in (
        RandomForestClassifier(5, random_state=0),
        BaggingClassifier(GaussianNB(), 5, max_features=0.5, random_state=0),
        VotingClassifier(
            [("a", GaussianNB()), ("b", LogisticRegression())], voting="soft"
        ),
    ):
        of_frame = ensemble_spread(teacher.fit(frame, y), Rows.of(rest), THREE, 2)
        of_array = ensemble_spread(teacher.fit(X, y), Rows.of(pool), THREE, 2)
        assert_allclose(of_frame, of_array)
    # Trees take missing values.
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    of_array = ensemble_spread(
        forest, Rows.of(np.where(pool > 3, np.nan, pool)), THREE, 2
    )
    of_frame = ensemble_spread(
        forest.fit(frame, y), Rows.of(rest.mask(rest > 3)), THREE, 2
    )
    assert_allclose(of_frame, of_array)


@pytest.mark.parametrize(
    ("params", "most_classes", "weight"),
    [
        ({}, 3, 0.1),
        ({}, 2, 0.0),
        ({"alpha": 0.9}, 3, 0.0),
        ({"alpha": 0.9, "vid_weight": 0.3}, 2, 0.3),
        ({"vid_weight": 0.0}, 3, 0.0),
    ],
)
def test_when_the_variational_term_is_added(
    table, teacher, monkeypatch, params, most_classes, weight
):
    X, y, pool = table
    monkeypatch.setattr(_slam, "MAX_VID_CLASSES", most_classes)
    both = {"max_epochs": 3, "peers": False, "random_state": 0}
    slam = SLaMDistiller(teacher, MLPStudent((16,)), **both, **params)
    params = {"alpha": "isotonic", **params, "vid_weight": weight}
    named = VIDDistiller(
        teacher, MLPStudent((16,)), teacher_temperature="auto", **both, **params
    )
    probas = [
        model.fit(X, y, X_unlabeled=pool).predict_proba(pool) for model in (slam, named)
    ]
    assert_array_equal(*probas)


def test_weighting_trains_what_a_loss_has_to_learn(table, teacher, monkeypatch):
    X, y, pool = table
    made = []

    class Kept(VariationalDistance):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(_slam, "VariationalDistance", Kept)
    model = WeightedDistiller(teacher, vid_weight=0.5, max_epochs=3, random_state=0)
    model.fit(X, y, X_unlabeled=pool)
    assert (made[0].matrix.detach() != torch.eye(3)).any()


@pytest.mark.parametrize("lacking", THREE)
def test_members_of_a_teacher_that_lacks_a_class_show_uncertainty(table, lacking):
    X, y, pool = table
    known, rest = np.delete(THREE, lacking), y != lacking
    forest = RandomForestClassifier(20, random_state=0).fit(X[rest], y[rest])
    of_all = ensemble_spread(forest, Rows.of(pool), THREE, 2)
    of_two = ensemble_spread(forest, Rows.of(pool), known, 2)
    assert_array_equal(of_all[:, known], of_two)
    assert (of_all[:, lacking] == 1).all()


def test_members_that_cannot_be_compared_show_no_uncertainty(table):
    X, y, pool = table
    alone = RandomForestClassifier(1, random_state=0).fit(X, y)
    assert ensemble_spread(alone, Rows.of(pool), THREE, 2) is None
    mute = BaggingClassifier(Perceptron(), 3, random_state=0).fit(X, y)
    assert ensemble_spread(mute, Rows.of(pool), THREE, 2) is None


def test_members_see_rows_after_all_steps_before_them(table):
    X, y, pool = table
    forest = RandomForestClassifier(5, random_state=0)
    steps = StandardScaler(), PolynomialFeatures(2)
    flat = make_pipeline(*steps, forest).fit(X, y)
    nested = make_pipeline(steps[0], make_pipeline(steps[1], forest)).fit(X, y)
    of_flat, of_nested = (
        ensemble_spread(teacher, Rows.of(pool), THREE, 2) for teacher in (flat, nested)
    )
    assert_array_equal(of_nested, of_flat)
    encoded = flat[:-1].transform(pool)
    said = [tree.predict_proba(encoded) for tree in flat[-1].estimators_]
    assert_allclose(of_flat, np.std(said, axis=0), atol=1e-6)


def test_dropout_passes_are_as_many_as_are_asked_for(table):
    X, y, pool = table
    student = MLPStudent((8,), dropout=0.5, max_epochs=1, random_state=0).fit(X, y)
    said = np.random.RandomState(0).dirichlet(np.ones(3), (5, len(pool)))
    answers = iter(said)
    student._predict_with_dropout = lambda table: next(answers)
    spread = ensemble_spread(student, Rows.of(pool), THREE, 5)
    assert_allclose(spread, np.std(said, axis=0), atol=1e-6)

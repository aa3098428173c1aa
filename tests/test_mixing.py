"""What each method makes of a teacher's labels, worked out by hand."""

import warnings
from types import SimpleNamespace as Namespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_slam import (
    ForwardCorrectionDistiller,
    SemiparametricDistiller,
    SLaMDistiller,
    TeacherAccuracy,
    UPSDistiller,
    VIDDistiller,
    WeightedDistiller,
    _baselines,
    _slam,
)
from sklearn_slam._baselines import confusion
from sklearn_slam._knowledge import Knowledge
from sklearn_slam._rows import Rows

CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # targets are float32

# The margins are .1 and .5. Three of four rows are right at the one, all at the other,
# and where the teacher is wrong the true class is its third.
LABELED = [[0.4, 0.3, 0.2, 0.1]] * 4 + [[0.7, 0.2, 0.06, 0.04]] * 2
CODES = [0, 0, 2, 0, 0, 0]

# Margins .1, .5, .3 and 0. Ties go to the lower class.
POOL = [
    [0.1, 0.2, 0.3, 0.4],
    [0.2, 0.7, 0.06, 0.04],
    [0.5, 0.2, 0.1, 0.2],
    [0.05, 0.05, 0.45, 0.45],
]

# Between these margins the regressions are linear, below them constant: at .3 one in
# eight rows is wrong, and the true class then the third. So two classes reach the .9
# that is asked for at .5 only.
ALPHA = [0.75, 1.0, 0.875, 0.75]
K = np.array([3, 2, 3, 3])
TOP_K = np.array([[0, 1, 1, 1], [1, 1, 0, 0], [1, 1, 0, 1], [1, 0, 1, 1]], dtype=bool)


def known(
    labeled=LABELED,
    codes=CODES,
    pool=POOL,
    *,
    weights=None,
    temperature=0.5,
    teacher=None,
    **params,
):
    """Return what a fit would know, with labels far from the temperature they get."""
    labeled, pool = np.asarray(labeled, np.float32), np.asarray(pool, np.float32)
    codes = np.asarray(codes)
    weights = None if weights is None else np.asarray(weights, float)
    rows = Namespace(weights=weights, labels_join=False)
    classes = np.arange(labeled.shape[1])
    return Knowledge(
        task=Namespace(rows=rows, classes=classes, codes=codes),
        teacher=teacher,
        labeled_proba=labeled,
        pool=Rows.of(np.zeros((len(pool), 1))),
        pool_proba=pool,
        pool_weights=None,
        accuracy=TeacherAccuracy(**params).fit(labeled, codes, weights),
        temperature=temperature,
    )


def smooth(proba):
    """Mix in a thousandth of the uniform distribution, as before any logarithm."""
    proba = np.asarray(proba, float)
    return 0.999 * proba + 0.001 / proba.shape[-1]


def pool_targets(objective, *names):
    """Return what the loss takes of pool rows, as tensors."""
    return {name: torch.from_numpy(objective.targets[name][1]) for name in names}


# Student-label mixing


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("alpha_min", [0.6, 0.8])
def test_mixing_targets_are_the_formulas(normalize, alpha_min):
    slam = SLaMDistiller(normalize=normalize, alpha_min=alpha_min)
    targets = slam._make_objective(known()).targets
    alpha = np.maximum(ALPHA, alpha_min)
    assert_allclose(targets["alpha"][1], alpha, **CLOSE)
    share = (1 - alpha) / (K - 1) if normalize else 1 - alpha
    assert_allclose(targets["other"][1], share, **CLOSE)
    assert_array_equal(targets["top_k"][1], TOP_K)
    # Labeled rows are compared as they are.
    assert [targets[name][0] for name in ("alpha", "other", "top_k")] == [1, 0, True]


@pytest.mark.parametrize("normalize", [True, False])
def test_mixing_loss_of_an_objective_is_the_formula(normalize):
    slam = SLaMDistiller(normalize=normalize, alpha_min=0.6, vid_weight=0.0)
    objective = slam._make_objective(known())
    f = np.array([[0.1, 0.2, 0.3, 0.4]] * 4)
    alpha = np.array(ALPHA)[:, None]
    divisor = K[:, None] - 1 if normalize else 1
    mixed = alpha * f + (1 - alpha) * (1 - f) * TOP_K / divisor
    loss = objective.loss(
        torch.tensor(np.log(f), dtype=torch.float32),
        labels=torch.tensor(POOL),
        **pool_targets(objective, "alpha", "other", "top_k"),
    )
    # Where alpha is 1, classes outside the top k are as likely as the student says.
    assert_allclose(loss, -(POOL * np.log(mixed)).sum(axis=1), **CLOSE)


def test_an_estimated_alpha_is_at_least_95_percent():
    targets = SLaMDistiller()._make_objective(known()).targets
    assert_allclose(targets["alpha"][1], [0.95, 1.0, 0.95, 0.95], **CLOSE)
    assert_allclose(targets["other"][1], [0.05, 0.0, 0.05, 0.05], **CLOSE)


@pytest.mark.parametrize(
    ("params", "alpha", "k", "message"),
    [
        ({"alpha": 0.6}, 0.6, 2, None),
        ({"alpha": 0.6, "normalize": True}, 0.6, 2, None),
        ({"alpha": 0.6, "alpha_min": 0.7}, 0.7, 2, "alpha=0.6 is raised to 0.7"),
        ({"alpha": 0.3}, 0.52, 2, "alpha=0.3 is raised to 0.52"),
        # Mixing needs alpha above 1 / k, and k grows to floor(1 / .3) + 1 = 4.
        ({"alpha": 0.3, "normalize": True}, 0.3, 4, "top_k=2 is raised to 4"),
    ],
)
def test_a_given_alpha_is_bounded_by_what_is_given_and_by_mixing(
    params, alpha, k, message
):
    slam = SLaMDistiller(top_k=2, **params)
    knowledge = known(alpha=slam.alpha, top_k=2)
    if message is None:
        targets = slam._make_objective(knowledge).targets
    else:
        with pytest.warns(UserWarning, match=message):
            targets = slam._make_objective(knowledge).targets
    assert_allclose(targets["alpha"][1], alpha, **CLOSE)
    divisor = k - 1 if slam.normalize else 1
    assert_allclose(targets["other"][1], (1 - alpha) / divisor, **CLOSE)
    assert_array_equal(targets["top_k"][1].sum(axis=1), k)


def test_two_classes_make_both_forms_coincide_and_sum_to_one():
    labeled, codes = [[0.6, 0.4]] * 3 + [[0.9, 0.1]], [0, 1, 0, 0]
    knowledge = known(labeled, codes, [[0.4, 0.6], [0.8, 0.2]])
    f = torch.tensor([[0.3, 0.7], [0.9, 0.1]])
    losses = []
    for normalize in (True, False):
        slam = SLaMDistiller(normalize=normalize, alpha_min=0.55, vid_weight=0.0)
        objective = slam._make_objective(knowledge)
        targets = pool_targets(objective, "alpha", "other", "top_k")
        # The loss of a hard label is minus the logarithm of the mixture's entry.
        of_classes = [
            objective.loss(f.log(), labels=label.repeat(2, 1), **targets)
            for label in torch.eye(2)
        ]
        losses.append(torch.stack(of_classes, dim=1))
    assert_allclose(*losses, rtol=1e-6)
    assert_allclose(losses[0].neg().exp().sum(dim=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "codes", "unmixed"),
    [
        # Five of six rows are right, and the wrong one outweighs them.
        ([1, 1, 20, 1, 1, 1], CODES, True),
        # Two of six are right, and outweigh the others.
        ([20, 1, 1, 1, 20, 1], [0, 1, 2, 3, 0, 1], False),
        (None, [0, 1, 2, 3, 0, 1], True),
        (None, [0, 0, 0, 3, 1, 1], False),  # one half is enough
    ],
)
def test_labels_that_are_right_on_fewer_than_half_by_weight_are_unmixed(
    weights, codes, unmixed
):
    knowledge = known(codes=codes, weights=weights)
    slam = SLaMDistiller(alpha_min=0.6)
    if unmixed:
        with pytest.warns(UserWarning, match="learned unmixed"):
            targets = slam._make_objective(knowledge).targets
    else:
        targets = slam._make_objective(knowledge).targets
    assert (targets["alpha"][1] == 1).all() == unmixed
    assert (targets["other"][1] == 0).all() == unmixed


def test_only_an_estimated_alpha_of_the_form_not_normalized_is_given_up():
    wrong = {"codes": [0, 1, 2, 3, 0, 1]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        normalized = SLaMDistiller(normalize=True, alpha_min=0.6)
        given = SLaMDistiller(alpha=0.8)
        assert (
            normalized._make_objective(known(**wrong)).targets["other"][1] > 0
        ).all()
        targets = given._make_objective(known(**wrong, alpha=0.8)).targets
    assert_allclose(targets["alpha"][1], 0.8, **CLOSE)


@pytest.mark.parametrize(
    ("slam", "weight"),
    [(SLaMDistiller(), 0.1), (VIDDistiller(vid_weight=0.7), 0.7)],
)
def test_the_variational_term_is_told_what_the_teacher_says(slam, weight):
    objective = slam._make_objective(known(alpha=slam.alpha))
    assert objective.loss.weight == weight
    of_labeled, of_pool = objective.targets["teacher_log_proba"]
    assert of_labeled == 0
    # Not what becomes of it at the temperature of the labels.
    assert_allclose(of_pool, np.log(smooth(POOL)), **CLOSE)
    assert objective.targets["of_teacher"][0] is False
    assert_array_equal(objective.targets["of_teacher"][1], [True] * 4)


def test_no_variational_term_beside_a_given_alpha_or_many_classes(monkeypatch):
    given = SLaMDistiller(alpha=0.8)._make_objective(known(alpha=0.8))
    assert set(given.targets) == {"alpha", "other", "top_k"}
    monkeypatch.setattr(_slam, "MAX_VID_CLASSES", 3)
    many = SLaMDistiller()._make_objective(known())
    assert set(many.targets) == {"alpha", "other", "top_k"}


# Forward correction

# True class, what the teacher says, and weights, of rows that are new to it. The last
# row weighs nothing; of the others the weights are 1 in the mean.
TRUE, SAID = [0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 1, 0]
WEIGHTS = [1, 1.5, 0.5, 1, 1, 0]


def speaking(said, n_classes=3):
    return np.eye(n_classes)[said] * 0.7 + 0.1


def test_confusion_counts_rows_by_true_class_and_columns_by_what_is_said():
    # Weights of 3 are right, of 5: an accuracy of (3 + 1) / (5 + 2) = 4/7. Each class
    # counts as three rows more, 12/7 of them right and 9/14 of each wrong class.
    right, wrong = 12 / 7, 9 / 14
    expected = [
        [(right + 1) / 6, (wrong + 2) / 6, wrong / 6],
        [wrong / 5, (right + 2) / 5, wrong / 5],
        [wrong / 3, wrong / 3, right / 3],
    ]
    for unit in (1, 10):
        weights = unit * np.array(WEIGHTS)
        knowledge = known(speaking(SAID), TRUE, speaking([2, 2]), weights=weights)
        assert_allclose(confusion(knowledge), expected, rtol=1e-6)


def test_forward_correction_expects_what_the_teacher_says_of_a_true_class():
    knowledge = known(
        speaking(SAID), TRUE, speaking([0, 1, 2, 0, 1, 2]), weights=WEIGHTS
    )
    objective = ForwardCorrectionDistiller()._make_objective(knowledge)
    matrix = confusion(knowledge)
    # The student is sure of the class in `true`, and the teacher says another.
    true, said = [0, 0, 0, 1, 1, 2], [0, 1, 2, 0, 2, 0]
    loss = objective.loss(
        (torch.eye(3)[true] + 1e-12).log(),
        labels=torch.eye(3)[said],
        of_teacher=torch.ones(6, dtype=torch.bool),
    )
    assert_allclose(loss, -np.log(matrix[true, said]), rtol=1e-5)
    assert objective.targets["of_teacher"][0] is False
    assert_array_equal(objective.targets["of_teacher"][1], [True] * 6)


# The semiparametric correction


@pytest.mark.parametrize(("share", "least"), [(1.0, 0.1), (0.5, 0.3), (0.0, 0.1)])
def test_the_semiparametric_target_moves_towards_the_label(share, least):
    labeled = [[0.05, 0.15, 0.8], [0.5, 0.3, 0.2]]
    pool = [[0.1, 0.2, 0.7]]
    knowledge = known(labeled, [0, 1], pool, temperature=1.0)
    method = SemiparametricDistiller(correction=share, min_proba=least)
    objective = method._make_objective(knowledge)
    of_labeled, of_pool = objective.targets["wanted"]
    p = smooth(labeled)
    off = np.array([[1, 0, 0], [0, 1, 0]]) - p
    divisor = np.where(p < least, least, p)
    assert_allclose(of_labeled, np.log(p) + share * off / divisor, **CLOSE)
    assert_allclose(of_pool, np.log(smooth(pool)), **CLOSE)
    if share:
        # Up for the true class, down for others, and at .05 by .95 / min_proba.
        assert_array_equal(np.sign(of_labeled - np.log(p)), np.sign(off))
        up = of_labeled[0, 0] - np.log(p[0, 0])
        assert up == pytest.approx(share * (1 - p[0, 0]) / least, rel=1e-5)
    log_f = torch.tensor([[0.2, 0.3, 0.5]]).log()
    wanted = torch.from_numpy(of_pool)
    loss = objective.loss(log_f, labels=torch.eye(3)[:1], wanted=wanted)
    squares = (np.log([0.2, 0.3, 0.5]) - np.log(smooth(pool[0]))) ** 2
    assert_allclose(loss, squares.mean() / 2, rtol=1e-5)


def test_the_semiparametric_target_is_at_the_temperature_of_the_labels():
    knowledge = known([[0.2, 0.8]], [0], [[0.2, 0.8]], temperature=0.5)
    method = SemiparametricDistiller(correction=0.0)
    # 1 / .5 = 2: squares, .04 and .64, over their sum.
    tempered = smooth([[0.04 / 0.68, 0.64 / 0.68]])
    for part in method._make_objective(knowledge).targets["wanted"]:
        assert_allclose(part, np.log(tempered), **CLOSE)


# Uncertainty-aware selection

# At temperature 2, square roots over their sum, the third class has .074 (.01 at
# temperature 1), .034, .034, .034, .131 and .131.
UPS_POOL = [
    [0.9, 0.09, 0.01],
    [0.9, 0.098, 0.002],
    [0.9, 0.098, 0.002],
    [0.098, 0.9, 0.002],
    [0.68, 0.28, 0.04],
    [0.72, 0.24, 0.04],
]
UPS_SPREAD = [
    [0.04, 0.9, 0.0],
    [0.06, 0.0, 0.004],
    [0.04, 0.9, 0.006],
    [0.9, 0.04, 0.004],
    [0.0, 0.0, 0.0],
    [0.04, 0.04, 0.04],
]


@pytest.mark.parametrize(
    ("params", "chosen", "excluded"),
    [
        # Unsure is the second, of little confidence the fifth.
        ({}, [1, 0, 1, 1, 0, 1], [0, 1, 0, 1, 0, 0]),
        ({"min_confidence": 0.65}, [1, 0, 1, 1, 1, 1], [0, 1, 0, 1, 0, 0]),
        ({"min_confidence": 0.75}, [1, 0, 1, 1, 0, 0], [0, 1, 0, 1, 0, 0]),
        ({"max_uncertainty": 0.07}, [1, 1, 1, 1, 0, 1], [0, 1, 0, 1, 0, 0]),
        ({"max_uncertainty": 0.03}, [0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 0]),
        ({"max_negative": 0.08}, [1, 0, 1, 1, 0, 1], [1, 1, 0, 1, 0, 0]),
        ({"max_negative": 0.03}, [1, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0]),
        ({"max_negative_uncertainty": 0.007}, [1, 0, 1, 1, 0, 1], [0, 1, 1, 1, 0, 0]),
        ({"max_negative_uncertainty": 0.003}, [1, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0]),
    ],
)
def test_ups_selects_by_four_thresholds(monkeypatch, params, chosen, excluded):
    asked = []

    def spread_of(teacher, rows, classes, n_passes):
        asked.append((teacher, len(rows), len(classes), n_passes))
        return np.array(UPS_SPREAD, np.float32)

    monkeypatch.setattr(_baselines, "ensemble_spread", spread_of)
    knowledge = known(speaking(SAID), TRUE, UPS_POOL, teacher="a teacher")
    targets = UPSDistiller(n_passes=7, **params)._make_objective(knowledge).targets
    assert asked == [("a teacher", 6, 3, 7)]
    assert_array_equal(targets["chosen"][1], np.array(chosen, bool))
    of_third = targets["excluded"][1]
    assert_array_equal(of_third[:, 2], np.array(excluded, bool))
    assert not of_third[:, :2].any()
    # Labeled rows teach their label, and exclude nothing.
    assert targets["chosen"][0] is True
    assert targets["excluded"][0] is False


def test_ups_takes_a_class_at_the_least_confidence_and_none_at_the_bounds(monkeypatch):
    # Binary fractions, so that nothing is rounded. Each probability is below 1, so that
    # uncertainty alone decides what is excluded.
    spread = np.array([[0.25, 0.0, 0.0], [0.125, 0.5, 0.5]], np.float32)
    monkeypatch.setattr(_baselines, "ensemble_spread", lambda *args: spread)
    pool = [[0.75, 0.125, 0.125], [0.75, 0.125, 0.125]]
    method = UPSDistiller(
        min_confidence=0.75,
        max_uncertainty=0.25,
        max_negative=1.0,
        max_negative_uncertainty=0.5,
    )
    targets = method._make_objective(known(speaking(SAID), TRUE, pool)).targets
    assert_array_equal(targets["chosen"][1], [False, True])
    assert_array_equal(targets["excluded"][1], [[True] * 3, [True, False, False]])


def test_ups_adds_the_loss_of_what_is_chosen_to_that_of_what_is_excluded():
    objective = UPSDistiller()._make_objective
    with pytest.warns(UserWarning, match="shows no uncertainty"):
        loss = objective(known(speaking(SAID), TRUE, UPS_POOL)).loss
    f = torch.tensor([[0.5, 0.3, 0.2]]).repeat(4, 1)
    losses = loss(
        f.log(),
        labels=torch.eye(3)[[0, 0, 0, 0]],
        chosen=torch.tensor([True, True, False, False]),
        excluded=torch.tensor([[0, 0, 0], [0, 1, 1], [0, 1, 1], [0, 0, 0]]).bool(),
    )
    positive, negative = -np.log(0.5), -(np.log(0.7) + np.log(0.8)) / 2
    expected = [positive, positive + negative, negative, 0]
    assert_allclose(losses, expected, rtol=1e-5, atol=1e-7)


# Weighted distillation


def by_margin(margin, top):
    """Return probabilities of two classes."""
    proba = np.full(2, (1 - margin) / 2)
    proba[top] += margin
    return proba


# Teacher's margin and what it says, the student's margin and what it says; class 0 is
# true. The student is right of the first and the last row, where the teacher is wrong,
# and wrong with the teacher of the third.
AT_LABELED = [(0.1, 1, 0.2, 0), (0.1, 0, 0.8, 0), (0.9, 1, 0.2, 1), (0.9, 1, 0.8, 0)]

# Each is nearest to one labeled row: the last, the third, first, second. The student's
# .53 is beyond the middle between .2 and .8; of flatter logits it would not be.
AT_POOL = [
    (0.88, 0, 0.78, 1),
    (0.88, 1, 0.22, 0),
    (0.12, 0, 0.22, 1),
    (0.12, 1, 0.53, 0),
]


def refreshed_weights(method, weights=None):
    labeled, pool = (
        [by_margin(margin, top) for margin, top, *_ in rows]
        for rows in (AT_LABELED, AT_POOL)
    )
    student = [by_margin(margin, top) for *_, margin, top in AT_LABELED + AT_POOL]
    knowledge = known(labeled, [0, 0, 0, 0], pool, weights=weights, alpha=1.0)
    objective = method._make_objective(knowledge)
    logits = torch.tensor(np.log(student), dtype=torch.float32) + 5.0
    weight = torch.full((8,), 9.0)
    objective.refresh(lambda at: logits[at], {"weight": weight})
    # Labeled rows keep theirs.
    assert_array_equal(weight[:4], 9.0)
    return weight[4:]


def test_weights_are_ratios_of_losses_at_the_nearest_labeled_row():
    # The student's probabilities at margin .2 are .6 and .4, at .8 .9 and .1. The third
    # row's ratio is above 1.
    first = (0.001 - np.log(0.6)) / (0.001 - np.log(0.4))
    last = (0.001 - np.log(0.9)) / (0.001 - np.log(0.1))
    found = refreshed_weights(WeightedDistiller(n_neighbors=1))
    assert_allclose(found, [last, 1.0, first, 1.0], rtol=1e-4)
    assert first < 0.6
    assert last < 0.05


@pytest.mark.parametrize("weights", [None, [1, 2, 3, 8], [5, 2, 0, 1]])
def test_weights_average_over_neighbours_by_their_own_weights(weights):
    true = 0.001 - np.log([0.6, 0.9, 0.4, 0.9])
    said = 0.001 - np.log([0.4, 0.9, 0.6, 0.1])
    of_row = np.ones(4) if weights is None else np.array(weights, float)
    expected = (of_row @ true) / (of_row @ said)
    found = refreshed_weights(WeightedDistiller(n_neighbors=50), weights)
    assert_allclose(found, np.full(4, expected), rtol=1e-4)


def test_rows_that_weigh_nothing_are_no_neighbours():
    # Without the third row the second pool row is nearest to the last.
    last = (0.001 - np.log(0.9)) / (0.001 - np.log(0.1))
    method = WeightedDistiller(n_neighbors=1)
    assert_allclose(refreshed_weights(method, [1, 1, 0, 1])[1], last, rtol=1e-4)


def test_weights_begin_at_one_and_multiply_the_loss_of_mixing():
    knowledge = known(alpha=0.8)
    method = WeightedDistiller(alpha=0.8)
    objective = method._make_objective(knowledge)
    assert objective.targets["weight"][0] == 1
    assert_array_equal(objective.targets["weight"][1], np.ones(4))
    assert_allclose(objective.targets["alpha"][1], 0.8, **CLOSE)
    log_f = torch.full((4, 4), 0.25).log()
    targets = pool_targets(objective, "alpha", "other", "top_k")
    weight = torch.tensor([0.0, 0.25, 0.5, 1.0])
    labels = torch.tensor(POOL)
    plain = objective.loss.loss(log_f, labels=labels, **targets)
    loss = objective.loss(log_f, labels=labels, weight=weight, **targets)
    assert_allclose(loss, weight * plain, rtol=1e-6)

"""The laws of student-label mixing."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from sklearn_slam import mixing_loss
from sklearn_slam._baseline_losses import forward_corrected


def rows(n_rows=6, n_classes=5, k=3, seed=0, alpha_from=0.3):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    logits = (4 * draw(n_rows, n_classes) - 2).requires_grad_()
    labels = torch.softmax(3 * draw(n_rows, n_classes), dim=1)
    alpha = alpha_from + (1 - alpha_from) * draw(n_rows)
    top_k = one_hot(labels.topk(k, dim=1).indices, n_classes).sum(1).double()
    return logits, labels, alpha, top_k


def others_of(alpha, top_k, normalize):
    k = top_k.sum(dim=1)
    return top_k * ((1 - alpha) / (k - 1 if normalize else 1)).unsqueeze(1)


def gradient_of(loss, logits):
    return torch.autograd.grad(loss.sum(), logits)[0]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("k", [2, 5])
def test_loss_is_the_formula_and_gradient_is_its_derivative(normalize, k):
    logits, labels, alpha, top_k = rows(k=k)
    others = others_of(alpha, top_k, normalize)
    f = torch.softmax(logits, dim=1)
    mixture = alpha.unsqueeze(1) * f + others * (1 - f)
    expected = -(labels * mixture.log()).sum(dim=1)
    loss = mixing_loss(logits, labels, alpha, others)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient_of(loss, logits), gradient_of(expected, logits))
    assert torch.autograd.gradcheck(
        lambda z: mixing_loss(z, labels, alpha, others), logits
    )


def test_alpha_one_is_plain_distillation():
    logits, labels, _, top_k = rows()
    alpha = torch.ones(6, dtype=torch.float64)
    loss = mixing_loss(logits, labels, alpha, others_of(alpha, top_k, True))
    plain = cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(gradient_of(loss, logits), gradient_of(plain, logits))


def mixture_of(logits, alpha, others):
    """Return the mixture that the loss compares, of the losses of hard labels."""
    losses = [
        mixing_loss(logits, hard.expand_as(logits), alpha, others)
        for hard in torch.eye(logits.shape[1], dtype=logits.dtype)
    ]
    return torch.stack(losses, dim=1).neg().exp()


def test_two_classes_make_the_mixture_sum_to_one():
    logits, _, alpha, top_k = rows(n_classes=2, k=2)
    mixture = mixture_of(logits, alpha, others_of(alpha, top_k, True))
    torch.testing.assert_close(mixture.sum(dim=1), torch.ones_like(alpha))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("k", [2, 4])
def test_the_mixture_is_not_made_a_distribution(normalize, k):
    # With the student's mass m in the top k, 1 - f adds up to k - m there.
    logits, _, alpha, top_k = rows(k=k)
    mass = (torch.softmax(logits, dim=1) * top_k).sum(dim=1)
    total = alpha + (1 - alpha) * (k - mass) / (k - 1 if normalize else 1)
    mixture = mixture_of(logits, alpha, others_of(alpha, top_k, normalize))
    torch.testing.assert_close(mixture.sum(dim=1), total)


def test_two_classes_and_alpha_one_half_teach_nothing():
    logits, labels, _, top_k = rows(n_classes=2, k=2)
    alpha = torch.full((6,), 0.5, dtype=torch.float64)
    loss = mixing_loss(logits, labels, alpha, others_of(alpha, top_k, True))
    torch.testing.assert_close(loss, torch.full_like(loss, math.log(2)))
    torch.testing.assert_close(gradient_of(loss, logits), torch.zeros_like(logits))


def test_mass_inside_the_top_k_makes_it_forward_correction():
    k = 3
    generator = torch.Generator().manual_seed(1)
    inside = torch.rand(4, k, generator=generator, dtype=torch.float64)
    outside = torch.full((4, 2), -60.0, dtype=torch.float64)
    logits = torch.cat([inside, outside], dim=1)
    labels = torch.zeros(4, 5, dtype=torch.float64)
    labels[:, :k] = torch.softmax(inside.flip(1), dim=1)
    alpha = torch.full((4,), 0.7, dtype=torch.float64)
    top_k = torch.tensor([1.0, 1, 1, 0, 0], dtype=torch.float64).repeat(4, 1)
    loss = mixing_loss(logits, labels, alpha, others_of(alpha, top_k, True))
    ones, eye = torch.ones(k, k).double(), torch.eye(k).double()
    matrix = 0.7 * eye + 0.3 / (k - 1) * (ones - eye)
    log_f = torch.log_softmax(inside, dim=1)
    corrected = forward_corrected(log_f, labels[:, :k], matrix)
    torch.testing.assert_close(loss, corrected)
    expected = -(labels[:, :k] * (log_f.exp() @ matrix).log()).sum(dim=1)
    torch.testing.assert_close(corrected, expected)


def test_with_hard_labels_k_drops_out_of_the_form_not_normalized():
    logits, labels, alpha, _ = rows()
    hard = one_hot(labels.argmax(dim=1), 5).double()
    losses = []
    for k in (2, 5):
        top_k = one_hot(labels.topk(k, dim=1).indices, 5).sum(1).double()
        losses.append(mixing_loss(logits, hard, alpha, others_of(alpha, top_k, False)))
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("n_classes", [2, 5, 1000])
@pytest.mark.parametrize("alpha", [0.55, 1 - 1e-7, 1.0])
@pytest.mark.parametrize("hard", [True, False])
def test_extreme_logits_are_harmless(n_classes, alpha, hard):
    logits = torch.full((2, n_classes), -120.0)
    logits[0, 0] = logits[1, -1] = 120.0
    logits.requires_grad_()
    labels = torch.full((2, n_classes), 1.0 / n_classes)
    if hard:
        labels = one_hot(torch.tensor([0, 0]), n_classes).float()
    alphas = torch.full((2,), alpha)
    for k in (2, n_classes):
        top_k = torch.zeros(2, n_classes)
        top_k[:, :k] = 1
        loss = mixing_loss(logits, labels, alphas, others_of(alphas, top_k, True))
        assert torch.isfinite(loss).all()
        assert torch.isfinite(gradient_of(loss, logits)).all()
    if hard and alpha == 1:
        torch.testing.assert_close(loss, torch.tensor([0.0, 240.0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(dtype):
    logits, labels, alpha, top_k = rows()
    logits = (20 * logits.detach()).to(dtype)
    others = others_of(alpha, top_k, False)
    loss = mixing_loss(logits, labels.to(dtype), alpha.to(dtype), others.to(dtype))
    exact = mixing_loss(logits.double(), labels, alpha, others)
    torch.testing.assert_close(loss.double(), exact, rtol=0.05, atol=0.05)

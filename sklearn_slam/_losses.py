"""Losses on the student's log-probabilities, row by row: what mixing is.

The mixing loss compares a teacher's label not with the student's prediction
``f`` but with the mixture

    mix_j = alpha f_j + others_j (1 - f_j)

where ``others_j`` is the weight that the noise model gives to "the teacher said
j, and was wrong": ``(1 - alpha) / (k - 1)`` (definition) or ``1 - alpha``
(Remark B.1) on the teacher's k most likely classes, 0 elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

LossFunction = Callable[..., Tensor]
"""From log-probabilities and named targets, a row per row, to a loss per row."""


def cross_entropy(log_f: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of soft or one-hot labels and the student's prediction.

    Parameters
    ----------
    log_f, labels : Tensor of shape (n_rows, n_classes)

    Returns
    -------
    loss : Tensor of shape (n_rows,)
        In nats.
    """
    return -(labels * log_f).sum(dim=1)


def mixing_loss(
    logits: Tensor, labels: Tensor, alpha: Tensor, others: Tensor
) -> Tensor:
    """Cross-entropy of the teacher's labels and the mixed student prediction.

    Parameters
    ----------
    logits : Tensor of shape (n_rows, n_classes)
        The student's output before the softmax.
    labels : Tensor of shape (n_rows, n_classes)
        The teacher's labels, soft or one-hot; rows sum to 1.
    alpha : Tensor of shape (n_rows,)
        Probability, in (0, 1], that the teacher's top class is right.
    others : Tensor of shape (n_rows, n_classes)
        Weight of ``1 - f_j`` in the mixture: 0 outside the teacher's top k, and
        there ``(1 - alpha) / (k - 1)``, or ``1 - alpha`` without normalization.

    Returns
    -------
    loss : Tensor of shape (n_rows,)
        In nats, in float32 or the wider dtype of logits. Equals plain cross-entropy
        where ``alpha = 1``. Its first derivative by logits is exact; there is no
        second, and none by labels and weights, which are taken for constants.

    References
    ----------
    Kontonis et al., "SLaM: Student-Label Mixing for Distillation with Unlabeled
    Examples", NeurIPS 2023, Definition 3.1 and Remark B.1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_slam import mixing_loss
    >>> logits = torch.tensor([[2.0, 0.0]])
    >>> labels = torch.tensor([[0.9, 0.1]])
    >>> sure, no_others = torch.tensor([1.0]), torch.zeros(1, 2)
    >>> plain = mixing_loss(logits, labels, sure, no_others)
    >>> torch.allclose(plain, torch.nn.functional.cross_entropy(logits, labels))
    True
    >>> mixing_loss(logits, labels, torch.tensor([0.8]), torch.full((1, 2), 0.2))
    tensor([0.4155])
    """
    # Half precision holds neither 1 / f nor the logarithm of small f.
    dtype = torch.promote_types(logits.dtype, torch.float32)
    log_f = torch.log_softmax(logits, dim=1, dtype=dtype)
    return _mixing_loss(log_f, labels.to(dtype), alpha.to(dtype), others.to(dtype))


def mixing_gradient(
    log_f: Tensor, labels: Tensor, alpha: Tensor, others: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mixing loss per row and its derivative by that row's ``log_f``.

    Parameters
    ----------
    log_f : Tensor of shape (n_rows, n_classes)
        Logarithm of the student's prediction.
    labels, alpha, others : Tensor
        As in :func:`mixing_loss`.
    """
    # The mixture is f times `ratio`, so that its logarithm stays exact where
    # f underflows. 1 / f must not overflow: under exp(-80) the mixture is `others` to
    # the last digit where there are others, and f elsewhere.
    bounded = log_f.clamp_min(-80.0)
    slope = alpha.unsqueeze(1) - others
    ratio = torch.addcmul(slope, others, bounded.neg().exp_())
    log_mixture = torch.where(others > 0, bounded, log_f).add_(ratio.log())
    loss = log_mixture.mul_(labels).sum(dim=1).neg_()
    # The derivative is -y_j (alpha - others_j) f_j / mix_j.
    return loss, slope.mul_(labels).div_(ratio).neg_()


@runtime_checkable
class Differentiated(Protocol):
    """A loss per row that can differentiate itself.

    Closed forms are exact where autograd's tape overflows, and on small batches,
    where each recorded operation costs more than its arithmetic, much cheaper.
    """

    def __call__(self, log_f: Tensor, *args: Any, **targets: Any) -> Tensor:
        """Return the loss per row; autograd may differentiate it, too."""

    def weighted_gradient(
        self, log_f: Tensor, shares: Tensor, *args: Any, **targets: Any
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the losses and its derivative by ``log_f``.

        Parameters of the loss itself are left their gradients.
        """


class ClosedForm:
    """A loss per row whose derivative is written out.

    Called, it is a loss like any other, differentiable once.

    Parameters
    ----------
    with_gradient : callable
        From log-probabilities and targets to the loss per row and its derivative by
        that row's log-probabilities, a row per row.
    """

    def __init__(self, with_gradient: Callable[..., tuple[Tensor, Tensor]]) -> None:
        self.with_gradient = with_gradient

    def __call__(self, log_f: Tensor, *args: Tensor, **targets: Tensor) -> Tensor:
        """Return the loss per row; the added term is zero and has the gradient."""
        with torch.no_grad():
            loss, gradient = self.with_gradient(log_f, *args, **targets)
        return loss + ((log_f - log_f.detach()) * gradient).sum(dim=1)

    def weighted_gradient(
        self, log_f: Tensor, shares: Tensor, **targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the losses and its derivative by ``log_f``."""
        losses, gradient = self.with_gradient(log_f, **targets)
        return torch.dot(losses, shares), gradient.mul_(shares.unsqueeze(1))


_mixing_loss = ClosedForm(mixing_gradient)

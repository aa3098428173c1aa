"""Losses of the methods that mixing is compared with, on log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_slam._losses import Differentiated, cross_entropy


def taylor_cross_entropy(log_f: Tensor, labels: Tensor, order: int) -> Tensor:
    """Sum the first terms of the Taylor series of cross-entropy at probability 1.

    Parameters
    ----------
    log_f, labels : Tensor of shape (n_rows, n_classes)
    order : int
        Number of terms: 1 is half the mean absolute error of one-hot labels, many
        are cross-entropy.

    Returns
    -------
    loss : Tensor of shape (n_rows,)

    References
    ----------
    Feng et al., "Can Cross Entropy Loss Be Robust to Label Noise?", IJCAI 2020.
    """
    missed = 1.0 - log_f.exp()
    total, power = missed, missed
    for term in range(2, order + 1):
        power = power * missed
        total = total + power / term
    return (labels * total).sum(dim=1)


def forward_corrected(log_f: Tensor, labels: Tensor, transition: Tensor) -> Tensor:
    """Compare labels with the student's prediction of what the teacher says.

    Parameters
    ----------
    log_f, labels : Tensor of shape (n_rows, n_classes)
    transition : Tensor of shape (n_classes, n_classes)
        Probability that the teacher says j (column) where i (row) is true; positive.

    Returns
    -------
    loss : Tensor of shape (n_rows,)
        In nats. The identity in the place of ``transition`` gives cross-entropy.

    References
    ----------
    Patrini et al., "Making Deep Neural Networks Robust to Label Noise: A Loss
    Correction Approach", CVPR 2017, Theorem 2.
    """
    said = log_f.exp() @ transition.to(log_f.device)
    return -(labels * said.clamp_min(torch.finfo(said.dtype).tiny).log()).sum(dim=1)


def negative_learning(log_f: Tensor, excluded: Tensor) -> Tensor:
    """Mean of ``-log(1 - f_c)`` over the classes that a row is known not to have.

    Parameters
    ----------
    log_f : Tensor of shape (n_rows, n_classes)
    excluded : Tensor of bool, shape (n_rows, n_classes)
        A row without any costs nothing.

    Returns
    -------
    loss : Tensor of shape (n_rows,)
        In nats.
    """
    # Of the likeliest class, 1 - f may be 0 to the last digit: it is what others have.
    top = log_f.argmax(dim=1, keepdim=True)
    of_others = log_f.scatter(1, top, -torch.inf).logsumexp(dim=1, keepdim=True)
    # No other has more than a half.
    log_rest = torch.log1p(-log_f.exp().clamp_max(0.5)).scatter(1, top, of_others)
    return -(log_rest * excluded).sum(dim=1) / excluded.sum(dim=1).clamp_min(1)


def squared_logit_error(log_f: Tensor, wanted: Tensor) -> Tensor:
    """Half the mean squared difference of log-probabilities.

    Parameters
    ----------
    log_f, wanted : Tensor of shape (n_rows, n_classes)

    Returns
    -------
    loss : Tensor of shape (n_rows,)
    """
    return 0.5 * (log_f - wanted).square().mean(dim=1)


class VariationalDistance(nn.Module):
    """A loss plus the variational bound on information shared with the teacher.

    The teacher's log-probabilities are seen as normally distributed around a linear
    function of the student's, with a variance learned for each class.

    Parameters
    ----------
    loss : Differentiated
        From log-probabilities and targets to a loss per row.
    n_classes : int
    weight : float
        Of the added term.

    References
    ----------
    Ahn et al., "Variational Information Distillation for Knowledge Transfer", CVPR
    2019, Equations 3 to 6.
    """

    def __init__(self, loss: Differentiated, n_classes: int, weight: float) -> None:
        super().__init__()
        self.loss = loss
        self.weight = weight
        # At first the student's own; nothing is drawn from a random state.
        self.matrix = nn.Parameter(torch.eye(n_classes, dtype=torch.float32))
        self.offset = nn.Parameter(torch.zeros_like(self.matrix[0]))
        # softplus of this is 5.
        self.rho = nn.Parameter(torch.full_like(self.offset, math.log(math.expm1(5.0))))

    @property
    def variance(self) -> Tensor:
        """Of the teacher's log-probability of each class."""
        return nn.functional.softplus(self.rho) + 1e-5

    def forward(
        self,
        log_f: Tensor,
        *,
        teacher_log_proba: Tensor,
        of_teacher: Tensor,
        **targets: Tensor,
    ) -> Tensor:
        """Return the loss per row; rows that no teacher labeled lack the term.

        So do all rows outside training: the variances are learned, so that the term
        keeps falling when the student has long begun to learn the labels' noise, and
        early stopping would not see it.
        """
        loss = self.loss(log_f, **targets)
        if not self.training:
            return loss
        off = torch.addmm(self.offset, log_f, self.matrix) - teacher_log_proba
        variance = self.variance
        distance = 0.5 * (off.square() / variance + variance.log()).mean(dim=1)
        return loss + of_teacher * distance * self.weight

    def weighted_gradient(
        self,
        log_f: Tensor,
        shares: Tensor,
        *,
        teacher_log_proba: Tensor,
        of_teacher: Tensor,
        **targets: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the losses and its derivative by ``log_f``."""
        loss, gradient = self.loss.weighted_gradient(log_f, shares, **targets)
        off = torch.addmm(self.offset, log_f, self.matrix).sub_(teacher_log_proba)
        variance = self.variance
        of_row = shares * of_teacher * (self.weight / len(variance))
        by_mean = (off / variance).mul_(of_row.unsqueeze(1))
        squares, total = off.mul_(by_mean).sum(dim=0), of_row.sum()
        loss += 0.5 * (squares.sum() + total * variance.log().sum())
        gradient.addmm_(by_mean, self.matrix.T)
        self.matrix.grad = log_f.T @ by_mean
        self.offset.grad = by_mean.sum(dim=0)
        # The derivative of softplus is the logistic function.
        self.rho.grad = 0.5 * (total - squares) / variance * self.rho.sigmoid()
        return loss, gradient


def where_taught(loss: Callable[..., Tensor], *fixed: Any) -> Callable[..., Tensor]:
    """Return a loss that compares labels by cross-entropy, a teacher's by ``loss``."""

    def chosen(log_f: Tensor, labels: Tensor, of_teacher: Tensor) -> Tensor:
        taught = loss(log_f, labels, *fixed)
        return torch.where(of_teacher, taught, cross_entropy(log_f, labels))

    return chosen

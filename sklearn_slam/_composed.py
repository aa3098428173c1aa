"""Methods that student-label mixing composes with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from sklearn_slam._docs import document_like
from sklearn_slam._knowledge import Knowledge, Objective
from sklearn_slam._rows import CHUNK_ROWS
from sklearn_slam._slam import SLaMDistiller
from sklearn_slam._soft_labels import margins
from sklearn_slam._validation import check_integer

LEAST_LOSS = 1e-3
"""Added to losses whose ratio is taken: the student may be sure."""


@document_like(SLaMDistiller)
class WeightedDistiller(SLaMDistiller):
    """Weighted distillation: pool rows count less where the teacher misleads.

    Parameters
    ----------
    n_neighbors : int, default=50
        Labeled rows that a weight is averaged over (all, where there are fewer).
    alpha : {"isotonic"}, float or callable, default=1.0
        As in :class:`SLaMDistiller`. 1 leaves mixing out; "isotonic" combines
        both, as in the paper.
    teacher_temperature : {"auto"} or float, default=1.0
        Sharpening of the teacher's labels: 1 leaves them, 0 makes them hard, "auto"
        is 0.7 times the temperature that calibrates the teacher.

    Notes
    -----
    A weight is ``1 / (1 + p (d - 1))``, with p the probability that the teacher is
    wrong and d the student's loss on wrong labels over that on right ones. Both are
    averaged over the labeled rows nearest in the plane of teacher margin and student
    margin, as the ratio of mean losses, bounded by 1; weights are refreshed before
    each epoch.

    Reconstructed: the algebra is the paper's, the estimate's details are not known
    to be. The student trains on the labeled rows too, so its losses there are low.

    References
    ----------
    Iliopoulos et al., "Weighted Distillation with Unlabeled Examples", NeurIPS
    2022, arXiv:2210.06711.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_slam import WeightedDistiller
    >>> X, y = make_classification(500, class_sep=2.0, random_state=0)
    >>> model = WeightedDistiller(GaussianNB(), random_state=0)
    >>> model = model.fit(X[:100], y[:100], X_unlabeled=X[100:400])
    >>> model.score(X[400:], y[400:]) > 0.8
    True
    """

    def __init__(
        self,
        teacher: Any = None,
        student: Any = None,
        *,
        n_neighbors: int = 50,
        alpha: Literal["isotonic"] | float | Callable[[Any], Any] = 1.0,
        alpha_min: float | Literal["auto"] = "auto",
        top_k: Literal["auto"] | int = "auto",
        top_k_accuracy: float = 0.9,
        normalize: bool = False,
        peers: bool | Literal["auto"] = "auto",
        vid_weight: float | Literal["auto"] = "auto",
        teacher_temperature: float | Literal["auto"] = 1.0,
        labeled_weight: float | Literal["auto"] = "auto",
        calibrate: bool = True,
        cv: Any = 5,
        unlabeled_label: Any = None,
        max_epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        lr: float | Literal["auto"] = "auto",
        weight_decay: float | Literal["auto"] = "auto",
        early_stopping: bool | Literal["auto"] = "auto",
        device: str | None = None,
        n_jobs: int | None = None,
        memory: Any = None,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            teacher,
            student,
            alpha=alpha,
            alpha_min=alpha_min,
            top_k=top_k,
            top_k_accuracy=top_k_accuracy,
            normalize=normalize,
            peers=peers,
            vid_weight=vid_weight,
            teacher_temperature=teacher_temperature,
            labeled_weight=labeled_weight,
            calibrate=calibrate,
            cv=cv,
            unlabeled_label=unlabeled_label,
            max_epochs=max_epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            early_stopping=early_stopping,
            device=device,
            n_jobs=n_jobs,
            memory=memory,
            verbose=verbose,
            random_state=random_state,
        )
        self.n_neighbors = n_neighbors

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_integer("n_neighbors", self.n_neighbors, 1)

    def _make_objective(self, knowledge: Knowledge) -> Objective:
        objective = super()._make_objective(knowledge)
        n_labeled, n_pool = len(knowledge.task.codes), len(knowledge.pool)
        weights = knowledge.labeled_weights
        (counted,) = np.nonzero(weights)
        of_labeled = margins(knowledge.labeled_proba)[counted]
        teacher_margin = margins(knowledge.pool_proba)
        said = torch.from_numpy(knowledge.labeled_proba.argmax(axis=1)[counted])
        true = torch.from_numpy(knowledge.task.codes[counted])
        weights = weights[counted]
        n_neighbors = min(int(self.n_neighbors), len(counted))

        def refresh(
            logits_at: Callable[[Tensor], Tensor], targets: Mapping[str, Tensor]
        ) -> None:
            logits = logits_at(torch.arange(n_labeled + n_pool))
            margin = margins(torch.softmax(logits, dim=1).numpy())
            log_f = torch.log_softmax(logits[counted], dim=1)
            losses = (
                log_f.gather(1, at[:, None]).neg().double().numpy()[:, 0] + LEAST_LOSS
                for at in (true, said)
            )
            of_true, of_said = (weights * loss for loss in losses)
            plane = np.column_stack([of_labeled, margin[counted]])
            nearest = NearestNeighbors(n_neighbors=n_neighbors).fit(plane)
            of_pool = np.column_stack([teacher_margin, margin[n_labeled:]])
            weight = targets["weight"][n_labeled:]
            for start in range(0, n_pool, CHUNK_ROWS):
                rows = slice(start, start + CHUNK_ROWS)
                among = nearest.kneighbors(of_pool[rows], return_distance=False)
                ratio = of_true[among].sum(axis=1) / of_said[among].sum(axis=1)
                weight[rows] = torch.from_numpy(ratio).clamp_max(1.0)

        return Objective(
            Weighted(objective.loss),
            {**objective.targets, "weight": (1.0, np.ones(n_pool, np.float32))},
            refresh,
        )


@document_like(SLaMDistiller)
class VIDDistiller(SLaMDistiller):
    """Variational information distillation, on the teacher's log-probabilities.

    Parameters
    ----------
    vid_weight : float, default=0.1
        Weight of the variational term, at least 0; 0 leaves it out.
    alpha : {"isotonic"}, float or callable, default=1.0
        As in :class:`SLaMDistiller`. 1 leaves mixing out; "isotonic" combines
        both, as in the paper.
    teacher_temperature : {"auto"} or float, default=1.0
        Sharpening of the teacher's labels: 1 leaves them, 0 makes them hard, "auto"
        is 0.7 times the temperature that calibrates the teacher.

    Notes
    -----
    To the loss on a pool row the mean over classes of
    ``(mu - h)^2 / (2 sigma^2) + log(sigma^2) / 2`` is added, where h are the
    teacher's log-probabilities, mu is a linear function of the student's, and
    sigma^2 is learned for each class. The original compares hidden features, which a
    teacher that is no network does not show.

    References
    ----------
    Ahn et al., "Variational Information Distillation for Knowledge Transfer", CVPR
    2019.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_slam import VIDDistiller
    >>> X, y = make_classification(500, class_sep=2.0, random_state=0)
    >>> model = VIDDistiller(GaussianNB(), random_state=0)
    >>> model = model.fit(X[:100], y[:100], X_unlabeled=X[100:400])
    >>> model.score(X[400:], y[400:]) > 0.8
    True
    """

    def __init__(
        self,
        teacher: Any = None,
        student: Any = None,
        *,
        vid_weight: float = 0.1,
        alpha: Literal["isotonic"] | float | Callable[[Any], Any] = 1.0,
        alpha_min: float | Literal["auto"] = "auto",
        top_k: Literal["auto"] | int = "auto",
        top_k_accuracy: float = 0.9,
        normalize: bool = False,
        peers: bool | Literal["auto"] = "auto",
        teacher_temperature: float | Literal["auto"] = 1.0,
        labeled_weight: float | Literal["auto"] = "auto",
        calibrate: bool = True,
        cv: Any = 5,
        unlabeled_label: Any = None,
        max_epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        lr: float | Literal["auto"] = "auto",
        weight_decay: float | Literal["auto"] = "auto",
        early_stopping: bool | Literal["auto"] = "auto",
        device: str | None = None,
        n_jobs: int | None = None,
        memory: Any = None,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            teacher,
            student,
            alpha=alpha,
            alpha_min=alpha_min,
            top_k=top_k,
            top_k_accuracy=top_k_accuracy,
            normalize=normalize,
            peers=peers,
            vid_weight=vid_weight,
            teacher_temperature=teacher_temperature,
            labeled_weight=labeled_weight,
            calibrate=calibrate,
            cv=cv,
            unlabeled_label=unlabeled_label,
            max_epochs=max_epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            early_stopping=early_stopping,
            device=device,
            n_jobs=n_jobs,
            memory=memory,
            verbose=verbose,
            random_state=random_state,
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.vid_weight == "auto":
            raise ValueError(
                "vid_weight='auto' depends on mixing, which VIDDistiller leaves out; "
                "give a number of at least 0, such as 0.1."
            )


class Weighted(nn.Module):
    """A loss that is multiplied by the target ``weight``.

    In training only: where weights fall from epoch to epoch, so would the loss of
    held-out rows, and early stopping would not see that the student gets worse.

    Parameters
    ----------
    loss : Differentiated
        From log-probabilities and targets to a loss per row; a module's parameters
        are kept.
    """

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, log_f: Tensor, *, weight: Tensor, **targets: Tensor) -> Tensor:
        """Return the weighted loss per row."""
        loss = self.loss(log_f, **targets)
        return weight * loss if self.training else loss

    def weighted_gradient(
        self, log_f: Tensor, shares: Tensor, *, weight: Tensor, **targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the losses and its derivative by ``log_f``."""
        return self.loss.weighted_gradient(log_f, shares * weight, **targets)

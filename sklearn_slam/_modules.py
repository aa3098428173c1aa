"""The default student's network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

EMBEDDING_SCALE = 0.1
"""Initial standard deviation of the categories' vectors, that of the rest of the
first layer by order of magnitude."""


class PiecewiseLinear(nn.Module):
    """Numbers as their places within bins: -1 below a bin, 1 above, linear inside.

    Parameters
    ----------
    edges : mapping of int to sequence of float
        Increasing edges of the bins of a column. A column with fewer bins than others
        is filled up with bins that are always 0.
    """

    def __init__(self, edges: Mapping[int, Sequence[float]]) -> None:
        super().__init__()
        self.columns: Tensor
        self.slope: Tensor
        self.offset: Tensor
        width = max(map(len, edges.values())) - 1
        slope = np.zeros((len(edges), width), dtype=np.float32)
        offset = np.zeros_like(slope)
        for row, of_column in enumerate(edges.values()):
            low, high = np.array(of_column[:-1]), np.array(of_column[1:])
            slope[row, : len(low)] = 2 / (high - low)
            offset[row, : len(low)] = -(high + low) / (high - low)
        self.register_buffer("columns", torch.tensor(list(edges)))
        self.register_buffer("slope", torch.from_numpy(slope))
        self.register_buffer("offset", torch.from_numpy(offset))

    def forward(self, X: Tensor) -> Tensor:
        """Return places of shape (n_rows, n_binned_columns * n_bins)."""
        taken = X.index_select(1, self.columns).unsqueeze(2)
        return torch.addcmul(self.offset, taken, self.slope).clamp(-1.0, 1.0).flatten(1)


class TabularMLP(nn.Module):
    """Multilayer perceptron on encoded tables; returns logits.

    Categories enter by a learned vector each, added to the first layer: a one-hot
    layer without the one-hot matrix, so that stored rows stay narrow.

    Numbers enter as they are and, where the encoder found bins, piecewise linearly:
    one hidden layer can then treat ranges of a number apart (Gorishniy et al., "On
    Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022).

    Parameters
    ----------
    n_numeric : int
        Leading columns that hold numbers.
    bin_edges : mapping of int to sequence of float
        Increasing edges of the bins of some of these columns.
    n_categories : sequence of int
        Number of codes of each further column.
    hidden_layer_sizes : sequence of int
    n_classes : int
    dropout : float
    """

    def __init__(
        self,
        *,
        n_numeric: int,
        bin_edges: Mapping[int, Sequence[float]],
        n_categories: Sequence[int],
        hidden_layer_sizes: Sequence[int],
        n_classes: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.arguments = {
            "n_numeric": n_numeric,
            "bin_edges": {at: list(edges) for at, edges in bin_edges.items()},
            "n_categories": list(n_categories),
            "hidden_layer_sizes": list(hidden_layer_sizes),
            "n_classes": n_classes,
            "dropout": dropout,
        }
        self.bins = PiecewiseLinear(bin_edges) if bin_edges else None
        n_binned = 0 if self.bins is None else self.bins.slope.numel()
        self.code_offset: Tensor
        self.n_numeric = n_numeric
        starts = np.cumsum([0, *n_categories])
        self.register_buffer("code_offset", torch.from_numpy(starts[:-1]))
        first, *rest = [*hidden_layer_sizes, n_classes]
        n_in = n_numeric + n_binned
        self.numbers = nn.Linear(n_in, first) if n_in else None
        self.categories: nn.EmbeddingBag | None = None
        if n_categories:
            self.categories = nn.EmbeddingBag(int(starts[-1]), first, mode="sum")
            nn.init.normal_(self.categories.weight, std=EMBEDDING_SCALE)
        layers: list[nn.Module] = []
        for n_in, n_out in zip([first, *rest], rest, strict=False):
            layers += [nn.ReLU()] + [nn.Dropout(dropout)] * bool(dropout)
            layers.append(nn.Linear(n_in, n_out))
        self.head = nn.Sequential(*layers)

    def forward(self, X: Tensor) -> Tensor:
        """Return logits of shape (n_rows, n_classes)."""
        hidden = torch.zeros(())
        if self.numbers is not None:
            numbers = X[:, : self.n_numeric]
            if self.bins is not None:
                numbers = torch.cat([numbers, self.bins(numbers)], dim=1)
            hidden = self.numbers(numbers)
        if self.categories is not None:
            codes = X[:, self.n_numeric :].long() + self.code_offset
            hidden = hidden + self.categories(codes)
        return self.head(hidden)

    def __getstate__(self) -> dict[str, Any]:
        """Return arguments and plain arrays, which skops can audit, unlike tensors."""
        weights = self.state_dict()
        return {
            "arguments": self.arguments,
            "weights": {name: part.numpy(force=True) for name, part in weights.items()},
            "training": self.training,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build the network anew; no weight is drawn that is replaced at once."""
        with torch.device("meta"):
            TabularMLP.__init__(self, **state["arguments"])
        weights = {name: torch.tensor(part) for name, part in state["weights"].items()}
        self.load_state_dict(weights, assign=True)
        self.train(state["training"])


def as_columns(output: Tensor, n_columns: int) -> Tensor:
    """Return what a module says of rows in float32, a column for each of its numbers.

    A module may squeeze its output, and that of a single row has lost its shape then.
    """
    return output.reshape(-1, n_columns).float()


def two_logits(output: Tensor) -> Tensor:
    """Return logits with a column for each class, where one stands for two."""
    if output.shape[1] == 1:
        # A product, since an ONNX graph would keep the number of zeros it was made for.
        output = output * output.new_tensor([0.0, 1.0])
    return output

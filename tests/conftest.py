"""Data that several test modules share."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_equal
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

from sklearn_slam import _peers


@pytest.fixture
def three_classes():
    """Rows of three separable classes and their labels, in float64 arrays."""
    return make_classification(
        n_samples=400,
        n_features=8,
        n_informative=6,
        n_classes=3,
        class_sep=2.0,
        random_state=0,
    )


@pytest.fixture
def table(three_classes):
    """Labeled rows and a pool."""
    X, y = three_classes
    return X[:90], y[:90], X[90:]


@pytest.fixture
def teacher():
    return LogisticRegression(max_iter=1000)


@pytest.fixture
def leaves_random_state():
    """Fail where numpy's or torch's global random state is not left as found."""
    of_numpy = np.random.get_state(legacy=False)  # noqa: NPY002
    of_torch = torch.get_rng_state()
    yield
    assert_equal(np.random.get_state(legacy=False), of_numpy)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), of_torch)


@pytest.fixture
def quick_peers(monkeypatch):
    """Let peers learn less: they take most of a small fit's time."""
    monkeypatch.setitem(_peers.NETWORK, "max_epochs", 10)
    monkeypatch.setattr(_peers, "MAX_TREES", 10)


@pytest.fixture
def frame():
    """A frame with numbers, missing values, strings, categories and booleans."""
    pd = pytest.importorskip("pandas")  # `make package` tests without extras
    rng = np.random.RandomState(0)
    n_rows = 300
    number = rng.normal(size=n_rows)
    town = rng.choice(["north", "south", "west"], n_rows)
    X = pd.DataFrame(
        {
            "number": np.where(rng.uniform(size=n_rows) < 0.1, np.nan, number),
            "count": rng.randint(0, 5, n_rows),
            "town": town,
            "grade": pd.Categorical(rng.choice(["a", "b", None], n_rows)),
            "member": rng.uniform(size=n_rows) < 0.5,
        }
    )
    y = np.where((number > 0) ^ (town == "north"), "yes", "no")
    return X, y


@pytest.fixture
def two_threads():
    """Two of torch's threads, however many the suite runs with."""
    found = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(found)

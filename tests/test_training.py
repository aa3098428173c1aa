from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_array_equal
from skorch.history import History
from torch import nn

from sklearn_slam._lesson import Lesson, Split
from sklearn_slam._losses import ClosedForm, cross_entropy
from sklearn_slam._rows import Rows
from sklearn_slam._training import (
    FLOPS_PER_THREAD,
    DenseRows,
    HeldOutError,
    LazyRows,
    RowLoss,
    SparseRows,
    StudentNet,
    TensorBatches,
    TrainingSet,
    seeded,
    sensible_threads,
)

N_CLASSES = 3
SIZES = [(10, 50), (50, 10), (0, 50), (50, 0), (1, 7), (7, 1)]


def dense(X):
    return DenseRows(torch.from_numpy(X))


def sparse(X):
    return SparseRows(sp.csr_matrix(X))


def lazy(X):
    half = len(X) // 2
    rows = Rows.of(X[:half]) + Rows(((X, np.arange(half, len(X))),))
    return LazyRows(rows, np.asarray)


def training_set(
    n_labeled=10, n_pool=50, *, share=0.3, weighted=False, source=dense, seed=0
):
    n_rows = n_labeled + n_pool
    number = torch.arange(n_rows)
    targets = {
        "labels": torch.nn.functional.one_hot(number % N_CLASSES, N_CLASSES).float(),
        "number": number,
    }
    weights = None
    if weighted:
        weights = 0.5 + (number % 2).float()
    return TrainingSet(
        source=source(number.numpy().astype(np.float32)[:, None]),
        targets=targets,
        weights=weights,
        labeled=number[:n_labeled],
        pool=number[n_labeled:],
        labeled_share=share,
        criterion=RowLoss(cross_entropy, lambda output: output),
        generator=torch.Generator().manual_seed(seed),
    )


def epoch(data, batch_size=8, *, shuffle=True):
    batches = TensorBatches(data, batch_size, shuffle=shuffle)
    passed = []
    for X, labels in batches:
        criterion = data.criterion
        passed.append((X, labels, criterion.targets, criterion.shares))
    assert len(passed) == len(batches)
    return passed


def numbers(passed):
    return torch.cat([targets["number"] for _, _, targets, _ in passed])


@pytest.mark.parametrize(("n_labeled", "n_pool"), [(10, 50), (0, 50), (0, 48), (3, 6)])
@pytest.mark.parametrize("batch_size", [2, 8, 1000])
def test_pool_passes_once_up_to_the_dropped_batch(n_labeled, n_pool, batch_size):
    data = training_set(n_labeled, n_pool)
    of_pool = TensorBatches(data, batch_size, shuffle=True).n_pool
    seen = numbers(epoch(data, batch_size))
    times = Counter(seen[seen >= n_labeled].tolist())
    assert set(times.values()) == {1}
    assert len(times) == n_pool - n_pool % of_pool


def test_labels_pass_once_without_a_pool():
    seen = numbers(epoch(training_set(48, 0)))
    assert_array_equal(seen.sort().values, np.arange(48))


def test_labeled_rows_come_again_only_when_all_have_come():
    seen = numbers(epoch(training_set(10, 200)))
    times = Counter(seen[seen < 10].tolist())
    assert len(times) == 10
    assert max(times.values()) - min(times.values()) <= 1


@pytest.mark.parametrize(
    ("n_labeled", "n_pool", "shuffle"),
    [(*sizes, True) for sizes in SIZES] + [(10, 50, False), (0, 50, False)],
)
@pytest.mark.parametrize("source", [dense, sparse, lazy])
def test_targets_stay_with_their_rows(source, n_labeled, n_pool, shuffle):
    data = training_set(n_labeled, n_pool, source=source)
    for X, labels, targets, shares in epoch(data, shuffle=shuffle):
        assert X.dtype == torch.float32
        assert_array_equal(X[:, 0], targets["number"])
        assert_array_equal(labels, targets["number"] % N_CLASSES)
        assert_array_equal(labels, targets["labels"].argmax(dim=1))
        assert len(shares) == len(X)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 1.0])
@pytest.mark.parametrize(("n_labeled", "n_pool"), [(10, 50), (50, 10), (1, 7), (7, 1)])
def test_labeled_part_carries_its_share(n_labeled, n_pool, share):
    data = training_set(n_labeled, n_pool, share=share)
    for _, _, targets, shares in epoch(data):
        of_labeled = shares[targets["number"] < n_labeled]
        assert 0 < len(of_labeled) < len(shares)
        torch.testing.assert_close(shares.sum(), torch.tensor(1.0))
        torch.testing.assert_close(of_labeled.sum(), torch.tensor(share))


@pytest.mark.parametrize(("n_labeled", "n_pool"), [(0, 50), (50, 0)])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_part_alone_carries_all(n_labeled, n_pool, share):
    for *_, shares in epoch(training_set(n_labeled, n_pool, share=share)):
        torch.testing.assert_close(shares.sum(), torch.tensor(1.0))


def test_weights_multiply_shares():
    plain, weighted = (epoch(training_set(weighted=w)) for w in (False, True))
    for (*_, targets, shares), (*_, same, products) in zip(
        plain, weighted, strict=True
    ):
        assert_array_equal(targets["number"], same["number"])
        weights = 0.5 + (targets["number"] % 2).float()
        torch.testing.assert_close(products, shares * weights)


@pytest.mark.parametrize("batch_size", [7, 8, 1000])
@pytest.mark.parametrize(
    ("n_labeled", "n_pool", "part"), [(10, 50, "pool"), (50, 0, "labeled")]
)
def test_without_shuffling_one_part_passes_whole_and_in_order(
    n_labeled, n_pool, part, batch_size
):
    data = training_set(n_labeled, n_pool)
    passed = epoch(data, batch_size, shuffle=False)
    assert_array_equal(numbers(passed), getattr(data, part))
    for *_, shares in passed:
        torch.testing.assert_close(shares.sum(), torch.tensor(1.0))


def test_generator_decides_the_order():
    orders = [numbers(epoch(training_set(seed=seed))) for seed in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_epochs_differ():
    data = training_set()
    assert not torch.equal(numbers(epoch(data)), numbers(epoch(data)))


@pytest.mark.parametrize("batch_size", [2, 8, 32, 1000])
@pytest.mark.parametrize(("n_labeled", "n_pool"), SIZES)
def test_batches_are_of_the_size_asked_for(n_labeled, n_pool, batch_size):
    for X, *_ in epoch(training_set(n_labeled, n_pool), batch_size):
        assert len(X) == min(batch_size, n_labeled + n_pool)


def test_batch_of_one_row_still_holds_both_parts():
    for _, _, targets, _ in epoch(training_set(), 1):
        assert (targets["number"] < 10).tolist() == [True, False]


def test_many_labels_beside_a_small_pool_make_as_many_batches_as_alone():
    few = TensorBatches(training_set(1_000, 5), 32, shuffle=True)
    alone = TensorBatches(training_set(1_000, 0), 32, shuffle=True)
    assert len(few) == len(alone) == 31


def test_set_reads_as_rows_and_labels_of_the_larger_part():
    data = training_set(10, 50)
    assert len(data) == 50
    for at in (0, 17, 49):
        row, label = data[at]
        assert row.tolist() == [10 + at]
        assert label == (10 + at) % N_CLASSES


def test_loss_is_the_shared_sum_over_rows():
    data = training_set(weighted=True)
    for X, labels, targets, shares in epoch(data):
        logits = X * torch.tensor([0.01, -0.02, 0.03])
        log_f = torch.log_softmax(logits, dim=1)
        expected = (cross_entropy(log_f, targets["labels"]) * shares).sum()
        data.criterion.targets, data.criterion.shares = (
            {"labels": targets["labels"]},
            shares,
        )
        torch.testing.assert_close(data.criterion(logits, labels), expected)


class Scaled(nn.Module):
    """A loss with a parameter of its own, which autograd has to reach."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, log_f, labels):
        return self.scale * cross_entropy(log_f, labels)


@ClosedForm
def written_out(log_f, labels):
    return cross_entropy(log_f, labels), -labels


@pytest.mark.parametrize("loss", [cross_entropy, written_out, Scaled()])
def test_backward_gives_the_loss_and_its_derivative(loss):
    data = training_set(weighted=True)
    criterion = RowLoss(loss, lambda output: 0.5 * output)
    weight = torch.tensor([[0.01, -0.02, 0.03]], requires_grad=True)
    for X, _, targets, criterion.shares in epoch(data):
        criterion.targets = {"labels": targets["labels"]}
        expected = criterion(X @ weight)
        learned = [weight, *criterion.parameters()]
        wanted = torch.autograd.grad(expected, learned)
        for parameter in learned:
            parameter.grad = None
        value = criterion.backward(X @ weight)
        assert not value.requires_grad
        torch.testing.assert_close(value, expected.detach())
        torch.testing.assert_close([part.grad for part in learned], list(wanted))


def test_seed_decides_within_and_leaves_no_trace():
    before = torch.random.get_rng_state()
    draws = []
    for _ in range(2):
        with seeded(3) as generator:
            draws.append((torch.rand(4), torch.rand(4, generator=generator)))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(map(torch.equal, *draws))


def test_seed_leaves_gpus_alone_that_nobody_uses(monkeypatch):
    asked = []
    for name, value in (("is_available", True), ("is_initialized", False)):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", asked.append)
    for name in ("get_rng_state", "set_rng_state"):
        monkeypatch.setattr(torch.cuda, name, lambda *of: asked.append(of))
    with seeded(3):
        drawn = torch.rand(4)
    assert asked == []
    with seeded(3):
        assert torch.equal(torch.rand(4), drawn)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with seeded(3):
        assert torch.equal(torch.rand(4), drawn)
    assert len(asked) == 2 + 1 + 2


def test_seed_leaves_no_trace_after_an_error():
    before = torch.random.get_rng_state()

    def fail():
        with seeded(3):
            torch.rand(4)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_order_of_batches_ignores_the_global_state():
    before = torch.random.get_rng_state()
    order = numbers(epoch(training_set()))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(numbers(epoch(training_set())), order)


@pytest.mark.parametrize("error", [None, KeyError, KeyboardInterrupt])
def test_threads_are_restored(two_threads, error):
    def work():
        with sensible_threads(nn.Linear(2, 2), 8):
            assert torch.get_num_threads() == 1
            if error is not None:
                raise error

    with nullcontext() if error is None else pytest.raises(error):
        work()
    assert torch.get_num_threads() == two_threads


def test_threads_are_never_more_than_found(two_threads):
    module = nn.Linear(10, 10)
    with sensible_threads(module, int(FLOPS_PER_THREAD)):
        assert torch.get_num_threads() == two_threads


def test_weights_count_in_the_error_on_held_out_labels():
    held_out = replace(
        training_set(4, 0), weights=torch.tensor([0.01, 0.01, 0.01, 3.97])
    )
    right = torch.arange(4) % N_CLASSES
    right[3] += 1
    net = SimpleNamespace(history=History())
    held_out.logits_at = lambda net, rows: torch.eye(N_CLASSES + 1)[right[rows]]
    net.history.new_epoch()
    net.history.record("valid_loss", 0.25)
    HeldOutError(held_out).on_epoch_end(net)
    assert net.history[-1, "valid_error"] == pytest.approx(3.97 / 4)
    assert net.history[-1, "valid_score"] == pytest.approx(0.25 + 3.97 / 4)


@pytest.mark.parametrize(
    ("done", "factor"),
    [
        (0.0, 0.0),
        (0.015, 0.5 * (1 + np.cos(0.015 * np.pi)) / 2),
        (0.03, (1 + np.cos(0.03 * np.pi)) / 2),
        (0.25, (1 + np.sqrt(0.5)) / 2),
        (0.5, 0.5),
        (0.75, (1 - np.sqrt(0.5)) / 2),
        (1.0, 0.0),
    ],
)
def test_learning_rate_follows_half_a_cosine_after_a_rise(done, factor):
    weights = [torch.ones(2, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [weight]} for weight in weights], lr=7.0)
    sum(weight.sum() for weight in weights).backward()
    net = SimpleNamespace(lr=0.4, optimizer_=optimizer)
    StudentNet._prepare_step(net, done)
    for group, weight in zip(optimizer.param_groups, weights, strict=True):
        assert group["lr"] == pytest.approx(0.4 * factor, abs=1e-12)
        assert weight.grad is None


@pytest.mark.parametrize("in_training", [True, False])
def test_logits_are_those_of_prediction_and_the_mode_is_restored(in_training):
    module = nn.Sequential(nn.Dropout(0.9), nn.Linear(1, N_CLASSES))
    net = SimpleNamespace(module_=module.train(in_training), infer=module)
    data = training_set()
    data.criterion.to_logits = lambda output: 2 * output
    rows = torch.tensor([40, 3, 3, 59])
    logits = data.logits_at(net, rows)
    assert module.training == module[0].training == in_training
    assert not logits.requires_grad
    torch.testing.assert_close(logits, 2 * module[1](rows.float()[:, None]).detach())


def test_rows_held_out_of_the_pool_are_not_trained_on_as_labeled_ones():
    y = np.arange(3_000) % 2
    lesson = replace(
        Lesson.of_labels(Rows.of(np.zeros((3_000, 1))), y, 2),
        pool=Rows.of(np.zeros((3_000, 1))),
        labeled_share=0.5,
        labels_join=True,
    )
    split = Split.of(lesson, "auto", np.random.RandomState(0))
    held = set(split.held_pool.tolist())
    assert len(held) == 300
    assert {at + 3_000 for at in split.held_labeled.tolist()} == held
    assert not held & {at + 3_000 for at in split.labeled.tolist()}
    assert not held & set(split.pool.tolist())
    assert len(split.labeled) == len(split.pool) == 2_700


def test_labeled_rows_that_join_a_pool_are_held_out_of_both():
    n_labeled, n_pool = 3_000, 1_000
    y = np.arange(n_labeled) % 2
    rows = [Rows.of(np.zeros((size, 1))) for size in (n_labeled, n_pool)]
    lesson = replace(
        Lesson.of_labels(rows[0], y, 2),
        pool=rows[1] + rows[0],
        labeled_share=0.5,
        labels_join=True,
    )
    split = Split.of(lesson, "auto", np.random.RandomState(0))
    first_copy = n_labeled + n_pool
    held = set(split.held_pool.tolist())
    of_labels = {at - first_copy for at in held if at >= first_copy}
    assert len(held) == 400
    assert 0 < len(of_labels) < 400
    assert set(split.held_labeled.tolist()) == of_labels
    assert not of_labels & set(split.labeled.tolist())
    assert len(split.labeled) == n_labeled - len(of_labels)

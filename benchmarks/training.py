"""Seconds and memory of training, beside a bare torch loop.

    python -m benchmarks.training [--quick] [--memory]

100,000 pool rows of 32 features and 5 classes, 1,000 labeled rows, a network of
two layers of 64; all in one process, in turn. The loss is mixing's alone; two more rows
have the default's variational term, ours and a bare loop's. ``--memory`` measures
anonymous memory above the level before ``fit`` in its stead.
"""

import argparse
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetClassifier
from threadpoolctl import threadpool_limits
from torch import nn

from sklearn_slam import SLaMDistiller, mixing_loss

N_LABELED, N_FEATURES, N_CLASSES = 1_000, 32, 5
TARGETS = {"distiller": "<= 1.10", "skorch student": "<= 1.30"}


class Net(nn.Sequential):
    """Two hidden layers of 64."""

    def __init__(self, n_in=N_FEATURES, n_out=N_CLASSES):
        super().__init__(
            nn.Linear(n_in, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, n_out),
        )


def make_rows(n_pool):
    """Return labeled rows, labels, the pool, and a teacher's probabilities."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(N_LABELED + n_pool, N_FEATURES)).astype(np.float32)
    scores = X @ rng.normal(size=(N_FEATURES, N_CLASSES)).astype(np.float32)
    proba = torch.softmax(torch.from_numpy(scores), dim=1).numpy()
    y = scores.argmax(axis=1)
    return X[:N_LABELED], y[:N_LABELED], X[N_LABELED:], proba


def bare_loop(rows, batch_size, epochs, *, vid_weight=0.0):
    """Train with the same net, optimizer, loss, batches and number of steps.

    What one writes by hand: rows are shuffled, and the loss is read, once an epoch;
    the learning rate is constant, `mixing_loss` is differentiated as a function, and
    the variational term by autograd.
    """
    X = torch.from_numpy(rows[2])
    labels = torch.from_numpy(rows[3][N_LABELED:])
    alpha = torch.full((len(X),), 0.8)
    others = torch.full((len(X), N_CLASSES), 0.2)
    n_steps = len(X) // batch_size
    net, variational = Net(), nn.Linear(N_CLASSES, N_CLASSES)
    rho, log_labels = nn.Parameter(torch.full((N_CLASSES,), 5.0)), labels.log()
    of_term = [*variational.parameters(), rho] if vid_weight else []
    optimizer = torch.optim.AdamW([*net.parameters(), *of_term], fused=True)
    start = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(X))[: n_steps * batch_size]
        total = torch.zeros(())
        for batch in order.view(n_steps, batch_size):
            logits = net(X.index_select(0, batch))
            loss = mixing_loss(
                logits,
                labels.index_select(0, batch),
                alpha.index_select(0, batch),
                others.index_select(0, batch),
            ).mean()
            if vid_weight:
                off = variational(torch.log_softmax(logits, dim=1))
                off = off - log_labels.index_select(0, batch)
                variance = nn.functional.softplus(rho) + 1e-5
                distance = 0.5 * (off.square() / variance + variance.log()).mean()
                loss = loss + vid_weight * distance
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        total.item()
    return time.perf_counter() - start


def skorch_student(batch_size, epochs, *, fused=True):
    """Return a user's own skorch net."""
    return NeuralNetClassifier(
        Net,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        optimizer__fused=fused,
        batch_size=batch_size,
        max_epochs=epochs,
        train_split=None,
        verbose=0,
    )


def distill(rows, student, **params):
    """Return the seconds of training alone, summed over epochs."""
    X_labeled, y, X_pool, proba = rows
    # All ways see the pool only, so that their batches and steps are the same.
    slam = SLaMDistiller(
        None, student, labeled_weight=0, calibrate=False, random_state=0,
        **{"vid_weight": 0.0, **params},
    )  # fmt: skip
    slam.fit(
        X_labeled,
        y,
        X_unlabeled=X_pool,
        teacher_proba=proba[:N_LABELED],
        teacher_proba_unlabeled=proba[N_LABELED:],
    )
    return sum(epoch["dur"] for epoch in slam.history_)


def timed(call):
    """Return the seconds of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(rows, batch_size, epochs, rounds):
    """Time all ways in turn; print medians, spread and ratios."""
    _, _, X_pool, proba = rows
    hard = proba[N_LABELED:].argmax(axis=1)
    ways = {
        "bare loop": lambda: bare_loop(rows, batch_size, epochs),
        "distiller": lambda: distill(
            rows, Net, batch_size=batch_size, max_epochs=epochs, early_stopping=False
        ),
        "skorch student": lambda: distill(rows, skorch_student(batch_size, epochs)),
        "bare with VID": lambda: bare_loop(rows, batch_size, epochs, vid_weight=0.1),
        "with VID": lambda: distill(
            rows,
            Net,
            batch_size=batch_size,
            max_epochs=epochs,
            early_stopping=False,
            vid_weight="auto",
        ),
        "default skorch": lambda: timed(
            lambda: skorch_student(batch_size, epochs, fused=None).fit(X_pool, hard)
        ),
        "skorch, fused": lambda: timed(
            lambda: skorch_student(batch_size, epochs).fit(X_pool, hard)
        ),
        "MLPClassifier": lambda: timed(
            lambda: MLPClassifier(
                (64, 64), batch_size=batch_size, max_iter=epochs, random_state=0
            ).fit(X_pool, hard)
        ),
    }
    seconds = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(way() / epochs)
    bare = np.median(seconds["bare loop"])
    print(f"\nbatch {batch_size}: seconds an epoch, median of {rounds} (least, most)")
    for name, values in seconds.items():
        ratio = np.median(values) / bare
        print(
            f"{name:16}{np.median(values):8.2f} ({min(values):.2f}, {max(values):.2f})"
            f"  {ratio:5.2f} x the bare loop  {TARGETS.get(name, '')}"
        )
    for name in ("default skorch", "skorch, fused"):
        faster = np.median(seconds[name]) / np.median(seconds["distiller"])
        print(f"distiller against {name}: {faster:.1f} x faster (>= 2.5 at 256)")
    vid = np.median(seconds["with VID"]) / np.median(seconds["bare with VID"])
    print(f"with VID, against the bare loop with it: {vid:.2f} x")


def anonymous_megabytes():
    """Return the anonymous memory of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise OSError("RssAnon is not in /proc/self/status")


def peak_above(call):
    """Return the peak of anonymous memory during a call, above the level before."""
    before, peak, done = anonymous_megabytes(), [0.0], threading.Event()

    def sample():
        while not done.wait(0.01):
            peak[0] = max(peak[0], anonymous_megabytes() - before)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        call()
    finally:
        done.set()
        sampler.join()
    return peak[0]


def measure_memory(n_mapped):
    """Print the peak of a pool in memory and of one in a mapped file."""
    params = {"max_epochs": 1, "batch_size": 1024}
    rows = make_rows(1_500)
    distill(rows, Net, **params)  # what torch allocates once
    rows = make_rows(100_000)
    peak = peak_above(lambda: distill(rows, Net, **params))
    size = (rows[2].nbytes + rows[0].nbytes + rows[3].nbytes) / 2**20
    print(f"100,000 rows in memory: {peak:.0f} MB (<= {size + 300:.0f})")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.npy"
        mapped = np.lib.format.open_memmap(
            path, "w+", np.float32, (n_mapped, N_FEATURES)
        )
        for start in range(0, n_mapped, 100_000):
            mapped[start : start + 100_000] = rows[2][: n_mapped - start]
        del mapped
        mapped = np.load(path, mmap_mode="r")
        labels = np.resize(rows[3][N_LABELED:], (n_mapped, N_CLASSES))
        whole = (*rows[:2], mapped, np.concatenate([rows[3][:N_LABELED], labels]))
        del labels
        peak = peak_above(lambda: distill(whole, Net, **params))
    print(f"{n_mapped:,} mapped rows: {peak:.0f} MB (< 500)")


def main():
    """Run the comparison, or the measurement of memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds")
    parser.add_argument("--memory", action="store_true", help="memory in its stead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="sklearn.neural_network")
    if options.memory:
        measure_memory(200_000 if options.quick else 2_000_000)
        return
    rows = make_rows(20_000 if options.quick else 100_000)
    with threadpool_limits(1):  # numpy's threads, which MLPClassifier would wait for
        for batch_size in (256, 1024):
            compare(rows, batch_size, 1, 3 if options.quick else 5)


if __name__ == "__main__":
    main()

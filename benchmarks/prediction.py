"""Microseconds of prediction, beside logistic regression and the bare network.

    python -m benchmarks.prediction [--data-dir DIR]

``DIR`` may hold ``adult.parquet`` (the census table, last column ``target``);
without it a generated frame of 6 numbers and 8 categories takes its place.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression

from sklearn_slam import CallableTeacher, SLaMDistiller
from sklearn_slam._training import PREDICT_ROWS

N_ROWS = 10_000


def load_frame(data_dir):
    """Return the adult table, or a generated one of the same shape, and labels."""
    if data_dir is not None:
        frame = pd.read_parquet(Path(data_dir) / "adult.parquet")
        return frame.drop(columns="target"), (frame["target"] == ">50K").astype(int)
    rng = np.random.RandomState(0)
    numbers = {f"number{i}": rng.normal(size=2 * N_ROWS) for i in range(6)}
    words = {
        f"word{i}": pd.Categorical(rng.choice([f"w{j}" for j in range(12)], 2 * N_ROWS))
        for i in range(8)
    }
    return pd.DataFrame(numbers | words), rng.randint(0, 2, 2 * N_ROWS)


def fit(X, y):
    """Return a distiller with the default student, trained for one epoch."""
    teacher = CallableTeacher(lambda rows: np.full((len(rows), 2), 0.5), [0, 1])
    slam = SLaMDistiller(teacher, max_epochs=1, batch_size=256, random_state=0)
    return slam.fit(X[:1000], y[:1000], X_unlabeled=X[1000:4000])


def in_turn(calls, repeats, burst=1):
    """Return the median microseconds of each call, measured in turn.

    With a burst, each is called so often before it is the next one's turn: it finds
    the caches as it left them, as in a server that does nothing else.
    """
    seconds = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            for _ in range(burst):
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
    return {name: 1e6 * np.median(values) for name, values in seconds.items()}


def bare_forward(slam, X):
    """Return a call of the network alone on encoded rows."""
    encoded = torch.from_numpy(slam.student_._encode(X))
    module = slam.student_.module_

    def forward():
        # In the blocks that predict_proba takes too: all rows at once are slower,
        # and would flatter it.
        with torch.no_grad():
            blocks = [module(block) for block in encoded.split(PREDICT_ROWS)]
            torch.softmax(torch.cat(blocks), dim=1).numpy()

    return forward


def main():
    """Fit, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rng = np.random.RandomState(0)
    X = rng.normal(size=(N_ROWS, 32))
    y = (X[:, 0] > 0).astype(int)
    frame, labels = load_frame(options.data_dir)
    labels = np.asarray(labels)
    logistic = LogisticRegression().fit(X, y)
    numeric, tabular = fit(X, y), fit(frame, labels)
    one_row, many = frame[:1], frame[:N_ROWS]
    one = in_turn(
        {
            "LogisticRegression": lambda: logistic.predict_proba(X[:1]),
            "array": lambda: numeric.predict_proba(X[:1]),
            "frame": lambda: tabular.predict_proba(one_row),
        },
        1000,
    )
    base = one["LogisticRegression"]
    print(f"one row: LogisticRegression {base:.0f} us")
    for name, target in (("array", 2), ("frame", 10)):
        print(f"  {name}: {one[name]:.0f} us, {one[name] / base:.1f} x (<= {target})")
    batch = in_turn(
        {
            "bare array": bare_forward(numeric, X),
            "array": lambda: numeric.predict_proba(X),
            "bare frame": bare_forward(tabular, many),
            "frame": lambda: tabular.predict_proba(many),
        },
        50,
    )
    print("10,000 rows:")
    for name, target in (("array", 1.2), ("frame", 2)):
        bare = batch[f"bare {name}"]
        print(
            f"  {name}: {batch[name]:.0f} us, bare forward {bare:.0f} us, "
            f"{batch[name] / bare:.2f} x (<= {target})"
        )


if __name__ == "__main__":
    main()

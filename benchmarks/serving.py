"""Microseconds of an answer: teacher, student, ONNX Runtime, compiled trees.

    python -m benchmarks.serving [--data-dir DIR]

One thread each, medians, measured in turn, for one row (20 times in a row, as by a
server that does nothing else) and for 10,000. ``DIR`` may
hold ``adult.parquet``, as in ``benchmarks.prediction``. The numbers are those of the
table's frame with its categories as codes, so that all ways answer the same rows.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import torch
from onnxruntime import InferenceSession, SessionOptions
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    StackingClassifier,
)
from sklearn.linear_model import LogisticRegression

from benchmarks.prediction import N_ROWS, bare_forward, in_turn, load_frame
from benchmarks.tables import with_codes
from sklearn_slam import SLaMDistiller, to_onnx

N_LABELED, N_TRAIN = 2_000, 8_000


def stacked_teacher(frame):
    """Return boosting and trees behind an encoder, stacked."""
    stack = StackingClassifier(
        [
            ("boosting", HistGradientBoostingClassifier(random_state=0)),
            ("trees", ExtraTreesClassifier(200, min_samples_leaf=3, random_state=0)),
        ],
        LogisticRegression(),
        cv=3,
    )
    return with_codes(frame, stack)


def as_numbers(frame):
    """Return a frame as an array, its categories as codes."""
    codes = {
        name: pd.Categorical(column).codes
        for name, column in frame.items()
        if not pd.api.types.is_numeric_dtype(column)
    }
    return frame.assign(**codes).to_numpy(np.float64)


def distill(teacher, X, y):
    """Return a fitted distiller with the default student."""
    slam = SLaMDistiller(teacher, cv=3, max_epochs=10, random_state=0)
    return slam.fit(X[:N_LABELED], y[:N_LABELED], X_unlabeled=X[N_LABELED:N_TRAIN])


def onnx_session(model):
    """Return the exported student in ONNX Runtime, on one thread."""
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return InferenceSession(to_onnx(model).SerializeToString(), options)


def frame_feed(session, frame):
    """Return a pandas frame as the inputs of an exported student."""
    feed = {}
    for column in session.get_inputs():
        values = frame[column.name]
        if column.type == "tensor(string)":
            values = values.map(str, na_action="ignore").astype(object)
            values = values.fillna("").to_numpy()
        else:
            values = values.to_numpy(float, na_value=np.nan)
        feed[column.name] = values.reshape(-1, 1)
    return feed


def compiled(booster, folder):
    """Return the prediction of a compiled LightGBM model, or None without lleaves."""
    try:
        import lleaves
    except ImportError:
        print('compiled trees are left out: pip install "sklearn-slam[bench]"')
        return None
    path = str(Path(folder) / "booster.txt")
    booster.save_model(path)
    model = lleaves.Model(model_file=path)
    model.compile()
    return lambda X: model.predict(X, n_jobs=1)


def ways_of(array_slam, frame_slam, booster, fast_trees):
    """Return each way to an answer: from an array and a frame to a call."""
    of_array, of_frame = onnx_session(array_slam), onnx_session(frame_slam)

    def fed_array(X, frame):
        return lambda: of_array.run(["probabilities"], {"X": X})

    def fed_frame(X, frame):
        feed = frame_feed(of_frame, frame)
        return lambda: of_frame.run(["probabilities"], feed)

    ways = {
        "teacher (stack), frame": lambda X, f: (
            lambda: frame_slam.teacher_.predict_proba(f)
        ),
        "predict_proba, array": lambda X, f: lambda: array_slam.predict_proba(X),
        "predict_proba, frame": lambda X, f: lambda: frame_slam.predict_proba(f),
        "ONNX Runtime, array": fed_array,
        "ONNX Runtime, columns": fed_frame,
        "bare torch forward": lambda X, f: bare_forward(array_slam, X),
        "LightGBM": lambda X, f: lambda: booster.predict(X, num_threads=1),
    }
    if fast_trees is not None:
        ways["LightGBM, compiled"] = lambda X, f: lambda: fast_trees(X)
    return ways


def main():
    """Fit, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    frame, y = load_frame(options.data_dir)
    y = np.asarray(y)
    numbers = as_numbers(frame)
    frame_slam = distill(stacked_teacher(frame), frame, y)
    trees = lgb.LGBMClassifier(n_estimators=300, n_jobs=1, verbose=-1, random_state=0)
    array_slam = distill(trees, numbers, y)
    booster = array_slam.teacher_.booster_
    rows, tested = numbers[-N_ROWS:], y[-N_ROWS:]
    print(
        f"accuracy on {N_ROWS:,} new rows: "
        f"stack {frame_slam.teacher_.score(frame[-N_ROWS:], tested):.3f}, "
        f"its student {frame_slam.score(frame[-N_ROWS:], tested):.3f}, "
        f"LightGBM {array_slam.teacher_.score(rows, tested):.3f}, "
        f"its student {array_slam.score(rows, tested):.3f}"
    )
    with tempfile.TemporaryDirectory() as folder:
        ways = ways_of(array_slam, frame_slam, booster, compiled(booster, folder))
        microseconds = {}
        for size, repeats, burst in ((1, 30, 20), (N_ROWS, 15, 1)):
            calls = {
                name: way(rows[:size], frame[-N_ROWS:][:size])
                for name, way in ways.items()
            }
            for call in calls.values():
                call()
            microseconds[size] = in_turn(calls, repeats, burst)
    one, many = microseconds.values()
    print(f"\n{'microseconds':26}{'1 row':>10}{'10,000 rows':>14}")
    for name in ways:
        print(f"{name:26}{one[name]:10.0f}{many[name]:14,.0f}")
    say_who_wins(microseconds)


def say_who_wins(microseconds):
    """Print what the measures say of the target, and of compiled trees."""
    one = microseconds[1]
    ratio = one["bare torch forward"] / one["ONNX Runtime, array"]
    print(
        f"\nONNX Runtime answers one row of numbers {ratio:.1f} x as fast as a bare "
        "torch forward (> 1)."
    )
    for size, of_way in microseconds.items():
        if "LightGBM, compiled" in of_way:
            ratio = of_way["ONNX Runtime, array"] / of_way["LightGBM, compiled"]
            trees_win = ratio > 1
            print(
                f"Rows at once: {size:,}. Faster: "
                f"{'the compiled trees' if trees_win else 'the student'}, by "
                f"{ratio if trees_win else 1 / ratio:.1f} x."
            )


if __name__ == "__main__":
    main()

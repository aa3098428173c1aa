"""Trials behind the defaults, on rows of the training part alone.

    python -m benchmarks.defaults --data-dir DIR [--labeled 250 1000 4000] [--out DIR]

Validation rows are rows to train on that are neither labeled nor in the pool; no test
row is read. Every variant differs from the default in what its name says, and learns
from the same teacher outputs, with the same seed. Each result is appended to
``defaults.csv`` at once; a killed run goes on where it was.
"""

import argparse
import itertools
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from joblib import delayed
from sklearn.frozen import FrozenEstimator

from benchmarks.accuracy import PLAIN, append, ask_teacher, measure, read_done
from benchmarks.tables import MAX_LABELED_ROWS, MAX_POOL_ROWS, TEACHERS, load
from sklearn_slam import MLPStudent, PlainDistiller, SLaMDistiller
from sklearn_slam._rows import take_rows
from sklearn_slam._validation import align_proba

MAX_VALIDATION_ROWS = 8_000
VARIANTS = {
    PLAIN: (PlainDistiller, {}, {}),
    "default": (SLaMDistiller, {}, {}),
    "no peers": (SLaMDistiller, {"peers": False}, {}),
    "peers": (SLaMDistiller, {"peers": True}, {}),
    "no VID": (SLaMDistiller, {"vid_weight": 0.0}, {}),
    "VID 1": (SLaMDistiller, {"vid_weight": 1.0}, {}),
    "alpha_min .75": (SLaMDistiller, {"alpha_min": 0.75}, {}),
    "temperature 1": (SLaMDistiller, {"teacher_temperature": 1.0}, {}),
    "labeled_weight .05": (SLaMDistiller, {"labeled_weight": 0.05}, {}),
    "labeled_weight .25": (SLaMDistiller, {"labeled_weight": 0.25}, {}),
    "lr .001": (SLaMDistiller, {}, {"lr": 0.001}),
    "lr .003": (SLaMDistiller, {}, {"lr": 0.003}),
    "lr .008": (SLaMDistiller, {}, {"lr": 0.008}),
    "dropout .1": (SLaMDistiller, {}, {"dropout": 0.1}),
    "no bins": (SLaMDistiller, {}, {"n_bins": 0}),
    "16 bins": (SLaMDistiller, {}, {"n_bins": 16}),
    "2 x 128": (SLaMDistiller, {}, {"hidden_layer_sizes": (128, 128)}),
    "2 x 512": (SLaMDistiller, {}, {"hidden_layer_sizes": (512, 512)}),
}
KEY = ["data", "teacher", "labeled", "seed", "variant"]


def split(table, n_labeled, seed):
    """Return positions of labeled, pool and validation rows of the training part."""
    order = np.random.RandomState(seed).permutation(len(table.y_train))
    rest = order[MAX_LABELED_ROWS:]
    n_validation = min(MAX_VALIDATION_ROWS, len(rest) // 4)
    pool, validation = rest[:-n_validation], rest[-n_validation:]
    return order[:n_labeled], pool[:MAX_POOL_ROWS], validation


def run_split(data, teacher_name, n_labeled, seed, wanted, options):
    """Return a row for each wanted variant."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # rare classes have fewer rows than folds
    table = load(data, options.data_dir)
    parts = split(table, n_labeled, seed)
    X, X_pool, X_validation = (take_rows(table.X_train, part) for part in parts)
    y, _, y_validation = (table.y_train[part] for part in parts)
    classes = np.unique(table.y_train)

    def proba_of(model):
        proba = model.predict_proba(X_validation)
        return align_proba(proba, model.classes_, classes)

    teacher, outputs = ask_teacher(teacher_name, X, y, X_pool, seed)
    of_teacher = proba_of(teacher)
    rows = []
    with TemporaryDirectory() as memory:  # peers are asked once
        for variant in wanted:
            distiller, params, of_student = VARIANTS[variant]
            model = distiller(
                FrozenEstimator(teacher),
                MLPStudent(**of_student),
                random_state=seed,
                memory=memory,
                **params,
            )
            model.fit(X, y, X_unlabeled=X_pool, **outputs)
            key = dict(
                zip(KEY, (data, teacher_name, n_labeled, seed, variant), strict=True)
            )
            rows.append(key | measure(proba_of(model), y_validation, of_teacher))
    return rows


def run(options, path):
    """Run what the file does not hold yet, and append it."""
    done, jobs = read_done(path, KEY), []
    for seed, n_labeled, data in itertools.product(
        options.seeds, options.labeled, options.data
    ):
        for teacher in TEACHERS[data]:
            cell = data, teacher, n_labeled, seed
            wanted = [name for name in options.variants if (*cell, name) not in done]
            if wanted:
                jobs.append(delayed(run_split)(*cell, wanted, options))
    for frame in append(jobs, path, options.jobs):
        print(*frame.loc[0, KEY[:4]], flush=True)


def summarize(frame):
    """Return a row for each variant and number of labels."""
    wide = {
        name: frame.pivot_table(index=KEY[:4], columns="variant", values=name).dropna()
        for name in ("accuracy", "log_loss")
    }
    accuracy = wide["accuracy"]
    less = accuracy.sub(accuracy[PLAIN], axis=0).div(1 - accuracy[PLAIN], axis=0)
    columns = {
        "accuracy %": 100 * accuracy,
        "error less by %": 100 * less,
        "log-loss": wide["log_loss"],
    }
    return pd.concat(
        {
            name: values.groupby(level="labeled").mean().T
            for name, values in columns.items()
        },
        axis=1,
    ).loc[[name for name in VARIANTS if name in accuracy]]


def main():
    """Run, then print the summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--out", default="benchmark-results")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--labeled", type=int, nargs="*", default=[250, 1_000, 4_000])
    parser.add_argument("--data", nargs="*", default=list(TEACHERS)[:6])
    parser.add_argument(
        "--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS)
    )
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "defaults.csv"
    run(options, path)
    print(summarize(pd.read_csv(path)).round(3).to_string())


if __name__ == "__main__":
    main()

"""AutoGluon's own distillation beside ours, from the same teacher probabilities.

    python -m benchmarks.autogluon --data-dir DIR [--seeds 0 1] [--time-limit 120]

Needs ``autogluon.tabular`` and what its models need, which the project's own
environment does not hold. AutoGluon's ensemble, bagged over five folds, is the
teacher. Its ``distill`` gets the pool as ``augmentation_data``; ours get the ensemble's
out-of-fold probabilities of labeled rows and its probabilities of the pool.
"""

import argparse
import time
import warnings
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch

from benchmarks.accuracy import measure
from benchmarks.tables import load
from sklearn_slam import CallableTeacher, PlainDistiller, SLaMDistiller
from sklearn_slam._rows import take_rows

LABELED = {"adult": 625, "letter": 2_500, "covertype": 2_500}
"""Labeled rows of each table."""


def as_frame(X, y=None):
    """Return rows as a frame whose names are strings, with labels if any."""
    frame = X if hasattr(X, "columns") else pd.DataFrame(X)
    frame = frame.rename(columns=str)
    return frame if y is None else frame.assign(target=y)


def run_autogluon(table, labeled, pool, options):
    """Return AutoGluon's teacher, its outputs and those of its students, on tests."""
    from autogluon.tabular import TabularPredictor

    X = as_frame(take_rows(table.X_train, labeled), table.y_train[labeled])
    X_pool = as_frame(take_rows(table.X_train, pool))
    X_test = as_frame(table.X_test)
    with TemporaryDirectory() as folder:
        predictor = TabularPredictor("target", path=folder, verbosity=0)
        predictor.fit(
            X,
            num_bag_folds=5,
            num_stack_levels=0,
            time_limit=options.time_limit,
            num_cpus=options.threads,
            ag_args_ensemble={"fold_fitting_strategy": "sequential_local"},
        )
        ensemble = predictor.model_best
        outputs = {
            "teacher_proba": predictor.predict_proba_oof(ensemble),
            "teacher_proba_unlabeled": predictor.predict_proba(X_pool, ensemble),
        }
        outputs = {name: proba.to_numpy() for name, proba in outputs.items()}
        probas = {"AutoGluon, ensemble": predictor.predict_proba(X_test, ensemble)}
        students = predictor.distill(
            augmentation_data=X_pool,
            time_limit=options.time_limit,
            hyperparameters={"NN_TORCH": {}, "GBM": {}},
            verbosity=0,
        )
        for name in students:
            probas[f"AutoGluon, {name}"] = predictor.predict_proba(X_test, name)
        classes = np.asarray(predictor.class_labels)
    # Its network's probabilities leave [0, 1] by a rounding error.
    probas = {name: proba.to_numpy().clip(0, 1) for name, proba in probas.items()}
    return classes, outputs, probas


def run_split(data, seed, options):
    """Return a row for each model of one split."""
    table = load(data, options.data_dir)
    labeled, pool = table.draw(seed, LABELED[data])
    start = time.perf_counter()
    classes, outputs, probas = run_autogluon(table, labeled, pool, options)
    print(f"{data} {seed}: AutoGluon {time.perf_counter() - start:.0f} s", flush=True)
    X, y = take_rows(table.X_train, labeled), table.y_train[labeled]
    X_pool = take_rows(table.X_train, pool)
    teacher = CallableTeacher(print, classes)  # all it could say is given
    for model in (PlainDistiller, SLaMDistiller):
        student = model(teacher, random_state=seed)
        student.fit(X, y, X_unlabeled=X_pool, **outputs)
        probas[model.__name__] = student.predict_proba(table.X_test)
    of_teacher = probas["AutoGluon, ensemble"]
    return [
        {"data": data, "seed": seed, "model": name}
        | measure(proba, table.y_test, of_teacher)
        for name, proba in probas.items()
    ]


def main():
    """Run all splits, and print accuracy and log-loss of each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--data", nargs="*", choices=LABELED, default=list(LABELED))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--time-limit", type=float, default=120.0, help="seconds")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")  # AutoGluon's own, and rare classes
    rows = []
    for seed in options.seeds:
        for data in options.data:
            rows += run_split(data, seed, options)
            frame = pd.DataFrame(rows).groupby(["model", "data"], sort=False)
            means = frame[["accuracy", "log_loss"]].mean().unstack()
            print(means.round(4).to_string(), flush=True)


if __name__ == "__main__":
    main()

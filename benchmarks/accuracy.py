"""Accuracy of every method on real tables, paired by split, teacher and student.

    python -m benchmarks.accuracy --data-dir DIR [--out DIR] [--quick]

``--data-dir`` holds the files that ``benchmarks/README.md`` names; without it the
sets are fetched from OpenML. Each result is appended to ``accuracy.csv`` at once, so
that a killed run goes on where it was; ``--summary`` only reads it. Seeds come
first: a run that is cut off has complete seeds. A summary is of what the options name,
and of the splits that have all methods of these.

Two tables. *matched*: the same student, initial weights, number of steps, labeled
share and calibration for every method, no early stopping. *defaults*: each method
and the default student as they come; on the first seed where ``--seeds`` does not say
which, since it takes longer.
"""

import argparse
import itertools
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from scipy.stats import wilcoxon
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.semi_supervised import SelfTrainingClassifier

from benchmarks.tables import TEACHERS, as_numbers, load, make_teacher
from sklearn_slam import (
    ForwardCorrectionDistiller,
    MLPStudent,
    PlainDistiller,
    SemiparametricDistiller,
    SLaMDistiller,
    TaylorDistiller,
    UPSDistiller,
    VIDDistiller,
    WeightedDistiller,
    expected_calibration_error,
)
from sklearn_slam._rows import stack_rows, take_rows
from sklearn_slam._validation import align_proba

LABELED, STEPS, BATCH_SIZE = (250, 1_000, 4_000), 1_500, 256
SEEDS = {"matched": range(5), "defaults": range(1)}
OTHER_MEASURES = (
    "log_loss",
    "calibration_error",
    "roc_auc",
    "balanced_accuracy",
    "agreement",
)
LABELED_WEIGHT = 0.1
"""The share of the loss that labeled rows carry in the matched table."""

MIXED = {"alpha": "isotonic", "teacher_temperature": "auto"}
UNMIXED = {"alpha": 1.0, "teacher_temperature": 1.0, "peers": True}
METHODS = {
    "plain soft": (PlainDistiller, {}),
    "plain hard": (PlainDistiller, {"teacher_temperature": 0.0}),
    "plain tempered": (PlainDistiller, {"teacher_temperature": "auto"}),
    "weighted": (WeightedDistiller, {}),
    "Taylor": (TaylorDistiller, {}),
    "UPS": (UPSDistiller, {}),
    "VID": (VIDDistiller, {}),
    "forward": (ForwardCorrectionDistiller, {}),
    "semiparametric": (SemiparametricDistiller, {}),
    "plain soft, peers": (SLaMDistiller, UNMIXED),
    "mixing alone": (SLaMDistiller, {"peers": False, "vid_weight": 0.0}),
    "SLaM, no VID": (SLaMDistiller, {"vid_weight": 0.0}),
    "SLaM, weighted": (WeightedDistiller, {**MIXED, "vid_weight": 0.0}),
    "SLaM": (SLaMDistiller, {}),
}
REFERENCES = ("teacher", "labels only", "self-training")
PLAIN, OURS = "plain soft", "SLaM"
KEY = ["table", "data", "teacher", "labeled", "seed", "method"]


def measure(proba, y, of_teacher):
    """Return all measures of probabilities whose columns are class numbers."""
    n_classes = proba.shape[1]
    proba = proba.astype(np.float64)
    proba /= proba.sum(axis=1, keepdims=True)
    predicted = proba.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class that no test row has
        present = np.unique(y)
        of_present = proba[:, present] + 1e-12
        of_present /= of_present.sum(axis=1, keepdims=True)
        auc = (
            roc_auc_score(y, proba[:, 1])
            if n_classes == 2
            else roc_auc_score(
                np.searchsorted(present, y), of_present, multi_class="ovr"
            )
        )
        balanced = balanced_accuracy_score(y, predicted)
    return {
        "accuracy": float((predicted == y).mean()),
        "balanced_accuracy": balanced,
        "roc_auc": auc,
        "log_loss": float(-np.log(proba[np.arange(len(y)), y].clip(1e-7)).mean()),
        "calibration_error": expected_calibration_error(
            y, proba, labels=np.arange(n_classes)
        ),
        "agreement": float((predicted == of_teacher.argmax(axis=1)).mean()),
    }


def make_student(table, n_pool):
    """Return the student: of the matched table, or the default."""
    if table == "defaults":
        return MLPStudent()
    of_pool = BATCH_SIZE - round(BATCH_SIZE * LABELED_WEIGHT)
    return MLPStudent(
        (128, 128),
        dropout=0.0,
        lr=1e-3,
        batch_size=BATCH_SIZE,
        max_epochs=max(1, round(STEPS * of_pool / n_pool)),
        early_stopping=False,
    )


def fit_alone(kind, student, X, y):
    """Return a student of the labels alone."""
    if kind == "matched":
        student.set_params(max_epochs=STEPS // max(1, len(y) // BATCH_SIZE))
    return student.fit(X, y)


def fit_self_training(kind, student, X, y, X_pool):
    """Return scikit-learn's self-training around a student."""
    # It makes an array of a frame before the student sees it.
    numbers = as_numbers(X)
    rows = numbers.fit_transform(stack_rows([X, X_pool]))
    marked = np.concatenate([y, np.full(rows.shape[0] - len(y), -1)])
    if kind == "matched":
        student.set_params(max_epochs=max(1, STEPS // 20))
    training = SelfTrainingClassifier(student, max_iter=5).fit(rows, marked)
    return make_pipeline(numbers, training)


def fit_distiller(kind, method, student, teacher, rows, outputs, seed, memory):
    """Return a distiller, given the outputs of its fitted teacher.

    What ``memory`` keeps are the outputs of peers, the same for all methods with any.
    """
    distiller, params = METHODS[method]
    if kind == "matched":
        params = {**params, "labeled_weight": LABELED_WEIGHT}
    X, y, X_pool = rows
    model = distiller(
        FrozenEstimator(teacher), student, random_state=seed, memory=memory, **params
    )
    return model.fit(X, y, X_unlabeled=X_pool, **outputs)


def ask_teacher(name, X, y, X_pool, seed):
    """Return a fitted teacher, and its outputs for ``fit``."""
    teacher = make_teacher(name, X, seed).fit(X, y)
    n_folds = min(5, np.unique(y, return_counts=True)[1].max())
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    outputs = {
        "teacher_proba": cross_val_predict(
            clone(teacher), X, y, cv=folds, method="predict_proba"
        ),
        "teacher_proba_unlabeled": teacher.predict_proba(X_pool),
    }
    return teacher, outputs


def run_cell(data, teacher_name, n_labeled, seed, wanted, options):
    """Run the wanted (table, method) pairs of one split; return a row for each."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # rare classes have fewer rows than folds
    table = load(data, options.data_dir)
    labeled, pool = table.draw(seed, n_labeled)
    X, y = take_rows(table.X_train, labeled), table.y_train[labeled]
    X_pool, classes = take_rows(table.X_train, pool), np.unique(table.y_train)

    def tested(model):
        proba = model.predict_proba(table.X_test)
        return align_proba(proba, model.classes_, classes)

    start = time.perf_counter()
    teacher, outputs = ask_teacher(teacher_name, X, y, X_pool, seed)
    of_teacher = tested(teacher)
    teacher_seconds = time.perf_counter() - start
    rows, memory = [], TemporaryDirectory()
    for kind, method in wanted:
        start = time.perf_counter()
        student = make_student(kind, len(pool)).set_params(random_state=seed)
        if method == "teacher":
            proba = of_teacher
        elif method == "labels only":
            proba = tested(fit_alone(kind, student, X, y))
        elif method == "self-training":
            proba = tested(fit_self_training(kind, student, X, y, X_pool))
        else:
            of_fit = (X, y, X_pool)
            proba = tested(
                fit_distiller(
                    kind, method, student, teacher, of_fit, outputs, seed, memory.name
                )
            )
        seconds = time.perf_counter() - start
        key = (kind, data, teacher_name, n_labeled, seed, method)
        rows.append(
            dict(zip(KEY, key, strict=True))
            | measure(proba, table.y_test, of_teacher)
            | {"seconds": teacher_seconds if method == "teacher" else seconds}
        )
    memory.cleanup()
    return rows


def read_done(path, key):
    """Return the keys of the rows that a file holds."""
    if not path.exists():
        return set()
    return set(pd.read_csv(path)[key].itertuples(index=False, name=None))


def append(jobs, path, n_jobs):
    """Run jobs, each of which returns rows; append these at once, and yield them."""
    parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    for rows in parallel(jobs):
        frame = pd.DataFrame(rows)
        frame.to_csv(path, mode="a", header=not path.exists(), index=False)
        yield frame


def run(options, path):
    """Run what the file does not hold yet, and append it."""
    done = read_done(path, KEY)
    methods = [*REFERENCES, *METHODS]
    if options.methods:
        methods = [method for method in methods if method in options.methods]
    seeds = {kind: options.seeds or SEEDS[kind] for kind in options.tables}
    cells = [
        (data, teacher, n_labeled, seed)
        for seed in sorted(set().union(*seeds.values()))
        for n_labeled in options.labeled
        for data in options.data
        for teacher in TEACHERS[data]
        if not options.quick or teacher == TEACHERS[data][0]
    ]
    jobs = []
    for cell in cells:
        wanted = [
            (kind, method)
            for kind, method in itertools.product(options.tables, methods)
            if cell[-1] in seeds[kind] and (kind, *cell, method) not in done
        ]
        if wanted:
            jobs.append(delayed(run_cell)(*cell, wanted, options))
    print(f"{len(cells)} splits, {len(jobs)} of them to do", flush=True)
    for frame in append(jobs, path, options.jobs):
        print(*frame.loc[0, KEY[1:5]], f"{frame['seconds'].sum():.0f} s", flush=True)


def interval(values, rng, n_draws=10_000):
    """Return a 95 % bootstrap interval of the mean."""
    drawn = rng.choice(values, (n_draws, len(values))).mean(axis=1)
    return np.quantile(drawn, [0.025, 0.975])


def paired(frame, measure_name):
    """Return a table of cells by methods, of splits that have all methods."""
    wide = frame.pivot_table(index=KEY[1:5], columns="method", values=measure_name)
    return wide[[m for m in (*REFERENCES, *METHODS) if m in wide]].dropna()


def summarize(frame):
    """Return the summary by method, and sentences on ours against plain."""
    rng = np.random.RandomState(0)
    by_split = paired(frame, "accuracy")
    cells = by_split.groupby(level=[0, 1, 2]).mean()
    methods = [method for method in cells if method in METHODS]
    ranks = cells[methods].rank(axis=1, ascending=False).mean()
    rows = {}
    for method in cells:
        gain = by_split[method] - by_split[PLAIN]
        by_cell = gain.groupby(level=[0, 1, 2]).mean()
        errors = 1 - cells[PLAIN]
        low, high = interval(by_cell.to_numpy(), rng)
        rows[method] = {
            "accuracy %": 100 * cells[method].mean(),
            "minus plain": 100 * by_cell.mean(),
            "95 % low": 100 * low,
            "95 % high": 100 * high,
            "error less by %": 100 * (by_cell / errors).mean(),
            "cells won %": 100 * (by_cell > 0).mean() if method != PLAIN else np.nan,
            "worst cell": 100 * by_cell.min(),
            "mean rank": ranks.get(method, np.nan),
        }
        for name in OTHER_MEASURES:
            # Agreement is not known of what was fitted without a teacher at hand.
            known = paired(frame, name).groupby(level=[0, 1, 2]).mean()
            rows[method][name] = known[method].mean() if method in known else np.nan
    summary = pd.DataFrame(rows).T
    gain = cells[OURS] - cells[PLAIN]
    less = gain / (1 - cells[PLAIN])
    few = less.index.get_level_values("labeled") <= 1_000
    by_data = gain.groupby(level=0)
    lines = [
        f"{len(cells)} cells (data, teacher, labels), {len(by_split)} splits in all",
        f"{OURS} better than {PLAIN} in {100 * (gain > 0).mean():.0f} % of cells "
        f"(equal in {(gain == 0).sum()})",
        f"error less by {100 * less.mean():.2f} % on average, by "
        f"{100 * less[few].mean():.2f} % with at most 1,000 labels",
        f"worst cell {100 * gain.min():+.2f} points ({gain.idxmin()})",
        f"{OURS} minus teacher {100 * (cells[OURS] - cells['teacher']).mean():+.2f}",
    ]
    if by_data.ngroups > 1:
        groups = [(part > 0).to_numpy() for _, part in by_data]
        shares = [
            np.concatenate([groups[at] for at in drawn]).mean()
            for drawn in rng.choice(len(groups), (10_000, len(groups)))
        ]
        low, high = np.quantile(shares, [0.025, 0.975])
        lines.append(
            f"share of cells won, bootstrap over data sets: {100 * low:.0f} to "
            f"{100 * high:.0f} %"
        )
        test = wilcoxon(by_data.mean())
        lines.append(
            f"Wilcoxon on {by_data.ngroups} data-set means: p = {test.pvalue:.3f}"
        )
    return summary, lines


def plot(frame, path):
    """Save a dot plot: each method's error against plain's, cell by cell."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    by_split = paired(frame, "accuracy")
    cells = by_split.groupby(level=[0, 1, 2]).mean()
    less = 100 * cells.sub(cells[PLAIN], axis=0).div(1 - cells[PLAIN], axis=0)
    methods = [method for method in less if method in METHODS and method != PLAIN]
    methods.sort(key=lambda method: less[method].mean())
    names = list(dict.fromkeys(less.index.get_level_values("data")))
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    rng = np.random.RandomState(0)
    for place, method in enumerate(methods):
        low, high = interval(less[method].to_numpy(), rng)
        for color, name in enumerate(names):
            values = less.loc[name, method]
            axes.plot(
                values,
                place + rng.uniform(-0.2, 0.2, len(values)),
                "o",
                markersize=4,
                alpha=0.6,
                color=f"C{color}",
                label=name if not place else None,
            )
        axes.plot([low, high], [place, place], color="black", linewidth=3)
    axes.axvline(0, color="gray", linewidth=1)
    shown = less[methods].to_numpy()
    axes.set_xlim(np.clip(shown.min(), -25, 0) - 1, shown.max() + 1)
    axes.set_yticks(range(len(methods)), methods)
    axes.set_xlabel("error less than plain soft distillation's by %, each dot a cell")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--out", default="benchmark-results")
    parser.add_argument("--quick", action="store_true", help="two tables, one seed")
    parser.add_argument("--summary", action="store_true", help="only read results")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=None)
    parser.add_argument("--labeled", type=int, nargs="*", default=LABELED)
    parser.add_argument("--data", nargs="*", default=list(TEACHERS))
    parser.add_argument("--methods", nargs="*", default=None)
    parser.add_argument("--tables", nargs="*", choices=SEEDS, default=list(SEEDS))
    options = parser.parse_args()
    if options.quick:
        options.data, options.seeds = ["adult", "letter"], [0]
        options.labeled, options.tables = [250], ["matched"]
    return options


def main():
    """Run, then print and save the summary and the plot."""
    options = parse()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / ("quick.csv" if options.quick else "accuracy.csv")
    if not options.summary:
        run(options, path)
    frame = pd.read_csv(path)
    for name in ("data", "labeled", "seeds", "tables", "methods"):
        if (wanted := getattr(options, name)) is not None:
            column = {"seeds": "seed", "tables": "table", "methods": "method"}
            frame = frame[frame[column.get(name, name)].isin(wanted)]
    for kind, part in frame.groupby("table", sort=False):
        summary, lines = summarize(part)
        print(f"\n{kind}\n{summary.round(3).to_string()}\n")
        print("\n".join(lines))
        summary.to_csv(out / f"summary-{kind}.csv")
        plot(part, out / f"accuracy-{kind}.png")


if __name__ == "__main__":
    main()

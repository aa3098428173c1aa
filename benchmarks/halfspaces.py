"""Halfspaces under random label noise: what the guarantee is worth in numbers.

Run ``python -m benchmarks.halfspaces``; ``--quick`` runs a small version. All
errors are counted on clean labels. The tables are Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import LinearSVC

from sklearn_slam import HalfspaceClassifier

N_FEATURES = 20
TEST_ROWS = 20_000


class Scale(NamedTuple):
    """How large a run is."""

    seeds: int
    longest_stream: int
    margins: tuple[float, ...]
    rates: tuple[float, ...]
    sizes: tuple[int, ...]
    hard_sizes: tuple[int, ...]
    wrong_rate_rows: int
    speed_rows: int


FULL = Scale(
    seeds=20,
    longest_stream=2**16,
    margins=(0.05, 0.1, 0.2, 0.3),
    rates=(0.1, 0.2, 0.3, 0.4),
    sizes=(500, 5_000, 50_000),
    hard_sizes=(4_000, 40_000),
    wrong_rate_rows=20_000,
    speed_rows=1_000_000,
)
QUICK = Scale(
    seeds=4,
    longest_stream=2**14,
    margins=(0.1, 0.2, 0.3),
    rates=(0.1, 0.3),
    sizes=(500, 5_000),
    hard_sizes=(4_000,),
    wrong_rate_rows=10_000,
    speed_rows=100_000,
)

ERRORS = (0.2, 0.1, 0.05, 0.02, 0.01)
STREAM_BATCH = 16


Family = Callable[
    [int, float, np.random.Generator], tuple[np.ndarray, np.ndarray]
]  # (n, scale, rng) to rows and clean signs


# Distributions: rows and clean signs; the noise is added by `flip`.


def flip(signs: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Flip each sign with the given probability."""
    return np.where(rng.random(signs.size) < rate, -signs, signs)


def sphere(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rows uniformly from the unit sphere."""
    rows = rng.standard_normal((n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def at_margin(
    n: int, margin: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows on the sphere, every one exactly the margin from the hyperplane."""
    signs = rng.choice([-1, 1], size=n)
    rest = sphere(n, N_FEATURES - 1, rng) * np.sqrt(1 - margin**2)
    return np.column_stack([margin * signs, rest]), signs


def beyond_margin(
    n: int, margin: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows uniform on the part of the sphere that respects the margin."""
    # The square of a coordinate has a beta law: draw its upper tail directly.
    law = stats.beta(0.5, (N_FEATURES - 1) / 2)
    share = law.sf(margin**2) * (1 - rng.random(n))
    first = np.sqrt(law.isf(share))
    signs = rng.choice([-1, 1], size=n)
    rest = sphere(n, N_FEATURES - 1, rng) * np.sqrt(1 - first**2)[:, np.newaxis]
    return np.column_stack([first * signs, rest]), signs


def long_servedio(
    n: int, g: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points of one class, mirrored at the origin together with their label."""
    points = np.array([[1, 0], [g, 5 * g], [g, -g], [g, -g]])
    signs = rng.choice([-1, 1], size=n)
    return points[rng.integers(4, size=n)] * signs[:, np.newaxis], signs


def rare_large(
    n: int, g: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Long and Servedio's points, the large one rare and most of the rest at (g, 5g).

    On the original frequencies any average of y x is right, and with it much
    that knows nothing of noise; here that average is wrong as well.
    """
    points = np.array([[1, 0], [g, 5 * g], [g, -g]])
    shares = np.array([2 * g, 0.8 * (1 - 2 * g), 0.2 * (1 - 2 * g)])
    signs = rng.choice([-1, 1], size=n)
    return points[rng.choice(3, size=n, p=shares)] * signs[:, np.newaxis], signs


def at_unit_length(
    family: Family, n: int, g: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a family, brought to length 1 by a coordinate of random sign.

    In the plane, dividing rows by their length makes the hard points easy for
    any learner; these rows have that length already, and the same margin.
    """
    X, signs = family(n, g, rng)
    padding = np.sqrt(1 - np.einsum("ij,ij->i", X, X))
    return np.column_stack([X, padding * rng.choice([-1, 1], size=n)]), signs


def gaussian(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Isotropic rows without any margin."""
    rows = rng.standard_normal((n, N_FEATURES))
    return rows, np.where(rows[:, 0] > 0, 1, -1)


# (a) rows needed against margin, error and noise


def error_curves(family, margin, rate, sizes, seeds) -> np.ndarray:
    """Clean error after each number of rows, one row of the result per seed."""
    curves = np.empty((seeds, len(sizes)))
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        X, signs = family(sizes[-1], margin, rng)
        y = flip(signs, rate, rng)
        X_test, clean = family(TEST_ROWS, margin, rng)
        halfspace = HalfspaceClassifier(
            noise_rate=rate,
            margin=margin,
            fit_intercept=False,
            batch_size=STREAM_BATCH,
        )
        for i, (start, stop) in enumerate(itertools.pairwise([0, *sizes])):
            halfspace.partial_fit(X[start:stop], y[start:stop], classes=[-1, 1])
            curves[seed, i] = 1 - halfspace.score(X_test, clean)
    return curves


def rows_needed(curve: np.ndarray, sizes: np.ndarray, error: float) -> float:
    """First size from which the mean curve stays at or below the error.

    Linear in the logarithms between two sizes; NaN where the crossing lies
    outside the sizes tried.
    """
    above = np.flatnonzero(curve > error)
    if not above.size or above[-1] == len(curve) - 1:
        return np.nan
    i = above[-1]
    floor = 0.1 / TEST_ROWS  # an observed zero is not a logarithm
    high, low = np.log(np.maximum(curve[i : i + 2], floor))
    share = (high - np.log(error)) / (high - low)
    return float(np.exp(np.log(sizes[i]) + share * np.log(sizes[i + 1] / sizes[i])))


def slopes(needed: dict[tuple[float, float, float], float]) -> np.ndarray:
    """Least squares of log n on log 1/margin, log 1/eps, log 1/(1 - 2 eta)."""
    cells = [(key, n) for key, n in needed.items() if np.isfinite(n)]
    inverse = [
        (1.0, 1 / margin, 1 / error, 1 / (1 - 2 * rate))
        for (margin, rate, error), _ in cells
    ]
    design = np.log(np.array(inverse))
    design[:, 0] = 1.0
    return np.linalg.lstsq(design, np.log([n for _, n in cells]), rcond=None)[0][1:]


def bound(margin: float, rate: float, error: float) -> float:
    """Rows after which the regret bound puts the mean error of an iterate at eps."""
    return 8 * ((1 - rate) / ((1 - 2 * rate) * margin * error)) ** 2


def sample_complexity(scale: Scale) -> None:
    """Print needed rows beside the bound, and slopes with bootstrap intervals."""
    steps = np.arange(2 * np.log2(STREAM_BATCH), 2 * np.log2(scale.longest_stream) + 1)
    sizes = np.unique((2 ** (steps / 2) // STREAM_BATCH).astype(int) * STREAM_BATCH)
    print("\n## (a) Rows needed\n")
    print(
        f"{N_FEATURES} features, one pass, batches of {STREAM_BATCH}, averaged, "
        f"{scale.seeds} seeds, streams of up to {sizes[-1]:,} rows.\n"
    )
    for family in (at_margin, beyond_margin):
        curves = {
            (margin, rate): error_curves(family, margin, rate, sizes, scale.seeds)
            for margin in scale.margins
            for rate in scale.rates
        }
        print(f"### {family.__name__}: test error against n\n")
        print_curves(curves, sizes)
        print_needed(curves, sizes)
        print_slopes(curves, sizes, scale)


def needed_rows(curves, sizes, chosen=slice(None)):
    """Rows needed in every cell, for the mean over the chosen seeds."""
    return {
        (margin, rate, error): rows_needed(curve[chosen].mean(axis=0), sizes, error)
        for (margin, rate), curve in curves.items()
        for error in ERRORS
    }


def print_curves(curves, sizes) -> None:
    shown = np.arange(len(sizes))[::4]
    header("margin", "noise", *(f"n={sizes[i]:,}" for i in shown))
    for (margin, rate), curve in curves.items():
        means = 100 * curve.mean(axis=0)[shown]
        row(f"{margin:g}", f"{rate:g}", *(f"{e:.2f} %" for e in means))
    print()


def print_needed(curves, sizes) -> None:
    print("Rows needed (share of the bound 8 (1 - eta)^2 / ((1 - 2 eta) margin eps)^2)")
    print()
    header("margin", "noise", *(f"eps={error:g}" for error in ERRORS))
    needed = needed_rows(curves, sizes)
    for margin, rate in curves:
        cells = []
        for error in ERRORS:
            n = needed[margin, rate, error]
            share = n / bound(margin, rate, error)
            cells.append("outside" if np.isnan(n) else f"{n:,.0f} ({share:.1g})")
        row(f"{margin:g}", f"{rate:g}", *cells)
    print()


def print_slopes(curves, sizes, scale: Scale) -> None:
    rng = np.random.default_rng(0)
    draws = [rng.integers(scale.seeds, size=scale.seeds) for _ in range(1_000)]
    print("Slopes of log n (95 % bootstrap intervals over seeds); the bound has 2.\n")
    header("noise", "cells", "log 1/margin", "log 1/eps", "log 1/(1 - 2 eta)")
    groups = [(f"{rate:g}", {rate}) for rate in scale.rates]
    for name, rates in [*groups, ("all", set(scale.rates))]:
        part = {key: curve for key, curve in curves.items() if key[1] in rates}
        needed = needed_rows(part, sizes)
        found = slopes(needed)
        repeated = [slopes(needed_rows(part, sizes, draw)) for draw in draws]
        low, high = np.percentile(repeated, [2.5, 97.5], axis=0)
        cells = [
            f"{s:.2f} [{a:.2f}, {b:.2f}]"
            for s, a, b in zip(found, low, high, strict=True)
        ]
        if len(rates) == 1:
            cells[2] = ""  # nothing varies
        row(name, str(np.isfinite(list(needed.values())).sum()), *cells)
    print()


# (b), (c), (d): errors of learners on one distribution

HARD: dict[str, tuple[Family, float]] = {
    "long_servedio, g=1/20": (long_servedio, 1 / 20),
    "long_servedio, g=1/30": (long_servedio, 1 / 30),
    "long_servedio, g=1/20, unit length": (
        partial(at_unit_length, long_servedio),
        0.05,
    ),
    "rare_large, g=1/20, unit length": (partial(at_unit_length, rare_large), 0.05),
}


def mixed(rate: float | str, **params) -> HalfspaceClassifier:
    """Build the learner of the experiments: homogeneous, one pass."""
    params = {"max_iter": 1, **params}
    return HalfspaceClassifier(
        noise_rate=rate, fit_intercept=False, random_state=0, **params
    )


def trials(learners, draw, rate, n, seeds) -> np.ndarray:
    """Clean errors, one row per learner and one column per seed."""
    errors = np.empty((len(learners), seeds))
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        X, signs = draw(n, rng)
        X_test, clean = draw(TEST_ROWS, rng)
        y = flip(signs, rate, rng)
        for i, learner in enumerate(learners):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                learner.fit(X, y)
            errors[i, seed] = 1 - learner.score(X_test, clean)
    return errors


def spread(errors: np.ndarray) -> str:
    percent = 100 * errors
    return f"{percent.mean():.1f} [{percent.min():.1f}, {percent.max():.1f}]"


def learners_without_intercept(rate: float, g: float) -> dict[str, BaseEstimator]:
    logistic = LogisticRegression(C=1e6, fit_intercept=False)
    return {
        "mixed, rate known": mixed(rate, margin=g),
        "mixed, rate estimated": mixed("estimate", margin=g),
        "mixed, margin=1": mixed(rate, margin=1.0),
        "mixed, best iterate": mixed(rate, margin=g, iterate="best"),
        "mixed, defaults": mixed("estimate", max_iter=5),
        "mixed, rate 0": mixed(0.0, margin=g),
        "nearest centroid": NearestCentroid(),
        "logistic": logistic,
        "linear SVM": LinearSVC(fit_intercept=False, random_state=0),
        "logistic, unit rows": make_pipeline(Normalizer(), logistic),
    }


def defeated_losses(scale: Scale) -> None:
    """Print errors on distributions where convex losses fail under noise."""
    print("\n## (b) Long-Servedio, no intercept\n")
    print(f"Clean error in %, mean [least, greatest] of {scale.seeds} seeds.\n")
    header("distribution", "noise", "n", *learners_without_intercept(0, 1))
    for name, rate, n in itertools.product(HARD, (0.1, 0.2, 0.3), scale.hard_sizes):
        family, g = HARD[name]
        draw = partial(at_scale, family, g)
        learners = learners_without_intercept(rate, g).values()
        errors = trials(list(learners), draw, rate, n, scale.seeds)
        row(name, f"{rate:g}", f"{n:,}", *map(spread, errors))


def at_scale(family, g, n, rng):
    return family(n, g, rng)


def easy_case(scale: Scale) -> None:
    print("\n## (c) Gaussian rows, no margin\n")
    print(
        f"Clean error in %, mean of {scale.seeds} seeds; the difference to logistic "
        "regression is paired, with its 95 % interval.\n"
    )
    names = (
        "one pass, rate known",
        "five passes, rate known",
        "five passes, rate estimated",
        "five passes, best iterate",
    )
    header("noise", "n", "logistic", *names)
    for rate, n in itertools.product((0.0, 0.1, 0.3), scale.sizes):
        learners = [
            LogisticRegression(fit_intercept=False),
            mixed(rate),
            mixed(rate, max_iter=5),
            mixed("estimate", max_iter=5),
            mixed(rate, max_iter=5, iterate="best"),
        ]
        base, *others = 100 * trials(learners, gaussian, rate, n, scale.seeds)
        cells = []
        for errors in others:
            half = stats.t.ppf(0.975, scale.seeds - 1) * stats.sem(errors - base)
            gap = errors.mean() - base.mean()
            cells.append(f"{errors.mean():.2f} ({gap:+.2f} +- {half:.2f})")
        row(f"{rate:g}", f"{n:,}", f"{base.mean():.2f}", *cells)


def wrong_rate(scale: Scale) -> None:
    print("\n## (d) A wrong noise rate\n")
    n = scale.wrong_rate_rows
    print(
        f"Clean error in %, mean of {scale.seeds} seeds, {n:,} rows, one pass, by the "
        "assumed rate.\n"
    )
    assumed = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, "estimate")
    header("distribution", "noise", *(str(a) for a in assumed))
    draws = {
        name: (partial(at_scale, family, g), g)
        for name, (family, g) in [*HARD.items(), ("at_margin, 0.05", (at_margin, 0.05))]
        if name != "long_servedio, g=1/30"
    }
    draws["Gaussian"] = (gaussian, 0.1)
    for (name, (draw, margin)), rate in itertools.product(draws.items(), scale.rates):
        learners = [mixed(a, margin=margin) for a in assumed]
        errors = 100 * trials(learners, draw, rate, n, scale.seeds).mean(axis=1)
        row(name, f"{rate:g}", *(f"{error:.2f}" for error in errors))


def speed(scale: Scale) -> None:
    print("\n## Speed\n")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((scale.speed_rows, 100))
    clean = np.where(X[:, 0] > 0, 1, -1)
    y = flip(clean, 0.2, rng)
    print(f"{X.shape[0]:,} x {X.shape[1]} rows of float64, fit, seconds.\n")
    learners = {
        "one pass, rate known": HalfspaceClassifier(noise_rate=0.2, max_iter=1),
        "five passes, rate known": HalfspaceClassifier(noise_rate=0.2),
        "defaults (five passes, rate estimated)": HalfspaceClassifier(),
        "logistic regression (L-BFGS)": LogisticRegression(),
    }
    header("learner", "seconds", "clean error in %")
    for name, learner in learners.items():
        start = time.perf_counter()
        learner.fit(X, y)
        seconds = time.perf_counter() - start
        row(name, f"{seconds:.1f}", f"{100 * (1 - learner.score(X, clean)):.2f}")


def header(*cells: str) -> None:
    row(*cells)
    row(*("---" for _ in cells))


def row(*cells: str) -> None:
    print("|", " | ".join(cells), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    scale = QUICK if parser.parse_args().quick else FULL
    start = time.perf_counter()
    sample_complexity(scale)
    defeated_losses(scale)
    easy_case(scale)
    wrong_rate(scale)
    speed(scale)
    print(f"\nTook {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()

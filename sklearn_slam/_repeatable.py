"""What makes a fit repeatable: seeds for all that is random, and answers kept."""

from __future__ import annotations

from collections.abc import Callable
from pickle import PicklingError
from typing import Any

import numpy as np
from joblib import Memory


def with_random_state(estimator: Any, seed: int) -> Any:
    """Set each ``random_state`` that is None, nested ones included."""
    rng = np.random.RandomState(seed)
    params = estimator.get_params(deep=True)
    names = [
        name
        for name in sorted(params)
        if name.split("__")[-1] == "random_state" and params[name] is None
    ]
    bound = np.iinfo(np.int32).max
    return estimator.set_params(**{name: int(rng.randint(bound)) for name in names})


def cached(
    memory: Memory, function: Callable[..., Any], ignore: list[str] | None = None
) -> Callable[..., Any]:
    """Return a function whose answers ``memory`` keeps, by what it is asked."""
    kept = memory.cache(function, ignore=ignore)

    def ask(*args: Any, **kwargs: Any) -> Any:
        try:
            return kept(*args, **kwargs)
        except PicklingError as error:
            if "while hashing" not in str(error):  # another's, such as a worker's
                raise
            raise ValueError(
                "memory keeps answers by what was asked, which therefore must be "
                f"pickled, but cannot be ({error.args[0]}). Define functions by def in "
                "a module, in the place of a lambda or within another function, or "
                "leave memory out."
            ) from error

    return ask

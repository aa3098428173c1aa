"""Packages that an extra brings."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_optional(module: str, extra: str) -> Any:
    """Import a module that the core does without.

    Parameters
    ----------
    module : str
        Its full name.
    extra : str
        The extra of sklearn-slam that installs it.

    Raises
    ------
    ImportError
        If it is missing; the message names the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ImportError(
            f"{package} is needed here: install it, or sklearn-slam with its extra "
            f'{extra}, pip install ".[{extra}]" in a clone ({error}).'
        ) from error

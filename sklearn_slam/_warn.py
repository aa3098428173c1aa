"""Warnings that name the line which called the package, however deep they arise."""

from __future__ import annotations

import sys
import warnings

WITHIN = "sklearn_slam.", "functools", "joblib.memory"
"""Modules whose frames are passed over: our own, and the caches between them."""


def warn(message: str) -> None:
    """Warn of what could surprise a user, at the line that called the package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(WITHIN):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)

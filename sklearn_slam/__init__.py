"""Knowledge distillation with unlabeled examples by student-label mixing (SLaM)."""

__version__ = "0.1.0"

from ._halfspace import HalfspaceClassifier

__all__ = ["HalfspaceClassifier"]

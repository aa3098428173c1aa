"""Where a fit stands: bars under ``verbose``, and scikit-learn's callbacks.

The one module that knows whether scikit-learn has callbacks: from 1.9 on, as an
experiment that may change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from skorch.callbacks import Callback
from tqdm import tqdm

__all__ = ["CallbackSupportMixin", "EpochProgress", "Progress"]


class Nobody:
    """Take the place of a callback context where there is none to tell."""

    def subcontext(self, **kwargs: Any) -> Nobody:
        """Return what stands for a task within this one."""
        return self

    def call_on_fit_task_begin(self, **kwargs: Any) -> Nobody:
        """Tell nobody."""
        return self

    def call_on_fit_task_end(self, **kwargs: Any) -> bool:
        """Tell nobody, who does not ask to stop."""
        return False


try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Take the place of scikit-learn's; has no ``set_callbacks``."""

        def _init_callback_context(self, **kwargs: Any) -> Nobody:
            return Nobody()

    def with_callbacks(method: Any) -> Any:
        """Return a method as it is."""
        return method


@with_callbacks
def _tear_down(estimator: Any) -> None:
    """Let the decorator tear down what was set up.

    Around ``fit`` it would be one more frame, and warnings would name it.
    """


class Part:
    """A part of a fit, in steps.

    Parameters
    ----------
    task : CallbackContext
        Of the part.
    step_name : str
    told : dict
        What each call of a callback is handed.
    bar : tqdm
    """

    def __init__(
        self, task: Any, step_name: str, told: dict[str, Any], bar: Any
    ) -> None:
        self.task = task
        self.step_name = step_name
        self.told = told
        self.bar = bar

    def begin(self) -> None:
        """Begin a step."""
        self.step = self.task.subcontext(task_name=self.step_name)
        self.step.call_on_fit_task_begin(**self.told)

    def end(
        self,
        size: int = 1,
        *,
        shown: Mapping[str, str] | None = None,
        fitted: Callable[[], dict[str, Any]] | None = None,
    ) -> bool:
        """End a step.

        Parameters
        ----------
        size : int, default=1
            By how much the bar grows.
        shown : mapping, default=None
            Values to show beside the bar.
        fitted : callable, default=None
            Returns the fitted attributes of an estimator that could predict now.

        Returns
        -------
        stop : bool
            Whether a callback asks for no further step.
        """
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update(size)
        return bool(
            self.step.call_on_fit_task_end(
                **self.told, reconstruction_attributes=fitted
            )
        )


class Progress:
    """Where a fit stands.

    Parameters
    ----------
    verbose : int, default=0
        Whether to show bars.
    context : CallbackContext, default=None
        Of the whole fit; None tells no callback.
    told : dict, default=None
        What each call of a callback is handed.
    """

    def __init__(
        self, verbose: int = 0, context: Any = None, told: dict[str, Any] | None = None
    ) -> None:
        self.verbose = verbose
        self.context = Nobody() if context is None else context
        self.told = {} if told is None else told

    @classmethod
    @contextmanager
    def of_fit(cls, estimator: Any, X: Any, y: Any) -> Iterator[Progress]:
        """Set an estimator's callbacks up, and tear them down on leaving."""
        told = {"estimator": estimator, "X": X, "y": y}
        try:
            # How many tasks there are depends on what is given and what is known.
            context = estimator._init_callback_context(max_subtasks=None)
            context.call_on_fit_task_begin(**told)
            yield cls(estimator.verbose, context, told)
            context.call_on_fit_task_end(**told)
        finally:
            _tear_down(estimator)

    @contextmanager
    def part(
        self,
        name: str,
        unit: str,
        n_steps: int,
        *,
        n_rows: int | None = None,
        verbose: int | None = None,
    ) -> Iterator[Part]:
        """Begin a part of the fit, and end it on leaving.

        Parameters
        ----------
        name, unit : str
            Of the part and of a step.
        n_steps : int
            How many there are at most.
        n_rows : int, default=None
            What the bar counts in the place of steps.
        verbose : int, default=None
            In the place of the fit's own.
        """
        task = self.context.subcontext(task_name=name, max_subtasks=n_steps)
        task.call_on_fit_task_begin(**self.told)
        with tqdm(
            total=n_steps if n_rows is None else n_rows,
            desc=name,
            unit=unit if n_rows is None else "row",
            disable=(self.verbose if verbose is None else verbose) <= 0,
        ) as bar:
            yield Part(task, unit, self.told, bar)
        task.call_on_fit_task_end(**self.told)


class EpochProgress(Callback):
    """Tell of each epoch.

    Parameters
    ----------
    part : Part
        The training.
    fitted : callable
        From the net to the fitted attributes of an estimator that predicts with it.

    Attributes
    ----------
    within : bool
        Whether an epoch has begun and not ended. skorch ends training quietly on
        KeyboardInterrupt; where early stopping raises it, the epoch has ended.
    """

    def __init__(self, part: Part, fitted: Callable[[Any], dict[str, Any]]) -> None:
        self.part = part
        self.fitted = fitted
        self.within = False

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a step."""
        self.within = True
        self.part.begin()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End a step; end training, in skorch's way, where a callback asks for it."""
        self.within = False
        losses = {
            name: f"{net.history[-1][name]:.4f}"
            for name in ("train_loss", "valid_loss")
            if name in net.history[-1]
        }
        if self.part.end(shown=losses, fitted=lambda: self.fitted(net)):
            raise KeyboardInterrupt

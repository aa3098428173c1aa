"""Documentation of the parameters and attributes that all distillers share."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from typing import TypeVar

Class = TypeVar("Class", bound=type)


def document_like(model: type) -> Callable[[Class], Class]:
    """Put what a class shares with a documented one into its docstring.

    Parameters stand in the order of the constructor, those that the docstring does not
    describe by their kind and "as in" the model; its fitted attributes follow.

    Parameters
    ----------
    model : type
        Has all parameters and attributes of the classes to document.
    """

    def document(cls: Class) -> Class:
        own, shared = (inspect.cleandoc(str(kind.__doc__)) for kind in (cls, model))
        summary, described = own.split("\n\nParameters\n----------", 1)
        described, rest = described.split("\n\nNotes\n", 1)
        entries, of_model = (
            _entries(described),
            _entries(_section(shared, "Parameters")),
        )
        parameters = []
        for name, parameter in inspect.signature(cls).parameters.items():
            default = parameter.default
            if isinstance(default, str):
                default = json.dumps(default)
            if name not in entries:
                kind = of_model[name].split(" : ", 1)[1].split(", default=")[0]
                entries[name] = (
                    f"{name} : {kind}, default={default}\n"
                    f"    As in :class:`{model.__name__}`."
                )
            parameters.append(entries[name])
        cls.__doc__ = "\n".join(
            [
                summary,
                "\nParameters\n----------",
                *parameters,
                "\nAttributes\n----------",
                _section(shared, "Attributes"),
                f"\nSee Also\n--------\n{model.__name__} : Student-label mixing.",
                f"\nNotes\n{rest}",
            ]
        )
        return cls

    return document


def _section(doc: str, name: str) -> str:
    """Return the text of a section of a docstring."""
    _, text = doc.split(f"\n\n{name}\n{'-' * len(name)}\n", 1)
    return re.split(r"\n\n[A-Z][\w ]*\n---+\n", text)[0]


def _entries(section: str) -> dict[str, str]:
    """Return entries by name: each begins at the margin, its text is indented."""
    found = re.split(r"\n(?=\w)", section.strip("\n"))
    return {entry.split(" : ", 1)[0]: entry.rstrip() for entry in found}

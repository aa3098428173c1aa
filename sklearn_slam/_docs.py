"""Documentation of the parameters and attributes that all distillers share."""

from __future__ import annotations

import inspect
import json
import re
from typing import TypeVar

AS_IN_SLAM = """\
{parameter} : {kind}, default={default}
    As in :class:`SLaMDistiller`."""

KINDS = {
    "teacher": "classifier",
    "student": "object",
    "alpha_min": '{"auto"} or float',
    "top_k": '{"auto"} or int',
    "top_k_accuracy": "float",
    "normalize": "bool",
    "peers": '{"auto"} or bool',
    "vid_weight": '{"auto"} or float',
    "labeled_weight": '{"auto"} or float',
    "calibrate": "bool",
    "cv": "int, splitter or iterable",
    "unlabeled_label": "object",
    "max_epochs": 'int or "auto"',
    "batch_size": 'int or "auto"',
    "lr": 'float or "auto"',
    "weight_decay": 'float or "auto"',
    "early_stopping": 'bool or "auto"',
    "device": "str",
    "n_jobs": "int",
    "memory": "str, joblib.Memory or None",
    "verbose": "int",
    "random_state": "int, RandomState instance or None",
}

ATTRIBUTES = """\
Attributes
----------
classes_ : ndarray of shape (n_classes,)
    Class labels, of labeled rows and of a fitted teacher, sorted.
n_features_in_ : int
    Number of features seen at fit.
feature_names_in_ : ndarray of shape (n_features,)
    Their names, where X has names that are strings.
teacher_ : classifier or None
    The teacher used; None where all its probabilities were given and it did not
    arrive fitted.
student_ : classifier
    The fitted student, which predicts without the teacher.
teacher_accuracy_ : TeacherAccuracy
    How often the teacher is right, as functions of its margin.
label_accuracy_ : TeacherAccuracy
    The same of the labels that the student learned: the teacher's, or with peers the
    combined ones.
label_weights_ : dict of str to float
    Exponents with which the probabilities of the teacher and of each peer are
    multiplied to the labels learned; ``{"teacher": 1.0}`` without peers.
n_unlabeled_ : int
    Number of unlabeled rows, of X and of ``X_unlabeled``.
history_ : list of dict
    What was recorded of each epoch.
n_epochs_ : int
    Number of epochs run.

See Also
--------
SLaMDistiller : Student-label mixing."""

Class = TypeVar("Class", bound=type)


def document_shared(cls: Class) -> Class:
    """Put what all distillers share into a class's docstring.

    Parameters stand in the order of the constructor, those that the docstring does
    not describe as in :class:`SLaMDistiller`; the fitted attributes follow.
    """
    own, rest = inspect.cleandoc(str(cls.__doc__)).split("\n\nNotes\n", 1)
    summary, described = own.split("\n\nParameters\n----------", 1)
    # An entry begins at the margin; its text is indented.
    entries = {
        entry.split(" : ", 1)[0]: entry.rstrip()
        for entry in re.split(r"\n(?=\w)", described)
        if entry.strip()
    }
    entries = {
        name: entries.get(name)
        or AS_IN_SLAM.format(
            parameter=name,
            kind=KINDS[name],
            default=json.dumps(parameter.default)
            if isinstance(parameter.default, str)
            else parameter.default,
        )
        for name, parameter in inspect.signature(cls).parameters.items()
    }
    parameters = "\n".join(["Parameters", "----------", *entries.values()])
    cls.__doc__ = f"{summary}\n\n{parameters}\n\n{ATTRIBUTES}\n\nNotes\n{rest}"
    return cls

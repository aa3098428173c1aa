"""What comes in beside tables: labels, probabilities of classes, weights."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from sklearn_slam._rows import (
    columns,
    is_frame,
    is_missing,
)
from sklearn_slam._warn import warn

TEXT_MARKS = {
    *("", " ", "-1", "?", "N/A", "NA", "NaN", "None", "nan", "null", "<NA>"),
    *("unlabeled", "unlabelled"),
}
"""Text that more often stands for a missing label than for a class."""


def split_labels(
    y: Any, unlabeled_label: Any = None, *, n_rows: int | None = None
) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Tell labeled from unlabeled rows.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Labels of any type. NaN, None and pandas' NA mark unlabeled rows.
    unlabeled_label : object, default=None
        A label that marks unlabeled rows too.
    n_rows : int, default=None
        Number of rows that y must have.

    Returns
    -------
    labeled : ndarray of bool, shape (n_rows,)
    labels : ndarray of shape (n_labeled,)
        In a dtype that sorts and compares.
    """
    if np.iterable(unlabeled_label) and not isinstance(unlabeled_label, str | bytes):
        raise ValueError(
            f"unlabeled_label must be one label, got {unlabeled_label!r}; replace "
            "several marks in y by None."
        )
    y = _read_labels(y)
    if n_rows is not None and len(y) != n_rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has "
            f"{n_rows} rows, y has {len(y)}. It holds a label for each row of X, and "
            "none for a pool beside it."
        )
    missing = missing_labels(y)
    if not is_missing(unlabeled_label):
        # Only labels are compared: pandas' NA answers neither yes nor no.
        missing[~missing] = np.asarray(y[~missing] == unlabeled_label, dtype=bool)

    labels = y[~missing]
    if labels.dtype == object:
        # Numbers and bools kept as objects beside None become plain again;
        # strings stay objects, as scikit-learn keeps them.
        inferred = np.asarray(labels.tolist())
        if inferred.dtype.kind in "biuf":
            labels = inferred
        elif not all(isinstance(label, str) for label in labels):
            kinds = sorted({type(label).__name__ for label in labels})
            raise ValueError(
                f"Unknown label type: y holds {kinds}; give text, numbers or booleans, "
                "and one of these only."
            )
    if labels.dtype.kind == "f" and np.isinf(labels).any():
        raise ValueError("Input y contains infinity; mark unlabeled rows by NaN.")
    check_classification_targets(labels)
    return ~missing, labels


def missing_labels(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which entries of an array of one dimension are NaN, NaT, None or NA."""
    if y.dtype.kind == "f":
        return np.isnan(y)
    if y.dtype.kind in "mM":
        return np.isnat(y)
    if y.dtype == object:
        return np.fromiter(map(is_missing, y), bool, len(y))
    return np.zeros(len(y), dtype=bool)


def _read_labels(y: Any) -> NDArray[Any]:
    """Return labels of any container as an array of one dimension."""
    if y is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None."
        )
    if hasattr(y, "to_numpy") and not isinstance(y, np.ndarray):  # pandas, polars
        series = columns(y)[0] if is_frame(y) and y.shape[1] == 1 else y
        y = y.to_numpy()
        dtype = str(getattr(series, "dtype", "float")).lower()
        if y.dtype.kind == "f" and "float" not in dtype:
            # Integers beside missing values, which are no floats.
            y = np.array(list(series), dtype=object).reshape(y.shape)
    if not (hasattr(y, "shape") or hasattr(y, "__array__")):
        # A list that mixes None, strings or numbers keeps its types.
        mixed = len({isinstance(label, str) for label in y}) > 1
        keeps = mixed or any(map(is_missing, y))
        y = np.asarray(y, dtype=object if keeps else None)
    if isinstance(y, np.ma.MaskedArray):
        y = np.array(y.tolist(), dtype=object)  # None where masked
    if sp.issparse(y):
        raise ValueError("y is a sparse matrix; pass y.toarray().ravel().")
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(
            f"y has shape {y.shape}: multi-output labels are not supported; fit "
            "one distiller for each column."
        )
    return column_or_1d(y, warn=True)


def warn_about_marks(classes: NDArray[Any], class_counts: NDArray[np.intp]) -> None:
    """Warn where a class looks like a mark for missing labels."""
    marks = [label for label in classes.tolist() if label in TEXT_MARKS]
    if marks:
        warn(
            f"y contains the class {marks[0]!r}, a string. Missing labels are marked "
            "by None, NaN or pandas.NA; if it marks them, too, convert it before fit, "
            f"or pass unlabeled_label={marks[0]!r}."
        )
    if classes.dtype.kind in "if" and -1 in classes:
        others = classes[classes != -1]
        if len(others) >= 2 and (others >= 0).all():
            n_marked = int(class_counts[classes == -1][0])
            warn(
                f"y contains -1 in {n_marked} rows, which is treated as a class. "
                "If it marks unlabeled rows, pass unlabeled_label=-1."
            )


def warn_about_unshared(label_classes: NDArray[Any], teacher_classes: Any) -> None:
    """Warn where labels and a fitted teacher do not know the same classes."""
    unseen = np.setdiff1d(teacher_classes, label_classes)[:10].tolist()
    if unseen:
        warn(
            f"No labeled row has class {unseen}, which the teacher knows; how often it "
            "is right there is not known."
        )
    unknown = np.setdiff1d(label_classes, teacher_classes)[:10].tolist()
    if unknown:
        warn(
            f"The teacher does not know class {unknown} of y, and is wrong on all of "
            "its rows."
        )


def check_two_classes(classes: NDArray[Any], among: str = "") -> None:
    """Raise where there is nothing to tell apart."""
    if len(classes) < 2:
        raise ValueError(
            f"y holds one class only ({classes.tolist()[0]!r}){among}; at least two "
            "classes are needed."
        )


def union_of_classes(label_classes: NDArray[Any], teacher_classes: Any) -> NDArray[Any]:
    """Return the sorted classes of labels and teacher together.

    Raises
    ------
    ValueError
        If the two are of types that do not compare, or share no class, or the
        teacher's are not one label a column.
    """
    teacher_classes = np.asarray(teacher_classes)
    if teacher_classes.ndim != 1:
        raise ValueError(
            "teacher.classes_ must be one array of class labels (a CallableTeacher "
            f"has those that it is given), got {teacher_classes!r}; a multi-output "
            "teacher is not supported."
        )
    if len(np.unique(teacher_classes)) < len(teacher_classes):
        raise ValueError(
            "teacher.classes_ must name each column of predict_proba once, got "
            f"{teacher_classes!r}."
        )
    text = [classes.dtype.kind in "OUS" for classes in (label_classes, teacher_classes)]
    if text[0] != text[1]:
        raise ValueError(
            f"The labels in y are of dtype {label_classes.dtype}, the teacher's "
            f"classes of dtype {teacher_classes.dtype}: classes are matched by "
            "value; convert y to the type that the teacher was fitted with."
        )
    if not np.isin(label_classes, teacher_classes).any():
        raise ValueError(
            f"y and the teacher share no class: y has {label_classes[:5]!r}, "
            f"teacher.classes_ {teacher_classes[:5]!r}."
        )
    return np.union1d(label_classes, teacher_classes)


def order_columns(proba: Any, classes: NDArray[Any], name: str) -> Any:
    """Return a frame of probabilities with its columns in the order of classes.

    Those of an array, and of a frame that was made without names, are so already.
    """
    if not is_frame(proba):
        return proba
    values = proba.to_numpy()
    if values.dtype == object and hasattr(proba, "astype"):  # pandas' nullable numbers
        try:
            values = proba.to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must hold numbers: {error}.") from error
    names, labels = list(proba.columns), np.asarray(classes).tolist()
    numbered = list(range(len(names)))
    if names == numbered and labels != numbered and set(labels) == set(numbered):
        raise ValueError(
            f"The columns of {name} may be numbered or named after the classes, which "
            f"are {labels[:10]}: give an array whose columns follow them, or names "
            "that are text."
        )
    # By value, under which 1, 1.0 and True are the same; then as text.
    for told in (lambda label: label, _as_text):
        place_of = {told(column): place for place, column in enumerate(names)}
        wanted = [told(label) for label in labels]
        if len(names) == len(wanted) and place_of.keys() == set(wanted):
            return values[:, [place_of[label] for label in wanted]]
    if names in (numbered, [f"column_{n}" for n in numbered]):
        return values
    raise ValueError(
        f"{name} has columns {names[:10]}, but the classes are {labels[:10]}. Name a "
        "column after each class, or give an array whose columns follow them."
    )


def _as_text(label: Any) -> str:
    """Return a label as text; 1.0 stands for the integer 1 beside missing labels."""
    whole = isinstance(label, float) and label.is_integer()
    return str(int(label) if whole else label)


def check_proba(proba: Any, n_rows: int, n_classes: int, name: str) -> NDArray[Any]:
    """Return probabilities as a float array of the expected shape, or raise.

    Parameters
    ----------
    proba : array-like of shape (n_rows, n_classes)
    n_rows, n_classes : int
    name : str
        What the message calls it, such as ``"teacher.predict_proba"``.
    """
    proba = np.asarray(proba)
    if proba.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numbers, got dtype {proba.dtype}.")
    if proba.dtype.kind != "f":
        proba = proba.astype(np.float64)
    if proba.shape != (n_rows, n_classes):
        raise ValueError(
            f"{name} has shape {proba.shape}, expected ({n_rows}, {n_classes}): one "
            "row for each row of the table and one column for each class of the "
            "teacher."
        )
    if not np.isfinite(proba).all():
        raise ValueError(f"{name} contains NaN or infinity.")
    if (proba < 0).any():
        raise ValueError(
            f"{name} contains negative entries (least: {proba.min():.3g}); "
            "probabilities are expected, not scores."
        )
    sums = proba.sum(axis=1, dtype=np.float64)
    if n_rows and np.abs(sums - 1).max() > 1e-2:
        worst = int(np.abs(sums - 1).argmax())
        raise ValueError(
            f"{name} must sum to 1 in each row; row {worst} sums to {sums[worst]:.4g}."
        )
    return proba


def align_proba(
    proba: NDArray[Any], from_classes: NDArray[Any], classes: NDArray[Any]
) -> NDArray[np.float32]:
    """Order columns as in ``classes``; a class that is not known gets 0.

    Parameters
    ----------
    proba : ndarray of shape (n_rows, n_from_classes)
    from_classes : ndarray of shape (n_from_classes,)
        A subset of ``classes``, in any order.
    classes : ndarray of shape (n_classes,)
        Sorted.

    Returns
    -------
    aligned : ndarray of float32, shape (n_rows, n_classes)
    """
    if np.array_equal(from_classes, classes):
        return proba.astype(np.float32)
    aligned = np.zeros((len(proba), len(classes)), dtype=np.float32)
    aligned[:, np.searchsorted(classes, from_classes)] = proba
    return aligned


def check_weights(
    weights: ArrayLike | None, n_rows: int, name: str
) -> NDArray[np.float64] | None:
    """Return weights as a float array, None where there are none, or raise."""
    if weights is None:
        return None
    try:
        weights = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must hold a number for each row ({error})."
        ) from error
    if weights.shape != (n_rows,):
        raise ValueError(
            f"{name} has shape {weights.shape}, expected ({n_rows},): one weight a row."
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"{name} must be finite and not negative.")
    if n_rows and not weights.any():
        raise ValueError(f"{name} is zero for every row; nothing would be learned.")
    return weights


def relative_weights(
    weights: NDArray[np.float64] | None, n_rows: int
) -> NDArray[np.float64]:
    """Return weights that are 1 in the mean over rows that weigh anything."""
    if weights is None:
        return np.ones(n_rows)
    return weights / weights[weights > 0].mean()


def take_sample_weight(params: dict[str, Any], fit: Callable[..., Any]) -> Any:
    """Return ``sample_weight`` of keyword arguments of ``fit`` with nothing else.

    A ``fit`` that names ``sample_weight`` promises that weights equal repeated
    rows, which training on mini-batches keeps in expectation only; taken from
    ``**params``, as in scikit-learn's own meta-estimators, it promises no such.
    """
    unknown = sorted(set(params) - {"sample_weight"})
    if unknown:
        known = [name for name in inspect.signature(fit).parameters if name != "params"]
        raise TypeError(
            f"fit() got unexpected keyword arguments {unknown}; it takes "
            f"{[*known, 'sample_weight']}."
        )
    return params.get("sample_weight")


def check_integer(name: str, value: Any, least: int) -> None:
    """Raise where a parameter is no integer of at least ``least``."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or value < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}, got {value!r}."
        )


def is_real(value: Any, least: float, most: float) -> bool:
    """Tell whether a value is a finite number, not a bool, in [least, most]."""
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and least <= float(value) <= most
    )

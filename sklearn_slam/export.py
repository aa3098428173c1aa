"""A student as an ONNX graph, from the table's columns to the class."""

from __future__ import annotations

import copy
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_slam._base import BaseDistiller
from sklearn_slam._encoding import FAR, SMOOTH_CLIP, TableEncoder
from sklearn_slam._optional import import_optional
from sklearn_slam._student import BaseStudent
from sklearn_slam._warn import warn
from sklearn_slam.students import MLPStudent

if TYPE_CHECKING:
    import onnx

__all__ = ["to_onnx"]

OPSET, ML_OPSET, IR_VERSION = 17, 2, 8
"""The oldest versions that have all operators, for the sake of older runtimes."""

ROWS = "n_rows"
"""Name of the dimension that is left open."""

Scalings = list[tuple[Any, Any]]
"""What is subtracted from each column, and what it is then divided by; in order."""

REAL = int, float, np.integer, np.floating, np.bool_
"""Types of categories that may equal others, written otherwise: True, 1 and 1.0."""

OWN = "slam/"
"""What names of values within the graph begin with, beside columns' names."""


def to_onnx(model: Any, path: Any = None) -> onnx.ModelProto:
    """Return a fitted student, its preprocessing included, as an ONNX model.

    Whoever runs it needs neither this library nor torch. Its outputs are
    ``probabilities``, float32 of shape (n_rows, n_classes), equal to
    ``predict_proba`` of float64 rows within 1e-5, and ``label``, of shape (n_rows,).

    Parameters
    ----------
    model : student or distiller
        A fitted :class:`MLPStudent`, :class:`TorchStudent` or
        :class:`SkorchStudent`, or a distiller with one. Its preprocessor, if it has
        one, is a scaler of scikit-learn (standard, robust, min-max or max-abs), or a
        Pipeline of these.
    path : str or path-like, default=None
        Where to write the model, too.

    Returns
    -------
    model : onnx.ModelProto
        Its inputs depend on what the student was fitted on:

        - arrays and sparse rows, and frames by the other students or behind a scaler:
          ``X``, float64 of shape (n_rows, n_features), dense;
        - frames, by :class:`MLPStudent` alone: one input a column, named like it, of
          shape (n_rows, 1): float64 for numbers and booleans, NaN where missing,
          and text for categories, ``str`` of what stood in the frame. Missing
          categories are the empty string; like any text that was no category at
          fit, it counts as unknown. (Where it was one, pass another such text.)

    Raises
    ------
    ImportError
        If onnx is not installed.
    TypeError
        If the model is neither student nor distiller, or its classes are neither
        text, numbers nor booleans.
    ValueError
        If the student has another preprocessor, a column's name is empty or taken by
        the graph, or two categories of a column are the same as text.

    See Also
    --------
    MLPStudent : The student whose preprocessing is exported with it.

    Notes
    -----
    Numbers are float64 up to their scaling: float32 would lose the digits that
    count where a column is large beside its spread, such as seconds since 1970.
    Infinity, which ``predict_proba`` refuses, gives NaN by :class:`MLPStudent`, and
    what the module makes of it by the others. scikit-learn's scalers compute in float32
    on float32 rows, the graph does not: of columns that are large beside their spread
    the two then differ by more.

    A module of one's own is traced by torch: what it does for one batch of two rows
    is what the graph does for all.

    Examples
    --------
    >>> from onnxruntime import InferenceSession
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_slam import MLPStudent, to_onnx
    >>> X, y = load_iris(return_X_y=True)
    >>> student = MLPStudent(random_state=0).fit(X, y)
    >>> session = InferenceSession(to_onnx(student).SerializeToString())
    >>> label, = session.run(["label"], {"X": X[:1]})
    >>> label.tolist()
    [0]
    """
    onnx = import_optional("onnx", "export")
    student = _find_student(model)
    scalings = _read_scalings(student)
    classes = _plain_classes(student.classes_)
    graph = _Graph()
    if isinstance(student, MLPStudent):
        logits = _tabular_logits(graph, student, scalings)
    else:
        logits = _traced_logits(graph, student, scalings)
    temperature = graph.constant(np.float32(student.temperature_))
    logits = graph.add("Div", logits, temperature)
    top = graph.add("ArgMax", logits, axis=1, keepdims=0)
    graph.add("Softmax", logits, axis=1, name="probabilities")
    graph.add("Gather", graph.constant(classes), top, name="label")
    exported = graph.model(classes)
    onnx.checker.check_model(exported)
    if path is not None:
        onnx.save(exported, path)
    return exported


class _Graph:
    """An ONNX graph that grows a node at a time; values are known by their names."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def input(self, name: str, dtype: Any, width: int) -> str:
        """Declare an input of shape (n_rows, width)."""
        if name in ("", "probabilities", "label") or name.startswith(OWN):
            raise ValueError(
                f"A column is called {name!r}, but inputs of the graph need a name, "
                "other than 'probabilities', 'label' and those that begin with "
                f"{OWN!r}; rename it and fit again."
            )
        self.inputs.append(_declare(name, dtype, [ROWS, width]))
        return name

    def constant(self, array: Any) -> str:
        """Store an array, a tensor or a scalar."""
        from onnx import numpy_helper

        name = f"{OWN}constant:{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(
        self, operator: str, *inputs: str, name: str | None = None, **attributes: Any
    ) -> str:
        """Apply an operator, and return the name of what comes out."""
        from onnx import helper

        name = name or f"{OWN}{operator}:{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def cast(self, value: str, dtype: Any) -> str:
        """Convert a value to another type."""
        from onnx import helper

        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", value, to=to)

    def linear(self, value: str, layer: nn.Linear) -> str:
        """Apply a layer of torch."""
        weights = (
            self.constant(part.numpy(force=True)) for part in (layer.weight, layer.bias)
        )
        return self.add("Gemm", value, *weights, transB=1)

    def model(self, classes: NDArray[Any]) -> onnx.ModelProto:
        """Return the whole, which ends in ``probabilities`` and ``label``."""
        from onnx import helper

        outputs = [
            _declare("probabilities", np.float32, [ROWS, len(classes)]),
            _declare("label", classes.dtype, [ROWS]),
        ]
        graph = helper.make_graph(
            self.nodes, "student", self.inputs, outputs, self.constants
        )
        opsets = [
            helper.make_opsetid("", OPSET),
            helper.make_opsetid("ai.onnx.ml", ML_OPSET),
        ]
        return helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=IR_VERSION,
            producer_name="sklearn-slam",
        )


def _declare(name: str, dtype: Any, shape: list[Any]) -> Any:
    """Return the declaration of an input or output."""
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, shape)


def _find_student(model: Any) -> BaseStudent:
    """Return the fitted student of a model."""
    if not isinstance(model, BaseDistiller | BaseStudent):
        raise TypeError(
            "model must be a fitted student or distiller, got "
            f"{type(model).__name__}. Of a search pass best_estimator_, of a Pipeline "
            "its last step; skl2onnx exports scikit-learn's own."
        )
    check_is_fitted(model)
    return model if isinstance(model, BaseStudent) else model.student_


def _read_scalings(student: BaseStudent) -> Scalings:
    """Return what a student's preprocessor subtracts from rows and divides them by."""
    if student.preprocessor is None:
        return []
    scalings = [_read_scaling(step) for step in _steps(student.preprocessor_)]
    encoder = getattr(student, "encoder_", None)
    if None in scalings or getattr(encoder, "names_", None) is not None:
        raise ValueError(
            "The student has a preprocessor "
            f"({type(student.preprocessor).__name__}) that is more than a scaler of "
            "arrays, and not ours to export. Put it before the distiller, in a "
            "Pipeline, export the student without one, and put skl2onnx's conversion "
            "of the preprocessor in front; or export student.module_ alone with "
            "torch.onnx.export."
        )
    return [scaling for scaling in scalings if scaling is not None]


def _steps(transformer: Any) -> list[Any]:
    """Return the steps of a Pipeline, those of Pipelines in it included."""
    if not isinstance(transformer, Pipeline):
        return [] if transformer == "passthrough" else [transformer]
    return [last for _, step in transformer.steps for last in _steps(step)]


def _read_scaling(step: Any) -> tuple[Any, Any] | None:
    """Return a scaler's shift and divisor; None where it does more than these say."""
    if type(step) is StandardScaler:
        shift, divisor = step.mean_ if step.with_mean else None, step.scale_
    elif type(step) is RobustScaler:
        shift, divisor = step.center_, step.scale_
    elif type(step) is MaxAbsScaler and not getattr(step, "clip", False):
        shift, divisor = None, step.scale_
    elif type(step) is MinMaxScaler and not step.clip:
        shift, divisor = -step.min_ / step.scale_, 1 / step.scale_
    else:
        return None
    return 0.0 if shift is None else shift, 1.0 if divisor is None else divisor


def _plain_classes(classes: NDArray[Any]) -> NDArray[Any]:
    """Return class labels in a type that ONNX knows."""
    kind = classes.dtype.kind
    if kind in "OU":
        return classes.astype(object)
    if kind == "u" and classes.max() > np.iinfo(np.int64).max:
        raise TypeError(
            f"classes_ hold {classes.max()}; integers of ONNX end at 2**63 - 1. "
            "Convert y to text before fit."
        )
    if kind in "iufb":
        return classes.astype({"f": np.float64, "b": np.bool_}.get(kind, np.int64))
    raise TypeError(
        f"classes_ are of dtype {classes.dtype}; ONNX has text, numbers and booleans. "
        "Convert y to one of these before fit."
    )


def _tabular_logits(graph: _Graph, student: MLPStudent, scalings: Scalings) -> str:
    """Write down the encoder and the network of the default student."""
    encoder: TableEncoder = student.encoder_
    module: Any = student.module_
    hidden = []
    if module.numbers is not None:
        numbers = _numbers(graph, encoder, student.n_features_in_, scalings)
        if module.bins is not None:
            binned = _binned(graph, numbers, module.bins)
            numbers = graph.add("Concat", numbers, binned, axis=1)
        hidden.append(graph.linear(numbers, module.numbers))
    if module.categories is not None:
        vectors = graph.constant(module.categories.weight.numpy(force=True))
        codes = _codes(graph, encoder)
        of_row = graph.add("Gather", vectors, codes)
        hidden.append(graph.add("ReduceSum", of_row, graph.constant([1]), keepdims=0))
    logits = hidden[0] if len(hidden) == 1 else graph.add("Add", *hidden)
    for layer in module.head:
        if isinstance(layer, nn.Linear):
            logits = graph.linear(logits, layer)
        elif isinstance(layer, nn.ReLU):
            logits = graph.add("Relu", logits)
    return logits


def _numbers(
    graph: _Graph, encoder: TableEncoder, n_features: int, scalings: Scalings
) -> str:
    """Write down what becomes of numbers; as :meth:`TableEncoder.transform` does."""
    if encoder.names_ is None:
        values = graph.input("X", np.float64, n_features)
        for shift, divisor in scalings:
            values = graph.add("Sub", values, graph.constant(np.float64(shift)))
            values = graph.add("Div", values, graph.constant(np.float64(divisor)))
    else:
        columns = [graph.input(str(name), np.float64, 1) for name in encoder.names_]
        values = graph.add("Concat", *columns, axis=1)
    if encoder.kind_ == "sparse":
        scaled = graph.add("Mul", values, graph.constant(encoder.scale_))
        return graph.cast(scaled, np.float32)
    missing = graph.add("IsNaN", values)
    centred = graph.add("Sub", values, graph.constant(encoder.center_))
    scaled = graph.add("Mul", centred, graph.constant(encoder.scale_))
    known = graph.add("Where", missing, graph.constant(0.0), scaled)
    bounds = (graph.constant(bound) for bound in (-FAR, FAR))
    known = graph.add("Clip", known, *bounds)
    # Infinity is no large number, and is to show in what comes out.
    infinite = graph.add("IsInf", values)
    known = graph.add("Where", infinite, graph.constant(np.nan), known)
    share = graph.add("Div", known, graph.constant(SMOOTH_CLIP))
    square = graph.add("Mul", share, share)
    root = graph.add("Sqrt", graph.add("Add", square, graph.constant(1.0)))
    clipped = graph.cast(graph.add("Div", known, root), np.float32)
    if not len(encoder.with_missing_):
        return clipped
    with_missing = graph.constant(encoder.with_missing_)
    indicators = graph.add("Gather", missing, with_missing, axis=1)
    return graph.add("Concat", clipped, graph.cast(indicators, np.float32), axis=1)


def _binned(graph: _Graph, numbers: str, bins: Any) -> str:
    """Write down the places of numbers within bins."""
    columns, slope, offset = (
        graph.constant(part.numpy(force=True))
        for part in (bins.columns, bins.slope, bins.offset)
    )
    taken = graph.add("Gather", numbers, columns, axis=1)
    columnwise = graph.add("Unsqueeze", taken, graph.constant([2]))
    places = graph.add("Add", graph.add("Mul", columnwise, slope), offset)
    bounds = (graph.constant(np.float32(bound)) for bound in (-1, 1))
    return graph.add("Flatten", graph.add("Clip", places, *bounds), axis=1)


def _codes(graph: _Graph, encoder: TableEncoder) -> str:
    """Write down the rows of the embedding that stand for the categories."""
    columns, first = [], 0
    for name, codes in encoder.codes_.items():
        texts = {str(category): first + code for category, code in codes.items()}
        if len(texts) < len(codes):
            raise ValueError(
                f"Column {name!r} has categories of different types that are the same "
                "as text; convert it to text and fit again."
            )
        if "" in texts:
            warn(
                f"Column {name!r} has the empty string among its categories. In the "
                "graph it stands for a missing value too, which predict_proba tells "
                "from it: feed missing ones as a text that no row of fit had."
            )
        texts.setdefault("", first)
        for category, code in codes.items():
            for text in _spellings(category):
                texts.setdefault(text, first + code)
        column = graph.input(str(name), object, 1)
        columns.append(
            graph.add(
                "LabelEncoder",
                column,
                domain="ai.onnx.ml",
                keys_strings=list(texts),
                values_int64s=list(texts.values()),
                default_int64=first,
            )
        )
        first += len(codes) + 1
    return graph.add("Concat", *columns, axis=1)


def _spellings(category: Any) -> list[str]:
    """Return how numbers and booleans equal to a category may be written, too."""
    if not isinstance(category, REAL) or category % 1:
        return []
    whole = int(category)
    spellings = [str(whole), str(float(whole))]
    if whole in (0, 1):
        # polars writes true, not True
        spellings += [str(bool(whole)), str(bool(whole)).lower()]
    return spellings


class _FromRows(nn.Module):
    """A student's network from float64 rows to its logits, for tracing."""

    def __init__(self, student: BaseStudent, scalings: Scalings) -> None:
        super().__init__()
        self.scalings = [
            tuple(torch.as_tensor(part, dtype=torch.float64) for part in scaling)
            for scaling in scalings
        ]
        self.module = copy.deepcopy(student.module_).cpu().eval()
        self.to_logits = student._to_logits

    def forward(self, X: Tensor) -> Tensor:
        for shift, divisor in self.scalings:
            X = (X - shift) / divisor
        output = self.module(X.float())
        with warnings.catch_warnings():
            # It asks for the number of columns, which is the same for all rows.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            return self.to_logits(output)


def _traced_logits(graph: _Graph, student: BaseStudent, scalings: Scalings) -> str:
    """Let torch write down a module of the user's."""
    import onnx

    rows = torch.zeros(2, student.n_features_in_, dtype=torch.float64)
    written: Any = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that replaces this one needs onnxscript.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            _FromRows(student, scalings),
            (rows,),
            written,
            dynamo=False,
            input_names=["X"],
            output_names=["logits"],
            dynamic_axes={"X": {0: ROWS}, "logits": {0: ROWS}},
            opset_version=OPSET,
        )
    traced = onnx.load_from_string(written.getvalue()).graph
    graph.inputs.extend(traced.input)
    graph.nodes.extend(traced.node)
    graph.constants.extend(traced.initializer)
    return "logits"

import copy
import json
import pickle
import subprocess
import sys
from datetime import datetime

import numpy as np
import onnx
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from onnxruntime import InferenceSession
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from skops import io as skops_io
from skorch import NeuralNetClassifier
from skorch.exceptions import DeviceWarning
from torch import nn

from sklearn_slam import (
    MLPStudent,
    SkorchStudent,
    SLaMDistiller,
    TorchStudent,
    to_onnx,
)
from sklearn_slam._teacher import default_teacher

# Of newer versions of scikit-learn.
CLIPS = {"clip"} & MaxAbsScaler().get_params().keys()
CLOSE = {"rtol": 0, "atol": 1e-5}
OF_STUDENT = [
    "sklearn_slam._encoding.TableEncoder",
    "sklearn_slam._modules.TabularMLP",
    "sklearn_slam._training.StudentNet",
    "sklearn_slam.students.MLPStudent",
]
OF_DISTILLER = [
    "sklearn_slam._slam.SLaMDistiller",
    "sklearn_slam._teacher_accuracy.TeacherAccuracy",
]


class Softmax(nn.Sequential):
    def __init__(self, n_in, n_out):
        super().__init__(nn.Linear(n_in, n_out), nn.Softmax(dim=1))


def skorch_net(module, criterion=nn.CrossEntropyLoss):
    return NeuralNetClassifier(
        module, criterion=criterion, train_split=None, max_epochs=2, verbose=0
    )


def fitted(X, y, student=None):
    student = MLPStudent((16, 8), max_epochs=3) if student is None else student
    return student.set_params(random_state=0).fit(X, y)


def session_of(model):
    return InferenceSession(to_onnx(model).SerializeToString())


def feed_of(session, frame):
    """Return the inputs for a frame, as docs/exporting.md does."""
    feed = {}
    for column in session.get_inputs():
        values = frame[column.name]
        text = column.type == "tensor(string)"
        if isinstance(values, pl.Series):
            values = values.cast(pl.String if text else pl.Float64)
            values = values.fill_null("").to_numpy() if text else values.to_numpy()
        elif text:
            values = values.map(str, na_action="ignore").astype(object)
            values = values.fillna("").to_numpy()
        else:
            values = values.to_numpy(float, na_value=np.nan)
        feed[column.name] = values.reshape(-1, 1)
    return feed


def assert_equal_predictions(model, X, feed):
    session = session_of(model)
    proba, label = session.run(["probabilities", "label"], feed)
    assert proba.dtype == np.float32
    assert_allclose(proba, model.predict_proba(X), **CLOSE)
    assert_array_equal(label, model.predict(X))


def wide_frame(frame):
    """Add integer categories, mixed objects, and columns that carry nothing."""
    rng = np.random.RandomState(1)
    return frame.assign(
        code=pd.Categorical(rng.choice(np.array([3, 5, None], object), len(frame))),
        mixed=rng.choice(np.array([True, 2.5, "word", None], dtype=object), len(frame)),
        constant=7,
        never=pd.Series([None] * len(frame), dtype=object),
    )


def new_rows(frame):
    """Return rows with categories and missing values that fit did not see."""
    new = frame.head(40).astype({"count": float}).copy()
    new.loc[:9, "town"] = "elsewhere"
    new.loc[5:14, "town"] = None
    new.loc[10:19, "grade"] = None
    new.loc[:3, ["number", "count"]] = np.nan
    new.loc[20, "number"] = 1e100
    return new


@pytest.mark.parametrize("n_rows", [1, 40])
@pytest.mark.parametrize("to_frame", [pd.DataFrame, pl.from_pandas])
def test_a_frame_gives_the_same_from_the_graph(frame, to_frame, n_rows):
    X, y = frame
    student = fitted(to_frame(X), y)
    rows = to_frame(new_rows(X).head(n_rows))
    assert_equal_predictions(student, rows, feed_of(session_of(student), rows))


@pytest.mark.parametrize("column", ["town", "grade"])
@pytest.mark.filterwarnings("ignore:Column .* holds no value that fit has seen")
def test_a_text_new_to_any_column_is_unknown_there(frame, column):
    X, y = frame
    student = fitted(X.astype({"grade": object}), y)
    rows = X.astype({"grade": object}).head(30)
    rows[column] = "elsewhere"
    assert list(student.encoder_.codes_) == ["town", "grade"]
    assert_equal_predictions(student, rows, feed_of(session_of(student), rows))


def test_categories_of_any_type_are_text(frame):
    X, y = wide_frame(frame[0]), frame[1]
    student = fitted(X, y)
    assert_equal_predictions(student, X, feed_of(session_of(student), X))


def test_the_graph_has_the_columns_as_inputs(frame):
    X, y = frame
    inputs = {i.name: (i.type, i.shape) for i in session_of(fitted(X, y)).get_inputs()}
    text = {"town", "grade"}
    assert inputs == {
        name: (f"tensor({'string' if name in text else 'double'})", ["n_rows", 1])
        for name in X.columns
    }


@pytest.mark.filterwarnings("ignore:Column 'town' has the empty string")
def test_an_empty_text_that_was_a_category_stays_one(frame):
    X, y = frame[0][["number", "town"]], frame[1]
    X = X.assign(town=X["town"].replace("north", ""))
    student = fitted(X, y)
    X.loc[:9, "town"] = None
    as_text = X.assign(town=X["town"].fillna("no category at fit"))
    with pytest.warns(UserWarning, match="'town' has the empty string"):
        session = session_of(student)
    assert_equal_predictions(student, X, feed_of(session, as_text))


def test_booleans_as_categories_may_come_from_polars(frame):
    member, y = frame[0][["member"]], frame[1]
    student = fitted(member.astype("category"), y)
    rows = pl.from_pandas(member)
    assert_equal_predictions(student, rows, feed_of(session_of(student), rows))


def test_a_frame_of_categories_alone(frame):
    X, y = frame[0][["town"]], frame[1]
    student = fitted(X, y)
    assert_equal_predictions(student, X, feed_of(session_of(student), X))


@pytest.mark.parametrize("n_rows", [1, 120])
@pytest.mark.parametrize("missing", [False, True])
def test_an_array_gives_the_same_from_the_graph(table, missing, n_rows):
    X, y, _ = table
    if missing:
        X = np.where(np.random.RandomState(0).uniform(size=X.shape) < 0.1, np.nan, X)
    student = fitted(X, y)
    assert_equal_predictions(student, X[:n_rows], {"X": X[:n_rows]})


def test_numbers_large_beside_their_spread_keep_their_digits(table):
    X, y, _ = table
    seconds = 1.8e9 + 60 * X
    student = fitted(seconds, y)
    assert_equal_predictions(student, seconds, {"X": seconds})
    # Which is why inputs are float64.
    rounded = seconds.astype(np.float32).astype(np.float64)
    proba = student.predict_proba(rounded)
    assert np.abs(proba - student.predict_proba(seconds)).max() > 1e-3


@pytest.mark.parametrize("n_bins", [0, 8])
@pytest.mark.parametrize("missing", [False, True])
def test_numbers_of_any_size_stay_within_the_bounds(table, missing, n_bins):
    X, y, _ = table
    X = np.where(np.arange(len(X))[:, None] < 5, np.nan, X) if missing else X
    student = fitted(X, y, MLPStudent((8,), n_bins=n_bins, max_epochs=2))
    X = X[:10].copy()
    largest = np.finfo(np.float64).max
    X[:, 0] = [1e8, 1e10, 1e100, 1e155, largest, -1e9, -1e154, -1e200, -largest, 1]
    assert_equal_predictions(student, X, {"X": X})


def test_infinity_does_not_pass_for_a_number(table):
    X, y, _ = table
    student = fitted(X, y)
    X = X[:3].copy()
    X[:2, 0] = np.inf, -np.inf
    (proba,) = session_of(student).run(["probabilities"], {"X": X})
    assert np.isnan(proba[:2]).all()
    assert_allclose(proba[2:], student.predict_proba(X[2:]), **CLOSE)


def test_sparse_rows_go_in_dense(table):
    X, y, _ = table
    X = np.where(X > 0, X, 0)
    student = fitted(sp.csr_matrix(X), y)
    assert_equal_predictions(student, sp.csr_matrix(X), {"X": X})


class Squeezed(nn.Linear):
    def forward(self, X):
        return super().forward(X).squeeze()


STUDENTS = {
    "module": lambda: TorchStudent(nn.Linear, max_epochs=2),
    "one logit": lambda: TorchStudent(lambda n, k: nn.Linear(n, 1), max_epochs=2),
    "squeezed": lambda: TorchStudent(lambda n, k: Squeezed(n, 1), max_epochs=2),
    "skorch": lambda: SkorchStudent(skorch_net(nn.Linear(8, 2))),
    "skorch, probabilities": lambda: SkorchStudent(
        skorch_net(Softmax(8, 2), nn.NLLLoss)
    ),
}


@pytest.mark.parametrize("n_rows", [1, 120])
@pytest.mark.parametrize("name", STUDENTS)
def test_modules_of_ones_own_are_traced(table, name, n_rows):
    X, y, _ = table
    student = fitted(X, y > 0, STUDENTS[name]())
    assert_equal_predictions(student, X[:n_rows], {"X": X[:n_rows]})


def test_a_module_of_ones_own_takes_a_frame_as_one_input(table):
    X, y, _ = table
    frame = pd.DataFrame(X).add_prefix("x")
    student = fitted(frame, y, STUDENTS["module"]())
    assert_equal_predictions(student, frame, {"X": X})


@pytest.mark.parametrize(
    "to_labels",
    [
        lambda y: np.array(["no", "yes", "perhaps"])[y],
        lambda y: np.array(["no", "yes", "perhaps"], dtype=object)[y],
        lambda y: y.astype(np.int8) - 1,
        lambda y: y.astype(float),
        lambda y: y > 0,
    ],
    ids=["str", "objects", "int8", "float", "bool"],
)
def test_labels_are_the_classes(table, to_labels):
    X, y, _ = table
    assert_equal_predictions(fitted(X, to_labels(y)), X, {"X": X})


def test_a_distiller_is_its_student_with_its_temperature(table, teacher):
    X, y, pool = table
    slam = SLaMDistiller(teacher, max_epochs=3, random_state=0)
    slam.fit(X, y, X_unlabeled=pool)
    assert slam.student_.temperature_ != 1
    assert_equal_predictions(slam, X, {"X": X})
    assert to_onnx(slam) == to_onnx(slam.student_)


def test_export_changes_nothing_in_the_model(table):
    X, y, _ = table
    for student in (fitted(X, y), fitted(X, y, TorchStudent(nn.Linear, max_epochs=2))):
        module, state = copy.deepcopy(student.module_), torch.get_rng_state()
        to_onnx(student)
        assert student.module_.training == module.training
        for part, before in zip(
            student.module_.parameters(), module.parameters(), strict=True
        ):
            assert_array_equal(part.detach(), before.detach())
        assert_array_equal(torch.get_rng_state(), state)


IN_A_FRESH_PROCESS = """
import sys
for name in ("sklearn_slam", "sklearn", "torch", "onnx", "pandas"):
    sys.modules[name] = None  # an import of it raises
import json
import numpy as np
from onnxruntime import InferenceSession

session = InferenceSession(sys.argv[1])
rows, expected = json.load(sys.stdin)
feed = {}
for column in session.get_inputs():
    values = [row[column.name] for row in rows]
    if column.type == "tensor(string)":
        values = ["" if value is None else value for value in values]
    dtype = object if column.type == "tensor(string)" else float
    feed[column.name] = np.array(values, dtype).reshape(-1, 1)
proba, = session.run(["probabilities"], feed)
np.testing.assert_allclose(proba, expected, rtol=0, atol=1e-5)
print("equal")
"""


def test_a_fresh_process_needs_neither_this_library_nor_torch(frame, tmp_path):
    X, y = frame
    student = fitted(X, y)
    path = tmp_path / "student.onnx"
    assert to_onnx(student, path) == onnx.load(path)
    rows = new_rows(X)
    # JSON's null stands for every missing value.
    records = json.loads(rows.to_json(orient="records", double_precision=15))
    rows = rows.assign(number=[row["number"] for row in records])
    answer = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, str(path)],
        input=json.dumps([records, student.predict_proba(rows).tolist()]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.stdout, answer.stderr) == ("equal\n", "")


@pytest.mark.parametrize("last", [nn.Linear, MLPStudent((4,))])
@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        RobustScaler(),
        MinMaxScaler((-2, 1)),
        make_pipeline(MaxAbsScaler(), "passthrough", StandardScaler()),
    ],
)
def test_scalers_are_exported(table, scaler, last):
    X, y, pool = table
    # Far from 0 and of another size: what is not scaled alike would show.
    X, pool = 1e3 + 50 * X, 1e3 + 50 * pool
    slam = SLaMDistiller(
        LogisticRegression(max_iter=5_000),
        make_pipeline(scaler, last),
        peers=False,
        max_epochs=2,
        random_state=0,
    ).fit(X, y, X_unlabeled=pool)
    assert_equal_predictions(slam, X, {"X": X})


class Doubled(MaxAbsScaler):
    def transform(self, X):
        return 2 * super().transform(X)


@pytest.mark.parametrize(
    "step",
    [
        PCA(3),
        Doubled(),
        MinMaxScaler(clip=True),
        StandardScaler().set_output(transform="pandas"),
        *(MaxAbsScaler(**{name: True}) for name in CLIPS),
    ],
)
def test_preprocessing_that_does_more_than_scale_is_not_exported(table, step):
    X, y, _ = table
    steps = make_pipeline(StandardScaler(), step)
    student = fitted(X, y, MLPStudent((4,), preprocessor=steps, max_epochs=1))
    with pytest.raises(ValueError, match=r"preprocessor \(Pipeline\).*skl2onnx"):
        to_onnx(student)


def test_what_cannot_be_exported(table):
    X, y, _ = table
    with pytest.raises(TypeError, match="skl2onnx exports"):
        to_onnx(LogisticRegression().fit(X, y))
    for model in (MLPStudent(), SLaMDistiller()):
        with pytest.raises(NotFittedError):
            to_onnx(model)
    student = fitted(X, y)
    student.classes_ = np.array([datetime(2020, 1, day) for day in (1, 2, 3)], "M8[D]")
    with pytest.raises(TypeError, match="text, numbers and booleans"):
        to_onnx(student)


@pytest.mark.parametrize("name", ["constant:0", "Sub:1", "logits", "X", "n_rows"])
def test_columns_may_be_called_like_what_any_graph_holds(table, name):
    X, y, _ = table
    X = pd.DataFrame(X[:, :2], columns=[name, "other"])
    student = fitted(X, y)
    assert_equal_predictions(student, X, feed_of(session_of(student), X))


@pytest.mark.parametrize("name", ["", "label", "probabilities", "slam/constant:0"])
def test_columns_whose_name_no_input_can_have_are_refused(table, name):
    X, y, _ = table
    X = pd.DataFrame(X[:, :2], columns=[name, "other"])
    with pytest.raises(ValueError, match=f"called '{name}'.*rename"):
        to_onnx(fitted(X, y))


def test_categories_that_are_one_text_are_refused(table):
    _, y, _ = table
    X = pd.DataFrame({"code": np.resize(np.array([1, "1"], dtype=object), len(y))})
    with pytest.raises(ValueError, match=r"'code' has categories of different types"):
        to_onnx(fitted(X, y))


def test_safetensors_hold_the_weights(table, tmp_path):
    X, y, _ = table
    student, other = (
        MLPStudent((8,), max_epochs=1, random_state=seed).fit(X, y) for seed in (0, 1)
    )
    save_file(student.module_.state_dict(), tmp_path / "student.safetensors")
    other.module_.load_state_dict(load_file(tmp_path / "student.safetensors"))
    assert_array_equal(other.predict_proba(X), student.predict_proba(X))


def test_skops_asks_for_trust_in_the_documented_types_only(frame):
    X, y = frame
    X = X.assign(town=X["town"].astype(object))
    teacher = SLaMDistiller(None, MLPStudent((8,)), max_epochs=1, random_state=0)
    proba = np.full((len(X), 2), 0.5)
    slam = teacher.fit(
        X[:60],
        y[:60],
        X_unlabeled=X,
        teacher_proba=proba[:60],
        teacher_proba_unlabeled=proba,
    )
    for model, types in (
        (slam.student_, OF_STUDENT),
        (slam, sorted(OF_STUDENT + OF_DISTILLER)),
    ):
        data = skops_io.dumps(model)
        assert skops_io.get_untrusted_types(data=data) == types
        again = skops_io.loads(data, trusted=types)
        assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(
    "categories", [[False, True], [1, "1"], [1.5, 2.5], [("a", 1), ("a", "1")]]
)
def test_skops_keeps_the_types_of_categories_and_of_names(categories):
    as_name = tuple if isinstance(categories[0], tuple) else "".join
    values = np.empty(60, dtype=object)
    values[:] = categories * 30
    X = pd.DataFrame({as_name("ab"): pd.Categorical(values), as_name("cd"): 0.0})
    y = np.arange(60) % 2
    teacher = clone(default_teacher(X, 0)).fit(X, y)
    student = fitted(X, y, MLPStudent((8,), lr=0.1, max_epochs=5))
    for model in (student, teacher):
        data = skops_io.dumps(model)
        again = skops_io.loads(data, trusted=skops_io.get_untrusted_types(data=data))
        assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert np.ptp(student.predict_proba(X)) > 0.1


@pytest.mark.parametrize("fed", [str, lambda value: str(float(value))])
def test_categories_that_are_equal_are_one_however_they_are_written(fed):
    values = np.array([True, 1, 1.0, 0, "a", False] * 10, dtype=object)
    X, y = pd.DataFrame({"a": values}), np.tile([1, 1, 1, 0, 0, 0], 10)
    student = fitted(X, y, MLPStudent((8,), lr=0.1, max_epochs=5))
    texts = [value if value == "a" else fed(value) for value in values]
    feed = {"a": np.array(texts, dtype=object)[:, None]}
    (proba,) = session_of(student).run(["probabilities"], feed)
    assert_allclose(proba, student.predict_proba(X), **CLOSE)
    assert np.ptp(proba) > 0.1


def test_integers_beyond_those_of_onnx_are_refused(table):
    X, y, _ = table
    student = fitted(X, np.uint64(2**63) + y.astype(np.uint64), MLPStudent((8,)))
    with pytest.raises(TypeError, match=r"2\*\*63 - 1"):
        to_onnx(student)


@pytest.mark.usefixtures("quick_peers")
def test_skops_holds_a_distiller_with_its_teacher(table, teacher):
    X, y, pool = table
    slam = SLaMDistiller(teacher, max_epochs=1, random_state=0)
    slam.fit(X, y, X_unlabeled=pool)
    data = skops_io.dumps(slam)
    types = skops_io.get_untrusted_types(data=data)
    assert types == sorted(OF_STUDENT + OF_DISTILLER)
    again = skops_io.loads(data, trusted=types)
    assert_array_equal(again.predict_proba(X), slam.predict_proba(X))
    assert_array_equal(again.teacher_.predict_proba(X), slam.teacher_.predict_proba(X))


def test_skops_does_not_hold_modules_of_ones_own(table):
    """Once it does, docs/exporting.md has to say so."""
    X, y, _ = table
    with pytest.raises(RuntimeError, match="TensorBase"):
        skops_io.dumps(fitted(X, y, TorchStudent(nn.Linear, max_epochs=1)))


ON_A_GPU = {
    "default": lambda: MLPStudent((8,), dropout=0.5, max_epochs=1),
    "module": lambda: TorchStudent(nn.Linear, max_epochs=1),
    "skorch": lambda: SkorchStudent(skorch_net(nn.Linear(8, 3))),
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without CUDA")
@pytest.mark.parametrize("name", ON_A_GPU)
def test_a_student_of_a_gpu_loads_without_one(table, name, monkeypatch):
    X, y, _ = table
    student = fitted(X, y, ON_A_GPU[name]())
    expected = student.predict_proba(X)
    # What torch writes of a tensor on a GPU is the same but for this mark.
    trained = {
        part.untyped_storage().data_ptr() for part in student.module_.parameters()
    }
    of_storage = torch.serialization.location_tag
    monkeypatch.setattr(
        torch.serialization,
        "location_tag",
        lambda storage: (
            "cuda:0" if storage.data_ptr() in trained else of_storage(storage)
        ),
    )
    student.net_.device = "cuda"
    data = pickle.dumps(student)
    with pytest.warns(DeviceWarning, match="no CUDA devices|not available"):
        again = pickle.loads(data)
    assert_array_equal(again.predict_proba(X), expected)


def test_a_loaded_student_stays_ready_to_predict_and_random_state_as_found(table):
    X, y, _ = table
    student = fitted(X, y, MLPStudent((8,), dropout=0.5, max_epochs=1))
    state = torch.get_rng_state()
    again = pickle.loads(pickle.dumps(student))
    assert_array_equal(torch.get_rng_state(), state)
    assert not again.module_.training
    assert_array_equal(again.predict_proba(X), student.predict_proba(X))

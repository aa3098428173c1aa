import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.exceptions import DataConversionWarning

from sklearn_slam._validation import (
    align_proba,
    check_proba,
    check_weights,
    order_columns,
    relative_weights,
    split_labels,
    take_sample_weight,
    union_of_classes,
    warn_about_marks,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (np.array([1.0, NAN, 0.0]), [1, 0]),
        (np.array([1.0, NAN, 0.0], dtype=np.float32), [1, 0]),
        ([1, None, 0], [1, 0]),
        ([1, NAN, 0], [1, 0]),
        (["b", None, "a"], ["b", "a"]),
        (["b", NAN, "a"], ["b", "a"]),
        ([True, None, False], [True, False]),
        (np.array(["b", NAN, "a"], dtype=object), ["b", "a"]),
        (np.array(["b", None, "a"], dtype=object), ["b", "a"]),
        (np.array([True, None, False], dtype=object), [True, False]),
        (np.array([1, pd.NaT, 0], dtype=object), [1, 0]),
        (np.array([1, np.float32(NAN), 0], dtype=object), [1, 0]),
        (pd.Series([1.0, NAN, 0.0]), [1, 0]),
        (pd.Series([1, pd.NA, 0], dtype="Int64"), [1, 0]),
        (pd.Series([1, pd.NA, 0], dtype="Float64"), [1, 0]),
        (pd.Series([True, pd.NA, False], dtype="boolean"), [True, False]),
        (pd.Series(["b", pd.NA, "a"], dtype="string"), ["b", "a"]),
        (pd.Series(["b", None, "a"], dtype="str"), ["b", "a"]),
        (pd.Series(["b", None, "a"], dtype=object), ["b", "a"]),
        (pd.Series(["b", None, "a"], dtype="category"), ["b", "a"]),
        (pd.Series([1, None, 0], dtype="category"), [1, 0]),
        (pd.Series([1.0, NAN, 0.0], index=[9, 9, 4]), [1, 0]),
        (pl.Series([1, None, 0]), [1, 0]),
        (pl.Series([1.0, None, 0.0]), [1, 0]),
        (pl.Series([True, None, False]), [True, False]),
        (pl.Series(["b", None, "a"]), ["b", "a"]),
        (pl.Series(["b", None, "a"], dtype=pl.Categorical), ["b", "a"]),
    ],
)
def test_missing_labels_are_unlabeled(y, expected):
    labeled, labels = split_labels(y, n_rows=3)
    assert_array_equal(labeled, [True, False, True])
    assert_array_equal(labels, expected)
    assert list(np.unique(labels)) == sorted(expected)
    assert labels.dtype.kind in ("OU" if isinstance(expected[0], str) else "biuf")


@pytest.mark.parametrize(
    "y",
    [
        [1, None, 0],
        pd.array([1, pd.NA, 0], dtype="Int64"),
        pd.Series([1, pd.NA, 0], dtype="Int64"),
        pl.Series([1, None, 0]),
    ],
)
def test_integers_beside_missing_labels_stay_integers(y):
    _, labels = split_labels(y)
    assert labels.dtype.kind == "i"


@pytest.mark.parametrize(
    "y",
    [
        [0, 1, 0],
        np.array([0, 1, 0]),
        np.array([0.0, 1.0, 0.0]),
        np.array([False, True, False]),
        np.array(["a", "b", "a"]),
        pd.Series([0, 1, 0]),
        pd.Series(["a", "b", "a"], dtype="category"),
        pl.Series(["a", "b", "a"]),
    ],
)
def test_complete_labels_are_all_labeled(y):
    labeled, labels = split_labels(y)
    assert labeled.all()
    assert_array_equal(labels, np.asarray(y))


@pytest.mark.parametrize(
    ("y", "mark"),
    [
        ([0, -1, 1], -1),
        ([0.0, -1.0, 1.0], -1),
        (["a", "?", "b"], "?"),
        (np.array(["a", "?", "b"], dtype=object), "?"),
        (pd.Series(["a", "?", "b"]), "?"),
        (pl.Series([0, -1, 1]), -1),
    ],
)
def test_mark_is_unlabeled(y, mark):
    assert_array_equal(split_labels(y)[0], True)
    labeled, labels = split_labels(y, mark)
    assert_array_equal(labeled, [True, False, True])
    assert_array_equal(labels, np.asarray(y)[[0, 2]])


@pytest.mark.parametrize(
    ("y", "mark"),
    [
        ([0.0, -1.0, NAN], -1),
        (["a", "?", None], "?"),
        (pd.Series(["a", "?", pd.NA], dtype="string"), "?"),
    ],
)
def test_mark_and_missing_label_are_both_unlabeled(y, mark):
    assert_array_equal(split_labels(y, mark)[0], [True, False, False])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        (np.array([0.0, np.inf]), "infinity"),
        (np.array([0.0, -np.inf]), "infinity"),
        (np.zeros((2, 2)), r"shape \(2, 2\): multi-output"),
        (sp.csr_matrix([[0], [1]]), "sparse matrix; pass y.toarray"),
        (np.array([0.5, 1.5]), "Unknown label type"),
        (np.array(["a", 1], dtype=object), r"y holds \['int', 'str'\]"),
        ([0, 1, 0], "X has 2 rows, y has 3"),
    ],
)
def test_bad_labels(y, message):
    with pytest.raises(ValueError, match=message):
        split_labels(y, n_rows=2)


def test_column_of_labels_warns():
    with pytest.warns(DataConversionWarning):
        labeled, labels = split_labels(np.array([[0.0], [NAN], [1.0]]))
    assert_array_equal(labeled, [True, False, True])
    assert_array_equal(labels, [0, 1])


@pytest.mark.parametrize("y", [pd.DataFrame({"y": pd.array([1, pd.NA, 0], "Int64")}),
                               pl.DataFrame({"y": [1, None, 0]})])  # fmt: skip
def test_column_of_a_frame_is_read_like_the_series(y):
    with pytest.warns(DataConversionWarning):
        labeled, labels = split_labels(y)
    assert_array_equal(labeled, [True, False, True])
    assert_array_equal(labels, [1, 0])
    assert labels.dtype.kind == "i"


@pytest.mark.parametrize("mark", [None, NAN, pd.NA, pd.NaT])
@pytest.mark.parametrize(
    "y", [[1, None, 0], pd.Series([1, pd.NA, 0], dtype="Int64"), ["b", None, "a"]]
)
def test_a_missing_mark_marks_missing_labels(y, mark):
    assert_array_equal(split_labels(y, mark)[0], [True, False, True])


@pytest.mark.parametrize("mark", ["nan", "-1", "?", "", "NA", "None", "null"])
def test_text_that_looks_like_a_missing_label_warns(mark):
    with pytest.warns(UserWarning, match=re.escape(f"class {mark!r}")):
        warn_about_marks(np.array(["a", "b", mark]), np.array([4, 3, 2]))


def test_marks_that_look_like_missing_labels_warn():
    counts = np.array([4, 3, 2])
    with pytest.warns(UserWarning, match="-1 in 4 rows"):
        warn_about_marks(np.array([-1, 0, 1]), counts)


@pytest.mark.parametrize("classes", [[-1, 1], [-2, -1, 0], [0, 1, 2], ["a", "b"]])
def test_plain_classes_do_not_warn(classes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_about_marks(np.array(classes), np.ones(len(classes), int))


def test_union_of_classes_is_sorted():
    union = union_of_classes(np.array(["c", "a"]), np.array(["b", "c"]))
    assert_array_equal(union, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("labels", "teacher", "message"),
    [
        (["a", "b"], [0, 1], "convert y"),
        ([0, 1], ["0", "1"], "convert y"),
        ([0, 1], [2, 3], "share no class"),
        ([0, 1], [[0, 1], [0, 1]], "multi-output teacher"),
    ],
)
def test_classes_that_do_not_match(labels, teacher, message):
    with pytest.raises(ValueError, match=message):
        union_of_classes(np.array(labels), teacher)


@pytest.mark.parametrize(
    ("proba", "message"),
    [
        ([["a", "b"]] * 3, "must be numbers"),
        (np.full((2, 2), 0.5), r"shape \(2, 2\), expected \(3, 2\)"),
        (np.full((3, 3), 1 / 3), r"shape \(3, 3\), expected \(3, 2\)"),
        (np.full(3, 0.5), r"shape \(3,\), expected"),
        ([[0.5, 0.5], [NAN, 1], [0, 1]], "NaN or infinity"),
        ([[0.5, 0.5], [np.inf, 1], [0, 1]], "NaN or infinity"),
        ([[0.5, 0.5], [-0.25, 1.25], [0, 1]], r"negative entries \(least: -0.25\)"),
        ([[0.5, 0.5], [0.5, 0.75], [0, 1]], r"sum to 1.*row 1 sums to 1.25"),
    ],
)
def test_bad_probabilities(proba, message):
    with pytest.raises(ValueError, match=f"^the teacher .*{message}"):
        check_proba(proba, 3, 2, "the teacher")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, int, bool])
def test_good_probabilities_pass(dtype):
    proba = check_proba(np.eye(3, dtype=dtype), 3, 3, "the teacher")
    assert proba.dtype.kind == "f"
    assert_array_equal(proba, np.eye(3))


def test_single_precision_sums_pass():
    proba = np.full((5, 1000), 1e-3, dtype=np.float32)
    assert check_proba(proba, 5, 1000, "the teacher").dtype == np.float32


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [2, 1, 0]])
@pytest.mark.parametrize("classes", [np.array([3, 5, 7]), np.array(["a", "b", "c"])])
def test_alignment_orders_columns_by_class(classes, order):
    proba = np.random.RandomState(0).dirichlet(np.ones(3), 5).astype(np.float32)
    assert_array_equal(align_proba(proba[:, order], classes[order], classes), proba)


def test_classes_that_the_teacher_does_not_know_get_zero():
    aligned = align_proba(np.array([[0.75, 0.25]]), np.array([7, 3]), np.arange(3, 8))
    assert aligned.dtype == np.float32
    assert_array_equal(aligned, [[0.25, 0, 0, 0, 0.75]])


def test_no_weights_stay_none():
    assert check_weights(None, 3, "w") is None


def test_weights_become_floats():
    weights = check_weights([0, 1, 2], 3, "w")
    assert weights.dtype == np.float64
    assert_array_equal(weights, [0, 1, 2])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1], r"shape \(2,\), expected \(3,\)"),
        (1.0, r"shape \(\), expected \(3,\)"),
        ([[1], [1], [1]], r"shape \(3, 1\)"),
        ([1, NAN, 1], "finite and not negative"),
        ([1, np.inf, 1], "finite and not negative"),
        ([1, -1, 1], "finite and not negative"),
        ([0, 0, 0], "zero for every row"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(ValueError, match=f"^w .*{message}"):
        check_weights(weights, 3, "w")


def test_only_sample_weight_is_taken():
    def fit(X, y, *, X_unlabeled=None, **params):
        return take_sample_weight(params, fit)

    assert fit(1, 2) is None
    assert fit(1, 2, sample_weight=3) == 3
    with pytest.raises(
        TypeError, match=r"\['X_unlabelled'\]; it takes .*'X_unlabeled'"
    ):
        fit(1, 2, X_unlabelled=3)


@pytest.mark.parametrize("mark", [[-1], {-1}, np.array([1, 2])])
def test_one_label_marks_unlabeled_rows(mark):
    with pytest.raises(ValueError, match="unlabeled_label must be one label"):
        split_labels([0, 1, -1], mark)


def test_weights_that_are_no_numbers_are_named():
    with pytest.raises(ValueError, match="sample_weight must hold a number for each"):
        check_weights("balanced", 3, "sample_weight")


def test_relative_weights_count_rows_that_weigh_anything():
    assert_array_equal(relative_weights(None, 2), [1, 1])
    assert_array_equal(relative_weights(np.array([0.0, 1.0, 3.0]), 3), [0, 0.5, 1.5])


def test_columns_of_probabilities_are_found_by_name():
    proba = np.array([[0.2, 0.8], [0.6, 0.4]])

    def ordered(columns, classes):
        frame = pd.DataFrame(proba, columns=columns)
        return order_columns(frame, np.array(classes), "proba")

    for columns, classes in (
        ([1, 0], [0.0, 1.0]),  # labels beside NaN are floats
        (["1", "0"], [0, 1]),
        (["1", "0"], [0.0, 1.0]),
        ([True, False], [False, True]),
        (["b", "a"], ["a", "b"]),
        (["0", "1"], [1, 0]),
    ):
        assert_array_equal(ordered(columns, classes), proba[:, ::-1])
    frame = pd.DataFrame(proba, columns=["1", "0"])
    for backend in ("pyarrow", "numpy_nullable"):
        nullable = frame.convert_dtypes(dtype_backend=backend)
        values = order_columns(nullable, np.array([0, 1]), "proba")
        assert values.dtype == np.float64
        assert_array_equal(values, proba[:, ::-1])
    with pytest.raises(ValueError, match="proba must hold numbers"):
        order_columns(frame.astype(str) + "x", np.array([0, 1]), "proba")
    for columns in (None, ["column_0", "column_1"]):
        assert_array_equal(ordered(columns, ["a", "b"]), proba)
    assert order_columns(proba, np.array([1, 0]), "proba") is proba
    for columns in (["p1", "p0"], ["a", "a"]):
        with pytest.raises(ValueError, match="Name a column after each class"):
            ordered(columns, [0, 1])
    with pytest.raises(ValueError, match="may be numbered or named after the classes"):
        ordered(None, [1, 0])


def test_a_missing_date_is_no_label():
    days = np.array(["2026-01-01", "NaT", "2026-01-02"], dtype="datetime64[D]")
    labeled, labels = split_labels(days)
    assert labeled.tolist() == [True, False, True]
    assert len(labels) == 2


def test_infinity_beside_none_is_named():
    with pytest.raises(ValueError, match="y contains infinity"):
        split_labels([0, 1, None, np.inf])


def test_numbers_beside_strings_are_refused():
    with pytest.raises(ValueError, match="one of these only"):
        split_labels([1, "a"])


def test_masked_labels_are_missing():
    y = np.ma.masked_array([1, 2, 1], mask=[False, True, False])
    has_label, labels = split_labels(y)
    assert_array_equal(has_label, [True, False, True])
    assert_array_equal(labels, [1, 1])

from datetime import date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_slam import MLPStudent, SLaMDistiller
from sklearn_slam._encoding import (
    LEAST_BIN,
    MAX_BOOSTED,
    MAX_CATEGORIES,
    SMOOTH_CLIP,
    OrdinalColumns,
    TableEncoder,
)
from sklearn_slam._modules import PiecewiseLinear
from sklearn_slam._rows import Rows, is_memory_mapped, stack_rows
from sklearn_slam._training import LazyRows

NAN = float("nan")


def numbers(n_rows=40, n_columns=3, seed=0):
    return np.random.RandomState(seed).standard_normal((n_rows, n_columns))


def columns(n_rows=40):
    rng = np.random.RandomState(0)
    return {
        "number": [None if at % 5 == 0 else float(at) for at in range(n_rows)],
        "count": rng.randint(0, 9, n_rows).tolist(),
        "flag": (rng.uniform(size=n_rows) > 0.5).tolist(),
        "word": [None if at % 7 == 0 else "abc"[at % 3] for at in range(n_rows)],
        "level": [["low", "high"][at % 2] for at in range(n_rows)],
    }


def pandas_frame():
    frame = pd.DataFrame(columns())
    return frame.astype({"word": "category"})


def polars_frame():
    return pl.DataFrame(columns()).cast({"level": pl.Categorical})


FRAMES = {
    "pandas": pandas_frame,
    "objects": lambda: pd.DataFrame(columns()).astype({"word": object}),
    "nullable": lambda: pd.DataFrame(columns()).convert_dtypes(),
    "polars": polars_frame,
}
each_frame = pytest.mark.parametrize("name", FRAMES)


def nullable(X):
    return pd.DataFrame(X).astype("Float64").mask(np.isnan(X), pd.NA)


def fitted(X):
    return TableEncoder().fit(X)


def test_numbers_are_centred_and_bounded_in_order():
    X = numbers()
    encoded = fitted(X).transform(X)
    assert encoded.dtype == np.float32
    assert encoded.shape == X.shape
    assert_array_equal(encoded.argsort(axis=0), X.argsort(axis=0))
    assert_allclose(np.median(encoded, axis=0), 0, atol=0.05)
    outlier = fitted(X).transform(np.array([[1e6, -1e6, 0]]))
    assert_allclose(np.abs(outlier[0, :2]), SMOOTH_CLIP, rtol=1e-5)


@pytest.mark.parametrize(
    ("column", "center", "spread"),
    [
        # Quartiles as far apart as those of a standard normal are.
        ([-90, 1 - 1.349 / 2, 1, 1 + 1.349 / 2, 90], 1, 1),
        # None between the quartiles: the standard deviation.
        ([0] * 9 + [10], 0, 3),
    ],
)
def test_numbers_are_scaled_by_what_lies_between_the_quartiles(column, center, spread):
    encoder = fitted(np.array(column, dtype=float)[:, None])
    assert_allclose([encoder.center_[0], 1 / encoder.scale_[0]], [center, spread])


def test_shift_and_scale_of_columns_change_nothing():
    X = numbers()
    moved = X * [10, 0.01, 3] + [5, -2, 100]
    encoded = fitted(X).transform(X)
    assert_allclose(fitted(moved).transform(moved), encoded, atol=1e-5)


def test_missing_numbers_are_the_median_with_an_indicator():
    X = numbers()
    X[::4, 1] = NAN
    encoder = fitted(X)
    encoded = encoder.transform(X)
    assert_array_equal(encoder.with_missing_, [1])
    assert encoder.n_numeric_ == encoded.shape[1] == 4
    assert_array_equal(encoded[::4, 1], 0)
    assert_array_equal(encoded[:, 3], np.isnan(X[:, 1]))
    assert_array_equal(encoder.transform(X[1:4])[:, 3], 0)


def test_numbers_missing_first_after_fit_are_the_median():
    encoder = fitted(numbers())
    assert_array_equal(encoder.transform(np.full((2, 3), NAN)), np.zeros((2, 3)))


def test_column_without_values_carries_nothing():
    X = numbers()
    X[:, 0] = NAN
    encoder = fitted(X)
    assert_array_equal(encoder.transform(X)[:, 0], 0)
    assert_array_equal(encoder.transform(numbers(seed=1))[:, 0], 0)


def test_constant_columns_carry_nothing():
    X = numbers()
    X[:, 2] = 7
    encoder = fitted(X)
    assert_array_equal(encoder.transform(X)[:, 2], 0)
    assert_array_equal(encoder.transform(numbers(seed=1))[:, 2], 0)


def test_mostly_constant_column_still_counts():
    X = np.zeros((40, 1))
    X[0] = 1
    encoded = fitted(X).transform(X)
    assert encoded[0] > encoded[1]


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("frame", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_infinity_raises(frame, value):
    X = numbers()
    encoder = fitted(frame(X))
    X[3, 1] = value
    with pytest.raises(ValueError, match="contains infinity in column"):
        encoder.transform(frame(X))


def test_codes_tell_categories_apart():
    X = pd.DataFrame({"word": ["a", "b", "c", "a", "a", "b"]})
    encoder = fitted(X)
    assert encoder.n_categories_ == [4]
    assert_array_equal(encoder.transform(X)[:, 0], [1, 2, 3, 1, 1, 2])


@pytest.mark.parametrize("dtype", ["category", object, "str", "string"])
def test_unseen_and_missing_categories_are_code_zero(dtype):
    seen = pd.DataFrame({"word": pd.Series(["a", "b", None, "a"], dtype=dtype)})
    new = pd.DataFrame({"word": pd.Series(["b", "zebra", None, "a"], dtype=dtype)})
    encoder = fitted(seen)
    assert encoder.n_categories_ == [3]
    assert_array_equal(encoder.transform(seen)[:, 0], [1, 2, 0, 1])
    assert_array_equal(encoder.transform(new)[:, 0], [2, 0, 0, 1])


def test_rare_categories_are_code_zero():
    words = [f"word {at}" for at in range(MAX_CATEGORIES + 10)]
    X = pd.DataFrame({"word": words[:MAX_CATEGORIES] * 2 + words[MAX_CATEGORIES:]})
    encoder = fitted(X)
    codes = encoder.transform(X)[:, 0]
    assert encoder.n_categories_ == [MAX_CATEGORIES + 1]
    assert set(codes[: 2 * MAX_CATEGORIES]) == set(range(1, MAX_CATEGORIES + 1))
    assert_array_equal(codes[2 * MAX_CATEGORIES :], 0)


def test_codes_do_not_depend_on_the_order_of_rows():
    X = pandas_frame()
    forward, backward = fitted(X), fitted(X.iloc[::-1])
    assert_array_equal(forward.transform(X), backward.transform(X))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize(
    "value",
    [datetime(2024, 1, 1), date(2024, 1, 1), timedelta(days=1)],
    ids=["time", "day", "duration"],
)
def test_dates_raise(frame, value):
    with pytest.raises(TypeError, match="'when' holds dates or times"):
        fitted(frame({"when": [value] * 3, "number": [1, 2, 3]}))


def test_periods_raise():
    months = pd.period_range("2024-01", periods=3, freq="M")
    with pytest.raises(TypeError, match="'when' holds dates or times"):
        fitted(pd.DataFrame({"when": months, "number": [1, 2, 3]}))


@each_frame
def test_one_row_at_a_time_equals_the_batch(name):
    X = FRAMES[name]()
    encoder = fitted(X)
    batch = encoder.transform(X)
    rows = [encoder.transform(X[at : at + 1]) for at in range(len(X))]
    assert_array_equal(np.concatenate(rows), batch)


@each_frame
def test_containers_encode_alike(name):
    X, reference = FRAMES[name](), pandas_frame()
    assert_array_equal(fitted(X).transform(X), fitted(reference).transform(reference))
    assert fitted(X).n_categories_ == fitted(reference).n_categories_


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frame_of_numbers_equals_the_array(frame):
    X = numbers()
    X[::4, 1] = NAN
    encoder = fitted(frame(X))
    assert_array_equal(encoder.transform(frame(X)), fitted(X).transform(X))
    assert_array_equal(encoder.transform(X), fitted(X).transform(X))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        (["1.5", "many", None], ValueError, "'a' held numbers at fit.*'many'"),
        ([datetime(2024, 1, 1)] * 3, TypeError, "'a' holds dates or times"),
    ],
)
def test_a_column_that_holds_no_numbers_any_more_is_named(
    frame, column, error, message
):
    encoder = fitted(frame({"a": [1.0, 2.0, 3.0]}))
    with pytest.raises(error, match=message):
        encoder.transform(frame({"a": column}))


def test_columns_without_names_go_by_position():
    X = numbers()
    mixed = pd.DataFrame(X).assign(**{"3": list("abcd") * 10})
    mixed.columns = range(4)
    encoder = fitted(mixed)
    renumbered = mixed.set_axis([7, 0, 1, 5], axis=1)
    assert_array_equal(encoder.transform(renumbered), encoder.transform(mixed))


@pytest.mark.parametrize("frame", [nullable, pd.DataFrame, pl.DataFrame])
def test_frame_after_an_array_is_read_by_position(frame):
    X = numbers()
    encoder = fitted(X)
    X[::4, 1] = NAN
    assert_array_equal(encoder.transform(frame(X)), encoder.transform(X))


def test_array_after_a_frame_with_categories_raises():
    with pytest.raises(TypeError, match="pass a frame"):
        fitted(pandas_frame()).transform(numbers(n_columns=5))


@pytest.mark.parametrize(
    "form", [sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.csc_array]
)
def test_sparse_rows_stay_sparse(form):
    X = sp.random(30, 8, 0.2, random_state=0, dtype=np.float64).toarray() * 5
    X[:, 3] = 0
    encoder = fitted(form(X))
    encoded = encoder.transform(form(X))
    assert sp.issparse(encoded)
    assert encoded.format == "csr"
    assert encoded.dtype == np.float32
    assert encoder.n_numeric_ == 8
    assert encoder.n_categories_ == []
    dense = encoded.toarray()
    assert_array_equal(dense != 0, X != 0)
    largest = np.abs(X).max(axis=0)
    assert_allclose(np.abs(dense).max(axis=0), largest > 0)
    assert_allclose(dense * largest, X, rtol=1e-6)


def test_sparse_rows_are_read_where_arrays_were_fitted():
    X = numbers(50).round()
    encoder = fitted(X)
    assert_array_equal(encoder.transform(sp.csr_matrix(X)), encoder.transform(X))


def test_memory_mapped_rows_encode_like_rows_in_memory(tmp_path):
    X = numbers(50)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert is_memory_mapped(mapped[5:])
    assert is_memory_mapped(np.asarray(mapped))
    assert not is_memory_mapped(X)

    pool, extra = np.arange(40, 9, -2), numbers(7, seed=1)
    rows = Rows(((mapped, pool),)) + Rows.of(extra)
    expected = np.concatenate([X[pool], extra])
    encoder = fitted(X)
    lazy = LazyRows(rows, encoder.transform)
    order = torch.randperm(len(lazy), generator=torch.Generator().manual_seed(0))
    assert len(lazy) == len(expected)
    assert_array_equal(lazy.batch(order), encoder.transform(expected[order]))


@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame, pl.DataFrame, sp.csr_array])
def test_chunks_and_samples_keep_rows(form):
    X = numbers(20)

    def dense(table):
        return table.toarray() if sp.issparse(table) else np.asarray(table)

    at = np.array([3, 1, 15])
    rows = Rows(((form(X), None), (form(X), at)))
    expected = np.concatenate([X, X[at]])
    assert len(rows) == 23
    chunks = list(rows.chunks(6))
    assert_array_equal(np.concatenate([dense(table) for table, _ in chunks]), expected)
    assert max(table.shape[0] for table, _ in chunks) == 6
    assert rows.n_chunks(6) == len(chunks)
    for table, place in chunks:
        assert_array_equal(dense(table), expected[place])
    for table, places in rows.take(np.array([22, 0, 19, 20])):
        assert_array_equal(dense(table), expected[[22, 0, 19, 20]][places])
    rng = np.random.RandomState(0)
    assert_array_equal(dense(rows.sample(100, rng)), expected)
    drawn = dense(rows.sample(10, rng))
    assert drawn.shape == X[:10].shape
    assert all((expected == row).all(axis=1).any() for row in drawn)
    # In their order, and each once.
    drawn = dense(Rows.of(form(X)).sample(19, rng))
    at = [int(np.flatnonzero((row == X).all(axis=1))[0]) for row in drawn]
    assert at == sorted(set(at))


@pytest.mark.parametrize(
    ("values", "dtypes"),
    [
        ([0, 1], [pl.Int32, pl.Int64, pl.Float32, pl.Boolean]),
        (["a", "b"], [pl.String, pl.Categorical, pl.Enum(["a", "b"])]),
        (["a", "b"], [pl.Enum(["b", "a"]), pl.Enum(["a", "b", "c"])]),
        ([None, None], [pl.Null, pl.Int64, pl.Null]),
    ],
)
def test_polars_columns_of_unlike_types_are_stacked_by_value(values, dtypes):
    tables = [pl.DataFrame({"a": values}).cast(dtype) for dtype in dtypes]
    stacked = stack_rows(tables)
    assert stacked["a"].to_list() == values * len(dtypes)
    encoder = fitted(stacked)
    for table in tables:
        assert_array_equal(encoder.transform(table), encoder.transform(tables[0]))


@pytest.mark.parametrize(
    "of_pool",
    [
        pd.Categorical([1, 2, 7] * 2),
        pd.Categorical([2, 1, None] * 2, categories=[2, 1, 3], ordered=True),
        pd.Series([1, "2", None] * 2, dtype=object),
    ],
)
def test_categories_of_two_frames_that_differ_stay_categories(of_pool):
    X = pd.DataFrame({"a": pd.Categorical([1, 2, None] * 2), "b": range(6)})
    stacked = stack_rows([X, pd.DataFrame({"a": of_pool, "b": range(6)})])
    assert stacked["a"].dtype.name == "category"
    known = ["" if pd.isna(value) else value for value in stacked["a"]]
    assert known == ["" if pd.isna(value) else value for value in [*X["a"], *of_pool]]
    assert_array_equal(stacked["b"], [*range(6)] * 2)
    encoder = fitted(stacked)
    assert encoder.names_ == ["b"]
    assert {1, 2} <= set(encoder.codes_["a"])


@pytest.mark.parametrize("huge", [1e200, 1e308])
def test_numbers_near_the_end_of_the_range_stay_within_the_bound(huge):
    values = np.array([[-huge], [0.0], [1.0], [2.0], [3.0], [huge]])
    for fitted_on in (values, values[1:5]):
        encoded = TableEncoder().fit(fitted_on).transform(values)
        assert np.isfinite(encoded).all()
        assert np.abs(encoded).max() <= 3 + 1e-6
        assert (np.diff(encoded[:, 0]) >= 0).all()


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_a_spread_that_has_no_inverse_carries_nothing(form):
    X = form([[0.0, 1.0], [1e-310, 2.0], [0.0, 3.0], [1e-310, 4.0]])
    encoded = TableEncoder().fit(X).transform(X)
    encoded = encoded.toarray() if sp.issparse(encoded) else encoded
    assert_array_equal(encoded[:, 0], 0)
    assert (encoded[:, 1] != 0).any()


@pytest.mark.parametrize("column", [[np.inf, 1.0], [np.inf, -np.inf], [np.inf] * 2])
def test_infinity_is_refused_at_fit_and_after(column):
    bad = pd.DataFrame({"a": column, "b": [1.0, 1.0]})
    good = pd.DataFrame({"a": [1.0, 1.0], "b": [1.0, 2.0]})
    with pytest.raises(ValueError, match="contains infinity"):
        TableEncoder().fit(bad)
    with pytest.raises(ValueError, match="contains infinity"):
        TableEncoder().fit(good).transform(bad)
    sparse = sp.csr_matrix(bad.to_numpy())
    with pytest.raises(ValueError, match="contains infinity"):
        TableEncoder().fit(sp.csr_matrix(good.to_numpy())).transform(sparse)


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_array])
def test_missing_entries_of_sparse_rows_are_refused_at_fit_and_after(form):
    good = numbers()
    bad = good.copy()
    bad[3, 1] = NAN
    with pytest.raises(ValueError, match="contains NaN in sparse rows"):
        TableEncoder().fit(form(bad))
    with pytest.raises(ValueError, match="contains NaN in sparse rows"):
        TableEncoder().fit(form(good)).transform(form(bad))


def test_places_in_bins_sum_to_the_number():
    X = np.random.RandomState(0).standard_cauchy((500, 2))
    encoder = TableEncoder(6).fit(X)
    encoded = encoder.transform(X)
    places = PiecewiseLinear(encoder.bin_edges_)(torch.from_numpy(encoded))
    places = places.reshape(500, 2, -1).numpy()
    assert np.abs(places).max() <= 1
    for column, edges in encoder.bin_edges_.items():
        # Each bin that lies below adds its width, the number's own a share of it.
        passed = (places[:, column, : len(edges) - 1] + 1) / 2
        assert_allclose(
            edges[0] + passed @ np.diff(edges), encoded[:, column], atol=1e-4
        )


def test_which_numbers_have_bins():
    rng = np.random.RandomState(0)
    X = np.column_stack(
        [
            rng.normal(size=400),
            rng.randint(0, 2, 400),
            np.full(400, 7.0),
            rng.randint(0, 4, 400),
            np.where(rng.uniform(size=400) < 0.9, rng.normal(size=400) * 1e-6, 1e6),
        ]
    )
    edges = TableEncoder(8).fit(X).bin_edges_
    # Two values or one have no inside; four have three gaps between them.
    assert [*edges] == [0, 3, 4]
    assert len(edges[0]) == 9
    assert len(edges[3]) == 4
    assert all((np.diff(of_column) >= LEAST_BIN).all() for of_column in edges.values())
    assert TableEncoder(1).fit(X).bin_edges_ == {}
    assert TableEncoder(8).fit(sp.csr_matrix(X)).bin_edges_ == {}


def test_wide_tables_have_fewer_bins():
    X = numbers(60, 400)
    edges = TableEncoder(8).fit(X).bin_edges_
    assert {len(of_column) - 1 for of_column in edges.values()} == {1_024 // 400}
    assert TableEncoder(8).fit(numbers(60, 600)).bin_edges_ == {}


def test_bins_let_one_narrow_layer_tell_ranges_apart():
    x = np.random.RandomState(0).uniform(size=(2_000, 1))
    y = (4 * x[:, 0]).astype(int) % 2
    scores = {
        n_bins: MLPStudent((4,), n_bins=n_bins, lr=0.01, max_epochs=20, random_state=0)
        .fit(x, y)
        .score(x, y)
        for n_bins in (0, 8)
    }
    # Four ranges in turn: a border off by one twentieth of a range costs .04 in all.
    assert scores[8] > 0.95
    assert scores[8] > scores[0]


def test_numbers_in_a_column_of_objects_are_numbers():
    numbers = np.array([0.5, np.nan, 2.0, -1.25] * 5)
    decimals = [None if np.isnan(value) else Decimal(str(value)) for value in numbers]
    frame = pd.DataFrame({"a": pd.Series(decimals, dtype=object)})
    encoder = TableEncoder().fit(frame)
    assert not encoder.codes_
    plain = pd.DataFrame({"a": numbers})
    expected = TableEncoder().fit(plain).transform(plain)
    assert_array_equal(encoder.transform(frame), expected)
    mixed = pd.DataFrame({"a": pd.Series([*decimals, "x"], dtype=object)})
    assert list(TableEncoder().fit(mixed).codes_) == ["a"]


def test_the_least_integer_of_sparse_rows_has_a_size():
    X = sp.csr_matrix(np.array([[0, 0], [0, -128]], dtype=np.int8))
    encoder = TableEncoder().fit(X)
    assert_array_equal(encoder.transform(X).toarray(), [[0, 0], [0, -1]])


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_text_that_becomes_numbers_is_named(frame):
    encoder = TableEncoder().fit(frame({"zip": ["1", "2", "1"]}))
    with pytest.raises(ValueError, match="'zip' held text at fit and now holds numb"):
        encoder.transform(frame({"zip": [1, 2, 1]}))
    assert encoder.transform(frame({"zip": ["3"]}))[0, 0] == 0
    for zips, codes in ((["1", None, "2"], [1, 0, 2]), ([float("nan")], [0])):
        assert_array_equal(encoder.transform(frame({"zip": zips}))[:, 0], codes)


def test_arrow_decimals_are_numbers_and_its_times_are_none():
    pa = pytest.importorskip("pyarrow")
    plain = pd.DataFrame({"a": [0.5, 1.5, None, 2.5]})
    prices = pd.array(["0.5", "1.5", None, "2.5"], pd.ArrowDtype(pa.string()))
    prices = prices.astype(pd.ArrowDtype(pa.decimal128(10, 2)))
    frame = pd.DataFrame({"a": prices})
    assert_array_equal(
        TableEncoder().fit(frame).transform(frame),
        TableEncoder().fit(plain).transform(plain),
    )
    noon = pd.Series([time(12)] * 4, dtype=pd.ArrowDtype(pa.time64("us")))
    with pytest.raises(TypeError, match="'when' holds dates or times"):
        TableEncoder().fit(pd.DataFrame({"when": noon}))


def test_numbers_as_categories_that_become_text_are_named():
    zips = pd.Series([1, 2, 1])
    encoder = TableEncoder().fit(pd.DataFrame({"zip": zips.astype("category")}))
    for text in (zips.astype(str), zips.astype(str).astype("category")):
        with pytest.raises(ValueError, match="'zip' held numbers at fit and now hold"):
            encoder.transform(pd.DataFrame({"zip": text}))
    assert_array_equal(encoder.transform(pd.DataFrame({"zip": zips}))[:, 0], [1, 2, 1])


@pytest.mark.usefixtures("quick_peers")
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_text_that_is_no_category_warns(frame):
    names = [f"name {n}" for n in range(100)]
    X = frame({"note": names, "town": ["x", "y"] * 50})
    assert TableEncoder().fit(X).singular_ == ["note"]
    assert TableEncoder().fit(frame({"note": names[:50] * 2})).singular_ == []
    rest = frame({"note": [f"other {n}" for n in range(50)], "town": ["x", "y"] * 25})
    slam = SLaMDistiller(max_epochs=1, peers=True, random_state=0)
    with pytest.warns(UserWarning, match="hold hardly a value twice") as caught:
        slam.fit(X, np.arange(100) % 2, X_unlabeled=rest)
    assert sum("hardly" in str(warning.message) for warning in caught) == 1


@pytest.mark.parametrize(
    ("n_single", "n_rows", "singular"),
    [(50, 50, 0), (51, 51, 1), (51, 102, 0), (52, 102, 1)],
)
def test_how_many_values_may_occur_once(n_single, n_rows, singular):
    words = [f"name {n}" for n in range(n_single)] + ["other"] * (n_rows - n_single)
    assert len(fitted(pd.DataFrame({"note": words})).singular_) == singular


@pytest.mark.parametrize("n_beyond", [0, 1])
def test_columns_of_as_many_categories_as_are_kept_are_not_crowded(n_beyond):
    towns = [f"town {n}" for n in range(MAX_CATEGORIES + n_beyond)] * 2
    assert len(fitted(pd.DataFrame({"town": towns})).crowded_) == n_beyond


def test_boosting_reads_the_most_frequent_categories_then_the_numbers():
    towns = [f"town {n:03}" for n in range(MAX_BOOSTED + 2)]
    towns = [*towns, *towns[2:], None]
    X = pd.DataFrame({"n": np.arange(len(towns)), "town": towns, "empty": NAN})
    encoded = OrdinalColumns(["town"]).fit(X).transform(X)
    expected = np.full(len(towns), NAN)
    expected[2:-1] = np.arange(MAX_BOOSTED)[np.arange(len(towns) - 3) % MAX_BOOSTED]
    assert_array_equal(encoded, np.column_stack([expected, X["n"]]))


def test_columns_of_more_categories_than_are_kept_are_named():
    towns = [f"town {n}" for n in range(MAX_CATEGORIES + 1)] * 2
    X, y = pd.DataFrame({"town": towns}), np.arange(len(towns)) % 2
    with pytest.warns(UserWarning, match=r"\['town'\] hold more than 1024 categories"):
        MLPStudent((4,), max_epochs=1, random_state=0).fit(X, y)


def test_columns_of_lists_are_named():
    with pytest.raises(TypeError, match="Column 'a' holds values that are no categ"):
        TableEncoder().fit(pd.DataFrame({"a": [[1], [2]]}))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_column_of_unknown_values_is_named(frame):
    encoder = TableEncoder().fit(frame({"town": ["u", "v"] * 10, "n": range(20)}))
    with pytest.warns(UserWarning, match="'town' holds no value that fit has seen"):
        encoded = encoder.transform(frame({"town": ["U"] * 10, "n": range(10)}))
    assert_array_equal(encoded[:, 1], 0)
    # Of fewer rows it may be chance, and one that is known tells how they are written.
    encoder.transform(frame({"town": ["U"] * 9, "n": range(9)}))
    encoder.transform(frame({"town": ["U"] * 10 + ["u"], "n": range(11)}))
    encoder.transform(frame({"town": [None] * 10, "n": range(10)}))
    # Names are all new, as is known since fit.
    names = [f"name {n}" for n in range(120)]
    of_names = TableEncoder().fit(frame({"name": names}))
    of_names.transform(frame({"name": [name.upper() for name in names]}))


def test_an_array_of_text_in_the_place_of_a_frame_is_told():
    X = pd.DataFrame({"town": ["u", "v"] * 10, "n": range(20)})
    student = MLPStudent((4,), max_epochs=1).fit(X, np.arange(20) % 2)
    with (
        pytest.warns(UserWarning, match="valid feature names"),
        pytest.raises(ValueError, match="could not convert string") as caught,
    ):
        student.predict(X.to_numpy())
    (note,) = caught.value.__notes__
    assert note == "Where fit was given a frame, pass one here, too."


def test_dates_in_the_place_of_text_are_named():
    days = pd.Series(["2020-01-01", "2020-01-02"] * 2)
    encoder = TableEncoder().fit(pd.DataFrame({"day": days}))
    with pytest.raises(ValueError, match="'day' held text at fit and now holds dates"):
        encoder.transform(pd.DataFrame({"day": pd.to_datetime(days)}))

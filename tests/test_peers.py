"""Models of other kinds that label the pool beside the teacher."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, TargetEncoder

from sklearn_slam import (
    CallableTeacher,
    MLPStudent,
    PlainDistiller,
    SLaMDistiller,
    _peers,
    _slam,
    _student,
)
from sklearn_slam._peers import _combined_out_of_fold, label_with_peers
from sklearn_slam._progress import Progress
from sklearn_slam._soft_labels import combining_exponents
from sklearn_slam._training import StudentNet, in_memory

pytestmark = pytest.mark.usefixtures("quick_peers")


@pytest.fixture
def table(three_classes):
    """Labeled rows, as many as peers want, and a pool."""
    X, y = three_classes
    return X[:120], y[:120], X[120:]


def quick(teacher, **params):
    params = {"max_epochs": 3, "random_state": 0, **params}
    return SLaMDistiller(teacher, MLPStudent((16,)), **params)


def test_peers_repair_labels_that_say_nothing(table):
    X, y, pool = table
    silent = CallableTeacher(lambda rows: np.full((len(rows), 3), 1 / 3), [0, 1, 2])
    fits = {
        peers: SLaMDistiller(
            silent, peers=peers, labeled_weight=0.0, max_epochs=30, random_state=0
        )
        for peers in (False, True)
    }
    with pytest.warns(UserWarning, match="right on"):
        fits[False].fit(X, y, X_unlabeled=pool)
    fits[True].fit(X, y, X_unlabeled=pool)
    # The teacher names class 0 everywhere, a third of the rows; peers know better.
    assert fits[False].label_accuracy_ is fits[False].teacher_accuracy_
    assert fits[True].teacher_accuracy_.hits_.mean() < 0.5
    assert fits[True].label_accuracy_.hits_.mean() > 0.75
    assert fits[True].score(X, y) > 0.75


def test_peers_leave_what_is_known_of_the_teacher(table, teacher):
    X, y, pool = table
    alone, beside = (
        quick(teacher, peers=peers).fit(X, y, X_unlabeled=pool)
        for peers in (False, True)
    )
    assert_array_equal(alone.teacher_accuracy_.proba_, beside.teacher_accuracy_.proba_)
    assert (beside.label_accuracy_.proba_ != beside.teacher_accuracy_.proba_).any()


@pytest.mark.parametrize(
    ("params", "n_labeled", "asked"),
    [
        ({}, 50, True),
        ({}, 49, False),
        ({"alpha": 0.95}, 120, False),
        ({"alpha": np.ones_like}, 120, False),
        ({"alpha": 0.95, "peers": True}, 60, True),
        ({"peers": False}, 120, False),
    ],
)
def test_when_peers_are_asked(table, teacher, params, n_labeled, asked):
    X, y, pool = table
    slam = quick(teacher, **params)
    slam.fit(X[:n_labeled], y[:n_labeled], X_unlabeled=pool)
    assert (slam.label_accuracy_ is not slam.teacher_accuracy_) == asked


def test_peers_are_not_asked_with_very_many_labels(table, teacher, monkeypatch):
    X, y, pool = table
    monkeypatch.setattr(_slam, "LABELED_FOR_PEERS", (100, 119))
    slam = quick(teacher).fit(X, y, X_unlabeled=pool)
    assert slam.label_accuracy_ is slam.teacher_accuracy_


def test_given_alpha_of_one_is_plain_distillation(table, teacher):
    X, y, pool = table
    unmixed = quick(teacher, alpha=1.0, teacher_temperature=1.0)
    plain = PlainDistiller(teacher, MLPStudent((16,)), max_epochs=3, random_state=0)
    for model in (unmixed, plain):
        model.fit(X, y, X_unlabeled=pool)
    assert_allclose(unmixed.predict_proba(pool), plain.predict_proba(pool), atol=1e-6)


@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_no_peers_where_no_fold_could_teach_them():
    # A class a row: a fitted teacher needs no folds, and must not ask for any.
    X = np.random.RandomState(0).normal(size=(250, 3))
    y = np.arange(100)
    proba = np.eye(100) * 0.5 + 0.005
    teacher = CallableTeacher(lambda rows: proba[np.arange(len(rows)) % 100], y)
    slam = quick(teacher).fit(X[:100], y, X_unlabeled=X[100:])
    assert slam.label_accuracy_ is slam.teacher_accuracy_


def test_memory_keeps_what_peers_say(table, teacher, tmp_path, monkeypatch):
    X, y, pool = table
    trained = []
    learn = MLPStudent._learn

    def counted(self, *args):
        trained.append(self)
        return learn(self, *args)

    monkeypatch.setattr(MLPStudent, "_learn", counted)
    probas = [
        quick(teacher, memory=str(tmp_path), alpha_min=bound)
        .fit(X, y, X_unlabeled=pool)
        .label_accuracy_.proba_
        for bound in (0.6, 0.9)
    ]
    assert len(trained) == 6 + 2  # five folds and all rows once, and two students
    assert_array_equal(*probas)


def test_rows_that_weigh_nothing_teach_peers_nothing(table):
    X, y, pool = table
    weights = np.r_[np.ones(90), np.zeros(30)]
    silent = CallableTeacher(lambda rows: np.full((len(rows), 3), 1 / 3), [0, 1, 2])
    halves = np.arange(120) % 2 == 0
    cv = [(np.flatnonzero(half), np.flatnonzero(~half)) for half in (halves, ~halves)]
    wrong = np.where(weights > 0, y, (y + 1) % 3)
    fits = [
        quick(silent, peers=True, cv=cv).fit(
            X, labels, X_unlabeled=pool, sample_weight=weights
        )
        for labels in (y, wrong)
    ]
    assert_array_equal(fits[0].predict_proba(X), fits[1].predict_proba(X))


def test_the_unit_of_weights_does_not_matter(table):
    X, y, pool = table
    weights = np.random.RandomState(0).uniform(0.5, 2.0, len(y))
    labels = [
        quick(GaussianNB())
        .fit(X, y, X_unlabeled=pool, sample_weight=unit * weights)
        .label_accuracy_.proba_
        for unit in (1.0, 1024.0)
    ]
    # Powers of two scale without rounding.
    assert_allclose(*labels, atol=1e-5)


def test_weights_that_leave_a_fold_one_class(table):
    X, y, pool = table
    weights = np.where(y == 0, 1.0, 0.0)
    weights[np.flatnonzero(y == 1)[:1]] = 1.0
    silent = CallableTeacher(lambda rows: np.full((len(rows), 3), 1 / 3), [0, 1, 2])
    given = {"X_unlabeled": pool, "sample_weight": weights}
    with pytest.raises(ValueError, match="fewer than two classes"):
        quick(silent, peers=True).fit(X, y, **given)
    alone = quick(silent, normalize=True).fit(X, y, **given)
    assert alone.label_accuracy_ is alone.teacher_accuracy_


def test_peers_know_categories():
    # Who lives where is all there is to know, and no order of the towns tells it.
    rng = np.random.RandomState(0)
    towns = np.array(list("abcdefgh"))
    frame = pd.DataFrame(
        {"town": rng.choice(towns, 600), "noise": rng.normal(size=600)}
    )
    y = np.isin(frame["town"], ["a", "d", "e", "g"])
    says = np.full((600, 2), 0.5)
    teacher = CallableTeacher(lambda rows: says[: len(rows)], [False, True])
    model = quick(teacher)
    model.fit(frame[:200], y[:200], X_unlabeled=frame[200:])
    assert model.label_accuracy_.hits_.mean() > 0.95


def test_categories_under_another_output_of_transformers():
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"town": rng.choice(list("abc"), 300)})
    y = (frame["town"] == "b").to_numpy()
    teacher = CallableTeacher(lambda rows: np.full((len(rows), 2), 0.5), [False, True])
    with config_context(transform_output="pandas"):
        model = quick(teacher).fit(frame[:100], y[:100], X_unlabeled=frame[100:])
    assert model.label_accuracy_.hits_.mean() > 0.95


def test_kinds_that_would_be_large_are_left_out(table, monkeypatch):
    X, y, pool = table

    def labels():
        return quick(GaussianNB()).fit(X, y, X_unlabeled=pool).label_accuracy_.proba_

    def fitted(self, *args, **params):
        raise AssertionError

    whole = labels()
    # Nine trees, and one coefficient more than are allowed.
    of_tree = 2 * 120 * (3 + _peers.NUMBERS_PER_NODE)
    monkeypatch.setattr(_peers, "FOREST_NUMBERS", 10 * of_tree - 1)
    monkeypatch.setattr(_peers, "MAX_COEFFICIENTS", 8 * 3 - 1)
    monkeypatch.setattr(ExtraTreesClassifier, "fit", fitted)
    monkeypatch.setattr(_peers.LogisticRegression, "fit", fitted)
    assert (labels() != whole).any()


@pytest.mark.parametrize("total", [0.993, 1.009])
def test_rounded_probabilities_of_a_class_not_seen(table, total):
    X, y, pool = table
    two = np.resize(np.flatnonzero(y != 2), 120)
    teacher = CallableTeacher(
        lambda rows: np.tile([0, 0, total], (len(rows), 1)), [0, 1, 2]
    )
    with pytest.warns(UserWarning, match="No labeled row has class"):
        model = quick(teacher).fit(X[two], y[two], X_unlabeled=pool)
    assert np.isfinite(model.predict_proba(X)).all()


def test_rows_that_are_tested_again_get_the_average_of_each_kind():
    codes = np.array([0, 0, 1, 1, 1])
    weights = np.array([1.0, 2.0, 3.0, 1.0, 1.0])
    folds = [
        (np.array([0, 2]), np.array([1, 3, 4])),
        (np.array([1, 2, 2]), np.array([0, 4])),
        (np.array([1, 4]), np.array([4, 2])),
    ]

    def learn(power):
        def learned(of_fold):
            total = np.bincount(codes, of_fold**power, minlength=2)
            share = (total / total.sum()).astype(np.float32)
            # The row's number in the first column tells which rows are asked for.
            return lambda rows: share * (1 + rows.table)

        return learned

    found = _peers._cross_fit(
        [learn(1), learn(2)],
        in_memory(np.arange(5, dtype=np.float32)[:, None]),
        folds,
        codes,
        weights,
        np.full((5, 2), 0.5, dtype=np.float32),
        Progress(),
    )
    # By fold: weights 1 and 3; 2 and 3 twice; 2 and 1.
    for power, said in enumerate(found, 1):
        first, second, third = (
            np.array([a**power, b**power]) / (a**power + b**power)
            for a, b in ((1, 3), (2, 6), (2, 1))
        )
        expected = [second, first, third, first, (first + second + third) / 3]
        assert_allclose(said, np.array(expected) * np.arange(1, 6)[:, None], rtol=1e-6)


def test_folds_may_be_masks(table, teacher):
    X, y, pool = table
    test = np.arange(120) % 2 == 0
    masks = [(~test, test), (test, ~test)]
    positions = [tuple(map(np.flatnonzero, fold)) for fold in masks]
    probas = [
        quick(teacher, cv=cv).fit(X, y, X_unlabeled=pool).predict_proba(pool)
        for cv in (masks, positions)
    ]
    assert_array_equal(*probas)


def test_a_mapped_pool_and_blocks_of_it(table, teacher, tmp_path, monkeypatch):
    X, y, pool = table
    np.save(tmp_path / "pool.npy", pool)
    mapped = np.load(tmp_path / "pool.npy", mmap_mode="r")
    monkeypatch.setattr(_student, "LAZY_BYTES", 0)
    labels = {}

    def recorded(*args, **params):
        labels[name] = label_with_peers(*args, **params)
        return labels[name]

    monkeypatch.setattr(_slam, "label_with_peers", recorded)
    for name, rows in {"array": pool, "mapped": mapped, "blocks": pool}.items():
        if name == "blocks":
            monkeypatch.setattr(_peers, "POOL_NUMBERS", 100)
        quick(teacher).fit(X, y, X_unlabeled=rows)
    for name in ("mapped", "blocks"):
        assert_allclose(labels[name][0], labels["array"][0], atol=1e-6)
        assert_allclose(labels[name][1], labels["array"][1], atol=1e-6)


def test_a_class_that_no_peer_has_seen_is_left_to_the_teacher(table):
    X, y, pool = table
    rng = np.random.RandomState(0)
    proba = rng.dirichlet(np.ones(3), 400)
    teacher = CallableTeacher(lambda rows: proba[: len(rows)], [0, 1, 2])
    seen = np.flatnonzero(y != 2)
    seen = np.resize(seen, 120)
    given = {"teacher_proba": proba[:120], "teacher_proba_unlabeled": proba[120:]}
    model = quick(teacher, peers=True)
    with pytest.warns(UserWarning, match=r"No labeled row has class \[2\]"):
        model.fit(X[seen], y[seen], X_unlabeled=pool, **given)
    # Peers know 0 and 1 well, and say nothing on how 2 compares with both together.
    labels, others = model.label_accuracy_.proba_, given["teacher_proba"]
    assert (labels[:, 2] > 1e-3).all()
    assert np.corrcoef(labels[:, 2], others[:, 2])[0, 1] > 0.5


@pytest.mark.filterwarnings("ignore:No labeled row has class")
def test_labels_of_one_class_beside_a_fitted_teacher(table):
    X, y, pool = table
    teacher = LogisticRegression(max_iter=1000).fit(X, y)
    zeros = np.resize(np.flatnonzero(y == 0), 120)
    model = quick(teacher).fit(X[zeros], y[zeros], X_unlabeled=pool)
    assert model.label_accuracy_ is model.teacher_accuracy_


def test_preprocessing_is_fitted_on_the_pool_too(table):
    rng = np.random.RandomState(0)
    town = np.repeat([f"town {at}" for at in range(100)], 4)
    X = pd.DataFrame({"town": rng.permutation(town), "number": rng.normal(size=400)})
    y = (X["number"] > 0).to_numpy()
    # Refuses a town of the pool that no labeled row has.
    towns = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["town"]), remainder="passthrough"
    )
    teacher = CallableTeacher(lambda X: 1 / 0, [False, True])
    proba = np.column_stack([np.where(y, 0.3, 0.7), np.where(y, 0.7, 0.3)])
    given = {"teacher_proba": proba[:120], "teacher_proba_unlabeled": proba[120:]}
    for step in (towns, make_pipeline(towns, PCA(90))):
        model = SLaMDistiller(
            teacher, make_pipeline(step, MLPStudent((8,))), peers=True, max_epochs=2
        )
        model.fit(X[:120], y[:120], X_unlabeled=X[120:], **given)
        assert model.label_accuracy_ is not model.teacher_accuracy_


def test_no_peers_on_preprocessing_that_saw_the_labels(table, teacher):
    X, y, pool = table
    student = make_pipeline(TargetEncoder(), MLPStudent((8,)))
    model = SLaMDistiller(teacher, student, max_epochs=2, random_state=0)
    model.fit(X.round(), y, X_unlabeled=pool.round())
    assert model.label_accuracy_ is model.teacher_accuracy_


def test_peers_read_sparse_rows_and_need_no_pool(table, teacher):
    X, y, pool = table
    model = quick(teacher).fit(sp.csr_matrix(X), y, X_unlabeled=sp.csr_matrix(pool))
    assert model.label_accuracy_ is not model.teacher_accuracy_
    with pytest.warns(UserWarning, match="There are no unlabeled rows"):
        alone = quick(teacher).fit(X, y)
    assert alone.label_accuracy_ is not alone.teacher_accuracy_


def test_interrupting_a_peer_interrupts_the_fit(table, teacher, tmp_path, monkeypatch):
    X, y, pool = table
    model = quick(teacher, memory=str(tmp_path))

    def interrupted(*args, **params):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StudentNet, "run_single_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y, X_unlabeled=pool)
    # Nothing half-trained was kept.
    again = quick(teacher).fit(X, y, X_unlabeled=pool)
    model.fit(X, y, X_unlabeled=pool)
    assert_array_equal(model.predict_proba(X), again.predict_proba(X))


@pytest.mark.parametrize(
    ("n_labeled", "batch_size", "lr"),
    [(50, 32, 0.003), (250, 64, 0.0042), (1000, 128, 0.006), (4000, 256, 0.0085)],
)
def test_batches_grow_with_the_root_of_the_labels(
    n_labeled, batch_size, lr, monkeypatch
):
    found = []

    def interrupted(net, *args, **params):
        found.append((net.batch_size, net.lr))
        raise KeyboardInterrupt

    rng = np.random.RandomState(0)
    X = rng.normal(size=(n_labeled, 2))
    monkeypatch.setattr(StudentNet, "run_single_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick(GaussianNB()).fit(X, X[:, 0] > 0, X_unlabeled=X[:10])
    ((found_size, found_lr),) = found
    assert found_size == batch_size
    assert_allclose(found_lr, lr, rtol=0.02)


def test_what_counts_in_the_labels_is_told(table, teacher):
    X, y, pool = table
    beside = quick(teacher, peers=True).fit(X, y, X_unlabeled=pool)
    assert list(beside.label_weights_) == ["teacher", "network", "trees", "linear"]
    assert min(beside.label_weights_.values()) >= 0
    alone = quick(teacher, peers=False).fit(X, y, X_unlabeled=pool)
    assert alone.label_weights_ == {"teacher": 1.0}
    assert alone.n_unlabeled_ == len(pool)


def test_combined_labels_are_no_righter_for_being_combined():
    """All is noise, of which exponents of the same rows would find something."""
    rng = np.random.RandomState(0)
    y = np.arange(60) % 2
    folds = list(StratifiedKFold(5).split(y, y))
    hits = []
    for _ in range(50):
        sources = [rng.dirichlet([1, 1], 60).astype(np.float32) for _ in range(4)]
        hits.append(_combined_out_of_fold(sources, folds, y, None).argmax(axis=1) == y)
    # Half of 3,000, with a standard error of .009; of the same rows, .56.
    assert np.mean(hits) < 0.53


def test_peers_that_cannot_be_kept_are_announced(table, teacher):
    X, y, pool = table
    student = MLPStudent((16,), preprocessor=SelectKBest(k=4))
    slam = SLaMDistiller(teacher, student, peers=True, max_epochs=3)
    with pytest.warns(UserWarning, match="peers=True is not kept"):
        slam.fit(X, y, X_unlabeled=pool)
    assert slam.label_weights_ == {"teacher": 1.0}


def test_rows_that_weigh_nothing_leave_the_others_their_weight(table, monkeypatch):
    X, y, pool = table
    seen = []

    class Recorded(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            seen.append(np.unique(sample_weight).tolist())
            return super().fit(X, y, sample_weight)

    monkeypatch.setattr(_peers, "LogisticRegression", Recorded)
    rows, labels = np.concatenate([X, X]), np.concatenate([y, y])
    weights = np.repeat([2.0, 0.0], len(y))
    quick(GaussianNB(), peers=True).fit(
        rows, labels, X_unlabeled=pool, sample_weight=weights
    )
    assert seen
    assert all(unique == [1.0] for unique in seen)


def test_pool_labels_are_combined_with_the_exponents_of_the_labeled_rows(
    table, monkeypatch
):
    X, y, pool = table
    rng = np.random.RandomState(0)
    # The teacher names the true class of most labeled rows, and of others class 0; two
    # peers say the same of all rows, the second what is far from the labels' shares.
    said = np.where(rng.uniform(size=400) < 0.7, np.r_[y, rng.choice(3, 280)], 0)
    proba = (0.8 * np.eye(3)[said] + 0.2 / 3).astype(np.float32)
    views = {"one": [0.3, 0.4, 0.3], "other": [0.8, 0.1, 0.1]}

    def make_kinds(*args):
        return {
            name: lambda weights, view=view: (
                lambda block: np.tile(np.float32(view), (len(block), 1))
            )
            for name, view in views.items()
        }

    found = []

    def recorded(*args, **params):
        labels = label_with_peers(*args, **params)
        found.append((labels, args[4]))
        return labels

    monkeypatch.setattr(_peers, "_make_kinds", make_kinds)
    monkeypatch.setattr(_slam, "label_with_peers", recorded)
    quick(None, peers=True).fit(
        X,
        y,
        X_unlabeled=pool,
        teacher_proba=proba[:120],
        teacher_proba_unlabeled=proba[120:],
    )
    (((labeled, of_pool, exponents), folds),) = found
    assert list(exponents) == ["teacher", "one", "other"]
    assert np.ptp(list(exponents.values())) > 0.1  # or equal ones would do as well

    def product(rows, exponents):
        powers = [
            # A thousandth of the uniform distribution, so that none excludes a class.
            (0.999 * np.array(source) + 0.001 / 3) ** exponent
            for source, exponent in zip([rows, *views.values()], exponents, strict=True)
        ]
        products = np.prod(np.broadcast_arrays(*powers), axis=0)
        return products / products.sum(axis=1, keepdims=True)

    of_all = product(proba[120:], exponents.values())
    assert_allclose(of_pool, of_all, atol=1e-5)
    # Labeled rows with those that other folds tell.
    for train, test in folds:
        others = [
            proba[train],
            *(np.tile(view, (len(train), 1)) for view in views.values()),
        ]
        of_fold = combining_exponents(others, y[train])
        assert_allclose(labeled[test], product(proba[test], of_fold), atol=1e-3)

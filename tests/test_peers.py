"""Small networks that label the pool beside the teacher."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_slam import CallableTeacher, MLPStudent, PlainDistiller, SLaMDistiller


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
        ({}, 120, True),
        ({}, 99, False),
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
    fits = []
    fit = MLPStudent.fit

    def counted(self, *args, **params):
        fits.append(self)
        return fit(self, *args, **params)

    monkeypatch.setattr(MLPStudent, "fit", counted)
    probas = [
        quick(teacher, memory=str(tmp_path), alpha_min=bound)
        .fit(X, y, X_unlabeled=pool)
        .label_accuracy_.proba_
        for bound in (0.6, 0.9)
    ]
    assert len(fits) == 5
    assert_array_equal(*probas)

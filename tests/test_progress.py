"""Bars under ``verbose``, and scikit-learn's callbacks."""

import numpy as np
import pytest
from skorch import NeuralNet
from torch import nn

from sklearn_slam import MLPStudent, PlainDistiller, SLaMDistiller


def make_slam(teacher, student=None, **params):
    return SLaMDistiller(teacher, student, max_epochs=4, cv=3, random_state=0, **params)


def make_net(**params):
    return NeuralNet(
        nn.Linear,
        module__in_features=8,
        module__out_features=3,
        criterion=nn.CrossEntropyLoss,
        max_epochs=4,
        **params,
    )


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_verbose_shows_bars_then_lines(table, teacher, capsys, verbose):
    X, y, pool = table
    make_slam(teacher, verbose=verbose).fit(X, y, X_unlabeled=pool)
    lines, bars = capsys.readouterr()
    for name in ("cross-fit teacher", "fit teacher", "ask teacher"):
        assert (name in bars) == (verbose > 0)
    assert ("train student" in bars) == (verbose == 1)
    assert ("train_loss" in lines) == (verbose == 2)


def test_a_student_alone_has_a_bar(table, capsys):
    X, y, _ = table
    MLPStudent(max_epochs=2, verbose=1).fit(X, y)
    assert "train student" in capsys.readouterr().err


def test_a_net_that_prints_has_no_bar(table, teacher, capsys):
    X, y, pool = table
    for prints in (0, 1):
        net = make_net(verbose=prints)
        slam = SLaMDistiller(teacher, net, cv=3, random_state=0, verbose=1)
        slam.fit(X, y, X_unlabeled=pool)
        lines, bars = capsys.readouterr()
        assert ("train_loss" in lines) == prints
        assert ("train student" in bars) == (not prints)


def test_the_bar_counts_what_was_done(table, teacher, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # a narrow bar is cut
    X, y, pool = table
    slam = make_slam(teacher.fit(X, y), verbose=1, early_stopping=True)
    slam.fit(X[:60], y[:60], X_unlabeled=pool)
    bars = capsys.readouterr().err
    assert "row/s" in bars
    assert "train_loss=" in bars
    assert "valid_loss=" in bars
    assert f"{len(pool)}/{len(pool)}" in bars
    assert f"{slam.n_epochs_}/4" in bars


class Recorder:
    """Records what scikit-learn's callbacks are told."""

    max_propagation_depth = None

    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.events, self.open, self.n_set_up = [], [], 0

    def setup(self, estimator, context):
        self.n_set_up += 1

    def teardown(self, estimator, context):
        self.n_set_up -= 1

    def on_fit_task_begin(self, estimator, context):
        self.open.append(context)

    def on_fit_task_end(self, estimator, context):
        assert self.open.pop() is context  # tasks nest
        self.events.append(context.task_name)
        return self.events.count("epoch") == self.stop_at


class TestCallbacks:
    @pytest.fixture(autouse=True)
    def scikit_learn_has_callbacks(self):
        pytest.importorskip("sklearn.callback")

    @pytest.mark.parametrize("Distiller", [SLaMDistiller, PlainDistiller])
    def test_all_parts_are_told(self, table, teacher, Distiller):
        X, y, pool = table
        recorder = Recorder()
        model = Distiller(teacher, max_epochs=4, cv=3, random_state=0)
        if Distiller is SLaMDistiller:
            model.set_params(peers=True)
        model.set_callbacks(recorder).fit(X, y, X_unlabeled=pool)
        peers = [*["fold"] * 3, "cross-fit peers", "fit", "fit peers"]
        peers += ["chunk", "ask peers"]
        peers *= Distiller is SLaMDistiller
        assert recorder.events == [
            *["fold"] * 3,
            "cross-fit teacher",
            "fit",
            "fit teacher",
            "chunk",
            "ask teacher",
            *peers,
            *["epoch"] * model.n_epochs_,
            "train student",
            "fit",
        ]
        assert recorder.open == []
        assert recorder.n_set_up == 0

    @pytest.mark.parametrize("student", [MLPStudent(dropout=0.2), make_net(verbose=0)])
    def test_scores_are_the_student_s_and_leave_it_alone(self, table, teacher, student):
        from sklearn.callback import ScoringMonitor

        X, y, pool = table
        slam = SLaMDistiller(teacher, student, cv=3, random_state=0)
        if isinstance(student, MLPStudent):
            slam.set_params(max_epochs=4, early_stopping=False)
        expected = slam.fit(X, y, X_unlabeled=pool).predict_proba(pool)
        monitor = ScoringMonitor(scoring="accuracy")
        slam.set_callbacks(monitor).fit(X, y, X_unlabeled=pool)
        scores = [entry["accuracy"] for entry in monitor.get_logs().data]
        assert len(scores) == slam.n_epochs_
        assert scores[-1] == slam.score(X, y)
        np.testing.assert_array_equal(slam.predict_proba(pool), expected)

    @pytest.mark.parametrize("student", [None, make_net(verbose=0)])
    def test_a_callback_can_end_training(self, table, teacher, student):
        X, y, pool = table
        slam = SLaMDistiller(teacher, student, cv=3, random_state=0)
        slam.set_callbacks(Recorder(stop_at=2)).fit(X, y, X_unlabeled=pool)
        assert slam.n_epochs_ == 2

    def test_a_fit_that_fails_tears_down(self, table, teacher):
        X, y, pool = table
        recorder = Recorder()
        slam = SLaMDistiller(teacher, cv=1).set_callbacks(recorder)
        for _ in range(2):
            with pytest.raises(ValueError, match="cv must be at least 2"):
                slam.fit(X, y, X_unlabeled=pool)
            assert recorder.n_set_up == 0

    def test_a_skorch_net_keeps_no_callback_of_ours(self, table, teacher):
        X, y, pool = table
        slam = SLaMDistiller(teacher, make_net(verbose=0), cv=3, random_state=0)
        slam.set_callbacks(Recorder()).fit(X, y, X_unlabeled=pool)
        assert "epoch_progress" not in dict(slam.student_.net_.callbacks_)

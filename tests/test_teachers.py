"""Teachers from elsewhere, and how folds reach them."""

import numpy as np
import pandas as pd
import pytest
import torch
from catboost import CatBoostClassifier
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_slam import CallableTeacher, SLaMDistiller


def quick(teacher, **params):
    return SLaMDistiller(teacher, nn.Linear, max_epochs=2, random_state=0, **params)


class Float32Net(NeuralNetClassifier):
    def fit(self, X, y):
        return super().fit(X.astype(np.float32), y)

    def predict_proba(self, X):
        return super().predict_proba(X.astype(np.float32))


TEACHERS = {
    "catboost": CatBoostClassifier(
        iterations=5, verbose=0, thread_count=1, allow_writing_files=False
    ),
    "calibrated": CalibratedClassifierCV(GaussianNB(), cv=2),
    "self-training": SelfTrainingClassifier(GaussianNB()),
    "label spreading": LabelSpreading(kernel="knn"),
    "skorch": Float32Net(
        nn.Linear,
        module__in_features=8,
        module__out_features=3,
        criterion=nn.CrossEntropyLoss,
        train_split=None,
        max_epochs=20,
        lr=0.1,
        verbose=0,
    ),
}


@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.filterwarnings("ignore:y contains no unlabeled samples")
def test_teachers_from_elsewhere_are_cross_fitted(table, name):
    X, y, pool = table
    torch.manual_seed(0)
    slam = quick(TEACHERS[name]).fit(X, y, X_unlabeled=pool)
    assert len(slam.teacher_accuracy_.margins_) == len(y)
    assert_allclose(slam.predict_proba(pool).sum(axis=1), 1, atol=1e-5)


def test_a_semi_supervised_teacher_may_arrive_fitted_with_the_pool(table):
    X, y, pool = table
    marked = np.concatenate([y[:60], np.full(len(pool), -1)])
    spreading = LabelSpreading(kernel="knn").fit(np.concatenate([X[:60], pool]), marked)
    slam = quick(FrozenEstimator(spreading)).fit(X[60:], y[60:], X_unlabeled=pool)
    assert slam.teacher_.estimator is spreading


class Predictor:
    """With the interface of AutoGluon's predictor: frames in, a frame out."""

    def __init__(self, frame, labels):
        self.class_labels = sorted(set(labels))
        self.model = GaussianNB().fit(frame.to_numpy(), labels)

    def predict_proba(self, frame):
        assert list(frame.columns) == [f"c{i}" for i in range(8)]
        proba = self.model.predict_proba(frame.to_numpy())
        return pd.DataFrame(proba, columns=self.class_labels, index=frame.index)


class PriorFitted(ClassifierMixin, BaseEstimator):
    """With the interface of TabPFN's classifier: fit stores the rows."""

    def fit(self, X, y):
        self.classes_, self.model_ = np.unique(y), GaussianNB().fit(X, y)
        return self

    def predict_proba(self, X):
        return self.model_.predict_proba(X)


def test_stand_ins_for_automl_and_prior_fitted_networks(table):
    X, y, pool = table
    names = [f"c{i}" for i in range(8)]
    frame, rest = pd.DataFrame(X, columns=names), pd.DataFrame(pool, columns=names)
    predictor = Predictor(frame[:60], y[:60])
    with pytest.raises(TypeError, match="CallableTeacher"):
        quick(predictor).fit(frame, y, X_unlabeled=rest)
    teacher = CallableTeacher(
        lambda rows: predictor.predict_proba(rows).to_numpy(), predictor.class_labels
    )
    slam = quick(teacher).fit(frame[60:], y[60:], X_unlabeled=rest)
    assert slam.predict(rest).shape == (len(pool),)
    assert quick(PriorFitted()).fit(X, y, X_unlabeled=pool).teacher_.classes_.size == 3


@pytest.mark.parametrize("unlabeled", [0, 20])
def test_groups_reach_the_folds(table, unlabeled):
    """No teacher sees a row of a group that it is asked about."""
    X, y, pool = table
    groups = np.arange(len(y)) % 6
    target = y.astype(float)
    target[:unlabeled] = np.nan
    seen = []

    class Spy(LogisticRegression):
        def fit(self, X, y):
            seen.append(X)
            return super().fit(X, y)

    slam = quick(Spy(max_iter=1000), cv=GroupKFold(3))
    slam.fit(X, target, X_unlabeled=pool, groups=groups)
    assert len(seen) == 4
    for rows in seen[:3]:
        known = {tuple(row) for row in rows}
        inside = np.array([tuple(row) in known for row in X])
        assert not set(groups[inside]) & set(groups[unlabeled:][~inside[unlabeled:]])


def test_folds_fitted_at_once_give_the_same(table):
    X, y, pool = table
    one, two = (
        quick(GaussianNB(), n_jobs=n_jobs).fit(X, y, X_unlabeled=pool)
        for n_jobs in (None, 2)
    )
    assert_allclose(one.predict_proba(pool), two.predict_proba(pool))

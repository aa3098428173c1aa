"""What needs an extra names it. `make package` runs this where none is installed."""

import sys

import pytest

from sklearn_slam import (
    SLaMDistiller,
    TeacherAccuracyDisplay,
    TrainingHistoryDisplay,
    distillation_report,
    to_onnx,
)


@pytest.mark.parametrize(
    ("package", "extra", "use"),
    [
        ("matplotlib", "plot", TeacherAccuracyDisplay.from_estimator),
        ("matplotlib", "plot", TrainingHistoryDisplay.from_estimator),
        ("pandas", "plot", lambda slam: distillation_report(slam, [[0] * 8], [0])),
        ("onnx", "export", to_onnx),
    ],
)
def test_a_missing_package_names_the_extra(
    table, teacher, monkeypatch, package, extra, use
):
    X, y, pool = table
    slam = SLaMDistiller(teacher, max_epochs=1, cv=2, random_state=0)
    slam.fit(X, y, X_unlabeled=pool)
    for name in (package, f"{package}.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it raises
    with pytest.raises(ImportError, match=rf"{package} .*its extra {extra}"):
        use(slam)

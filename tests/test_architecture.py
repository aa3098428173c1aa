"""The package's shape: floors, and documentation of every public name."""

import ast
from pathlib import Path

import pytest
from numpydoc.validate import validate

import sklearn_slam

PACKAGE = Path(sklearn_slam.__file__).parent
FLOORS = {
    0: {
        "_docs",
        "_losses",
        "_modules",
        "_optional",
        "_progress",
        "_repeatable",
        "_rows",
        "_warn",
    },
    1: {
        "_baseline_losses",
        "_encoding",
        "_folds",
        "_lesson",
        "_soft_labels",
        "_tables",
        "_training",
        "_validation",
    },
    2: {
        "_halfspace",
        "_student",
        "_teacher",
        "_teacher_accuracy",
        "_uncertainty",
        "metrics",
        "model_selection",
    },
    3: {"_module_student", "_fit_rows"},
    4: {"students", "_labeling"},
    5: {"_knowledge", "_peers"},
    6: {"_base"},
    7: {"_slam"},
    8: {"_baselines", "_composed", "export", "inspection"},
    9: {"_report"},
    10: {"__init__"},
}
FLOOR_OF = {module: floor for floor, modules in FLOORS.items() for module in modules}
WANTED = {"GL08", "SS03", "SS05", "PR01", "PR02", "PR03", "PR04", "PR07", "RT03"}


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda p: p.stem)
def test_modules_import_from_floors_below(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "sklearn_slam."
        ):
            assert FLOOR_OF[node.module.split(".")[1]] < FLOOR_OF[path.stem], (
                node.module
            )


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda p: p.stem)
def test_no_private_names_of_other_packages(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(
            ("sklearn_slam", "__future__")
        ):
            assert "._" not in node.module
            assert not any(alias.name.startswith("_") for alias in node.names)


@pytest.mark.parametrize("name", sklearn_slam.__all__)
def test_public_names_are_documented(name):
    found = validate(f"sklearn_slam.{name}")["errors"]
    assert [error for error in found if error[0] in WANTED] == []
    assert "Examples" in getattr(sklearn_slam, name).__doc__
    # An entry of a table there makes the page that shows the docstring.
    entries = (PACKAGE.parent / "docs" / "api.md").read_text().split()
    assert f"~sklearn_slam.{name}" in entries

# Each target sets itself up: git, make and Python 3.11 or newer are enough.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.PHONY: demo test test-minimum lint types docs examples package clean

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(INSTALLED)
	$(BIN)/python -m examples.demo

# Small fits lose by threads, and two processes of two threads wait for each other.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# The suite at the lower bounds. Old releases warn of each other, so warnings pass.
test-minimum:
	$(PYTHON) -m venv $(VENV)-minimum
	$(VENV)-minimum/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-minimum.txt --editable ".[test]"
	OMP_NUM_THREADS=1 $(VENV)-minimum/bin/python -m pytest -n 2 -W default

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

# The site, gallery included, into docs/_build/html. Needs no network.
docs: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

# Every example in a docstring, the README and docs/, as a reader would run it. A page
# stays in one process: its blocks follow one another.
examples: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --doctest-modules sklearn_slam README.md docs

# An sdist, and a wheel from it, which without extras imports in silence and passes the
# tests that need none (but scikit-learn's checks, which are no others then). They run
# from the sdist, away from this checkout.
CORE = halfspace losses metrics optional progress soft_labels students teacher_accuracy training
package: $(INSTALLED)
	rm -rf dist $(VENV)-package
	$(BIN)/python -m build --outdir dist .
	tar -xzf dist/*.tar.gz -C dist
	$(PYTHON) -m venv $(VENV)-package
	$(VENV)-package/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt dist/*.whl pytest pytest-xdist
	$(VENV)-package/bin/python -P -W error -c "import sklearn_slam; print(sklearn_slam.__file__)"
	cd dist/*/ && OMP_NUM_THREADS=1 $(abspath $(VENV))-package/bin/pytest -n 2 -k 'not estimator_checks' $(CORE:%=tests/test_%.py)

clean:
	rm -rf $(VENV) $(VENV)-minimum $(VENV)-package build dist .mypy_cache .pytest_cache .ruff_cache
	rm -rf docs/_build docs/auto_examples docs/generated docs/sg_execution_times.rst

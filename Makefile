# Every target does its own set-up, so any of them works on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
CLUSTER := .venv-cluster
PYTORCH3D := .venv-pytorch3d
PIP_FLAGS := -qq --disable-pip-version-check --no-input
PYTEST_FLAGS ?=
BENCH_FLAGS ?=
BACKEND_TESTS := -q -m backend tests/graph tests/io/test_exchange.py tests/test_register_points.py $(wildcard tests/nn/test_propagate*.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-backends lint format types contracts docs notebooks bench clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 12

setup: $(VENV)/.stamp  ## create .venv with everything in it

$(VENV)/.stamp: pyproject.toml constraints.txt
	@echo "geogrid: setting up $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt torch
	@$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e ".[itk,demo,meshes,metrics,mnist,notebooks,fast,train,test,docs,dev]"
	@touch $@

demo: setup  ## register a brain scan and write demo/report.html
	@$(BIN)/python examples/demo.py --out demo

test: setup  ## all tests, doctests and the code in the documentation
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term $(PYTEST_FLAGS)

test-backends: $(CLUSTER)/.stamp $(PYTORCH3D)/.stamp  ## the optional neighbour searches, each in its own environment
	@GEOGRID_REQUIRE_IMPLEMENTATION=torch_cluster $(CLUSTER)/bin/python -m pytest $(BACKEND_TESTS) $(PYTEST_FLAGS)
	@GEOGRID_REQUIRE_IMPLEMENTATION=pytorch3d $(PYTORCH3D)/bin/python -m pytest $(BACKEND_TESTS) $(PYTEST_FLAGS)

$(CLUSTER)/.stamp: pyproject.toml constraints.txt Makefile
	@echo "geogrid: setting up $(CLUSTER) (compiles torch-cluster and torch-scatter: about 12 minutes the first time)"
	@$(PYTHON) -m venv $(CLUSTER)
	@$(CLUSTER)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt torch setuptools wheel
	@$(CLUSTER)/bin/python -m pip install $(PIP_FLAGS) --no-build-isolation torch-cluster==1.6.3 torch-scatter==2.1.2
	@$(CLUSTER)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e . hypothesis pytest
	@$(CLUSTER)/bin/python -c "import torch_cluster, torch_scatter"
	@touch $@

$(PYTORCH3D)/.stamp: pyproject.toml constraints.txt Makefile
	@echo "geogrid: setting up $(PYTORCH3D) (a few minutes the first time)"
	@$(PYTHON) -m venv $(PYTORCH3D)
	@grep -v '^torch==' constraints.txt > $(PYTORCH3D)/constraints.txt
	@$(PYTORCH3D)/bin/python -m pip install $(PIP_FLAGS) -c $(PYTORCH3D)/constraints.txt \
		torch==2.11.0 easypytorch3d -e . hypothesis pytest
	@$(PYTORCH3D)/bin/python -c "import pytorch3d.ops"
	@touch $@

lint: setup  ## style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: setup  ## mend what `make lint` finds, where that can be done by machine
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: setup  ## static types
	@$(BIN)/mypy

contracts: setup  ## import direction
	@$(BIN)/lint-imports

docs: setup  ## the documentation site, in docs/_build/html
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

notebooks: setup  ## run the notebooks in full and store what they show (about 10 minutes)
	@$(BIN)/python notebooks/execute.py notebooks/*.ipynb

bench: setup $(BENCH)/.stamp  ## compare with greedy and ANTs, and write docs/benchmarks.md
	@$(BIN)/python tests/benchmarks/run.py --peer-python $(BENCH)/bin/python $(BENCH_FLAGS)
	@$(BIN)/python tests/benchmarks/layers.py

$(BENCH)/.stamp: Makefile
	@echo "geogrid: setting up $(BENCH)"
	@$(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install $(PIP_FLAGS) picsl-greedy==1.4.0.3 antspyx==0.6.3 nibabel
	@touch $@

clean:  ## remove environments, caches and outputs
	rm -rf $(VENV) $(BENCH) $(CLUSTER) $(PYTORCH3D) anisotropic demo digits docs/_build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find geogrid tests examples notebooks docs -name __pycache__ -type d -prune -exec rm -rf {} +

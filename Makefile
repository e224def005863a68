# Every target does its own set-up, so any of them works on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
PIP_FLAGS := -qq --disable-pip-version-check --no-input
PYTEST_FLAGS ?=
BENCH_FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format types contracts docs bench clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 12

setup: $(VENV)/.stamp  ## create .venv with everything in it

$(VENV)/.stamp: pyproject.toml constraints.txt
	@echo "geogrid: setting up $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt torch
	@$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e ".[itk,demo,metrics,test,docs,dev]"
	@touch $@

demo: setup  ## register a brain scan and write demo/report.html
	@$(BIN)/python examples/demo.py --out demo

test: setup  ## all tests, doctests and the code in the documentation
	@$(BIN)/python -m pytest --cov --cov-report=term $(PYTEST_FLAGS)

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

bench: setup $(BENCH)/.stamp  ## compare with greedy and ANTs, and write docs/benchmarks.md
	@$(BIN)/python tests/benchmarks/run.py --peer-python $(BENCH)/bin/python $(BENCH_FLAGS)

$(BENCH)/.stamp: Makefile
	@echo "geogrid: setting up $(BENCH)"
	@$(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install $(PIP_FLAGS) picsl-greedy==1.4.0.3 antspyx==0.6.3 nibabel
	@touch $@

clean:  ## remove environments, caches and outputs
	rm -rf $(VENV) $(BENCH) demo docs/_build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find geogrid tests examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

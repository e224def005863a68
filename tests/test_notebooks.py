"""Notebooks run, and what they show as stored outputs is what their present code gave at full length."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from examples.register_digits import SETTINGS
from geogrid.training import read_config
from notebooks.execute import code_of, execute

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 1_500_000


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def printed(notebook: NotebookNode) -> str:
    return "".join(o.text for o in outputs(notebook) if o.output_type == "stream" and o.name == "stdout")


def pictures(notebook: NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def test_notebooks_were_found() -> None:
    assert "mnist.ipynb" in {path.name for path in NOTEBOOKS}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_runs_at_toy_size(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = execute(path, tmp_path, toy=True)
    assert "toy size" in printed(notebook)
    assert pictures(notebook) >= 6
    assert [o for o in outputs(notebook) if o.get("name") == "stderr"] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_stored_outputs_are_those_of_a_full_run_or_none(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    if not outputs(notebook):
        assert all(cell.execution_count is None for cell in code_cells(notebook))
        return
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    assert notebook.metadata["geogrid"] == {"toy": False, "code": code_of(notebook)}, "out of date: make notebooks"
    assert "toy size" not in printed(notebook)
    assert path.stat().st_size < MAX_BYTES


def test_the_notebook_trains_as_the_example_does() -> None:
    example = (ROOT / "examples" / "register_digits.py").read_text(encoding="utf-8")
    (settings,) = re.findall(r"^SETTINGS = .*$", example, re.MULTILINE)
    cells = code_cells(nbformat.read(ROOT / "notebooks" / "mnist.ipynb", as_version=4))
    lines = {line.strip() for cell in cells for line in cell.source.splitlines()}
    assert settings in lines


def test_the_notebook_sees_as_many_pairs_a_step_as_the_preset() -> None:
    config, split = read_config("mnist"), read_config("mnist", SETTINGS)
    assert split.batch * split.devices == config.batch * config.devices
    assert replace(split, devices=1, batch=config.batch, accelerator="auto", validation=config.validation) == config

"""What the README and the documentation show is run, page by page, from top to bottom."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts),
]
OTHER_COMMANDS = ("make", "export", "pip", ".venv/bin/pre-commit")
PACKAGES_OF_THE_MAP = ("graph", "losses", "metrics", "models", "nn", "spatial", "transforms")
SHIFT = np.array([6.0, -4.0, 5.0])


@dataclass(frozen=True)
class Block:
    language: str
    line: int
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    fences = re.finditer(r"^```(python|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(f[1], text.count("\n", 0, f.start()) + 1, f[2]) for f in fences]


def commands(block: Block) -> list[str]:
    joined = block.text.replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]


def geogrid_commands(page: Path) -> list[str]:
    every = [c for b in blocks(page) if b.language == "console" for c in commands(b)]
    return [c for c in every if c.split()[0] == "geogrid"]


RUNNABLE = [page for page in PAGES if geogrid_commands(page) or any(b.language == "python" for b in blocks(page))]


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a pair of scans of which the moving one is shifted by SHIFT mm, under the names the pages use."""
    fixed_affine = np.diag([4.0, 4.0, 4.0, 1.0])
    fixed_affine[:3, 3] = -62
    moving_affine = np.diag([-4.0, 4.0, 5.0, 1.0])
    moving_affine[:3, 3] = (66, -62, -60)
    landmarks = np.array([[10.0, -12.0, 8.0], [-14.0, 6.0, -10.0], [4.0, 20.0, 12.0]])
    for name, shape, affine, shift in (
        ("fixed", (32, 32, 32), fixed_affine, 0),
        ("moving", (34, 32, 25), moving_affine, SHIFT),
    ):
        image, labels = phantom(shape, affine, shift)
        for suffix, data in (("", image), ("_labels", labels), ("_mask", (labels > 0).astype(np.uint8))):
            nib.save(nib.Nifti1Image(data, affine), tmp_path / f"{name}{suffix}.nii.gz")
        np.savetxt(
            tmp_path / f"{name}_landmarks.csv", landmarks + shift, delimiter=",", header="x,y,z", comments="", fmt="%.3f"
        )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def phantom(
    shape: tuple[int, int, int], affine: NDArray[np.float64], shift: float | NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """A head-like ellipsoid full of blobs, moved by ``shift`` mm, and its labels: 0 outside, 1 cortex, 2 core."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3] - shift
    radius = np.linalg.norm(world / (42.0, 48.0, 38.0), axis=-1)
    rng = np.random.default_rng(7)
    texture = sum(np.cos(world @ rng.normal(0, 0.12, 3) + rng.uniform(0, 6)) for _ in range(12))
    image = 100 / (1 + np.exp((radius - 1) * 12)) * (1 + 0.5 * (radius < 0.6) + 0.08 * np.asarray(texture))
    return image.astype(np.float32), ((radius < 1).astype(np.int16) + (radius < 0.6)).astype(np.int16)


def test_shown_code_was_found() -> None:
    assert {"README.md", "register.md", "apply.md", "landmarks.md", "coordinates.md"} <= {p.name for p in RUNNABLE}


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda p: str(p.relative_to(ROOT)))
def test_page_runs(page: Path, scans: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks(page):
        if block.language == "python":
            run_python(page, block, names)
        else:
            for command in commands(block):
                run_command(command, scans)


def run_python(page: Path, block: Block, names: dict[str, Any]) -> None:
    """The block is padded with empty lines, so that a traceback names the line of the page."""
    exec(compile("\n" * block.line + block.text, str(page), "exec"), names)


def run_command(command: str, folder: Path) -> None:
    words = shlex.split(command)
    if words[0] in OTHER_COMMANDS:
        return
    assert words[0] == "geogrid", f"neither a geogrid command nor one of {OTHER_COMMANDS}: {command}"
    script = Path(sys.executable).with_name("geogrid")
    assert script.exists(), f"{script} is missing; install the package: make setup"
    done = subprocess.run(
        [script, *words[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"`make ([a-z-]+)`", page.read_text(encoding="utf-8")))
    shown |= {c.split()[1] for b in blocks(page) for c in commands(b) if c.startswith("make ")}
    assert shown <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith(("http:", "https:", "mailto:"))]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_named_exist(page: Path) -> None:
    named = re.findall(r"`((?:geogrid|tests|docs|examples|notebooks)/[\w/.-]+\.\w+)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_paper_map_names_public_things() -> None:
    presets = importlib.import_module("geogrid.models.presets")
    text = (ROOT / "docs" / "paper_map.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:Section |Appendix )?\d[\d.-]* \|.*$", text, re.MULTILINE)
    symbols = {symbol for row in rows for symbol in re.findall(r"`([\w.]+)`", row.split("|")[3])}
    assert {"ContinuousConv", "Refine", "Interpolate", "GeoReg.decode", "presets.paper3d", "TrajectoryLoss"} <= symbols
    packages = [importlib.import_module(f"geogrid.{name}") for name in PACKAGES_OF_THE_MAP]
    for symbol in symbols:
        name, _, member = symbol.partition(".")
        thing = next((getattr(p, name) for p in packages if name in p.__all__), presets if name == "presets" else None)
        assert thing is not None, symbol
        assert not member or hasattr(thing, member) or member in thing.__dataclass_fields__, symbol


def test_every_row_of_the_paper_map_names_a_file_and_a_test() -> None:
    text = (ROOT / "docs" / "paper_map.md").read_text(encoding="utf-8")
    rows = [row.split("|") for row in re.findall(r"^\| (?:Section |Appendix )?\d[\d.-]* \|.*$", text, re.MULTILINE)]
    assert {row[1].strip() for row in rows} >= {f"Appendix {number}" for number in (6, 7, 10, 13, 14)}
    assert {row[1].strip() for row in rows} >= {"Section 2", "Section 3.1", "Section 3.2", "Section 3.3", "Section 3.4"}
    for row in rows:
        assert all("`" in cell for cell in row[3:6]), row[1]


def test_paper_map_covers_every_equation() -> None:
    text = (ROOT / "docs" / "paper_map.md").read_text(encoding="utf-8")
    covered: list[int] = []
    for first, last in re.findall(r"^\| (\d+)(?:-(\d+))? \|", text, re.MULTILINE):
        covered += range(int(first), int(last or first) + 1)
    assert covered == list(range(1, 14))

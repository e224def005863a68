"""The example that trains on digits runs from the command line, at toy size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from geogrid.models import read_card

FIGURES = ("parameters", "training s", "Dice before", "Dice after", "folding %", "median mm, coarse", "median mm, fine")


@pytest.mark.slow
def test_it_prints_figures_and_draws_pictures(root: Path, tmp_path: Path) -> None:
    words = [sys.executable, str(root / "examples" / "register_digits.py"), "--steps", "6", "--pairs", "10", "--out", "digits"]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("│")[1:3] for line in done.stdout.splitlines() if line.count("│") == 3]
    figures = {name.strip(): float(value) for name, value in rows}
    assert set(FIGURES) <= set(figures)
    assert figures["pairs"] == 10
    assert 0 < figures["Dice before"] < figures["Dice after"] < 1
    drawn = sorted((tmp_path / "digits").glob("*.png"))
    assert [path.name for path in drawn] == ["alignment.png", "attention.png", "levels.png", "pairs.png"]
    assert read_card(tmp_path / "digits" / "training" / "weights.safetensors").figures["steps"] == 6
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in drawn)

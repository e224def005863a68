"""The example of large deformations runs from the command line, from packages alone, at toy size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_it_judges_before_and_after_by_the_known_answer(root: Path, tmp_path: Path) -> None:
    words = [sys.executable, str(root / "examples" / "large_deformations.py"), "--resolution", "8", "--programs"]
    words += ["--families", "translation", "--sizes", "large", "--out", "found.json"]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    before, after = json.loads((tmp_path / "found.json").read_text())
    assert (before["program"], after["program"]) == ("before", "geogrid")
    assert 30 < before["AEE mm"] < 42
    assert after["AEE mm"] < 4
    assert after["HD95 mm"] < before["HD95 mm"] / 2
    assert after["folding %"] == before["folding %"] == 0
    assert "translation" in done.stdout

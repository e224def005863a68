"""The example of one brain in four samplings runs from the command line, at toy size."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_every_sampling_finds_the_truth(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("nilearn")
    script = [sys.executable, str(root / "examples" / "register_anisotropic.py")]
    done = subprocess.run(
        [*script, "--resolution", "4", "--slices", "2", "--out", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
    )
    assert done.returncode == 0, done.stderr
    errors = [
        [float(number) for number in re.findall(r"([0-9.]+) mm ", line)] for line in done.stdout.splitlines() if "%" in line
    ]
    assert len(errors) == 4
    for before, after in (line[-2:] for line in errors):
        assert after < 0.25 * before
    assert (tmp_path / "out" / "samples" / "warped_samples.csv").exists()
    assert (tmp_path / "out" / "moving_samples" / "warped.csv").exists()

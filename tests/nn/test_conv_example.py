"""The example of the layer in a user's own module."""

from __future__ import annotations

import runpy
from pathlib import Path


def test_the_module_learns(root: Path):
    example = runpy.run_path(str(root / "examples" / "continuous_conv_module.py"))
    losses = example["train"](steps=10)
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])

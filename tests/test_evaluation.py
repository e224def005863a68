"""What is in ``metrics.json`` and what it says when something could not be measured."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from geogrid.data import read_pair
from geogrid.evaluation import evaluate
from geogrid.transforms import DisplacementField

AFFINE = torch.eye(4)


def test_missing_monai_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.rand(8, 9, 10, generator=torch.Generator().manual_seed(0))
    labels = (image > 0.5).short()
    pair = read_pair((image, AFFINE), (image, AFFINE), fixed_labels=(labels, AFFINE), moving_labels=(labels, AFFINE))
    still = DisplacementField(torch.zeros(8, 9, 10, 3), pair.fixed.image.grid)
    assert evaluate(pair, still)["hd95_after_mm"] == 0
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "monai" else find(name))
    metrics = evaluate(pair, still)
    assert "hd95_after_mm" not in metrics
    assert "pip install 'geogrid[metrics]'" in metrics["surface_distances"]
    assert metrics["dice_after"] == 1

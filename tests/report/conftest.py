"""Small registrations to report on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from geogrid.optimize.history import HistoryEntry
from geogrid.report import ReportContents
from geogrid.spatial import Grid, Image
from geogrid.transforms import AffineTransform, DisplacementField, jacobian_determinant, warp_image

METRICS = {
    "dice_before": 0.5512,
    "dice_after": 0.72134,
    "dice_before_per_label": {"2": 0.4321, "17": 0.5},
    "dice_after_per_label": {"2": 0.6789, "17": 0.75},
    "tre_before_mm": 8.2341,
    "tre_after_mm": None,
    "folding_percent": 0.0123,
    "seconds": 1.83,
    "peak_memory_mb": 912,
    "device": "cpu",
    "versions": {"geogrid": "0.1.0", "torch": "2.13.0"},
    "parameters": {"affine": "auto <b>", "seed": 0},
}


def make_contents(dim: int) -> ReportContents:
    """A ball on anisotropic voxels, pushed sideways, with one folded voxel in the middle slice."""
    shape, spacing = ((24, 20, 8), (1.0, 1.0, 3.0)) if dim == 3 else ((24, 20), (1.0, 2.0))
    grid = Grid(shape, torch.diag(torch.tensor([*spacing, 1.0])))
    distance = torch.linalg.vector_norm(grid.points() - grid.center.float(), dim=1).reshape(shape)
    fixed = Image((distance < 8).float() * 100, grid)
    displacement = torch.zeros(*shape, dim)
    displacement[..., 0] = 2 * torch.sin(grid.points()[:, 1] * math.pi / 20).reshape(shape)
    field = DisplacementField(displacement, grid)
    jacobian = jacobian_determinant(field)
    jacobian[tuple(n // 2 for n in shape)] = -1.0
    history = [
        HistoryEntry(stage, level, step, 1 / (step + 1))
        for stage, level in (("affine", 1), ("affine", 0), ("deformable", 1))
        for step in range(5)
    ]
    before = warp_image(fixed, AffineTransform.identity(dim), grid)
    return ReportContents(fixed, before, warp_image(fixed, field, grid), field, field, jacobian, METRICS, history)


@pytest.fixture(params=[2, 3], scope="session")
def contents(request: pytest.FixtureRequest) -> ReportContents:
    """Contents in 2-D and in 3-D."""
    return make_contents(request.param)


@pytest.fixture
def without_history(contents: ReportContents) -> ReportContents:
    """The same, with nothing optimised."""
    return replace(contents, history=[])

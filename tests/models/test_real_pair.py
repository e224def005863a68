"""An untrained model on a real pair: sane, if not useful."""

from __future__ import annotations

from pathlib import Path

import torch

from geogrid.io import read_image
from geogrid.metrics import folding_percent
from geogrid.models import GeoReg, presets
from geogrid.spatial import PointCloud, scale_intensities
from tests.benchmarks.datasets import SLAB_TUNING, slabs


def test_an_untrained_model_folds_less_than_one_percent_of_a_real_pair(test_data: Path):
    pair = next(iter(slabs(test_data, SLAB_TUNING)))
    fixed, moving = (PointCloud.from_images(scale_intensities(read_image(path).image)) for path in (pair.fixed, pair.moving))
    torch.manual_seed(0)
    with torch.no_grad():
        trajectory = GeoReg(presets.light3d())(fixed, moving, scale=2.0)
    grid = trajectory.last.points.lattices[0]
    everywhere = torch.ones(grid.shape, dtype=torch.bool)
    assert trajectory.last.displacement.abs().max() > 0.1
    assert folding_percent(trajectory.entry(0).deformation(grid), everywhere) < 1

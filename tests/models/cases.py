"""Small models and pairs on grids of any orientation."""

from __future__ import annotations

from dataclasses import replace

import torch

from geogrid.models import GeoReg, GeoRegConfig
from geogrid.spatial import Grid, Image, PointCloud
from tests.spatial.cases import make_grid

SHAPES = {2: (14, 11), 3: (9, 8, 7)}
SPACINGS = {2: (1.0, 1.5), 3: (1.0, 1.0, 2.0)}
ANGLES = {2: (20.0,), 3: (20.0, -15.0, 30.0)}


def small_config(dim: int, **changes: object) -> GeoRegConfig:
    sizes = {"channels": (4, 6, 8), "steps": (1, 1, 2), "num_blocks": 1, "heads": 2, "head_channels": 4, "hidden": 6}
    return GeoRegConfig(dim=dim, **(sizes | changes))  # type: ignore[arg-type]


def awake(model: GeoReg, seed: int = 0) -> GeoReg:
    """The model with every weight that starts at zero, or nearly so, drawn at random, so that each part has a say."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.abs().max() < 0.01:
                parameter.normal_(std=0.1, generator=generator)
    return model


def make_model(dim: int, **changes: object) -> GeoReg:
    torch.manual_seed(0)
    return awake(GeoReg(small_config(dim, **changes)))


def smooth_image(grid: Grid, seed: int) -> Image:
    """A sum of waves, the same function of the place in the grid's own axes whatever its orientation."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.randn(12, grid.dim, generator=generator, dtype=torch.float64) * 0.8
    phases = torch.rand(12, generator=generator, dtype=torch.float64) * 6.3
    place = grid.indices().double() * grid.spacing
    return Image((place @ waves.T + phases).sin().mean(1).float().reshape(grid.shape), grid)


def in_float64(cloud: PointCloud) -> PointCloud:
    return replace(
        cloud, pos=cloud.pos.double(), measure=cloud.measure.double(), x=None if cloud.x is None else cloud.x.double()
    )


def pair(dim: int, num_entries: int = 1, angles: tuple[float, ...] | None = None) -> tuple[PointCloud, PointCloud]:
    """Fixed and moving images, each entry with other contents."""
    grid = make_grid(SHAPES[dim], SPACINGS[dim], angles)
    images = [[smooth_image(grid, 10 * entry + side) for entry in range(num_entries)] for side in range(2)]
    return PointCloud.from_images(images[0]), PointCloud.from_images(images[1])

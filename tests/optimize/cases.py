"""A head-like phantom without symmetries, known everywhere in the world, and pairs made from it."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.spatial import Grid, Image
from geogrid.transforms import AffineTransform, Transform
from tests.spatial.cases import centered, make_grid

RADII = torch.tensor([60.0, 75.0, 65.0], dtype=torch.float64)


def phantom(points: Tensor, num_blobs: int = 20) -> Tensor:
    """Intensities from 0 to about 1 at float64 world points: an ellipsoid full of blobs and ripples, lopsided on purpose."""
    dim, generator = points.shape[1], torch.Generator().manual_seed(3)
    places = 100 * (torch.rand(num_blobs, dim, generator=generator, dtype=torch.float64) - 0.5)
    sizes = 6 + 8 * torch.rand(num_blobs, generator=generator, dtype=torch.float64)
    heights = torch.rand(num_blobs, generator=generator, dtype=torch.float64) - 0.5
    blobs = torch.exp(-(torch.cdist(points, places) / sizes).square() / 2) @ heights
    ripples = 0.15 * torch.sin(points / 5 + torch.arange(dim)).sum(1)
    return torch.sigmoid((1 - (points / RADII[:dim]).norm(dim=1)) * 15) * (0.5 + blobs + ripples).clamp_min(0)


def on_grid(grid: Grid, to_phantom: Transform | None = None) -> Image:
    """The phantom on a grid; ``to_phantom`` says where in the phantom a world point is."""
    points = grid.index_to_world(grid.indices().double())
    places = points if to_phantom is None else to_phantom(points)
    return Image(phantom(places).float().reshape(grid.shape), grid)


def affine_pair(transform: AffineTransform, size: int = 48, spacing: float = 4.0) -> tuple[Image, Image]:
    """``fixed(x) = moving(transform(x))``; the moving grid is wide enough for what the transform brings there."""
    grid = centered(make_grid((size,) * transform.dim, (spacing,) * transform.dim))
    shift = torch.eye(transform.dim + 1, dtype=torch.float64)
    shift[:-1, -1] = transform.matrix[:-1, -1]
    return on_grid(grid), on_grid(grid.transformed(shift), transform.inverse())


def errors_mm(found: Transform, true: Transform, grid: Grid) -> Tensor:
    """Distances in mm between two maps of the phantom's inside."""
    points = grid.index_to_world(grid.indices().double())
    inside = points[phantom(points) > 0.1]
    return (found(inside) - true(inside)).norm(dim=1)

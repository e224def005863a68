"""Grids that cover other things."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from geogrid.spatial import Grid


def voxel_box(grid: Grid, frame: Tensor) -> tuple[Tensor, Tensor]:
    """Least and greatest coordinates of the voxels of a grid along the axes of a frame, each ``(dim,)`` float64, mm."""
    last = torch.tensor(grid.shape, dtype=torch.float64) - 0.5
    corners = torch.cartesian_prod(*torch.stack([torch.full_like(last, -0.5), last]).T)
    along = grid.index_to_world(corners) @ frame
    return along.amin(0), along.amax(0)


def covering_grid(frame: Tensor, low: Tensor, high: Tensor, spacing: float, margin: int = 1) -> Grid:
    """The isotropic grid along a frame whose points span a box, and ``margin`` points more on each side."""
    shape = [math.ceil((h - w) / spacing) + 1 + 2 * margin for w, h in zip(low.tolist(), high.tolist(), strict=True)]
    first = (low + high) / 2 - spacing * (torch.tensor(shape, dtype=torch.float64) - 1) / 2
    affine = torch.eye(len(low) + 1, dtype=torch.float64)
    affine[:-1, :-1] = frame * spacing
    affine[:-1, -1] = frame @ first
    return Grid(tuple(shape), affine)


def centred_grid(shape: Sequence[int], spacing: Sequence[float], frame: Tensor) -> Grid:
    """A grid along a frame whose middle is the world's origin."""
    affine = torch.eye(len(shape) + 1, dtype=torch.float64)
    affine[:-1, :-1] = frame * torch.tensor(spacing, dtype=torch.float64)
    affine[:-1, -1] = -affine[:-1, :-1] @ (torch.tensor(shape, dtype=torch.float64) - 1) / 2
    return Grid(tuple(shape), affine)

"""Boxes of one grid in the indices of another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geogrid.spatial import Grid
from geogrid.transforms import AffineTransform

ROUNDING = 1e-4
"""Indices closer than this to a whole number are that number, so that a turned world is cropped at the same voxels."""


def index_box(
    fixed: Grid, grid: Grid, start: Sequence[float], shape: Sequence[float], to_fixed: AffineTransform | None = None
) -> tuple[Tensor, Tensor]:
    """Least and largest index, along the axes of a fixed grid, of a box of another grid that is brought to fixed space.

    Args:
        fixed: whose indices are counted.
        grid: whose box it is.
        start: index of the box's first voxel.
        shape: voxels along each axis; the box reaches from the middle of the first to the middle of the last.
        to_fixed: of the grid's space to fixed space; default none.

    Example:
        >>> grid = Grid((8, 8), torch.eye(3))
        >>> index_box(Grid((4, 4), torch.diag(torch.tensor([2.0, 2.0, 1.0]))), grid, (0, 2), (8, 3))
        (tensor([0., 1.], dtype=torch.float64), tensor([3.5000, 2.0000], dtype=torch.float64))
    """
    low = torch.tensor(start, dtype=torch.float64)
    ends = torch.stack([low, low + torch.tensor(shape, dtype=torch.float64) - 1])
    world = grid.index_to_world(torch.cartesian_prod(*ends.T))
    index = fixed.world_to_index(world if to_fixed is None else to_fixed(world))
    return index.min(0).values, index.max(0).values

"""Images at several physical scales (law a of the design)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from geogrid.spatial.grid import Grid
from geogrid.spatial.image import Image


def finest_scale(fixed: Grid, moving: Grid) -> float:
    """The finest scale s_0 of a pair in mm: the coarser of the two in-plane spacings.

    The in-plane spacing of a grid is its second smallest in 3-D (thick slices do not count) and the larger one in 2-D.
    """
    return max(float(grid.spacing.sort().values[1]) for grid in (fixed, moving))


def pool_factors(grid: Grid, scale: float) -> tuple[int, ...]:
    """Points per cell along each axis that bring a grid to ``scale`` mm; axes that are coarser already keep their points."""
    return tuple(max(1, min(n, math.floor(scale / float(s) + 0.5001))) for n, s in zip(grid.shape, grid.spacing, strict=True))


def pool_image(image: Image, scale: float) -> Image:
    """Averages an image over cells of about ``scale`` mm; a partial cell at the end of an axis averages what it has.

    Example:
        >>> import torch
        >>> image = Image(torch.ones(5, 4, 2), Grid((5, 4, 2), torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0]))))
        >>> pool_image(image, 2.0).grid.shape
        (3, 2, 2)
    """
    factors = pool_factors(image.grid, scale)
    return Image(pool_values(image.data, factors), image.grid.pool(factors))


def pool_values(values: Tensor, factors: tuple[int, ...]) -> Tensor:
    """Cell means of ``(*shape)`` values, cells of ``factors`` points anchored at index 0."""
    if max(factors) == 1:
        return values
    pool = F.avg_pool3d if len(factors) == 3 else F.avg_pool2d
    return pool(values[None, None], factors, ceil_mode=True, count_include_pad=False)[0, 0]

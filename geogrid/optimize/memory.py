"""How much memory a registration will need, before it starts."""

from __future__ import annotations

import math

import psutil
import torch

from geogrid.errors import GeogridError
from geogrid.spatial import Grid
from geogrid.spatial.pyramid import pool_factors

BYTES_AT_REST = 500 * 2**20
"""What Python and its libraries take."""

BYTES_PER_LEVEL_VOXEL = 4 * 30
"""Working images of the finest level: positions, displacement, window statistics and their gradients."""

BYTES_PER_FIXED_VOXEL = 4 * 16
"""On the whole fixed grid: the image, its pooled copies, the transform, Jacobian, warped image."""

BYTES_PER_MOVING_VOXEL = 4 * 12
"""On the whole moving grid: the image, the inverse and its iterates."""


def estimate_bytes(fixed: Grid, moving: Grid, scale: float) -> int:
    """Estimated peak memory in bytes of registering two images at a finest scale in mm and saving the results.

    About a fifth above what was measured: `geogrid register` peaked at 708 MB on a 2 mm head (1.3 million voxels a side) and at
    1778 MB at 1 mm (6.9 million), for estimates of 815 and 2120 MB.
    """
    level = math.prod(math.ceil(n / f) for n, f in zip(fixed.shape, pool_factors(fixed, scale), strict=True))
    return (
        BYTES_AT_REST
        + BYTES_PER_LEVEL_VOXEL * level
        + BYTES_PER_FIXED_VOXEL * fixed.num_points
        + BYTES_PER_MOVING_VOXEL * moving.num_points
    )


def check_memory(fixed: Grid, moving: Grid, scale: float, available: int | None = None) -> int:
    """The estimated peak memory in bytes.

    Args:
        fixed: the fixed image's grid.
        moving: the moving image's grid.
        scale: finest scale in mm.
        available: bytes that may be used; default what the machine has free.

    Raises:
        GeogridError: when the estimate exceeds what is available, with the finest scale that would fit.
    """
    available = psutil.virtual_memory().available if available is None else available
    needed = estimate_bytes(fixed, moving, scale)
    if needed <= available:
        return needed
    fitting = _fitting_scale(fixed, moving, scale, available)
    advice = "no resolution fits these grids; crop or downsample the files"
    raise GeogridError(
        f"not enough memory: about {needed / 2**30:.1f} GiB are needed at {scale:g} mm, {available / 2**30:.1f} GiB are free; "
        + (advice if fitting is None else f"use --resolution {fitting:g} (mm)")
    )


def coarsest_scale(fixed: Grid, moving: Grid) -> float:
    """The finest scale in mm at which the smaller image has no more than 8 voxels along its longest axis."""
    return min(float((torch.tensor(grid.shape) * grid.spacing).max()) for grid in (fixed, moving)) / 8


def _fitting_scale(fixed: Grid, moving: Grid, scale: float, available: int) -> float | None:
    """The smallest of 1.1, 1.2, 1.3 ... times a scale, to three digits, that fits and is still of use."""
    for tenths in range(11, 641):
        coarser = float(f"{scale * tenths / 10:.3g}")
        if coarser > coarsest_scale(fixed, moving):
            return None
        if estimate_bytes(fixed, moving, coarser) <= available:
            return coarser
    return None

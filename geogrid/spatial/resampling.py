"""The same images on finer or coarser pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial.lattice import apply_per_axis, linear_matrix
from geogrid.spatial.points import PointCloud, for_each_distinct


def resample_cloud(cloud: PointCloud, spacing: float | Sequence[float]) -> PointCloud:
    """Images on pixels of another size that cover the same field of view; the pixel *borders* coincide, not the centres.

    An axis that gets coarser averages whole groups of pixels; one that gets finer is read by linear interpolation at the
    centres of the new pixels, and beyond the outermost old centres the border value goes on.

    Args:
        cloud: lattices of one shape and spacing, with or without features.
        spacing: of the new pixels in mm, for all axes or one each; a whole multiple or a whole part of the old one.

    Returns:
        The cloud on its new lattices; each point stands for a new pixel.

    Raises:
        GeogridError: for scattered points or lattices that differ, a spacing that is no whole multiple or part, and axes that
            cannot be grouped without remainder.

    Example:
        >>> from geogrid.spatial import to_cloud
        >>> digits = to_cloud(torch.rand(3, 28, 28))
        >>> [resample_cloud(digits, spacing).lattices[0].shape for spacing in ((1.0, 2.0), 0.5)]
        [(28, 14), (56, 56)]
    """
    if not cloud.stackable:
        raise GeogridError("cloud: expected lattices of one shape and spacing, got scattered points or different lattices")
    sizes = [float(spacing)] * cloud.dim if isinstance(spacing, int | float) else [float(s) for s in spacing]
    if len(sizes) != cloud.dim or min(sizes) <= 0:
        raise GeogridError(f"spacing: expected one positive number or {cloud.dim}, got {spacing}")
    ratios = [new / old for new, old in zip(sizes, cloud.spacing[0].tolist(), strict=True)]
    groups, parts = [_whole(ratio) for ratio in ratios], [_whole(1 / ratio) for ratio in ratios]
    shape = cloud.lattices[0].shape
    _check_ratios(ratios, groups, parts, shape)
    grids = for_each_distinct(cloud.lattices, lambda grid: grid.pool(groups).split(parts))
    x = None
    if cloud.x is not None:
        matrices = [_matrix(n, g, p).to(cloud.x) for n, g, p in zip(shape, groups, parts, strict=True)]
        stacked = apply_per_axis(matrices, cloud.to_lattice(cloud.x).flatten(0, 1))
        x = stacked.unflatten(0, (cloud.num_entries, -1)).movedim(1, -1).flatten(0, -2)
    return PointCloud.on_lattices(grids, x, cloud.pos.device)


def _whole(ratio: float) -> int:
    return max(1, round(ratio))


def _check_ratios(ratios: list[float], groups: list[int], parts: list[int], shape: tuple[int, ...]) -> None:
    for axis, (ratio, group, part, size) in enumerate(zip(ratios, groups, parts, shape, strict=True)):
        if abs(ratio * part / group - 1) > 1e-3:
            raise GeogridError(
                f"spacing: expected a whole multiple or a whole part of the old one, got {ratio:g} times along axis {axis}"
            )
        if size % group:
            raise GeogridError(f"spacing: axis {axis} has {size} pixels, which are no groups of {group}; crop or pad it first")


def _matrix(size: int, group: int, parts: int) -> Tensor:
    """Averages of ``group`` neighbours, or linear interpolation at the middles of ``parts`` of every pixel."""
    if group > 1:
        return torch.eye(size // group).repeat_interleave(group, 1) / group
    middle = (torch.arange(size * parts, dtype=torch.float64) + 0.5) / parts - 0.5
    return linear_matrix(size, middle.clamp(0, size - 1))

"""Thick slices: split into parts as thick as their pixels are wide, and other images seen through slices as thick."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.spatial.grid import Grid
from geogrid.spatial.image import Image
from geogrid.spatial.keys import keys
from geogrid.spatial.lattice import apply_per_axis
from geogrid.spatial.sampling import sample_lattice


def slice_parts(grid: Grid, scale: float) -> tuple[int, ...]:
    """Into how many parts :func:`split_slices` splits a voxel along each axis.

    Parts are about as thick as ``scale`` mm, or as the in-plane spacing where that is coarser (in 3-D the second smallest one).
    So volumes of even voxels are never split, nor are 2-D images.
    """
    fine = max(scale, float(grid.spacing.sort().values[1]))
    return tuple(max(1, round(float(s) / fine)) if n > 1 else 1 for n, s in zip(grid.shape, grid.spacing, strict=True))


def split_grid(grid: Grid, scale: float) -> Grid:
    """The lattice of :func:`split_slices`."""
    return grid.split(slice_parts(grid, scale))


def split_slices(image: Image, scale: float) -> Image:
    """An image whose thick slices are split, read between their middles by cubic convolution; others as they are.

    Beyond the outermost middles the border value goes on. No value leaves the range of the image.

    Args:
        image: any finite intensities.
        scale: mm; slices are split into parts not much thinner than this (:func:`slice_parts`).

    Example:
        >>> thick = Image(torch.rand(6, 6, 3), Grid((6, 6, 3), torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0]))))
        >>> split_slices(thick, 1.0).grid.shape, split_slices(thick, 2.0).grid.shape
        ((6, 6, 12), (6, 6, 6))
    """
    parts = slice_parts(image.grid, scale)
    if max(parts) == 1:
        return image
    matrices = [_cubic_matrix(n, p).to(image.data) for n, p in zip(image.grid.shape, parts, strict=True)]
    values = apply_per_axis(matrices, image.data[None])[0]
    return Image(values.clamp(image.data.min(), image.data.max()), split_grid(image.grid, scale))


def split_weight(weight: Image, scale: float) -> Image:
    """A weight per voxel, split like the slices of its image; each part weighs what its slice does."""
    values = weight.data
    for axis, count in enumerate(slice_parts(weight.grid, scale)):
        values = values.repeat_interleave(count, axis)
    return Image(values, split_grid(weight.grid, scale))


def see_through(image: Image, slices: Grid, spacing: Tensor, scale: float) -> Image:
    """An image as slices as thick as those of another grid would show it: averaged across them, at every point.

    Args:
        image: any finite intensities; beyond the border its value goes on.
        slices: the grid with thick slices, in the same world; only its axes and spacings count.
        spacing: ``(dim,)`` mm, how thick what the image shows already is along each of its axes; slices that are not thicker
            change nothing.
        scale: mm; as for :func:`split_slices`.
    """
    for axis, parts in enumerate(slice_parts(slices, scale)):
        if parts > 1:
            normal, thickness = slices.frame[:, axis], float(slices.spacing[axis])
            own = float(((image.grid.frame.T @ normal) * spacing).norm())
            image = _averaged(image, normal * thickness, round(thickness / own))
    return image


def _averaged(image: Image, extent: Tensor, count: int) -> Image:
    """The mean of ``count`` readings around each point, spread evenly over a line of an ``extent``, a vector in mm."""
    if count < 2:
        return image
    step = image.grid.to_index[:-1, :-1] @ extent
    index, total = image.grid.indices(image.data.device), torch.zeros_like(image.data).flatten()
    for place in torch.arange(count, dtype=torch.float64) / count + 0.5 / count - 0.5:
        total += sample_lattice(image.data[None], index + (place * step).to(index))[0]
    return Image((total / count).view(image.grid.shape), image.grid)


def _cubic_matrix(size: int, parts: int) -> Tensor:
    """Weights that carry values of ``size`` slices to the middles of their parts, ``(size * parts, size)``; rows sum to one."""
    if parts == 1:
        return torch.eye(size)
    middle = (torch.arange(size * parts, dtype=torch.float64) + 0.5) / parts - 0.5
    matrix = torch.zeros(len(middle), size, dtype=torch.float64)
    for offset in range(-1, 3):
        near = middle.floor() + offset
        column = near.clamp(0, size - 1).long()[:, None]
        matrix.scatter_add_(1, column, keys(middle - near)[:, None])
    return matrix.float()

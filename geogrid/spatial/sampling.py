"""Reading a lattice between its points. The only place that knows about [-1, 1] cubes and ``align_corners``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial.grid import Grid, kept
from geogrid.spatial.points import PointCloud, for_each_distinct

Interpolation = Literal["linear", "nearest"]


def sample_lattice(values: Tensor, index: Tensor, interpolation: Interpolation = "linear") -> Tensor:
    """Reads channel-first lattice values at fractional indices; beyond the border the border value goes on.

    Differentiable in both arguments.

    Args:
        values: ``(channels, *shape)``, 2-D or 3-D.
        index: ``(num_points, dim)`` fractional indices along the axes of ``values``.
        interpolation: ``linear`` (bilinear, trilinear) or ``nearest``.

    Returns:
        ``(channels, num_points)``.
    """
    scale, shift = normalization(values.shape[1:])
    return sample_normalized(values, (index * scale.to(index) + shift.to(index)).flip(-1), interpolation)


def normalization(shape: Sequence[int] | Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Scale and shift, each ``(dim,)`` float64, that bring indices to [-1, 1] with the corner *points* at the ends.

    Of several shapes, one row each.
    """
    last = torch.tensor(shape, dtype=torch.float64) - 1
    return 2 / last.clamp_min(1), torch.where(last > 0, -1.0, 0.0).to(torch.float64)


def sample_normalized(values: Tensor, position: Tensor, interpolation: Interpolation = "linear") -> Tensor:
    """As :func:`sample_lattice` at positions in the normalised cube, axes reversed (as ``grid_sample`` wants them).

    ATen's 3-D kernel runs one thread per batch entry, so the points are dealt out over as many entries as there are threads;
    the values are shared, not copied.
    """
    num_points, dim = position.shape
    parts = torch.get_num_threads() if position.device.type == "cpu" and num_points > 4096 else 1
    whole = num_points - num_points % parts
    read = _grid_sample(values, position[:whole].reshape(parts, -1, dim), interpolation)
    if whole == num_points:
        return read
    return torch.cat([read, _grid_sample(values, position[whole:].unsqueeze(0), interpolation)], 1)


def sample_cloud(cloud: PointCloud, points: Tensor, batch: Tensor) -> Tensor:
    """Reads the features of lattices at points of their own entries: linear in between, the border value beyond the border.

    Differentiable in points and features. Entries of one shape and with as many points each are read at once.

    Args:
        cloud: lattices with features.
        points: ``(num_points, dim)`` world positions in mm.
        batch: ``(num_points,)`` int64, sorted: the entry in which each point is read.

    Returns:
        ``(num_points, channels)``.

    Raises:
        GeogridError: for scattered points, or a cloud without features.
    """
    if not cloud.is_lattice or cloud.x is None:
        raise GeogridError("cloud: expected lattices with features to read from, got scattered points or none")
    counts = torch.bincount(batch, minlength=cloud.num_entries).tolist()
    to_cube = _world_to_cube(cloud.lattices).to(points)
    if cloud.stackable and len(set(counts)) == 1:
        stacked = points.reshape(cloud.num_entries, -1, cloud.dim)
        position = torch.baddbmm(to_cube[:, None, :, -1], stacked, to_cube[:, :, :-1].mT)
        return _sample_stack(cloud.to_lattice(cloud.x), position).movedim(1, -1).reshape(len(points), -1)
    rows = cloud.x.split(cloud.counts().tolist())
    values = [part.T.reshape(-1, *grid.shape) for part, grid in zip(rows, cloud.lattices, strict=True)]
    places = [torch.addmm(m[:, -1], part, m[:, :-1].T) for m, part in zip(to_cube, points.split(counts), strict=True)]
    return torch.cat([sample_normalized(v, p).T for v, p in zip(values, places, strict=True)])


def _sample_stack(values: Tensor, position: Tensor) -> Tensor:
    """``(num_entries, channels, *shape)`` at ``(num_entries, num_points, dim)`` of the cube: one call, threads permitting."""
    if position[..., 0].numel() > 4096 and len(values) < torch.get_num_threads():
        return torch.stack([sample_normalized(v, p) for v, p in zip(values, position, strict=True)])
    return _call_grid_sample(values, position, "linear")


def _world_to_cube(grids: Sequence[Grid]) -> Tensor:
    """Matrices from the world to the normalised cube, axes reversed, ``(num_grids, dim, dim + 1)`` float64."""
    return torch.stack(for_each_distinct(grids, _one_to_cube))


@kept
def _one_to_cube(grid: Grid) -> Tensor:
    scale, shift = normalization(grid.shape)
    matrix = grid.to_index[:-1] * scale[:, None]
    matrix[:, -1] += shift
    return matrix.flip(0)


def _grid_sample(values: Tensor, position: Tensor, interpolation: Interpolation) -> Tensor:
    parts, count, _ = position.shape
    sampled = _call_grid_sample(values.expand(parts, *values.shape), position, interpolation)
    return sampled.transpose(0, 1).reshape(values.shape[0], parts * count)


def _call_grid_sample(values: Tensor, position: Tensor, interpolation: Interpolation) -> Tensor:
    """``(parts, channels, *shape)`` at ``(parts, count, dim)``, to ``(parts, channels, count)``."""
    parts, count, dim = position.shape
    sampled: Tensor = F.grid_sample(
        values,
        position.reshape(parts, *[1] * (dim - 1), count, dim),
        mode="nearest" if interpolation == "nearest" else "bilinear",
        padding_mode="border",
        align_corners=True,
    )
    return sampled.flatten(2)


def inside_lattice(index: Tensor, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """Which fractional indices ``(num_points, dim)`` lie in the voxels of a lattice, ITK's rule: -0.5 <= index < n - 0.5."""
    size = torch.tensor(shape, dtype=index.dtype, device=index.device)
    return ((index >= -0.5) & (index < size - 0.5)).all(-1)


def lattice_corners(index: Tensor, shape: tuple[int, ...] | torch.Size) -> tuple[Tensor, Tensor]:
    """The lattice points around fractional indices, and their weights in linear interpolation.

    Args:
        index: ``(num_points, dim)`` fractional indices; beyond the border they count as on it.
        shape: of the lattice.

    Returns:
        Flat indices ``(num_points, 2**dim)`` int64, and weights of the same shape that sum to one.
    """
    flat = index.new_zeros((len(index), 1), dtype=torch.int64)
    weight = index.new_ones((len(index), 1))
    for axis, size in enumerate(shape):
        place = index[:, axis].clamp(0, size - 1)
        left = place.floor().clamp_max(max(size - 2, 0))
        share = (place - left)[:, None]
        near = left.long()[:, None]
        far = (near + 1).clamp_max(size - 1)
        flat = torch.cat([flat * size + near, flat * size + far], 1)
        weight = torch.cat([weight * (1 - share), weight * share], 1)
    return flat, weight

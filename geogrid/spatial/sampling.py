"""Reading a lattice between its points. The only place that knows about [-1, 1] cubes and ``align_corners``."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

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


def normalization(shape: tuple[int, ...] | torch.Size) -> tuple[Tensor, Tensor]:
    """Scale and shift, each ``(dim,)`` float64, that bring indices to [-1, 1] with the corner *points* at the ends."""
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


def _grid_sample(values: Tensor, position: Tensor, interpolation: Interpolation) -> Tensor:
    parts, count, dim = position.shape
    sampled = F.grid_sample(
        values.expand(parts, *values.shape),
        position.reshape(parts, *[1] * (dim - 1), count, dim),
        mode="nearest" if interpolation == "nearest" else "bilinear",
        padding_mode="border",
        align_corners=True,
    )
    return sampled.reshape(parts, values.shape[0], count).transpose(0, 1).reshape(values.shape[0], parts * count)


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

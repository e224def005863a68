"""Means over boxes around the points of a lattice, or around every second one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from geogrid.spatial.lattice import apply_per_axis


class Windows:
    """Box windows cut at the border of a lattice, one around each block of points.

    Along an axis with a radius below 2 points, or with a stride of 1, a block is a single point, and a window holds the points
    at most the radius away. Otherwise a block is two neighbouring points, and a window has the same width around their
    middle; a block at its rim counts by the share that is inside.

    Args:
        shape: of the lattice.
        radii: half widths in points along each axis (:func:`window_radii`).
        stride: 1 or 2, points from window to window; one number each where axes differ, whatever the radius.
    """

    def __init__(self, shape: Sequence[int], radii: Sequence[int], stride: int | Sequence[int] = 1) -> None:
        self.shape = tuple(shape)
        if isinstance(stride, int):
            stride = [stride if radius >= 2 else 1 for radius in radii]
        self.strides = tuple(stride)
        self._matrices = [_box_matrix(*of_axis) for of_axis in zip(shape, radii, self.strides, strict=True)]

    def mean(self, values: Tensor) -> Tensor:
        """Means of ``(channels, *shape)`` values, ``(channels, *windows)``."""
        return apply_per_axis(self._to(values), self._block_sums(values))

    def adjoint(self, values: Tensor) -> Tensor:
        """The transpose of :meth:`mean`: ``(channels, *windows)`` to ``(channels, *shape)``."""
        return self._spread(apply_per_axis([m.T for m in self._to(values)], values))

    def weigh(self, weight: Tensor) -> Tensor:
        """Mean of a ``(*shape)`` weight over each block, ``(*windows)``."""
        return self._block_sums(weight[None])[0] / self._block_sums(torch.ones_like(weight)[None])[0]

    def _to(self, values: Tensor) -> list[Tensor]:
        self._matrices = [m.to(values) for m in self._matrices]
        return self._matrices

    def _block_sums(self, values: Tensor) -> Tensor:
        for axis, stride in enumerate(self.strides, start=1):
            if stride == 2:
                even, odd = _every_second(values, axis, 0), _every_second(values, axis, 1)
                values = even + odd if even.shape == odd.shape else _added(even, odd, axis)
        return values

    def _spread(self, values: Tensor) -> Tensor:
        """The transpose of :meth:`_block_sums`."""
        for axis, (stride, size) in enumerate(zip(self.strides, self.shape, strict=True), start=1):
            if stride == 2:
                spread = values.new_empty((*values.shape[:axis], size, *values.shape[axis + 1 :]))
                _every_second(spread, axis, 0).copy_(values)
                _every_second(spread, axis, 1).copy_(values.narrow(axis, 0, size // 2))
                values = spread
        return values


def window_radii(shape: Sequence[int], spacing: Sequence[float], radius: float) -> tuple[int, ...]:
    """Neighbours on each side along each axis for a window of half width ``radius`` mm; one at least where there is one."""
    return tuple(min(n - 1, max(1, math.floor(radius / float(s) + 0.2501))) for n, s in zip(shape, spacing, strict=True))


def _every_second(values: Tensor, axis: int, first: int) -> Tensor:
    return values[(slice(None),) * axis + (slice(first, None, 2),)]


def _added(even: Tensor, odd: Tensor, axis: int) -> Tensor:
    total = even.clone()
    total.narrow(axis, 0, odd.shape[axis]).add_(odd)
    return total


def _box_matrix(size: int, radius: int, stride: int) -> Tensor:
    """Weights that turn sums over blocks into means over windows, ``(num_blocks, num_blocks)``."""
    low = torch.arange(0, size, stride, dtype=torch.float64)
    high = (low + stride).clamp_max(size)
    center = (low + high)[:, None] / 2
    reach = radius + 0.5
    overlap = (torch.minimum(center + reach, high) - torch.maximum(center - reach, low)).clamp_min(0)
    return (overlap / (high - low)) / overlap.sum(1, keepdim=True)

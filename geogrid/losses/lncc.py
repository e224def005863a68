"""Local normalised cross-correlation with a hand-written backward pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from geogrid.spatial.lattice import apply_per_axis

WIDEST_BY_ADDS = 5
"""Half width in points up to which box sums are made of shifted adds."""


class LocalCorrelation:
    r"""Squared local correlation between one image and others on the same lattice, as a loss.

    With window means :math:`\bar f = \mathrm{box}(f)`, covariance :math:`c = \overline{fm} - \bar f \bar m` and variances
    :math:`v_f, v_m`,

    .. math:: L = -\frac{1}{\sum_x w(x)} \sum_x w(x) \frac{(c + \varepsilon)^2}{(v_f + \varepsilon)(v_m + \varepsilon)} .

    The floor :math:`\varepsilon` acts like a faint texture that both images share: a window that is flat in both counts as a
    match, one that is flat in a single image as none, and equal images are an optimum. (With the floor below the line only,
    more contrast in the moving image would pay, and equal images would drift apart.)

    Windows are boxes of about ``2 radius`` mm, cut at the border of the lattice. The statistics of the fixed image are kept.
    Neither value nor gradient changes when an intensity is multiplied or shifted, up to the floor.

    Args:
        fixed: ``(*shape)`` float32 image, 2-D or 3-D.
        spacing: mm between points along each axis.
        radius: half width of the window in mm; at least one neighbour on each side is used.
        weight: ``(*shape)`` weight of each window in [0, 1]; default 1.
        floor: standard deviation :math:`\sqrt\varepsilon`, in intensity units, below which a window counts as flat.

    Example:
        >>> image = torch.rand(9, 8, generator=torch.Generator().manual_seed(0))
        >>> loss = LocalCorrelation(image, (1.0, 1.0), radius=2.0, floor=1e-4)
        >>> round(float(loss(3 * image + 1)), 3)
        -1.0
    """

    def __init__(
        self, fixed: Tensor, spacing: Sequence[float], radius: float, weight: Tensor | None = None, floor: float = 0.05
    ) -> None:
        self.fixed = fixed
        self.radii = window_radii(fixed.shape, spacing, radius)
        self.floor = floor**2
        self.weight = torch.ones_like(fixed) if weight is None else weight
        mean, square = box_mean(torch.stack([fixed, fixed * fixed]), self.radii)
        self.fixed_mean = mean
        self.fixed_variance = (square - mean * mean).clamp_min_(0) + self.floor

    def __call__(self, moving: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of a ``(*shape)`` image on the same lattice, from -1 (a match in every window) to 0.

        ``weight`` multiplies the fixed weight.
        """
        total = self.weight if weight is None else self.weight * weight
        total = total / total.sum().clamp_min(1e-12)
        loss: Tensor = _LocalCorrelation.apply(  # type: ignore[no-untyped-call]
            moving, self.fixed, self.fixed_mean, self.fixed_variance, total, self.radii, self.floor
        )
        return loss


class _LocalCorrelation(torch.autograd.Function):
    """Keeps five images for the backward pass, where autograd would keep more than twenty."""

    @staticmethod
    def forward(
        ctx: Any, moving: Tensor, fixed: Tensor, fixed_mean: Tensor, fixed_variance: Tensor, weight: Tensor,
        radii: tuple[int, ...], floor: float,
    ) -> Tensor:  # fmt: skip
        mean, square, product = box_mean(torch.stack([moving, moving * moving, fixed * moving]), radii)
        variance = square.addcmul_(mean, mean, value=-1).clamp_min_(0).add_(floor)
        covariance = product.addcmul_(fixed_mean, mean, value=-1).add_(floor)
        slope = covariance / (fixed_variance * variance)
        value: Tensor = -(weight * covariance * slope).sum()
        slope.mul_(weight)
        ctx.save_for_backward(moving, fixed, fixed_mean, mean, slope, covariance.div_(variance))
        ctx.radii = radii
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grad_outputs: Any) -> Any:
        moving, fixed, fixed_mean, mean, slope, ratio = ctx.saved_tensors  # type: ignore[attr-defined]
        curvature = slope * ratio
        terms = torch.stack([slope, curvature, curvature * mean - slope * fixed_mean])
        on_fixed, on_moving, constant = box_mean_adjoint(terms, ctx.radii)  # type: ignore[attr-defined]
        grad = (on_fixed * fixed).addcmul_(on_moving, moving, value=-1).add_(constant).mul_(-2 * grad_outputs[0])
        return grad, None, None, None, None, None, None


def window_radii(shape: Sequence[int], spacing: Sequence[float], radius: float) -> tuple[int, ...]:
    """Neighbours on each side along each axis for a window of half width ``radius`` mm; one at least where there is one."""
    return tuple(min(n - 1, max(1, math.floor(radius / float(s) + 0.2501))) for n, s in zip(shape, spacing, strict=True))


def box_mean(values: Tensor, radii: Sequence[int]) -> Tensor:
    """Means over boxes cut at the border, of ``(channels, *shape)`` values.

    Narrow boxes are summed by shifted adds, wide ones by one product per axis, whichever is faster.
    """
    if max(radii) > WIDEST_BY_ADDS:
        return apply_per_axis([_mean_matrix(n, r).to(values) for n, r in zip(values.shape[1:], radii, strict=True)], values)
    for axis, radius in enumerate(radii, start=1):
        values = _box_sum(values, axis, radius).div_(_box_count(values, axis, radius))
    return values


def box_mean_adjoint(values: Tensor, radii: Sequence[int]) -> Tensor:
    """The transpose of :func:`box_mean`."""
    if max(radii) > WIDEST_BY_ADDS:
        return apply_per_axis([_mean_matrix(n, r).T.to(values) for n, r in zip(values.shape[1:], radii, strict=True)], values)
    for axis, radius in enumerate(radii, start=1):
        values = _box_sum(values / _box_count(values, axis, radius), axis, radius)
    return values


def _mean_matrix(size: int, radius: int) -> Tensor:
    place = torch.arange(size)
    band = ((place[:, None] - place).abs() <= radius).double()
    return band / band.sum(1, keepdim=True)


def _box_sum(values: Tensor, axis: int, radius: int) -> Tensor:
    size = values.shape[axis]
    total = values.clone()
    for offset in range(1, radius + 1):
        total.narrow(axis, offset, size - offset).add_(values.narrow(axis, 0, size - offset))
        total.narrow(axis, 0, size - offset).add_(values.narrow(axis, offset, size - offset))
    return total


def _box_count(values: Tensor, axis: int, radius: int) -> Tensor:
    place = torch.arange(values.shape[axis], device=values.device)
    count = (place + radius).clamp_max(values.shape[axis] - 1) - (place - radius).clamp_min(0) + 1
    return count.to(values.dtype).reshape(-1, *[1] * (values.dim() - axis - 1))

"""Local normalised cross-correlation with a hand-written backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from geogrid.losses.windows import Windows, window_radii


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
        stride: points from window to window, 1 or 2; 2 is several times faster where windows reach two points or more.

    Example:
        >>> image = torch.rand(9, 8, generator=torch.Generator().manual_seed(0))
        >>> loss = LocalCorrelation(image, (1.0, 1.0), radius=2.0, floor=1e-4)
        >>> round(float(loss(3 * image + 1)), 3)
        -1.0
    """

    def __init__(
        self,
        fixed: Tensor,
        spacing: Sequence[float],
        radius: float,
        weight: Tensor | None = None,
        floor: float = 0.05,
        stride: int = 1,
    ) -> None:
        self.fixed = fixed
        self.windows = Windows(fixed.shape, window_radii(fixed.shape, spacing, radius), stride)
        self.floor = floor**2
        self.weight = torch.ones_like(fixed) if weight is None else weight
        self.window_weight = self._window_weight(self.weight)
        mean, square = self.windows.mean(torch.stack([fixed, fixed * fixed]))
        self.fixed_mean = mean
        self.fixed_variance = (square - mean * mean).clamp_min_(0) + self.floor

    def __call__(self, moving: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of a ``(*shape)`` image on the same lattice, from -1 (a match in every window) to 0.

        ``weight`` multiplies the fixed weight.
        """
        total = self.window_weight if weight is None else self._window_weight(self.weight * weight)
        loss: Tensor = _LocalCorrelation.apply(  # type: ignore[no-untyped-call]
            moving, self.fixed, self.fixed_mean, self.fixed_variance, total, self.windows, self.floor
        )
        return loss

    def _window_weight(self, weight: Tensor) -> Tensor:
        share = self.windows.weigh(weight)
        return share / share.sum().clamp_min(1e-12)


class _LocalCorrelation(torch.autograd.Function):
    """Keeps five images for the backward pass, where autograd would keep more than twenty."""

    @staticmethod
    def forward(
        ctx: Any, moving: Tensor, fixed: Tensor, fixed_mean: Tensor, fixed_variance: Tensor, weight: Tensor,
        windows: Windows, floor: float,
    ) -> Tensor:  # fmt: skip
        mean, square, product = windows.mean(torch.stack([moving, moving * moving, fixed * moving]))
        variance = square.addcmul_(mean, mean, value=-1).clamp_min_(0).add_(floor)
        covariance = product.addcmul_(fixed_mean, mean, value=-1).add_(floor)
        slope = covariance / (fixed_variance * variance)
        value: Tensor = -(weight * covariance * slope).sum()
        slope.mul_(weight)
        ctx.save_for_backward(moving, fixed, fixed_mean, mean, slope, covariance.div_(variance))
        ctx.windows = windows
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grad_outputs: Any) -> Any:
        moving, fixed, fixed_mean, mean, slope, ratio = ctx.saved_tensors  # type: ignore[attr-defined]
        curvature = slope * ratio
        terms = torch.stack([slope, curvature, curvature * mean - slope * fixed_mean])
        on_fixed, on_moving, constant = ctx.windows.adjoint(terms)  # type: ignore[attr-defined]
        grad = (on_fixed * fixed).addcmul_(on_moving, moving, value=-1).add_(constant).mul_(-2 * grad_outputs[0])
        return grad, None, None, None, None, None, None

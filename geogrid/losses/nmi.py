"""Normalised mutual information with a hand-written backward pass."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from geogrid.losses.bins import Bins

BINS = 32
"""Bins of each image, for intensities in [0, 1]."""


class MutualInformation:
    r"""Normalised mutual information of one image and others at the same points, as a loss.

    With the entropies :math:`H_f, H_m` of the two images and :math:`H_{fm}` of both together,

    .. math:: L = 1 - \frac{H_f + H_m}{H_{fm}}, \qquad H = -\sum_b p_b \log p_b .

    The joint histogram has ``bins`` bins per image, their centres evenly spaced from 0 to 1. An intensity is shared linearly
    between the two bins around it, and the histogram is then smoothed by a Gaussian of ``width`` bins: together a Parzen window
    that is linear between the bins. Beyond 0 and 1 an intensity counts as 0 or 1. The histogram of the fixed image is kept.

    Whatever one image's intensities are called, in what order, the loss is the same, as far as bins stay bins; it asks for
    one table of correspondence in the whole image, so a strong bias field hurts.

    Args:
        fixed: intensities in about [0, 1], any shape.
        weight: weight of each point in [0, 1], of the same shape; default 1.
        bins: of each image, 2 or more.
        width: standard deviation of the smoothing, in bins.

    Reference:
        Studholme, Hill and Hawkes, "An overlap invariant entropy measure of 3D medical image alignment", Pattern Recognition
        1999.

    Example:
        >>> image = torch.rand(30, 40, generator=torch.Generator().manual_seed(0))
        >>> loss = MutualInformation(image)
        >>> [round(float(loss(other)), 3) for other in (image, 1 - image, image.roll(7, 0))]
        [-0.319, -0.319, -0.003]
    """

    def __init__(self, fixed: Tensor, weight: Tensor | None = None, bins: int = BINS, width: float = 1.0) -> None:
        self.bins = Bins(bins, width)
        self.weight = torch.ones_like(fixed) if weight is None else weight
        self.left, self.share = self.bins.place(fixed.detach().flatten())

    def __call__(self, moving: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of an image at the same points, from -1 (each intensity tells the other's) to 0 (neither tells anything).

        The smoothing keeps it above -1. ``weight`` multiplies the fixed weight. Without any weight the loss is 0.
        """
        total = (self.weight if weight is None else self.weight * weight).flatten()
        loss: Tensor = _MutualInformation.apply(  # type: ignore[no-untyped-call]
            moving.flatten(), self.left, self.share, total, self.bins
        )
        return loss


class _MutualInformation(torch.autograd.Function):
    """Keeps a table of slopes; an intensity's gradient is looked up in it."""

    @staticmethod
    def forward(ctx: Any, moving: Tensor, left: Tensor, share: Tensor, weight: Tensor, bins: Bins) -> Tensor:
        other, other_share = bins.place(moving)
        joint = bins.joint((left, share), (other, other_share), weight)
        value, slope = _value_and_slope(joint, bins)
        inside = (moving > 0) & (moving < 1)
        ctx.save_for_backward(left, share, other, weight * inside, slope)
        ctx.bins = bins
        return value.to(moving)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grad_outputs: Any) -> Any:
        left, share, other, weight, slope = ctx.saved_tensors  # type: ignore[attr-defined]
        rise = ctx.bins.read_rise(slope.to(weight), left, share, other)  # type: ignore[attr-defined]
        return rise.mul_(weight).mul_(grad_outputs[0]), None, None, None, None


def _value_and_slope(joint: Tensor, bins: Bins) -> tuple[Tensor, Tensor]:
    """The loss of a float64 joint histogram of weights, and its derivative with respect to each entry, up to a constant."""
    total = joint.sum()
    if not total > 0:
        return joint.new_zeros(()), torch.zeros_like(joint)
    p = bins.smooth(joint) / total
    log_joint, log_fixed, log_moving = (_log(q) for q in (p, p.sum(1), p.sum(0)))
    both = -(p * log_joint).sum()
    single = -(p.sum(1) * log_fixed).sum() - (p.sum(0) * log_moving).sum()
    if not both > 0:
        return joint.new_zeros(()), torch.zeros_like(joint)
    slope = (log_fixed[:, None] + log_moving - single / both * log_joint) / (both * total)
    return 1 - single / both, bins.smooth_adjoint(slope)


def _log(p: Tensor) -> Tensor:
    return p.clamp_min(math.exp(-60)).log()

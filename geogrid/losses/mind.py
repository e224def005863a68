"""Self-similarity context (MIND-SSC): images compared by how they resemble themselves around each point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from geogrid.losses.windows import Windows, window_radii

View = tuple[slice, ...]


class SelfSimilarity:
    r"""Mean squared difference between the self-similarity descriptors of one image and others on the same lattice.

    Around a point x, the patch distance between two neighbours a and b is the mean over a box of p of

    .. math:: D_{ab}(x) = \overline{\left( I(x + a + p) - I(x + b + p) \right)^2} .

    The neighbours lie ``offset`` mm away along the axes, both ways; every two that lie on different axes are compared, never
    the centre, never opposite ones: 12 distances in 3-D, and by the same rule 4 in 2-D. The descriptor and the loss are

    .. math:: d_{ab} = \exp\left( -\frac{D_{ab} - \min D}{\operatorname{mean}(D - \min D) + \varepsilon} \right), \qquad
        L = \frac{1}{\sum_x w(x)} \sum_x w(x) \operatorname{mean}_{ab} \left( d^f_{ab} - d^m_{ab} \right)^2 .

    Neither changes when an intensity is multiplied, inverted or shifted, up to the floor :math:`\varepsilon`, and where two
    tissues meet it does not matter which is brighter. A place that is flat in both images is a match.

    Both lengths are physical: they are rounded to points along each axis, but never below one, so that in thick slices a
    neighbour is the next slice. Axes with a single point have no neighbours; with fewer than two others the loss is 0. Beyond
    the border of the lattice the border value goes on. The descriptors of the fixed image are kept.

    Args:
        fixed: ``(*shape)`` image, 2-D or 3-D.
        spacing: mm between points along each axis.
        offset: distance of the neighbours in mm.
        radius: half width of a patch in mm.
        weight: ``(*shape)`` weight of each point in [0, 1]; default 1.
        floor: standard deviation :math:`\sqrt\varepsilon`, in intensity units, below which a place counts as flat.
        stride: points from descriptor to descriptor, 1 or 2; 2 is several times faster.

    Reference:
        Heinrich et al., "Towards realtime multimodal fusion for image-guided interventions using self-similarities", MICCAI
        2013.

    Example:
        >>> image = torch.rand(16, 14, generator=torch.Generator().manual_seed(0))
        >>> loss = SelfSimilarity(image, (1.0, 1.0), offset=2.0, radius=1.0, floor=1e-4)
        >>> bool(loss(1 - 3 * image) < 1e-6), bool(loss(image.roll(3, 0)) > 0.05)
        (True, True)
    """

    def __init__(
        self,
        fixed: Tensor,
        spacing: Sequence[float],
        offset: float,
        radius: float,
        weight: Tensor | None = None,
        floor: float = 0.01,
        stride: int = 1,
    ) -> None:
        self.descriptor = Descriptor(fixed.shape, spacing, offset, radius, floor, stride)
        self.weight = torch.ones_like(fixed) if weight is None else weight
        self.window_weight = self._window_weight(self.weight)
        self.fixed = self.descriptor(fixed.detach())

    def __call__(self, moving: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of a ``(*shape)`` image on the same lattice, from 0 (the same descriptors) to below 1.

        ``weight`` multiplies the fixed weight.
        """
        total = self.window_weight if weight is None else self._window_weight(self.weight * weight)
        return ((self.descriptor(moving) - self.fixed).square().mean(0) * total).sum()

    def _window_weight(self, weight: Tensor) -> Tensor:
        share = self.descriptor.windows.weigh(weight)
        return share / share.sum().clamp_min(1e-12)


class Descriptor:
    """The self-similarity context of images on a lattice; see :class:`SelfSimilarity` for what it is and for the arguments."""

    def __init__(
        self, shape: Sequence[int], spacing: Sequence[float], offset: float, radius: float, floor: float, stride: int
    ) -> None:
        self.floor = floor**2
        self.reach = _reach(shape, spacing, offset)
        self.windows = Windows(shape, window_radii(shape, spacing, radius), [min(stride, size) for size in shape])
        axes = [axis for axis, step in enumerate(self.reach) if step]
        ways = (1, -1)
        self.pairs = [
            (self._view(a, first), self._view(b, second)) for a, b in combinations(axes, 2) for first in ways for second in ways
        ]

    def __call__(self, image: Tensor) -> Tensor:
        """Descriptors of a ``(*shape)`` image, ``(num_distances, *windows)`` in (0, 1]."""
        if not self.pairs:
            return torch.ones_like(self.windows.weigh(image))[None]
        padding = [side for step in reversed(self.reach) for side in (step, step)]
        padded = F.pad(image[None, None], padding, mode="replicate")[0, 0]
        descriptor: Tensor = _Descriptor.apply(padded, self.pairs, self.windows, self.floor)  # type: ignore[no-untyped-call]
        return descriptor

    def _view(self, axis: int, way: int) -> View:
        """The lattice in the padded image, seen from the neighbour one way along an axis."""
        starts = [r + way * r * (a == axis) for a, r in enumerate(self.reach)]
        return tuple(slice(start, start + size) for start, size in zip(starts, self.windows.shape, strict=True))


class _Descriptor(torch.autograd.Function):
    """Keeps the image and the descriptors; the differences between neighbours are made again on the way back."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, pairs: list[tuple[View, View]], windows: Windows, floor: float) -> Tensor:
        means = [windows.mean((padded[first] - padded[second]).square_()[None])[0] for first, second in pairs]
        distance = torch.stack(means)
        least, place = distance.min(0, keepdim=True)
        scale = distance.sub_(least).mean(0).add_(floor)
        exponent = distance.div_(scale)
        descriptor = torch.exp(-exponent)
        ctx.save_for_backward(padded, descriptor, exponent, scale, place)
        ctx.settings = pairs, windows
        return descriptor

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grad_outputs: Any) -> Any:
        padded, descriptor, exponent, scale, place = ctx.saved_tensors  # type: ignore[attr-defined]
        pairs, windows = ctx.settings  # type: ignore[attr-defined]
        slope = (descriptor * grad_outputs[0]).neg_()
        slope.sub_((slope * exponent).mean(0)).div_(scale)
        slope.scatter_add_(0, place, -slope.sum(0, keepdim=True))
        grad = torch.zeros_like(padded)
        for (first, second), incoming in zip(pairs, 2 * slope, strict=True):
            change = windows.adjoint(incoming[None])[0].mul_(padded[first] - padded[second])
            grad[first] += change
            grad[second] -= change
        return grad, None, None, None


def _reach(shape: Sequence[int], spacing: Sequence[float], offset: float) -> tuple[int, ...]:
    """Points from the centre to a neighbour along each axis: at least one, but none along an axis with a single point."""
    return tuple(min(n - 1, max(1, math.floor(offset / float(s) + 0.5001))) for n, s in zip(shape, spacing, strict=True))

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
        stride: points from descriptor to descriptor, 1 or 2; with 2, several times faster, offsets are even numbers of points
            where they reach that far.

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
    """The self-similarity context of images on a lattice; see :class:`SelfSimilarity` for what it is and for the arguments.

    Of the 12 patch distances every two are one and the same image of distances, seen from different places: the two
    neighbours are apart by the same vector. So 6 images are made (2 in 2-D), on every ``stride``-th point, and shifted.
    """

    def __init__(
        self, shape: Sequence[int], spacing: Sequence[float], offset: float, radius: float, floor: float, stride: int
    ) -> None:
        self.floor = floor**2
        steps = _offset_steps(shape, spacing, offset, stride)
        strides = [2 if stride == 2 and step and step % 2 == 0 else 1 for step in steps]
        self.windows = Windows(shape, window_radii(shape, spacing, radius), strides)
        self.reach = tuple(steps)
        self.apart: list[tuple[int, ...]] = []
        self.views: list[tuple[int, int, int]] = []
        for a, b in combinations([axis for axis, step in enumerate(steps) if step], 2):
            for sign in (1, -1):
                number = len(self.apart)
                self.apart.append(tuple({a: -steps[a], b: sign * steps[b]}.get(axis, 0) for axis in range(len(shape))))
                self.views.append((number, a, steps[a] // strides[a]))
                self.views.append((number, b, -sign * steps[b] // strides[b]))

    def __call__(self, image: Tensor) -> Tensor:
        """Descriptors of a ``(*shape)`` image, ``(num_distances, *windows)`` in (0, 1]."""
        if not self.views:
            return image.new_ones(1, *self.windows.weigh(torch.ones_like(image)).shape)
        padding = [side for step in reversed(self.reach) for side in (step, step)]
        padded = F.pad(image[None, None], padding, mode="replicate")[0, 0]
        single: Tensor = _PatchDistances.apply(padded, self.reach, self.apart, self.windows)  # type: ignore[no-untyped-call]
        distance = torch.stack([_moved(single[number], axis, blocks) for number, axis, blocks in self.views])
        distance = distance - distance.amin(0)
        return torch.exp(-distance / (distance.mean(0) + self.floor))


class _PatchDistances(torch.autograd.Function):
    """Window means of squared differences between an image and itself, shifted; keeps the image only."""

    @staticmethod
    def forward(
        ctx: Any, padded: Tensor, reach: tuple[int, ...], apart: list[tuple[int, ...]], windows: Windows
    ) -> Tensor:
        ctx.save_for_backward(padded)
        ctx.settings = reach, apart, windows
        here = padded[_view(reach, (0,) * len(reach), windows.shape)]
        means = []
        for vector in apart:
            difference = here - padded[_view(reach, vector, windows.shape)]
            means.append(windows.mean(difference.square_()[None])[0])
        return torch.stack(means)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grad_outputs: Any) -> Any:
        (padded,) = ctx.saved_tensors  # type: ignore[attr-defined]
        reach, apart, windows = ctx.settings  # type: ignore[attr-defined]
        grad = torch.zeros_like(padded)
        center = _view(reach, (0,) * len(reach), windows.shape)
        for vector, incoming in zip(apart, grad_outputs[0], strict=True):
            there = _view(reach, vector, windows.shape)
            change = windows.adjoint(2 * incoming[None])[0].mul_(padded[center] - padded[there])
            grad[center] += change
            grad[there] -= change
        return grad, None, None, None


def _offset_steps(shape: Sequence[int], spacing: Sequence[float], offset: float, stride: int) -> list[int]:
    """Points from the centre to a neighbour along each axis; 0 along axes with a single point."""
    steps = []
    for size, apart in zip(shape, spacing, strict=True):
        points = offset / float(apart)
        wanted = 2 * math.floor(points / 2 + 0.5001) if stride == 2 and points > 1.0001 else math.floor(points + 0.5001)
        steps.append(min(size - 1, max(1, wanted)))
    return steps


def _view(reach: Sequence[int], vector: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    """Where in a padded image the lattice lies, moved by a vector."""
    return tuple(slice(r + v, r + v + n) for r, v, n in zip(reach, vector, shape, strict=True))


def _moved(values: Tensor, axis: int, blocks: int) -> Tensor:
    """Values read ``blocks`` places further along an axis; beyond the border the border value goes on."""
    size = values.shape[axis]
    if abs(blocks) >= size:
        return values.narrow(axis, size - 1 if blocks > 0 else 0, 1).expand_as(values)
    kept = values.narrow(axis, max(blocks, 0), size - abs(blocks))
    rim = values.narrow(axis, size - 1 if blocks > 0 else 0, 1).expand(*values.shape[:axis], abs(blocks), *values.shape[axis + 1 :])
    return torch.cat([kept, rim] if blocks > 0 else [rim, kept], axis)

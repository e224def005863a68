"""One step of deformation: the paper's function g."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from geogrid.graph import Level, Neighborhood
from geogrid.nn.attention import AttentionOutput, NeighborAttention
from geogrid.nn.consensus import affine_consensus
from geogrid.nn.conv import ContinuousConv
from geogrid.nn.convolve import convolve
from geogrid.nn.encoder import SLOPE
from geogrid.spatial.sampling import sample_cloud

DIRECT = 0.3
"""Share of the expected relative position that an untrained step takes."""
SAME = 1e-9
"""How much spacings of one batch may differ, relative to them, and count as one: the rounding of turned axes."""


class Refine(nn.Module):
    r"""Points look at the moving image around where they are now, and move (paper, Eq. 4-7; law e).

    Attention compares a fixed point's feature with those of the moving points around its current place. Per head it gives the
    attended value :math:`o`, the expected relative position :math:`r` and the continuous cost volume :math:`c`. A
    convolutional head over the point's own, fixed neighbourhood turns them into a displacement:

    .. math:: \Delta u = s\, W \phi(C_2\, \phi(C_f x + C_m [o, r / s, c])) + \sum_h \alpha_h r_h .

    :math:`C_f x`, the fixed image's part, does not depend on the step, and a convolution distributes over channels
    (Appendix 6), so it is evaluated once (:meth:`own`) and used by every step. The direct term and the tied cosine logits make
    the untrained layer a matcher.

    An ``affine`` step moves its points together: the head also says how far to trust each point, and the step is the affine
    motion nearest to all :math:`\Delta u` (:func:`~geogrid.nn.consensus.affine_consensus`). Where scales are coarse, motion is
    large and each point sees little, agreement is what finds turns and stretches.

    Args:
        channels: features of both images at this level.
        dim: 2 or 3.
        heads: of the attention.
        head_channels: width of a head.
        hidden: width of the convolutional head.
        radius: of the attention, in units of the scale.
        direct: sum of the :math:`\alpha_h` at the start; 0 leaves the direct term out.
        matcher: whether queries and keys start tied and are compared by direction; otherwise the plain operator of Eq. 4-7.
        affine: whether the points move together.

    Reference:
        Sideri-Lampretsa, Stolt-Ansó et al., arXiv 2412.13294, Eq. 4-7 and Appendix 6.
    """

    def __init__(
        self,
        channels: int,
        dim: int,
        heads: int = 2,
        head_channels: int = 8,
        hidden: int = 32,
        radius: float = 2.0,
        direct: float = DIRECT,
        matcher: bool = True,
        affine: bool = False,
    ) -> None:
        super().__init__()
        self.radius, self.matcher, self.affine, self.dim = radius, matcher, affine, dim
        self.attention = NeighborAttention(
            channels, heads * head_channels, dim, heads=heads, radius=radius, cosine=matcher, tied=matcher,
            num_frequencies=8, bias=not matcher,
        )  # fmt: skip
        found = heads * (head_channels + (dim + 3**dim if matcher else 0))
        self.head = MotionHead(channels, found, hidden, dim, trust=affine)
        self.direct = nn.Parameter(torch.full((heads,), direct / heads)) if matcher and direct else None

    def own(self, x: Tensor, level: Level) -> Tensor:
        """The part of the head that only depends on the fixed image, ``(num_points, hidden)``."""
        return convolve(self.head.own, x, level)

    def forward(self, x: tuple[Tensor, Tensor], moving: Level, fixed: Level, place: Tensor, own: Tensor) -> Tensor:
        """How far the fixed points move on.

        Args:
            x: ``(num_moving, channels)`` and ``(num_fixed, channels)`` features.
            moving: the level of the moving image.
            fixed: the same level of the fixed image.
            place: ``(num_fixed, dim)`` where the fixed points are now, in moving space, in mm.
            own: what :meth:`own` gives.

        Returns:
            ``(num_fixed, dim)`` in mm, in moving space; zero attention where no moving point is near.
        """
        scale = fixed.scale
        found = self._find(x, moving, fixed, place)
        temperature = self.attention.log_temperature
        if temperature is None or found.offset is None or found.cost is None:
            return self._together(self.head(found.update, own, fixed), fixed)
        cost, offset = found.cost * (-temperature).exp()[:, None], found.offset.to(found.update.dtype)
        change = self.head(torch.cat([found.update, offset.flatten(1) / scale, cost.flatten(1)], 1), own, fixed)
        if self.direct is not None:
            direct = torch.einsum("h,nhd->nd", self.direct, offset)
            change = change + torch.nn.functional.pad(direct, (0, int(self.affine)))
        return self._together(change, fixed)

    def _together(self, change: Tensor, fixed: Level) -> Tensor:
        """Of an affine step the motion that the points agree on; the last column says how far to trust each."""
        if not self.affine:
            return change
        trust = (change[:, self.dim] / fixed.scale).sigmoid()
        return affine_consensus(fixed.points, change[:, : self.dim], trust * fixed.points.measure)

    def _find(self, x: tuple[Tensor, Tensor], moving: Level, fixed: Level, place: Tensor) -> AttentionOutput:
        """What every point finds; entries whose cost volumes have hats of other widths are asked one by one."""
        table = moving.window(place, fixed.points.batch, self.radius * fixed.scale)
        widths = moving.points.spacing.clamp_min(fixed.scale)
        same = torch.allclose(widths, widths[:1], rtol=SAME, atol=0.0)
        rows = [slice(None)] if same else [fixed.points.rows(b) for b in range(len(widths))]
        parts = [
            self.attention(
                (x[0], x[1][r]), (moving.points.pos, place[r]), Neighborhood(table.index[r], table.mask[r], table.num_context),
                moving.log_measure, scale=fixed.scale, spacing=width, return_offset=True, return_cost=self.matcher,
            )
            for r, width in zip(rows, widths.tolist(), strict=False)
        ]  # fmt: skip
        if same:
            return cast(AttentionOutput, parts[0])
        together: Any = [None if field[0] is None else torch.cat(field) for field in zip(*parts, strict=True)]
        return AttentionOutput(*together)


class MotionHead(nn.Module):
    r"""From what a point found to a displacement, by convolutions over its own, fixed neighbourhood.

    .. math:: s\, W \phi(C\, \phi(C_f x + C_m y))

    Where more was found than ``hidden`` channels, a linear map brings it down to them before it is convolved.

    Args:
        channels: of the fixed features x.
        found: channels of what was found, y.
        hidden: width.
        dim: 2 or 3.
        trust: whether there is one more output, how far to trust the displacement.
    """

    def __init__(self, channels: int, found: int, hidden: int, dim: int, trust: bool = False) -> None:
        super().__init__()
        self.own = ContinuousConv(channels, hidden, dim)
        self.squeeze = nn.Linear(found, hidden, bias=False) if found > hidden else nn.Identity()
        self.found = ContinuousConv(min(found, hidden), hidden, dim, bias=False)
        self.inner = ContinuousConv(hidden, hidden, dim)
        self.out = nn.Linear(hidden, dim + trust)
        nn.init.normal_(self.out.weight, std=1e-3)
        nn.init.zeros_(self.out.bias)

    def forward(self, y: Tensor, own: Tensor, level: Level) -> Tensor:
        """Displacements ``(num_points, dim)`` in mm.

        Args:
            y: ``(num_points, found)``.
            own: :math:`C_f x`, ``(num_points, hidden)``.
            level: of the points.
        """
        inner = leaky_relu(own + convolve(self.found, self.squeeze(y), level), SLOPE)
        inner = leaky_relu(convolve(self.inner, inner, level), SLOPE)
        change: Tensor = level.scale * self.out(inner)
        return change


class WarpedFeatures(nn.Module):
    r"""The step of the paper's ablation: the moving features are resampled where the points are, and compared there.

    Has the interface of :class:`Refine`; there is no attention, the head sees :math:`[x, \hat f(T(x))]` with the moving
    features :math:`\hat f` interpolated linearly. Moving points must be on lattices.

    Args:
        channels: features of both images at this level.
        dim: 2 or 3.
        hidden: width of the convolutional head.
    """

    def __init__(self, channels: int, dim: int, hidden: int = 32) -> None:
        super().__init__()
        self.head = MotionHead(channels, channels, hidden, dim)

    def own(self, x: Tensor, level: Level) -> Tensor:
        """The part of the head that only depends on the fixed image, ``(num_points, hidden)``."""
        return convolve(self.head.own, x, level)

    def forward(self, x: tuple[Tensor, Tensor], moving: Level, fixed: Level, place: Tensor, own: Tensor) -> Tensor:
        """How far the fixed points move on; arguments as in :meth:`Refine.forward`."""
        found = sample_cloud(moving.points.with_features(x[0]), place, fixed.points.batch)
        change: Tensor = self.head(found, own, fixed)
        return change

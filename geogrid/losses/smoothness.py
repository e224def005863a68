"""What keeps a displacement smooth and unfolded, in physical units: values do not change when the spacing does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from geogrid.spatial import Grid
from geogrid.spatial.lattice import flat_index


def diffusion_loss(displacement: Tensor, grid: Grid) -> Tensor:
    r"""Mean squared derivative, :math:`\frac{1}{N}\sum_x \|\nabla u(x)\|_F^2`; no unit (mm per mm).

    Args:
        displacement: ``(..., dim, *grid.shape)`` in mm along the world axes; of several entries, the mean of their values.
        grid: where it is given, the same for all entries.
    """
    total = displacement.new_zeros(())
    for axis, spacing in enumerate(grid.spacing.tolist()):
        if grid.shape[axis] > 1:
            total = total + displacement.diff(dim=axis - grid.dim).square().sum(-1 - grid.dim).mean() / spacing**2
    return total


def bending_loss(displacement: Tensor, grid: Grid) -> Tensor:
    r"""Bending energy, :math:`\frac{1}{N}\sum_x \|\nabla^2 u(x)\|_F^2`, in 1/mm^2; zero for affine displacements.

    Args:
        displacement: ``(..., dim, *grid.shape)`` in mm along the world axes; of several entries, the mean of their values.
        grid: where it is given, the same for all entries.

    Reference:
        Rueckert et al., "Nonrigid registration using free-form deformations", IEEE TMI 1999.
    """
    total = displacement.new_zeros(())
    spacing, dim = grid.spacing.tolist(), grid.dim
    for first in range(dim):
        for second in range(dim):
            slope = displacement.diff(dim=first - dim)
            if min(slope.shape[-dim:]) > 0 and slope.shape[second - dim] > 1:
                bend = slope.diff(dim=second - dim).square().sum(-1 - dim).mean()
                total = total + bend / (spacing[first] * spacing[second]) ** 2
    return total


def smoothness_loss(
    displacement: Tensor, grid: Grid, diffusion: float, bending: float, folding: float, folding_margin: float
) -> Tensor:
    """The weighted sum of the three terms; bending energy times the squared spacing, so that none has a unit.

    Args:
        displacement: ``(..., dim, *grid.shape)`` in mm along the world axes.
        grid: where it is given.
        diffusion: weight of :func:`diffusion_loss`.
        bending: weight of :func:`bending_loss`.
        folding: weight of :func:`folding_loss`.
        folding_margin: its margin.
    """
    total = displacement.new_zeros(())
    if diffusion:
        total = total + diffusion * diffusion_loss(displacement, grid)
    if bending:
        total = total + bending * float(grid.spacing.max()) ** 2 * bending_loss(displacement, grid)
    if folding:
        total = total + folding * folding_loss(displacement, grid, folding_margin)
    return total


def folding_loss(displacement: Tensor, grid: Grid, margin: float = 0.3) -> Tensor:
    r"""Mean of :math:`\max(0, m - \det(I + \nabla u))^2` over the corners of the grid's cells; no unit.

    Two opposite corners of each cell are looked at, with the cell's own edges as derivatives.

    Args:
        displacement: ``(..., dim, *grid.shape)`` in mm along the world axes; of several entries, the mean of their values.
        grid: where it is given, the same for all entries.
        margin: the determinant :math:`m` below which a corner counts.
    """
    if min(grid.shape) < 2:
        return displacement.new_zeros(())
    frame = grid.frame.to(displacement)
    loss: Tensor = _Folding.apply(displacement, frame, grid.spacing.tolist(), margin)  # type: ignore[no-untyped-call]
    return loss


class _Folding(torch.autograd.Function):
    """Remembers only the corners below the margin, which are few. Components go first, then entries, then index axes."""

    @staticmethod
    def forward(ctx: Any, displacement: Tensor, frame: Tensor, spacing: list[float], margin: float) -> Tensor:
        dim = len(spacing)
        displacement = displacement.movedim(-1 - dim, 0)
        slopes = [displacement.diff(dim=axis - dim) / step for axis, step in enumerate(spacing)]
        slopes = [slope + frame[:, axis].reshape(-1, *[1] * (slope.dim() - 1)) for axis, slope in enumerate(slopes)]
        sign = float(torch.sign(torch.linalg.det(frame)))
        corners, value = [], displacement.new_zeros(())
        for near in (True, False):
            edges = [_at_corner(slope, axis - dim, dim, near) for axis, slope in enumerate(slopes)]
            short = (margin - sign * _volume(edges)).clamp_min_(0)
            value = value + short.square().mean() / 2
            cell: tuple[Any, ...] = short.nonzero(as_tuple=True)
            weight = -sign / short.numel() * short[cell]
            corners.append((cell, near, torch.stack([edge[:, *cell] for edge in edges]), weight))
        ctx.corners, ctx.spacing, ctx.shape = corners, spacing, displacement.shape
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        grad = grad_outputs[0].new_zeros(ctx.shape)
        dim = len(ctx.spacing)
        for cell, near, edges, weight in ctx.corners:
            if not len(weight):
                continue
            entry, corner = cell[:-dim], cell[-dim:]
            for axis, cofactor in enumerate(_cofactors(edges.unbind())):
                change = cofactor * (weight * grad_outputs[0] / ctx.spacing[axis])
                begin = [*entry, *(place if near or other == axis else place + 1 for other, place in enumerate(corner))]
                end = [place + (other == axis - dim) for other, place in enumerate(begin, start=-len(begin))]
                grad.flatten(1).index_add_(1, flat_index(begin, ctx.shape[1:]), change, alpha=-1)
                grad.flatten(1).index_add_(1, flat_index(end, ctx.shape[1:]), change)
        return grad.movedim(0, -1 - dim), None, None, None


def _at_corner(slope: Tensor, axis: int, dim: int, near: bool) -> Tensor:
    """The edge along ``axis``, one of the last ``dim``, that leaves the near (or ends in the far) corner of each cell."""
    for other in range(-dim, 0):
        if other != axis:
            slope = slope.narrow(other, 0 if near else 1, slope.shape[other] - 1)
    return slope


def _volume(edges: Sequence[Tensor]) -> Tensor:
    """Determinant of the edges, each ``(dim, ...)``."""
    return torch.stack([e * c for e, c in zip(edges[0], _cross(edges[1:]), strict=True)]).sum(0)


def _cofactors(edges: Sequence[Tensor]) -> list[Tensor]:
    """The derivative of the determinant with respect to each of ``(dim, dim, n)`` edges."""
    if len(edges) == 2:
        return [torch.stack(_cross(edges[1:])), -torch.stack(_cross(edges[:1]))]
    return [torch.stack(_cross([edges[(axis + 1) % 3], edges[(axis + 2) % 3]])) for axis in range(3)]


def _cross(edges: Sequence[Tensor]) -> list[Tensor]:
    """Components of the vector whose product with one more edge, put first, is the determinant."""
    if len(edges) == 1:
        return [edges[0][1], -edges[0][0]]
    b, c = edges
    return [torch.addcmul(b[i] * c[j], b[j], c[i], value=-1) for i, j in ((1, 2), (2, 0), (0, 1))]

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
        displacement: ``(dim, *grid.shape)`` in mm along the world axes.
        grid: where it is given.
    """
    total = displacement.new_zeros(())
    for axis, spacing in enumerate(grid.spacing.tolist()):
        if grid.shape[axis] > 1:
            total = total + displacement.diff(dim=axis + 1).square().sum(0).mean() / spacing**2
    return total


def bending_loss(displacement: Tensor, grid: Grid) -> Tensor:
    r"""Bending energy, :math:`\frac{1}{N}\sum_x \|\nabla^2 u(x)\|_F^2`, in 1/mm^2; zero for affine displacements.

    Args:
        displacement: ``(dim, *grid.shape)`` in mm along the world axes.
        grid: where it is given.

    Reference:
        Rueckert et al., "Nonrigid registration using free-form deformations", IEEE TMI 1999.
    """
    total = displacement.new_zeros(())
    spacing = grid.spacing.tolist()
    for first in range(grid.dim):
        for second in range(grid.dim):
            slope = displacement.diff(dim=first + 1)
            if min(slope.shape[1:]) > 0 and slope.shape[second + 1] > 1:
                total = total + slope.diff(dim=second + 1).square().sum(0).mean() / (spacing[first] * spacing[second]) ** 2
    return total


def folding_loss(displacement: Tensor, grid: Grid, margin: float = 0.3) -> Tensor:
    r"""Mean of :math:`\max(0, m - \det(I + \nabla u))^2` over the corners of the grid's cells; no unit.

    Two opposite corners of each cell are looked at, with the cell's own edges as derivatives.

    Args:
        displacement: ``(dim, *grid.shape)`` in mm along the world axes.
        grid: where it is given.
        margin: the determinant :math:`m` below which a corner counts.
    """
    if min(grid.shape) < 2:
        return displacement.new_zeros(())
    frame = grid.frame.to(displacement)
    loss: Tensor = _Folding.apply(displacement, frame, grid.spacing.tolist(), margin)  # type: ignore[no-untyped-call]
    return loss


class _Folding(torch.autograd.Function):
    """Remembers only the corners below the margin, which are few."""

    @staticmethod
    def forward(ctx: Any, displacement: Tensor, frame: Tensor, spacing: list[float], margin: float) -> Tensor:
        slopes = [displacement.diff(dim=axis + 1) / step for axis, step in enumerate(spacing)]
        slopes = [slope + frame[:, axis].reshape(-1, *[1] * len(spacing)) for axis, slope in enumerate(slopes)]
        sign = float(torch.sign(torch.linalg.det(frame)))
        corners, value = [], displacement.new_zeros(())
        for near in (True, False):
            edges = [_at_corner(slope, axis, near) for axis, slope in enumerate(slopes)]
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
        for cell, near, edges, weight in ctx.corners:
            for axis, cofactor in enumerate(_cofactors(edges.unbind())):
                change = cofactor * (weight * grad_outputs[0] / ctx.spacing[axis])
                begin = [place if near or other == axis else place + 1 for other, place in enumerate(cell)]
                end = [place + (other == axis) for other, place in enumerate(begin)]
                grad.flatten(1).index_add_(1, flat_index(begin, ctx.shape[1:]), change, alpha=-1)
                grad.flatten(1).index_add_(1, flat_index(end, ctx.shape[1:]), change)
        return grad, None, None, None


def _at_corner(slope: Tensor, axis: int, near: bool) -> Tensor:
    """The edge along ``axis`` that leaves the near (or ends in the far) corner of each cell."""
    for other in range(1, slope.dim()):
        if other != axis + 1:
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

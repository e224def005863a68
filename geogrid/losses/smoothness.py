"""What keeps a displacement smooth and unfolded, in physical units: values do not change when the spacing does."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.spatial import Grid


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
    total = displacement.new_zeros(())
    for near in (True, False):
        edges = [
            _at_corner(displacement.diff(dim=axis + 1) / spacing, axis, near) + frame[:, axis].reshape(-1, *[1] * grid.dim)
            for axis, spacing in enumerate(grid.spacing.tolist())
        ]
        total = total + (margin - _volume(edges) * torch.sign(torch.linalg.det(frame))).clamp_min(0).square().mean()
    return total / 2


def _at_corner(slope: Tensor, axis: int, near: bool) -> Tensor:
    """The edge along ``axis`` that leaves the near (or ends in the far) corner of each cell."""
    for other in range(1, slope.dim()):
        if other != axis + 1:
            slope = slope.narrow(other, 0 if near else 1, slope.shape[other] - 1)
    return slope


def _volume(edges: list[Tensor]) -> Tensor:
    if len(edges) == 2:
        a, b = edges
        return a[0] * b[1] - a[1] * b[0]
    a, b, c = edges
    normal: Tensor = torch.linalg.cross(a, b, dim=0)
    return (normal * c).sum(0)

"""Numerical inverses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.spatial import Grid
from geogrid.spatial.lattice import inherit
from geogrid.transforms.affine import AffineTransform
from geogrid.transforms.displacement import DisplacementField
from geogrid.transforms.fit import fit_affine
from geogrid.transforms.transform import Transform

COARSE = 4
"""Grid points from one first guess of the inverse to the next."""


@dataclass(frozen=True, eq=False)
class Inverse:
    """Points and how well they invert a transform.

    Args:
        points: ``(num_points, dim)`` world mm, such that ``transform(points)`` is what was asked for.
        residual: ``(num_points,)`` distance in mm that is left.
    """

    points: Tensor
    residual: Tensor


def invert_points(
    transform: Transform,
    points: Tensor,
    affine: AffineTransform,
    tolerance: float = 1e-3,
    max_iterations: int = 50,
    start: Tensor | None = None,
) -> Inverse:
    r"""Finds the points that a transform sends to the given ones.

    Fixed-point steps :math:`x \leftarrow x - A^{-1}(T(x) - y)`, with :math:`A` an affine map near :math:`T`; the step of a
    point is halved whenever its residual grows. Points that still miss get damped Newton steps with a finite-difference
    derivative.

    Args:
        transform: the map :math:`T`; continuous, so ``outside="extend"`` for fields.
        points: ``(num_points, dim)`` world mm.
        affine: an affine map near ``transform`` (see :func:`fit_affine`).
        tolerance: residual in mm at which a point is done.
        max_iterations: bound on each of the two stages.
        start: ``(num_points, dim)`` first guess; default the inverse of ``affine``.

    Returns:
        The points and their residuals.
    """
    linear = torch.linalg.inv(affine.linear).to(points)
    start = affine.inverse()(points) if start is None else start
    found = _descend(transform, points, start, lambda x, miss: miss @ linear.T, tolerance, max_iterations)
    missing = (found.residual > tolerance).nonzero()[:, 0]
    if len(missing) == 0:
        return found

    def newton(x: Tensor, miss: Tensor) -> Tensor:
        solution: Tensor = torch.linalg.solve(_derivative(transform, x) + 1e-4 * torch.eye(x.shape[1]).to(x), miss)
        return solution

    again = _descend(transform, points[missing], found.points[missing], newton, tolerance, max_iterations)
    better = again.residual < found.residual[missing]
    found.points[missing[better]] = again.points[better]
    found.residual[missing[better]] = again.residual[better]
    return found


def _descend(
    transform: Transform,
    wanted: Tensor,
    points: Tensor,
    direction: Callable[[Tensor, Tensor], Tensor],
    tolerance: float,
    max_iterations: int,
) -> Inverse:
    """Follows ``direction`` point by point, with a step that is halved where the residual grows."""
    miss = transform(points) - wanted
    residual = miss.norm(dim=1)
    rate = torch.ones_like(residual)
    points = points.clone()
    for _ in range(max_iterations):
        active = ((residual > tolerance) & (rate > 1e-3)).nonzero()[:, 0]
        if len(active) == 0:
            break
        trial = points[active] - rate[active, None] * direction(points[active], miss[active])
        trial_miss = transform(trial) - wanted[active]
        trial_residual = trial_miss.norm(dim=1)
        better = trial_residual < residual[active]
        taken = active[better]
        points[taken], miss[taken], residual[taken] = trial[better], trial_miss[better], trial_residual[better]
        rate[active] = torch.where(better, (rate[active] * 1.5).clamp_max(1), rate[active] / 2)
    return Inverse(points, residual)


def _derivative(transform: Transform, points: Tensor, step: float = 0.05) -> Tensor:
    columns = []
    for axis in range(points.shape[1]):
        offset = torch.zeros_like(points)
        offset[:, axis] = step
        columns.append((transform(points + offset) - transform(points - offset)) / (2 * step))
    return torch.stack(columns, -1)


def invert(
    transform: Transform, grid: Grid, domain: Grid, device: torch.device | str = "cpu"
) -> tuple[DisplacementField, Tensor]:
    """The inverse of a transform as a displacement on a grid of the space it maps into.

    Args:
        transform: maps fixed-space points to moving space; continuous (``outside="extend"``).
        grid: grid of the result, usually the moving image's.
        domain: where the transform is known, usually the fixed image's grid.
        device: where to compute.

    Returns:
        The displacement field, and the residual in mm, ``(*grid.shape)``, NaN where the inverse lies outside ``domain``.
    """
    points = grid.points(device)
    affine = fit_affine(transform, domain)
    found = invert_points(transform, points, affine, start=points + _coarse_inverse(transform, grid, affine, device))
    inside = DisplacementField(torch.zeros(*domain.shape, domain.dim), domain).contains(found.points)
    residual = torch.where(inside, found.residual, torch.nan)
    return DisplacementField((found.points - points).reshape(*grid.shape, grid.dim), grid), residual.reshape(grid.shape)


def _coarse_inverse(transform: Transform, grid: Grid, affine: AffineTransform, device: torch.device | str) -> Tensor:
    """The inverse's displacement of every grid point, interpolated from cells of ``COARSE`` points along each axis."""
    cells = grid.pool((COARSE,) * grid.dim)
    points = cells.points(device)
    moved = (invert_points(transform, points, affine).points - points).T.reshape(grid.dim, *cells.shape)
    return inherit(moved, cells, grid).flatten(1).T

"""Smooth deformations of a stated size that do not fold."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from geogrid.spatial import Grid
from geogrid.transforms import DisplacementField
from geogrid.transforms.jacobian import determinant

_STEP = 0.4
_SHRINK = 0.8


def smooth_deformation(velocity: Tensor, grid: Grid, points: Tensor, rms: float, min_determinant: float) -> DisplacementField:
    r"""The flow of a velocity, scaled so that its displacement has a stated size.

    :math:`\phi = (id + a v / 2^n)^{2^n}`, by squaring n times. n is such that each step has a Lipschitz constant below 0.4 and
    is a bijection; the amplitude a is searched for the stated size. The result is a field on the grid, linear in between, whose
    Jacobian determinant is checked at every corner of every cell and which is scaled down until it passes.

    Args:
        velocity: ``(dim, *grid.shape)``.
        grid: of the velocity and of the result.
        points: ``(num_points, dim)`` over which the size is taken, mm.
        rms: root mean square length of the displacement at these points, mm; less where the determinant asks for it.
        min_determinant: below 1.

    Returns:
        The field; beyond its grid the displacement at the border goes on.
    """
    steep = _steepness(velocity, grid)
    amplitude, displacement = rms / _size(velocity), velocity
    for _ in range(2):
        displacement = _flow(velocity * amplitude, grid, steep * amplitude)
        amplitude *= rms / max(_size(displacement), 1e-30)
    moved = _field(displacement, grid)(points) - points
    displacement = displacement * (rms / max(_size(moved.T), 1e-30))
    while least_determinant(_field(displacement, grid)) < min_determinant:
        amplitude *= _SHRINK
        displacement = _flow(velocity * amplitude, grid, steep * amplitude)
    return _field(displacement, grid)


def least_determinant(field: DisplacementField) -> float:
    """The least Jacobian determinant at the corners of the cells of a field, derivatives taken inside the cell.

    A field is multilinear in a cell; in 2-D its determinant there is linear, so the corners tell the least value of all.
    """
    grid, dim = field.grid, field.dim
    to_index = torch.linalg.inv(grid.affine[:-1, :-1]).to(field.displacement)
    edges = [field.displacement.diff(dim=axis) for axis in range(dim)]
    least = []
    for corner in itertools.product((0, 1), repeat=dim):
        columns = [_at_corner(edge, axis, corner) for axis, edge in enumerate(edges)]
        derivative = torch.stack(columns, -1) @ to_index + torch.eye(dim).to(to_index)
        least.append(determinant(derivative).min())
    return float(torch.stack(least).min())


def _at_corner(edge: Tensor, axis: int, corner: tuple[int, ...]) -> Tensor:
    """Differences along one axis at one corner of every cell."""
    for other, side in enumerate(corner):
        if other != axis:
            edge = edge.narrow(other, side, edge.shape[other] - 1)
    return edge


def _field(displacement: Tensor, grid: Grid) -> DisplacementField:
    return DisplacementField(displacement.movedim(0, -1), grid, outside="extend")


def _flow(velocity: Tensor, grid: Grid, steep: float) -> Tensor:
    """The displacement of the flow, ``(dim, *shape)``."""
    squarings = max(0, math.ceil(math.log2(max(steep, 1e-30) / _STEP)))
    displacement = velocity * 0.5**squarings
    start = grid.points(velocity.device)
    for _ in range(squarings):
        twice = _field(displacement, grid)(start + displacement.flatten(1).T) - start
        displacement = twice.T.reshape(displacement.shape)
    return displacement


def _steepness(velocity: Tensor, grid: Grid) -> float:
    """A bound on the Lipschitz constant: the Frobenius norm of the steepest derivative of each axis."""
    slopes = [velocity.diff(dim=axis + 1).square().sum(0).max() / step**2 for axis, step in enumerate(grid.spacing.tolist())]
    return math.sqrt(float(torch.stack(slopes).sum()))


def _size(displacement: Tensor) -> float:
    """Root mean square length of ``(dim, ...)`` vectors."""
    return math.sqrt(float(displacement.square().sum(0).mean()))

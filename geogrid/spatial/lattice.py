"""The order of lattice points, and from one lattice to another: linear interpolation and smoothing, a matrix per axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial.grid import Grid, kept


def flat_index(index: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """Places of lattice points in C order, ``(i * shape[1] + j) * shape[2] + k`` in 3-D: the order of ``grid.points()``.

    Linear in the index, so it also gives how far apart in this order points are that differ by an offset.

    Args:
        index: one integer tensor per axis, all of one shape; not checked against the lattice's shape.
        shape: of the lattice.
    """
    flat = torch.zeros_like(index[0])
    for place, size in zip(index, shape, strict=True):
        flat = flat * size + place
    return flat


def inheritance_matrices(parents: Grid, children: Grid) -> list[Tensor]:
    """Matrices that carry values from a lattice of parents to a lattice of children by linear interpolation.

    Beyond the outermost parents the values are extrapolated linearly, so a field that is affine in space stays exactly affine
    on all children; further than one parent spacing away it goes on as a constant. An axis with a single parent is constant.

    Args:
        parents: the coarse lattice.
        children: the fine lattice; its axes must be parallel to the parents' (any spacing and offset).

    Returns:
        One ``(num_children_along_axis, num_parents_along_axis)`` float32 matrix per axis.

    Raises:
        GeogridError: when the axes are not parallel.
    """
    return list(_inheritance_matrices(parents, children))


@kept
def _inheritance_matrices(parents: Grid, children: Grid) -> tuple[Tensor, ...]:
    to_parent = parents.to_index @ children.affine
    linear = to_parent[:-1, :-1]
    if (linear - torch.diag(linear.diagonal())).abs().max() > 1e-4:
        raise GeogridError("lattice interpolation: expected lattices with parallel axes, got rotated ones")
    return tuple(
        linear_matrix(num_parents, linear[d, d] * torch.arange(num_children, dtype=torch.float64) + to_parent[d, -1])
        for d, (num_parents, num_children) in enumerate(zip(parents.shape, children.shape, strict=True))
    )


def linear_matrix(num_parents: int, position: Tensor) -> Tensor:
    """Weights of linear interpolation, with extrapolation, at float64 positions in parent indices: rows sum to one."""
    matrix = torch.zeros(len(position), num_parents, dtype=torch.float64)
    rows = torch.arange(len(position))
    position = position.clamp(-1, num_parents)
    left = position.floor().clamp(0, max(num_parents - 2, 0)).long()
    right = (left + 1).clamp_max(num_parents - 1)
    share = position - left if num_parents > 1 else torch.zeros_like(position)
    matrix[rows, left] += 1 - share
    matrix[rows, right] += share
    return matrix.float()


def smoothing_matrix(num_points: int) -> Tensor:
    """Weights (1, 2, 1) / 4 along an axis; at the ends the missing neighbour is replaced by the end point."""
    matrix = torch.zeros(num_points, num_points)
    rows = torch.arange(num_points)
    for offset, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
        matrix[rows, (rows + offset).clamp(0, num_points - 1)] += weight
    return matrix


def apply_per_axis(matrices: Sequence[Tensor], values: Tensor) -> Tensor:
    """Multiplies channel-first lattice values ``(channels, *shape)`` by one matrix per axis; differentiable in the values.

    The last axis goes first, while the values are few. ``einsum`` lays the middle axis out for one large product, where
    ``matmul`` would make one small product per row.
    """
    values = values @ matrices[-1].T
    if len(matrices) == 3:
        values = torch.einsum("ij,cajb->caib", matrices[1], values)
    return (matrices[0] @ values.flatten(2)).reshape(values.shape[0], -1, *values.shape[2:])


def inherit(values: Tensor, parents: Grid, children: Grid) -> Tensor:
    """Channel-first values ``(channels, *parents.shape)`` carried to the children, ``(channels, *children.shape)``.

    Linear between parents, extrapolated beyond them as in :func:`inheritance_matrices`; the axes must be parallel.
    """
    return apply_per_axis([matrix.to(values) for matrix in inheritance_matrices(parents, children)], values)


def place_children(matrices: Sequence[Tensor], values: Tensor, base: Tensor) -> Tensor:
    """Positions of children, point by point: ``base`` plus the parents' channel-first values carried to the children.

    The same sums as :func:`apply_per_axis`, ordered so that the result comes out with a point's coordinates side by side.

    Args:
        matrices: one per axis (:func:`inheritance_matrices`).
        values: ``(channels, *parents)``.
        base: ``(num_children, channels)``.

    Returns:
        ``(num_children, channels)``; differentiable in the values.
    """
    values = (values @ matrices[-1].T).movedim(0, -1)
    if len(matrices) == 3:
        values = matrices[1] @ values.flatten(2)
    return torch.addmm(base.reshape(len(matrices[0]), -1), matrices[0], values.reshape(len(values), -1)).view(base.shape)

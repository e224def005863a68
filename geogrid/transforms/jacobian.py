"""How a transform changes volume."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.transforms.displacement import DisplacementField


def jacobian_determinant(field: DisplacementField) -> Tensor:
    r"""Determinant of the derivative of :math:`x \mapsto x + u(x)` at the points of its grid, in physical units.

    Derivatives are central differences in mm (one-sided at the border; zero along an axis with one point), so the value does
    not depend on spacing, orientation or storage. 1 keeps volume, 0.5 halves it, a value <= 0 means that space folds.

    Returns:
        ``(*grid.shape)``.
    """
    dim, grid = field.dim, field.grid
    gradient = torch.zeros(*grid.shape, dim, dim, dtype=field.displacement.dtype, device=field.displacement.device)
    for axis in range(dim):
        if grid.shape[axis] > 1:
            gradient[..., axis] = torch.gradient(field.displacement, dim=axis)[0]
    to_index = torch.linalg.inv(grid.affine[:-1, :-1]).to(gradient)
    derivative = gradient @ to_index + torch.eye(dim).to(gradient)
    return determinant(derivative)


def determinant(matrix: Tensor) -> Tensor:
    """Written out: LAPACK takes ten times longer on millions of tiny matrices."""
    if matrix.shape[-1] == 2:
        return matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]
    normal: Tensor = torch.linalg.cross(matrix[..., 0], matrix[..., 1])
    return (normal * matrix[..., 2]).sum(-1)

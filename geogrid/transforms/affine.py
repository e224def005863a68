"""Affine maps of the world."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial import map_points


@dataclass(frozen=True, eq=False)
class AffineTransform:
    r"""The affine map :math:`x \mapsto A x + t` of world points in mm.

    Args:
        matrix: ``(dim + 1, dim + 1)`` homogeneous matrix; kept in float64 on the CPU.

    Raises:
        GeogridError: when the matrix has another shape, is not finite or is singular.

    Example:
        >>> shift = AffineTransform(torch.tensor([[1.0, 0.0, 5.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
        >>> shift.inverse()(shift(torch.tensor([[1.0, 2.0]])))
        tensor([[1., 2.]])
    """

    matrix: Tensor

    def __post_init__(self) -> None:
        matrix = torch.as_tensor(self.matrix).detach().to("cpu", torch.float64).clone()
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] not in (3, 4):
            raise GeogridError(f"affine transform: expected a 3x3 or 4x4 matrix, got shape {tuple(matrix.shape)}")
        linear = matrix[:-1, :-1]
        least = 1e-9 * min(1.0, float(linear.norm(dim=0).prod()))
        if not torch.isfinite(matrix).all() or abs(float(torch.linalg.det(linear))) <= least:
            raise GeogridError("affine transform: expected an invertible matrix, got a singular or non-finite one")
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls, dim: int) -> AffineTransform:
        """The map that moves nothing."""
        return cls(torch.eye(dim + 1, dtype=torch.float64))

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        return self.matrix.shape[0] - 1

    @property
    def linear(self) -> Tensor:
        """The linear part, ``(dim, dim)`` float64."""
        return self.matrix[:-1, :-1]

    def __call__(self, points: Tensor) -> Tensor:
        """Maps ``(num_points, dim)`` world points in mm."""
        return map_points(self.matrix, points)

    def inverse(self) -> AffineTransform:
        """The inverse map, exact."""
        return AffineTransform(torch.linalg.inv(self.matrix))

"""Two sides of a border that slip past each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.errors import GeogridError


@dataclass(frozen=True, eq=False)
class SlidingMotion:
    r"""Half of space slips along a plane one way, the other half the other way: :math:`x \mapsto x + s(x)\, t\, m / 2`.

    :math:`s(x) = \pm 1` says on which side of the plane x lies, the unit vector t lies in the plane, m is the slip. Each half
    is mapped onto itself by a shift along the border, so the map is a bijection, keeps volume, and jumps only at the border.

    Args:
        point: ``(dim,)`` a point of the border, mm.
        normal: ``(dim,)`` unit vector across the border.
        tangent: ``(dim,)`` unit vector along which the sides slip.
        slip: mm between the displacements of the two sides.

    Raises:
        GeogridError: when normal and tangent are not orthogonal unit vectors.
    """

    point: Tensor
    normal: Tensor
    tangent: Tensor
    slip: float

    def __post_init__(self) -> None:
        both = torch.stack([self.normal, self.tangent]).double()
        if (both @ both.T - torch.eye(2, dtype=torch.float64)).abs().max() > 1e-6:
            raise GeogridError(f"normal, tangent: expected orthogonal unit vectors, got {self.normal}, {self.tangent}")

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        return len(self.point)

    def distance(self, points: Tensor) -> Tensor:
        """Signed distance in mm of ``(num_points, dim)`` points to the border, positive on the side the normal points to."""
        return (points - self.point.to(points)) @ self.normal.to(points)

    def __call__(self, points: Tensor) -> Tensor:
        """Maps ``(num_points, dim)`` world points in mm; points on the border go with the side the normal points to."""
        side = torch.where(self.distance(points) >= 0, 0.5, -0.5).to(points)
        return points + side[:, None] * (self.slip * self.tangent.to(points))

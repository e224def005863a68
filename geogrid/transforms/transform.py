"""What every transform is: a map of world points, in mm."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Transform(Protocol):
    """A map of fixed-space points to moving space (pull-back, as ITK and ANTs), world mm, RAS+.

    It warps a moving image onto the fixed grid directly and carries *fixed* landmarks to the moving image.
    """

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        ...

    def __call__(self, points: Tensor) -> Tensor:
        """Maps ``(num_points, dim)`` world points in mm to ``(num_points, dim)``."""
        ...

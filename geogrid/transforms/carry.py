"""Points carried by a transform, either way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.transforms.displacement import DisplacementField
from geogrid.transforms.fit import fit_affine
from geogrid.transforms.inverse import invert_points
from geogrid.transforms.kernel import KernelTransform


@dataclass(frozen=True, eq=False)
class CarriedPoints:
    """Points carried by a transform.

    Args:
        points: ``(num_points, dim)`` world mm, where they are now.
        num_outside: how many stayed where they were: they lie outside the field's grid or, with ``inverse``, come from there or
            from a place that was not found.
    """

    points: Tensor
    num_outside: int


@dataclass(frozen=True, eq=False)
class InverseTransform:
    """The inverse of a smooth map, found anew for the points it is called with.

    Args:
        forward: the map to invert.

    Example:
        >>> from geogrid.transforms import AffineTransform
        >>> shift = AffineTransform(torch.tensor([[1.0, 0.0, 5.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
        >>> none = torch.zeros(0, 2)
        >>> InverseTransform(KernelTransform(shift, none, none, (1.0,), (1.0,)))(torch.tensor([[5.0, 2.0]]))
        tensor([[0., 2.]])
    """

    forward: KernelTransform

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        return self.forward.dim

    def __call__(self, points: Tensor) -> Tensor:
        """The points that the forward map sends nearest to ``(num_points, dim)`` world points in mm."""
        return self.forward.inverse_of(points).points


def carry_points(
    transform: DisplacementField | KernelTransform, points: Tensor, inverse: bool = False, tolerance: float = 0.01
) -> CarriedPoints:
    """Carries points by a transform or, with ``inverse``, finds the points that the transform carries there.

    Args:
        transform: fixed points to moving space.
        points: ``(num_points, dim)`` world mm.
        inverse: carry moving points to fixed space instead.
        tolerance: a point whose inverse misses by more than this many mm (kernels: finest widths) counts as outside.
    """
    if isinstance(transform, KernelTransform):
        return _carry_by_kernels(transform, points, inverse, tolerance)
    if not inverse:
        return CarriedPoints(transform(points), int((~transform.contains(points)).sum()))
    smooth = DisplacementField(transform.displacement.to(points), transform.grid, outside="extend")
    found = invert_points(smooth, points, fit_affine(smooth, transform.grid), tolerance=min(1e-4, tolerance))
    known = transform.contains(found.points) & (found.residual <= tolerance)
    return CarriedPoints(torch.where(known[:, None], found.points, points), int((~known).sum()))


def _carry_by_kernels(transform: KernelTransform, points: Tensor, inverse: bool, tolerance: float) -> CarriedPoints:
    if not inverse:
        return CarriedPoints(transform(points), 0)
    found = transform.inverse_of(points, min(1e-4, tolerance))
    known = found.residual <= tolerance * min(transform.widths)
    return CarriedPoints(torch.where(known[:, None], found.points, points), int((~known).sum()))

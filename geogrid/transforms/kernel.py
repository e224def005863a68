"""Smooth maps that are defined everywhere: affine plus a sum of Gaussian kernels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial import Grid
from geogrid.transforms.affine import AffineTransform
from geogrid.transforms.displacement import DisplacementField
from geogrid.transforms.inverse import Inverse, invert_points

CHUNK_ENTRIES = 2**22
"""Entries of the table points x centers that are held at once."""


@dataclass(frozen=True, eq=False)
class KernelTransform:
    r"""An affine map plus Gaussian kernels of several widths around control points, plus detail on a lattice.

    .. math:: T(x) = A x + t + \sum_c k(|x - c|)\, \alpha_c + u(x), \qquad k(r) = \sum_w a_w \exp(-r^2 / 2 l_w^2)

    Far from all control points only the affine part is left, and what detail has at its border. Kernels depend on distances
    alone, so a rigid motion of the world turns centers and coefficients and changes nothing else.

    Args:
        affine: the affine part.
        centers: ``(num_centers, dim)`` control points in mm.
        coefficients: ``(num_centers, dim)`` the :math:`\alpha_c` in mm.
        widths: the :math:`l_w` in mm, above 0.
        amplitudes: the :math:`a_w`, one per width; not negative.
        detail: the displacement :math:`u` of dense clouds, which goes on beyond its border; None: there is none.

    Raises:
        GeogridError: when the parts do not fit each other.

    Example:
        >>> bump = KernelTransform(AffineTransform.identity(2), torch.zeros(1, 2), torch.tensor([[3.0, 0.0]]), (10.0,), (1.0,))
        >>> bump(torch.tensor([[0.0, 0.0], [100.0, 0.0]]))
        tensor([[  3.,   0.],
                [100.,   0.]])
    """

    affine: AffineTransform
    centers: Tensor
    coefficients: Tensor
    widths: tuple[float, ...]
    amplitudes: tuple[float, ...]
    detail: DisplacementField | None = None

    def __post_init__(self) -> None:
        if self.centers.dim() != 2 or self.centers.shape[1] != self.affine.dim or self.coefficients.shape != self.centers.shape:
            raise GeogridError(
                f"kernel transform: expected centers and coefficients of shape (num_centers, {self.affine.dim}), got "
                f"{tuple(self.centers.shape)} and {tuple(self.coefficients.shape)}"
            )
        positive = all(w > 0 for w in self.widths) and all(a >= 0 for a in self.amplitudes)
        if not self.widths or len(self.widths) != len(self.amplitudes) or not positive:
            raise GeogridError(
                f"kernel transform: expected positive widths and as many amplitudes, got {self.widths} and {self.amplitudes}"
            )

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        return self.affine.dim

    def __call__(self, points: Tensor) -> Tensor:
        """Maps ``(num_points, dim)`` world points in mm."""
        if not len(points) or (not len(self.centers) and self.detail is None):
            return self.affine(points)
        moved = self.affine(points.double())
        if self.detail is not None:
            moved = moved + (self.detail(points.double()) - points.double())
        if not len(self.centers):
            return moved.to(points.dtype)
        centers, coefficients = (part.to(points.device, torch.float64) for part in (self.centers, self.coefficients))
        rows = max(1, CHUNK_ENTRIES // len(centers))
        bumps = [kernel(part, centers, self.widths, self.amplitudes) @ coefficients for part in points.double().split(rows)]
        return (moved + torch.cat(bumps)).to(points.dtype)

    def inverse_of(self, points: Tensor, tolerance: float = 1e-4) -> Inverse:
        """The points that the transform sends to the given ones.

        Args:
            points: ``(num_points, dim)`` places in moving space, in mm.
            tolerance: residual at which a point is done, in units of the finest width.

        Returns:
            The points and the distances by which they miss, in mm of fixed space.
        """
        unit = min(self.widths)
        size = float(torch.linalg.det(self.affine.linear).abs()) ** (1 / self.dim) or 1.0
        scaled = self.scaled(1 / unit).into_unit(1 / size)
        found = invert_points(scaled, points.double() / (unit * size), scaled.affine, tolerance)
        return Inverse((found.points * unit).to(points.dtype), (found.residual * unit).to(points.dtype))

    def scaled(self, factor: float) -> KernelTransform:
        """The same map in a world whose unit of length is another: ``scaled(f)(f x) == f self(x)``."""
        matrix = self.affine.matrix.clone()
        matrix[:-1, -1] *= factor
        return replace(
            self,
            affine=AffineTransform(matrix),
            centers=self.centers * factor,
            coefficients=self.coefficients * factor,
            widths=tuple(width * factor for width in self.widths),
            detail=_moved(self.detail, factor, torch.zeros(self.dim, dtype=torch.float64)),
        )

    def into_unit(self, factor: float) -> KernelTransform:
        """The same map into a moving space whose unit of length is another: ``into_unit(f)(x) == f self(x)``."""
        matrix = self.affine.matrix.clone()
        matrix[:-1] *= factor
        detail = self.detail and replace(self.detail, displacement=self.detail.displacement * factor)
        return replace(self, affine=AffineTransform(matrix), coefficients=self.coefficients * factor, detail=detail)

    def shifted(self, offset: Tensor) -> KernelTransform:
        """The same map in a world that is shifted: ``shifted(o)(x + o) == self(x) + o``."""
        offset = offset.detach().to("cpu", torch.float64)
        matrix = self.affine.matrix.clone()
        matrix[:-1, -1] += offset - matrix[:-1, :-1] @ offset
        centers, detail = self.centers + offset.to(self.centers), _moved(self.detail, 1.0, offset)
        return replace(self, affine=AffineTransform(matrix), centers=centers, detail=detail)

    def to(self, device: torch.device | str) -> KernelTransform:
        """The transform with its control points on ``device``."""
        return replace(self, centers=self.centers.to(device), coefficients=self.coefficients.to(device))


def kernel(points: Tensor, centers: Tensor, widths: tuple[float, ...], amplitudes: tuple[float, ...]) -> Tensor:
    r""":math:`\sum_w a_w \exp(-|x_i - c_j|^2 / 2 l_w^2)`, ``(num_points, num_centers)``."""
    squared = torch.cdist(points, centers, compute_mode="donot_use_mm_for_euclid_dist").square_()
    total = torch.zeros_like(squared)
    for width, amplitude in zip(widths, amplitudes, strict=True):
        total.add_(torch.mul(squared, -0.5 / width**2).exp_(), alpha=amplitude)
    return total


def _moved(detail: DisplacementField | None, factor: float, offset: Tensor) -> DisplacementField | None:
    """Detail in a world that is scaled, then shifted."""
    if detail is None:
        return None
    affine = detail.grid.affine.clone()
    affine[:-1] *= factor
    affine[:-1, -1] += offset
    return replace(detail, displacement=detail.displacement * factor, grid=Grid(detail.grid.shape, affine))

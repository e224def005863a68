"""The smoothest map through weighted matches: posterior mean of affine plus Gaussian kernels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from scipy.linalg.blas import dsyrk
from torch import Tensor

from geogrid.optimize.points.pins import Pins
from geogrid.transforms import AffineTransform, KernelTransform
from geogrid.transforms.kernel import kernel

SHIFT_PRECISION = 1e-3
"""Prior precision of the shift, per square of the unit: it is almost free."""
LINEAR_PRECISION = 4.0
"""Prior precision of each entry of the linear part around the identity: a handful of points cannot flatten space."""


def gram(rows: Tensor) -> Tensor:
    """The lower triangle of ``rows.T @ rows``, float64; what is above it is 0. Half the work of the product."""
    return torch.from_numpy(dsyrk(1.0, rows.numpy().T, lower=1))


def moments(basis: Tensor, displacement: Tensor, precision: Tensor) -> tuple[Tensor, Tensor]:
    r"""The lower triangle of :math:`B^\top W B`, and :math:`B^\top W d`, in one product."""
    columns, root = basis.shape[1], precision.sqrt()[:, None]
    rows = basis.new_empty(len(basis), columns + displacement.shape[1])
    torch.mul(basis, root, out=rows[:, :columns])
    torch.mul(displacement, root, out=rows[:, columns:])
    both = gram(rows)
    return both[:columns, :columns], both[columns:, :columns].T


@dataclass(frozen=True, eq=False)
class SmoothFit:
    r"""Maps that are affine plus a Gaussian process seen through control points.

    The displacement is :math:`u(x) = B(x) \theta` with :math:`B = [1, x, k(x, c)]`. With prior
    precision :math:`P = \mathrm{diag}(\epsilon_0, \epsilon_1 I, K_{cc})` and matches :math:`t_i` of precision :math:`w_i` the
    posterior mean is

    .. math:: \theta = (B^\top W B + P)^{-1} B^\top W (t - x) .

    Args:
        centers: ``(num_centers, dim)`` control points; none: an affine map.
        widths: of the kernels.
        amplitudes: prior standard deviation of the displacement of each width.
        pins: places whose partners are known; None: there are none.

    Reference:
        Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, Sec. 8.3.4 (subset of regressors).
    """

    centers: Tensor
    widths: tuple[float, ...]
    amplitudes: tuple[float, ...]
    pins: Pins | None = None

    @cached_property
    def precision(self) -> Tensor:
        """The prior precision :math:`P`."""
        dim, count = self.centers.shape[1], len(self.centers)
        matrix = torch.zeros(dim + 1 + count, dim + 1 + count, dtype=torch.float64)
        matrix[0, 0] = SHIFT_PRECISION
        matrix[1 : dim + 1, 1 : dim + 1] = LINEAR_PRECISION * torch.eye(dim, dtype=torch.float64)
        if count:
            variance = sum(a * a for a in self.amplitudes)
            matrix[dim + 1 :, dim + 1 :] = self.kernel(self.centers) + 1e-6 * variance * torch.eye(count, dtype=torch.float64)
        return matrix

    def kernel(self, points: Tensor) -> Tensor:
        """Prior covariance of points and centers."""
        return kernel(points, self.centers, self.widths, tuple(a * a for a in self.amplitudes))

    def basis(self, points: Tensor) -> Tensor:
        """The rows :math:`B(x)`."""
        parts = [torch.ones(len(points), 1, dtype=points.dtype), points]
        return torch.cat([*parts, self.kernel(points)] if len(self.centers) else parts, 1)

    def solve(self, basis: Tensor, displacement: Tensor, precision: Tensor, each: float | None = None) -> Tensor:
        r"""The posterior mean :math:`\theta`, ``(num_columns, dim)``; pins have the precision ``each`` (default their own)."""
        lower, right = moments(*self.pinned(basis, displacement, precision, each))
        normal = lower + self.precision
        normal.diagonal().add_(1e-9 * normal.diagonal().mean())
        return torch.cholesky_solve(right, torch.linalg.cholesky(normal))

    def pinned(
        self, basis: Tensor, displacement: Tensor, precision: Tensor, each: float | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The rows of a fit with those of the pins below them, with the precision ``each`` (default their own)."""
        pins = self.pins
        if pins is None or not len(pins.points):
            return basis, displacement, precision
        worth = precision.new_full((len(pins.points),), pins.sigma**-2 if each is None else each)
        return torch.cat([basis, self.basis(pins.points)]), torch.cat([displacement, pins.shift]), torch.cat([precision, worth])

    def affine_only(self, theta: Tensor) -> Tensor:
        """The coefficients of an affine map, with zeros for the kernels."""
        return torch.cat([theta, theta.new_zeros(len(self.centers), theta.shape[1])])

    def transform(self, theta: Tensor) -> KernelTransform:
        """The map that the coefficients stand for."""
        dim = self.centers.shape[1]
        matrix = torch.eye(dim + 1, dtype=torch.float64)
        matrix[:-1, -1] += theta[0]
        matrix[:-1, :-1] += theta[1 : dim + 1].T
        coefficients = theta[dim + 1 :] if len(self.centers) else self.centers
        return KernelTransform(
            AffineTransform(matrix), self.centers, coefficients, self.widths, tuple(a * a for a in self.amplitudes)
        )

r"""Linear interpolation from neighbours to the knots of a stencil: the weights of law (b).

Everything here is in units of the level's scale, so knots are one apart. Neighbour :math:`j` of a query stands at
:math:`r_j` from it, is :math:`\ell_j` wide (per axis, one at least) and stands for the volume :math:`v_j`. At the knot
:math:`e_b`, one of :math:`\{-1, 0, 1\}^d`, its hat weight is
:math:`w_{jb} = v_j / \prod \ell_j \cdot \prod_a \mathrm{hat}((r_j - e_b)_a / \ell_{ja})`, and the knot's value

.. math:: \sum_j w_{jb} \min(1 / c_b, \kappa_b) \, \bigl(1 - \eta_b \, g_b \cdot (r_j - \bar r_b)\bigr) \, f_j .

* :math:`c_b = \sum_j w_{jb}`, the coverage, is one where points are evenly spread. A knot that keeps at least
  :math:`1 / \kappa_b` of it is normalised; beyond, its value fades to zero in proportion. A border that halves an axis shows
  as a mean offset of a third of the width on it, so :math:`\kappa_b = \max(2, \prod_a (1 + \min(1, 3 |m_{ba}| / \ell_a)))`
  with :math:`m_b = \bar r_b - e_b` is 2 at a face, 4 at an edge and 8 at a corner.
* :math:`\bar r_b` and :math:`C_b` are the mean and covariance of :math:`r_j` under the normalised weights. With
  :math:`g_b = (C_b + \Lambda_b)^{-1} m_b` the first moment is on the knot, and linear fields are reproduced, where
  :math:`\Lambda_b = 0`: where neighbours are spread along every axis and not all in one plane. Elsewhere it grows continuously.
* :math:`\eta_b = \min(1, V / g_b \cdot m_b)` returns to plain normalisation where the correction would need large weights of
  both signs.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from geogrid.nn.hat import hat

MAX_CORRECTION = 4.0
"""V: the largest squared (Mahalanobis) distance from knot to mean at which the correction is applied in full."""
FLAT_AXIS = 0.05
"""Variance along an axis, in widths squared, below which the neighbours count as lying in one plane across it."""
FLAT_PLANE = 0.3
"""Determinant of the correlations between axes below which the neighbours count as lying in one oblique plane."""
TINY = 1e-12


def knot_offsets(dim: int, like: Tensor) -> Tensor:
    """The ``(3**dim, dim)`` knots in units of the scale, in the order of a flattened convolution kernel."""
    axis = torch.arange(-1.0, 2.0, dtype=like.dtype, device=like.device)
    return torch.cartesian_prod(*[axis] * dim)


def hat_weights(rel: Tensor, width: Tensor, share: Tensor) -> Tensor:
    """The weights :math:`w_{jb}`.

    Args:
        rel: ``(n, k, dim)`` positions of neighbours relative to their query.
        width: widths, broadcastable to ``rel``.
        share: ``(n, k)`` volume over the product of widths; zero for entries that are no neighbours.

    Returns:
        ``(n, 3**dim, k)``.
    """
    knots = torch.arange(-1.0, 2.0, dtype=rel.dtype, device=rel.device)[:, None, None]
    per_axis = hat((rel - knots[:, None]) / width).permute(1, 0, 3, 2)
    count, _, dim, k = per_axis.shape
    weights = share[:, None]
    for axis in range(dim):
        weights = (weights[:, :, None] * per_axis[:, None, :, axis]).reshape(count, 3 ** (axis + 1), k)
    return weights


def monomials(rel: Tensor, width: Tensor) -> Tensor:
    """What has to be summed under the weights: ``(..., 1 + 2 dim + pairs)`` ones, positions, squared widths, products."""
    dim = rel.shape[-1]
    products = [rel[..., a, None] * rel[..., b, None] for a, b in _pairs(dim)]
    return torch.cat([torch.ones_like(rel[..., :1]), rel, (width * width).expand_as(rel), *products], -1)


def linear_coefficients(sums: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The factor of each weight, an affine function of the neighbour's position.

    Args:
        sums: ``(n, 3**dim, 1 + 2 dim + pairs)`` weighted sums of :func:`monomials`.
        dim: of space.

    Returns:
        The constant ``(n, 3**dim)`` and the slope ``(n, 3**dim, dim)``.
    """
    coverage = sums[..., 0]
    first, squared_width, second = (sums[..., 1:] / coverage.clamp_min(TINY)[..., None]).split([dim, dim, len(_pairs(dim))], -1)
    squared_width = squared_width.clamp_min(1)
    offset = first - knot_offsets(dim, first)
    covariance = {(a, b): second[..., k] - first[..., a] * first[..., b] for k, (a, b) in enumerate(_pairs(dim))}
    slope = _correction(offset, covariance, squared_width)
    one_sided = 1 + (3 * offset.abs() / squared_width.sqrt()).clamp_max(1)
    gain = torch.minimum(1 / coverage.clamp_min(TINY), one_sided.prod(-1).clamp_min(2))
    return gain * (1 + (slope * first).sum(-1)), -gain[..., None] * slope


def _correction(offset: Tensor, covariance: dict[tuple[int, int], Tensor], squared_width: Tensor) -> Tensor:
    r""":math:`\eta_b g_b`, ``(n, 3**dim, dim)``; the covariance is scaled to correlations first, so units drop out."""
    dim = offset.shape[-1]
    variance = torch.stack([covariance[a, a] for a in range(dim)], -1).clamp_min(0)
    spread = (variance + (FLAT_AXIS * squared_width - variance).clamp_min(0)).sqrt()
    correlation = {(a, b): covariance[a, b] / (spread[..., a] * spread[..., b]) for a, b in combinations(range(dim), 2)}
    slope = _solve(correlation, offset / spread) / spread
    total = (slope * offset).sum(-1)
    return slope * (MAX_CORRECTION / total.clamp_min(MAX_CORRECTION))[..., None]


def _solve(correlation: dict[tuple[int, int], Tensor], right: Tensor) -> Tensor:
    """Solves with the matrix of ones on the diagonal, made heavier there as the matrix gets singular."""
    p = correlation[0, 1]
    q, t = (correlation[0, 2], correlation[1, 2]) if right.shape[-1] == 3 else (torch.zeros_like(p), torch.zeros_like(p))
    determinant = 1 + 2 * p * q * t - p * p - q * q - t * t
    d = 1 + (FLAT_PLANE - determinant).clamp_min(0)
    x, y = right[..., 0], right[..., 1]
    determinant = d * d * d + 2 * p * q * t - d * (p * p + q * q + t * t)
    if right.shape[-1] == 2:
        return torch.stack([d * x - p * y, d * y - p * x], -1) * (d / determinant)[..., None]
    z = right[..., 2]
    a, b, c = q * t - d * p, p * t - d * q, p * q - d * t
    rows = [(d * d - t * t) * x + a * y + b * z, a * x + (d * d - q * q) * y + c * z, b * x + c * y + (d * d - p * p) * z]
    return torch.stack(rows, -1) / determinant[..., None]


def _pairs(dim: int) -> list[tuple[int, int]]:
    return [(a, b) for a in range(dim) for b in range(a, dim)]

r"""Interpolation from neighbours to the knots of a stencil: the weights of law (b).

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

Along axes that are sampled regularly, but more widely than the scale, linear interpolation loses curvature. There Keys' cubic
convolution takes the hat's place: with :math:`u_{jb}` the weights in which it does, and :math:`\delta_{jb} = u_{jb} - w_{jb}`,
the knot's value becomes

.. math:: \min(1, \kappa_b c_b) \Bigl[ F_b(e_b) + \min(1, 1/c_b) \sum_j \delta_{jb} \bigl(f_j - F_b(r_j)\bigr) \Bigr]

with :math:`F_b` the linear field that the hats read. On a lattice's inside that is Keys' interpolation, since there
:math:`\delta` sums to zero and has no first moment. Where points are missing, constants, linear fields and the fade stay what
they are with hats. As a formula, :math:`m_b` and the constant 1 above become :math:`m_b - q (\delta^0_b m_b - \delta^1_b)` and
:math:`1 - q \delta^0_b`, with the sum :math:`\delta^0_b` and the first moment :math:`\delta^1_b` about the knot, and
:math:`q = \min(1, 1/c_b)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from geogrid.nn.hat import hat
from geogrid.spatial.keys import keys

MAX_CORRECTION = 4.0
"""V: the largest squared (Mahalanobis) distance from knot to mean at which the correction is applied in full."""
FLAT_AXIS = 0.05
"""Variance along an axis, in widths squared, below which the neighbours count as lying in one plane across it."""
FLAT_PLANE = 0.3
"""Determinant of the correlations between axes below which the neighbours count as lying in one oblique plane."""
TINY = 1e-12


KNOTS = (-1.0, 0.0, 1.0)
"""Where knots are along each axis, in units of the scale."""


def knot_offsets(dim: int, like: Tensor, at: Sequence[float] = KNOTS) -> Tensor:
    """The ``(len(at)**dim, dim)`` knots in units of the scale, in the order of a flattened convolution kernel."""
    axis = torch.tensor(at, dtype=like.dtype, device=like.device)
    return torch.cartesian_prod(*[axis] * dim)


def interpolation_weights(
    rel: Tensor, width: Tensor, share: Tensor, regular: Tensor | None = None, at: Sequence[float] = KNOTS
) -> Tensor:
    """What each neighbour counts for in the value at each knot.

    Args:
        rel: ``(n, k, dim)`` positions of neighbours relative to their query.
        width: widths, broadcastable to ``rel``.
        share: ``(n, k)`` volume over the product of widths; zero for entries that are no neighbours.
        regular: bool, broadcastable to ``rel``: axes filled by cubic instead of linear interpolation; None for none.
        at: places of the knots along each axis.

    Returns:
        ``(n, len(at)**dim, k)``.
    """
    hats, bend = stencil_weights(rel, width, share, regular, at)
    sums = hats @ monomials(rel, width)
    if bend is None:
        constant, slope, _ = linear_coefficients(sums, rel.shape[-1], at=at)
        return hats * torch.baddbmm(constant[..., None], slope, rel.mT)
    constant, slope, factor = linear_coefficients(sums, rel.shape[-1], bend @ moments(rel), at)
    return hats * torch.baddbmm(constant[..., None], slope, rel.mT) + bend * factor[..., None]


def stencil_weights(
    rel: Tensor, width: Tensor, share: Tensor, regular: Tensor | None = None, at: Sequence[float] = KNOTS
) -> tuple[Tensor, Tensor | None]:
    r"""The weights :math:`w_{jb}` and, if any axis is regular, :math:`\delta_{jb}`, each ``(n, 3**dim, k)``.

    Arguments are those of :func:`interpolation_weights`.
    """
    knots = torch.tensor(at, dtype=rel.dtype, device=rel.device)[:, None, None]
    distance = (rel - knots[:, None]) / width
    hats = hat(distance)
    weights = _outer(hats, share)
    if regular is None:
        return weights, None
    return weights, _outer(torch.where(regular, keys(distance), hats), share) - weights


def _outer(per_axis: Tensor, share: Tensor) -> Tensor:
    """Products of one factor ``(knots, n, k, dim)`` per axis and the share, ``(n, knots**dim, k)``."""
    knots, count, k, dim = per_axis.shape
    per_axis, weights = per_axis.permute(1, 0, 3, 2), share[:, None]
    for axis in range(dim):
        weights = (weights[:, :, None] * per_axis[:, None, :, axis]).reshape(count, knots ** (axis + 1), k)
    return weights


def moments(rel: Tensor) -> Tensor:
    r"""What has to be summed under :math:`\delta`: ``(..., 1 + dim)`` ones and positions."""
    return torch.cat([torch.ones_like(rel[..., :1]), rel], -1)


def monomials(rel: Tensor, width: Tensor) -> Tensor:
    """What has to be summed under the weights: ``(..., 1 + 2 dim + pairs)`` ones, positions, squared widths, products."""
    dim = rel.shape[-1]
    products = [rel[..., a, None] * rel[..., b, None] for a, b in _pairs(dim)]
    return torch.cat([torch.ones_like(rel[..., :1]), rel, (width * width).expand_as(rel), *products], -1)


def linear_coefficients(
    sums: Tensor, dim: int, bend: Tensor | None = None, at: Sequence[float] = KNOTS
) -> tuple[Tensor, Tensor, Tensor]:
    r"""The factor of each hat weight, an affine function of the neighbour's position, and that of :math:`\delta_{jb}`.

    Args:
        sums: ``(n, 3**dim, 1 + 2 dim + pairs)`` weighted sums of :func:`monomials`.
        dim: of space.
        bend: ``(n, 3**dim, 1 + dim)`` sums of :func:`moments` under :math:`\delta`; None for hats alone.
        at: places of the knots along each axis.

    Returns:
        The constant ``(n, 3**dim)``, the slope ``(n, 3**dim, dim)`` and the factor of :math:`\delta` ``(n, 3**dim)``.
    """
    coverage = sums[..., 0]
    first, squared_width, second = (sums[..., 1:] / coverage.clamp_min(TINY)[..., None]).split([dim, dim, len(_pairs(dim))], -1)
    squared_width = squared_width.clamp_min(1)
    offset = first - knot_offsets(dim, first, at)
    covariance = {(a, b): second[..., k] - first[..., a] * first[..., b] for k, (a, b) in enumerate(_pairs(dim))}
    one_sided = 1 + (3 * offset.abs() / squared_width.sqrt()).clamp_max(1)
    gain = torch.minimum(1 / coverage.clamp_min(TINY), one_sided.prod(-1).clamp_min(2))
    left, target = torch.ones_like(coverage), offset
    if bend is not None:
        bend = bend / coverage.clamp_min(1)[..., None]
        left = 1 - bend[..., 0]
        target = left[..., None] * offset + bend[..., 1:] - bend[..., :1] * knot_offsets(dim, first, at)
    slope = _correction(target, covariance, squared_width)
    return gain * (left + (slope * first).sum(-1)), -gain[..., None] * slope, gain * coverage.clamp_max(1)


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

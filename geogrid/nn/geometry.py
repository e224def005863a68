"""Features of points that come without any: what their surroundings look like."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import Neighborhood
from geogrid.graph.checks import check_positive
from geogrid.graph.pooling import own_positions
from geogrid.nn import taper
from geogrid.spatial import PointCloud

RADIUS = 2.0
"""Of the ball around each point, in units of the scale."""
FULL = {2: math.pi / 3, 3: 32 * math.pi / 105}
"""Integral of the taper over the unit ball: the mass within reach inside a solid."""
SPREAD = {2: 1 / 8, 3: 1 / 9}
"""Variance along an axis under the taper over the unit ball."""
TINY = 1e-30


def geometry_channels(dim: int) -> int:
    """How many features :func:`local_geometry` gives: 8 in 2-D, 12 in 3-D."""
    return 3 + dim + dim * (dim + 1) // 2


def local_geometry(cloud: PointCloud, neighborhood: Neighborhood, scale: float) -> Tensor:
    r"""Moments of the measure in a ball around each point, along the axes of its entry's own frame.

    With positions :math:`r_j` relative to the point in units of the radius :math:`R = 2 s`, measures :math:`v_j` in units of
    :math:`R^d` and the taper :math:`t_j = \max(0, 1 - |r_j|^2)^2`,

    .. math:: M = \sum_j t_j v_j, \qquad m = \frac1M \sum_j t_j v_j r_j, \qquad
        C = \frac1M \sum_j t_j v_j (r_j - m)(r_j - m)^T ,

    the features are: a constant 1; the fill :math:`(M - M_0) / (M + M_0)`; the density within half the radius, compared in the
    same way with that within all of it; the offset :math:`m / \sigma`; and the spread, :math:`C / \sigma^2 - 1` on the diagonal
    (the upper triangle, row by row). :math:`M_0` and :math:`\sigma^2` are what :math:`M` and the variance along an axis are
    inside a solid, so there all features but the first are 0. On a face the offset points inwards, in a plane or along a
    curve the spread across is -1.

    Moving the cloud with its frame changes nothing, nor does the order of the points, nor another one at the same place with
    which a point shares its measure. Features are continuous as points move, and finite for any cloud. On a random part of the
    points they are those of the whole up to the noise of sums over few points. Measured on half a ball, whose features but the
    constant have a root mean square of 0.2: with a random half of points that are half a scale apart they differ by 0.04 in
    3-D and 0.10 in 2-D, with a quarter by 0.10 and 0.19; but if the points are a scale apart, with half of them by 0.20 and
    0.26. So take a scale of about twice the spacing where the sampling is to change little.

    Args:
        cloud: any; its own features are not used.
        neighborhood: among its points; those further away than twice the scale do no harm.
        scale: in mm.

    Returns:
        ``(num_points, geometry_channels(dim))``, no unit; differentiable in the positions.

    Raises:
        GeogridError: for a table of another number of points, or a scale that is not positive.

    Example:
        >>> from geogrid.graph import radius
        >>> pos = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
        >>> cloud = PointCloud.from_points(pos, torch.ones(3))
        >>> x = local_geometry(cloud, radius(pos, pos, 2.0), scale=1.0)
        >>> [round(float(v), 2) for v in x[1]]
        [1.0, -0.33, 0.31, 0.0, 0.0, 0.06, 0.0, -1.0]
    """
    check_positive(scale, "scale")
    if neighborhood.num_query != cloud.num_points or neighborhood.num_context != cloud.num_points:
        raise GeogridError(
            f"neighborhood: expected a table among the {cloud.num_points} points of the cloud, got "
            f"{neighborhood.num_context} and {neighborhood.num_query} points"
        )
    dim, reach = cloud.dim, RADIUS * scale
    place, measure = own_positions(cloud) / reach, cloud.measure / reach**dim
    rel = place[neighborhood.index] - place[:, None]
    squared = rel.square().sum(-1)
    mass = measure[neighborhood.index] * neighborhood.mask
    near = mass * taper.inside(squared, 1.0).square()
    total, half = near.sum(1), (mass * taper.inside(squared, 0.5).square()).sum(1)
    share = (near / total.clamp_min(TINY)[:, None])[:, None]
    mean = (share @ rel)[:, 0]
    rest = rel - mean[:, None]
    spread = (share.mT * rest).mT @ rest / SPREAD[dim] - torch.eye(dim).to(rel)
    upper = torch.triu_indices(dim, dim, device=rel.device)
    parts = [torch.ones_like(total), _compared(total, FULL[dim]), _compared(half * 2**dim, total)]
    return torch.cat([torch.stack(parts, 1), mean / SPREAD[dim] ** 0.5, spread[:, upper[0], upper[1]]], 1)


def _compared(found: Tensor, expected: Tensor | float) -> Tensor:
    """From -1 over 0, where both are equal, to 1."""
    return (found - expected) / (found + expected).clamp_min(TINY)

"""The affine motion that many points agree on."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.spatial import PointCloud

RIDGE = 1e-3
"""Weight of the linear part's size against the fit, relative to the spread of the points."""


def affine_consensus(points: PointCloud, displacement: Tensor, weight: Tensor) -> Tensor:
    r"""The affine displacement nearest to given ones in weighted least squares, per entry, at the same points.

    .. math:: \min_{A, t} \sum_i w_i |A (x_i - c) + t - u_i|^2 + \rho\, W r^2 |A|^2

    with c the weighted centre, W the sum of the weights, r the root mean square distance from the centre and a small
    :math:`\rho`, so that a few points, or points on a plane or line, give a motion without wild extrapolation. Entries without
    weight do not move. Computed in float64; differentiable.

    Args:
        points: a batch.
        displacement: ``(num_points, dim)`` in mm.
        weight: ``(num_points,)`` from 0 up.

    Returns:
        ``(num_points, dim)`` in mm.

    Example:
        >>> pos = torch.rand(20, 3)
        >>> cloud = PointCloud.from_points(pos, torch.ones(20))
        >>> turned = pos @ torch.tensor([[0.0, 0.1, 0.0], [-0.1, 0.0, 0.0], [0.0, 0.0, 0.0]])
        >>> (affine_consensus(cloud, turned, torch.ones(20)) - turned).abs().max() < 1e-3
        tensor(True)
    """
    pos, u, w = points.pos.double(), displacement.double(), weight.double()[:, None]
    total = _sums(w, points).clamp_min(torch.finfo(torch.float32).tiny)
    center, mean = _sums(w * pos, points) / total, _sums(w * u, points) / total
    rel, off = pos - center[points.batch], u - mean[points.batch]
    moments = _sums((w * rel)[:, :, None] * rel[:, None], points) / total[..., None]
    mixed = _sums((w * rel)[:, :, None] * off[:, None], points) / total[..., None]
    spread = moments.diagonal(dim1=1, dim2=2).sum(1).clamp_min(torch.finfo(torch.float32).tiny)
    ridge = RIDGE * spread[:, None, None] * torch.eye(points.dim, dtype=pos.dtype, device=pos.device)
    linear = torch.linalg.solve(moments + ridge, mixed)
    found = mean[points.batch] + torch.einsum("nd,nde->ne", rel, linear[points.batch])
    return found.to(displacement.dtype)


def _sums(rows: Tensor, points: PointCloud) -> Tensor:
    return rows.new_zeros(points.num_entries, *rows.shape[1:]).index_add(0, points.batch, rows)

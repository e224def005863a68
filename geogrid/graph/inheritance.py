"""From parents to children: linear interpolation between scales, on lattices and on scattered points."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.graph.level import Level
from geogrid.graph.neighborhood import Neighborhood
from geogrid.spatial import PointCloud
from geogrid.spatial.lattice import inherit

FLAT = 1e-3
"""Share of the largest variance below which parents count as lying in a plane or on a line."""
MARGIN = 1.25
"""Where the weight of a parent reaches zero, in distances to the farthest one that is looked at."""


def inherit_displacement(parents: Level, children: PointCloud, displacement: Tensor) -> Tensor:
    r"""Carries a vector per parent to the children, so that whatever is affine in space stays exactly affine.

    On lattices with parallel axes: multilinear interpolation, with linear extrapolation beyond the outermost parents. Among
    scattered parents: moving least squares, the value at the child of the affine function that fits its nearest parents best,
    with weights :math:`(1 - r^2 / R^2)^2`. Along directions in which these parents do not spread (they lie in a plane, on a
    line, or there are too few) the fit is constant; with a single parent the child takes its value, without any, zero.

    Args:
        parents: the coarser level.
        children: points of the same entries.
        displacement: ``(num_parents, channels)``.

    Returns:
        ``(num_children, channels)``; differentiable in the displacement.

    Reference:
        Levin, "The approximation power of moving least-squares", Mathematics of Computation 67, 1998.
    """
    coarse = parents.points
    if coarse.is_lattice and children.is_lattice:
        return _between_lattices(coarse, children, displacement)
    found = parents.parents(children.pos, children.batch)
    weights = fit_weights(coarse.pos, children.pos, found).to(displacement.dtype)
    return torch.einsum("nk,nkc->nc", weights, displacement[found.index])


def fit_weights(parents: Tensor, children: Tensor, neighborhood: Neighborhood) -> Tensor:
    """What each parent contributes to the value of a child under moving least squares, ``(num_children, k)`` float64."""
    rel = parents.detach().double()[neighborhood.index] - children.detach().double()[:, None]
    square = rel.square().sum(-1) * neighborhood.mask
    limit = MARGIN**2 * square.amax(1, keepdim=True).clamp_min(1e-12)
    weight = (1 - square / limit).square() * neighborhood.mask
    share = weight / weight.sum(1, keepdim=True).clamp_min(1e-300)
    mean = (share[..., None] * rel).sum(1, keepdim=True)
    away = (rel - mean) * neighborhood.mask[..., None]
    covariance = torch.einsum("nk,nka,nkb->nab", share, away, away)
    spread, axes = torch.linalg.eigh(covariance)
    flat = spread <= FLAT * spread[:, -1:].clamp_min(1e-12)
    inverse = torch.where(flat, torch.zeros_like(spread), 1 / spread.clamp_min(1e-30))
    slope = torch.einsum("nab,nb,ncb,nc->na", axes, inverse, axes, mean[:, 0])
    return share * (1 - torch.einsum("nka,na->nk", away, slope))


def _between_lattices(parents: PointCloud, children: PointCloud, displacement: Tensor) -> Tensor:
    if parents.stackable and children.stackable:
        values = parents.to_lattice(displacement)
        carried = inherit(values.flatten(0, 1), parents.lattices[0], children.lattices[0])
        return children.to_rows(carried.unflatten(0, values.shape[:2]))
    rows = displacement.split(parents.counts().tolist())
    entries = ((parents.entry(b), children.entry(b), part) for b, part in enumerate(rows))
    return torch.cat([_between_lattices(*entry) for entry in entries])

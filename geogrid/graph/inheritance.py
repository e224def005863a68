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

SAME = 1e-6
"""Spacings by which lattices of a batch may differ and still share their weights."""


def inherit_displacement(
    parents: Level, children: PointCloud, displacement: Tensor, neighborhood: Neighborhood | None = None
) -> Tensor:
    r"""Carries a vector per parent to the children, so that whatever is affine in space stays exactly affine.

    From a lattice: multilinear interpolation, with linear extrapolation up to one spacing beyond the outermost parents, from
    where it goes on as a constant; an axis with a single parent is constant. From scattered parents: moving least squares, the
    value at the child of the affine function that fits its nearest parents (:meth:`Level.parents`) best, with weights
    :math:`(1 - r^2 / R^2)^2`, distances in units of the spacing. Along directions in which these parents do not spread (they
    lie in a plane, on a line, or there are too few) the fit is constant; with a single parent the child takes its value,
    without any, zero.

    Args:
        parents: the coarser level.
        children: points of the same entries. From lattice to lattice the axes must be parallel.
        displacement: ``(num_parents, channels)``.
        neighborhood: what :meth:`Level.parents` gives for the children, where it is known already.

    Returns:
        ``(num_children, channels)``; differentiable in the displacement.

    Raises:
        GeogridError: for lattices whose axes are not parallel.

    Reference:
        Levin, "The approximation power of moving least-squares", Mathematics of Computation 67, 1998.
    """
    coarse = parents.points
    if coarse.is_lattice and children.is_lattice:
        return _between_lattices(coarse, children, displacement)
    if coarse.is_lattice:
        index, weights = _corners(parents, children)
    else:
        found = parents.parents(children.pos, children.batch) if neighborhood is None else neighborhood
        places = [parents.in_spacings(p.pos, p.batch) for p in (coarse, children)]
        index, weights = found.index, fit_weights(places[0], places[1], found)
    return torch.einsum("nk,nkc->nc", weights.to(displacement.dtype), displacement[index])


def fit_weights(parents: Tensor, children: Tensor, neighborhood: Neighborhood) -> Tensor:
    """What each parent contributes to the value of a child under moving least squares, ``(num_children, k)`` float64.

    Args:
        parents: ``(num_parents, dim)`` positions in any affine coordinates; distances in these set the weights.
        children: ``(num_children, dim)`` likewise.
        neighborhood: which parents each child has.
    """
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


def _corners(parents: Level, children: PointCloud) -> tuple[Tensor, Tensor]:
    """The 2^dim parents of children anywhere, their rows and weights: linear along each axis, as between lattices."""
    index = parents.lattice_index(children.pos.detach(), children.batch)
    sizes = torch.tensor([grid.shape for grid in parents.points.lattices], device=index.device)
    counts = sizes.prod(1)
    first, shape = (counts.cumsum(0) - counts)[children.batch], sizes[children.batch]
    left = torch.minimum(index.floor().long().clamp_min(0), (shape - 2).clamp_min(0))
    share = (torch.minimum(index.clamp_min(-1), shape.double()) - left) * (shape > 1)
    row, weight = torch.zeros_like(left[:, :1]), torch.ones_like(share[:, :1])
    for axis in range(shape.shape[1]):
        place = torch.stack([left[:, axis], torch.minimum(left[:, axis] + 1, shape[:, axis] - 1)], 1)
        part = torch.stack([1 - share[:, axis], share[:, axis]], 1)
        row = (row[:, :, None] * shape[:, axis, None, None] + place[:, None]).flatten(1)
        weight = (weight[:, :, None] * part[:, None]).flatten(1)
    return row + first[:, None], weight


def _between_lattices(parents: PointCloud, children: PointCloud, displacement: Tensor) -> Tensor:
    if parents.stackable and children.stackable and _alike(parents, children):
        values = parents.to_lattice(displacement)
        carried = inherit(values.flatten(0, 1), parents.lattices[0], children.lattices[0])
        return children.to_rows(carried.unflatten(0, values.shape[:2]))
    rows = displacement.split(parents.counts().tolist())
    entries = ((parents.entry(b), children.entry(b), part) for b, part in enumerate(rows))
    return torch.cat([_between_lattices(*entry) for entry in entries])


def _alike(parents: PointCloud, children: PointCloud) -> bool:
    """Whether the children of every entry lie among its parents in the same way."""
    pairs = list(dict.fromkeys(zip(parents.lattices, children.lattices, strict=True)))
    if len(pairs) == 1:
        return True
    relations = torch.stack([coarse.to_index @ fine.affine for coarse, fine in pairs])
    return bool((relations - relations[0]).abs().max() <= SAME)

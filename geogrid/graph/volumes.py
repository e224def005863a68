"""What each point of a cloud stands for (law c of the design)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph.checks import MAX_BYTES, check_batch, check_count, check_points, check_positive, per_axis, working_bytes
from geogrid.graph.metric import metric_positions
from geogrid.graph.search import Implementation, MetricScale, knn

DEFAULT_K = {2: 18, 3: 32}
THIN = 0.2
"""Axes along which a neighbourhood's standard deviation is below this fraction of the largest do not count."""
COVERED = (0.7, 0.9)
"""Cosines between which a direction changes from open to covered by a neighbour."""
NUM_DIRECTIONS = {1: 1, 2: 32, 3: 192}
BYTES_PER_NEIGHBOR = 2000
BALL = {1: 2.0, 2: math.pi, 3: 4 * math.pi / 3}


class PointVolumes(NamedTuple):
    """The measure of each point and the dimension it is in; made by :func:`point_volumes`.

    Args:
        measure: ``(num_points,)`` in mm^dimension: a volume, an area, a length, or 1 for a lone point.
        dimension: ``(num_points,)`` int64, 0 to dim, the intrinsic dimension of the cloud around each point.
    """

    measure: Tensor
    dimension: Tensor

    def log_measure(self, scale: float) -> Tensor:
        r"""The dimensionless :math:`\log(v_j / s^{d_j})` for attention at a level of scale s mm, ``(num_points,)``."""
        return self.measure.log() - self.dimension * math.log(check_positive(scale, "scale"))


def point_volumes(
    points: Tensor,
    *,
    k: int | None = None,
    batch: Tensor | None = None,
    dimension: int | None = None,
    max_ratio: float = 4.0,
    metric_scale: MetricScale = None,
    implementation: Implementation = "auto",
    max_bytes: int = MAX_BYTES,
) -> PointVolumes:
    r"""What each point of a cloud stands for: volume, area or length, whichever its surroundings have.

    The measure of a site is that of its Voronoi cell among its k nearest sites, cut to the space spanned by the principal axes
    of those neighbours that matter (the intrinsic dimension d: 3 inside a solid, 2 on a surface, 1 on a curve), integrated over
    directions, :math:`v = \kappa_d\, \mathrm{mean}_u\, \rho(u)^d` with :math:`\kappa_d` the volume of the unit ball. Where no
    neighbour covers a direction (faces, edges, corners, ends) the cell reaches as far as on the opposite side. Coinciding
    points share the measure of their site; a cell is never longer than ``max_ratio`` times the median, so stray points weigh
    little.

    Measured: cubic lattices in any orientation, inside, on faces, edges and at corners, 1 % (2-D 0.5 %); planes and curves with
    their ends 1 %; lattices with one spacing 1.5 (2) times the others 3 % (10 %), beyond that give ``metric_scale``; an even
    sphere surface 8 % per point, 1 % in sum. On random points single cells vary by 40 to 50 %, as Voronoi cells do; inside,
    their mean is within 7 % of one over the density, and where the density varies eightfold their sums over quarters of the
    domain are within 6 %. Nearly coinciding pairs together get 0.35 to 1 of their site. Clusters of more than k points within
    a small ball see only each other.

    Args:
        points: ``(num_points, dim)`` positions in mm.
        k: neighbours that a cell is made from; default 18 in 2-D, 32 in 3-D.
        batch: ``(num_points,)`` int64, sorted; entries may be empty.
        dimension: the intrinsic dimension where it is known; none: found around each point.
        max_ratio: from 1 up, the longest cell, as ``measure ** (1 / d)``, in medians of the batch entry.
        metric_scale: scale of the axes that positions are divided by to find neighbours; give the spacing where it is very
            different along the axes (slices). The measure stays in mm^d.
        implementation: as for :func:`knn`.
        max_bytes: bound on working memory, the table of neighbours not counted.

    Returns:
        Measure in the dtype of the points, and intrinsic dimension. ``log_measure(scale)`` is the term for attention.

    Raises:
        GeogridError: for arguments out of range.

    Example:
        >>> axis = torch.arange(5.0) * 2
        >>> volumes = point_volumes(torch.cartesian_prod(axis, axis))
        >>> [round(float(v), 1) for v in volumes.measure[[0, 1, 12]]], volumes.dimension.unique()
        ([4.0, 4.0, 4.0], tensor([2]))
    """
    check_points(points, "points")
    k = check_count(DEFAULT_K[points.shape[1]] if k is None else k, "k")
    if dimension is not None and not 1 <= check_count(dimension, "dimension") <= points.shape[1]:
        raise GeogridError(f"dimension: expected 1 to {points.shape[1]}, got {dimension}")
    if not max_ratio >= 1:
        raise GeogridError(f"max_ratio: expected a number from 1 up, got {max_ratio}")
    entry = check_batch(batch, points, "batch")
    scale = per_axis(metric_scale, points, "metric_scale")
    site, site_entry, of_site, count = _sites(metric_positions(points, scale), entry)
    table = knn(
        site, site, k + 1, batch_context=site_entry, batch_query=site_entry, implementation=implementation, max_bytes=max_bytes
    )
    measure, found = torch.ones(len(site), dtype=torch.float64, device=points.device), torch.zeros_like(site_entry)
    for rows in torch.arange(len(site), device=points.device).split(
        max(1, working_bytes(max_bytes, points) // (k * BYTES_PER_NEIGHBOR))
    ):
        relative = site[table.index[rows, 1:]] - site[rows, None]
        measure[rows], found[rows] = _cells(relative, table.mask[rows, 1:], scale, dimension)
    measure = _clipped(measure, found, site_entry, max_ratio) / count
    return PointVolumes(measure[of_site].to(points.dtype), found[of_site])


def _sites(position: Tensor, entry: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distinct positions, their batch entries, the site of each point, and how many points share each site."""
    rows = torch.cat([entry[:, None].to(torch.float64), position + 0.0], dim=1)
    sites, inverse, count = rows.unique(dim=0, return_inverse=True, return_counts=True)
    return sites[:, 1:].contiguous(), sites[:, 0].to(torch.int64), inverse, count


def _cells(relative: Tensor, valid: Tensor, scale: Tensor, forced: int | None) -> tuple[Tensor, Tensor]:
    """Measure and dimension of the cell around 0 of some sites among neighbours ``(n, k, dim)`` in the search's metric."""
    reach = relative.norm(dim=-1).masked_fill(~valid, 0).amax(1)
    relative = relative / reach.clamp_min(torch.finfo(torch.float64).tiny)[:, None, None] * valid[..., None]
    axes, dimension = _tangents(relative, valid)
    if forced is not None:
        dimension = torch.where(dimension > 0, forced, 0)
    measure = torch.ones_like(reach)
    for d in range(1, relative.shape[-1] + 1):
        rows = (dimension == d).nonzero()[:, 0]
        if len(rows):
            tangent = axes[rows][:, :, :d]
            stretch = torch.linalg.det(tangent.mT @ (scale.square()[:, None] * tangent)).sqrt()
            measure[rows] = _cell_measure(relative[rows], tangent) * reach[rows] ** d * stretch
    return measure, dimension


def _tangents(relative: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Principal axes as columns, widest first, and how many of them count; 0 where there are no neighbours."""
    count = valid.sum(1)[:, None] + 1.0
    mean = relative.sum(1) / count
    covariance = torch.einsum("nka,nkb->nab", relative, relative) / count[..., None] - mean[:, :, None] * mean[:, None]
    variance, axes = torch.linalg.eigh(covariance)
    wide = variance > THIN**2 * variance[:, -1:]
    return axes.flip(-1), (wide & valid.any(1, keepdim=True)).sum(1)


def _cell_measure(relative: Tensor, tangent: Tensor) -> Tensor:
    r"""The cell's measure from its extent :math:`\rho(u)` in directions u: volume of the unit ball times mean of rho^d."""
    d = tangent.shape[-1]
    flat = (relative @ tangent).to(torch.float32)
    length = relative.norm(dim=-1, keepdim=True).clamp_min(1e-15).to(torch.float32)
    directions = _directions(d, relative.device)
    facing = (2 * flat / length.square()) @ directions
    extent = [1 / side.clamp_min(1.0) for side in (facing.amax(1), -facing.amin(1))]
    cosine = (flat / length) @ directions
    total = torch.zeros_like(extent[0])
    for side, (here, there) in zip((cosine.amax(1), -cosine.amin(1)), (extent, extent[::-1]), strict=True):
        covered = ((side - COVERED[0]) / (COVERED[1] - COVERED[0])).clamp(0, 1)
        covered = covered.square() * (3 - 2 * covered)
        total += covered * here**d + (1 - covered) * torch.minimum(here, there) ** d
    return BALL[d] * total.mean(1).to(torch.float64) / 2


def _directions(d: int, device: torch.device) -> Tensor:
    """Unit vectors ``(d, num)``, one of each pair of opposites, spread evenly."""
    place = (torch.arange(NUM_DIRECTIONS[d], dtype=torch.float64) + 0.5) / NUM_DIRECTIONS[d]
    if d == 1:
        unit = torch.ones(1, 1, dtype=torch.float64)
    elif d == 2:
        unit = torch.stack([torch.cos(math.pi * place), torch.sin(math.pi * place)])
    else:
        angle = 2 * math.pi * torch.arange(len(place), dtype=torch.float64) * (math.sqrt(5) - 1) / 2
        ring = (1 - place.square()).sqrt()
        unit = torch.stack([ring * torch.cos(angle), ring * torch.sin(angle), place])
    return unit.to(device, torch.float32)


def _clipped(measure: Tensor, dimension: Tensor, entry: Tensor, max_ratio: float) -> Tensor:
    """Cells no longer than ``max_ratio`` times the median length measure^(1/d) of their batch entry."""
    solid = dimension > 0
    length = measure ** (1 / dimension.clamp_min(1))
    for number in entry[solid].unique().tolist():
        rows = solid & (entry == number)
        length[rows] = length[rows].clamp_max(max_ratio * float(length[rows].median()))
    return torch.where(solid, length**dimension, measure)

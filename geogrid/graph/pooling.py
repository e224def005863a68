"""From one scale to the next: pooling of lattices and of scattered points, weighted by measure (laws a and c)."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph.cells import cell_pool
from geogrid.graph.checks import check_positive
from geogrid.spatial import Grid, PointCloud
from geogrid.spatial.points import for_each_distinct
from geogrid.spatial.pyramid import pool_factors


def pool_cloud(cloud: PointCloud, scale: float) -> PointCloud:
    """Brings a cloud to a scale: features are averaged, volumes added up.

    A lattice stays a lattice. Each axis is grouped in cells of ``floor(scale / spacing + 1/2)`` points from index 0 on; axes
    whose spacing is coarser already are left alone, so (1, 1, 4) mm becomes (2, 2, 4) mm at 2 mm. The last cell of an axis may
    be partial: it averages what it has, stands for the volume of that, and keeps its place on the lattice. Scattered points
    are grouped by cubes of the scale's size in their own frame (:func:`geogrid.graph.cell_pool`) and represented by their
    centroid; entries whose finest spacing is coarser than that are left alone, by the same rule.

    Args:
        cloud: any; features may be missing.
        scale: in mm.

    Returns:
        The coarser cloud, or the same one where nothing is to be pooled.

    Example:
        >>> grid = Grid((5, 4, 2), torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0])))
        >>> coarse = pool_cloud(PointCloud.on_lattices([grid]), 2.0)
        >>> coarse.lattices[0].shape, coarse.spacing.tolist()
        ((3, 2, 2), [[2.0, 2.0, 4.0]])
    """
    check_positive(scale, "scale")
    if not cloud.is_lattice:
        return _pool_scattered(cloud, scale)
    if cloud.stackable:
        return _pool_stack(cloud, pool_factors(cloud.lattices[0], scale))
    entries = [cloud.entry(number) for number in range(cloud.num_entries)]
    return concatenate([_pool_stack(entry, pool_factors(entry.lattices[0], scale)) for entry in entries])


def concatenate(clouds: list[PointCloud]) -> PointCloud:
    """Several clouds as one batch, their entries in order.

    Args:
        clouds: all lattices or all scattered, all with features or none.

    Raises:
        GeogridError: when some are and others are not.
    """
    for name, has in {"lattices": [c.is_lattice for c in clouds], "features": [c.x is not None for c in clouds]}.items():
        if len(set(has)) != 1:
            raise GeogridError(f"clouds: expected at least one, all with {name} or none, got {sum(has)} of {len(has)} with")
    sizes = torch.tensor([0] + [cloud.num_entries for cloud in clouds]).cumsum(0)
    features = [cloud.x for cloud in clouds if cloud.x is not None]
    return PointCloud(
        torch.cat([cloud.pos for cloud in clouds]),
        torch.cat([cloud.measure for cloud in clouds]),
        torch.cat([cloud.batch + int(first) for cloud, first in zip(clouds, sizes, strict=False)]),
        torch.cat([cloud.frame for cloud in clouds]),
        torch.cat([cloud.spacing for cloud in clouds]),
        torch.cat(features) if features else None,
        tuple(grid for cloud in clouds for grid in cloud.lattices),
    )


def _pool_stack(cloud: PointCloud, factors: tuple[int, ...]) -> PointCloud:
    if max(factors) == 1:
        return cloud
    measure = _cell_sums(cloud.to_lattice(cloud.measure[:, None].double()), factors).to(cloud.measure.dtype)
    grids: list[Grid] = for_each_distinct(cloud.lattices, lambda grid: grid.pool(factors))
    pooled = PointCloud.on_lattices(grids, device=cloud.pos.device)
    x = None
    if cloud.x is not None:
        weighted = _cell_sums(cloud.to_lattice(cloud.x * cloud.measure[:, None].to(cloud.x.dtype)), factors)
        x = pooled.to_rows(weighted / measure.to(cloud.x.dtype))
    return replace(pooled, measure=measure.reshape(-1), x=x)


def _cell_sums(values: Tensor, factors: tuple[int, ...]) -> Tensor:
    pool = F.avg_pool3d if len(factors) == 3 else F.avg_pool2d
    summed: Tensor = pool(values, factors, ceil_mode=True, divisor_override=1)
    return summed


def _pool_scattered(cloud: PointCloud, scale: float) -> PointCloud:
    fine = (scale / cloud.spacing.amin(1) + 0.5001).floor() >= 2
    if not bool(fine.any()):
        return cloud
    if not bool(fine.all()):
        return concatenate([_pool_scattered(cloud.entry(number), scale) for number in range(cloud.num_entries)])
    cells = cell_pool(own_positions(cloud), scale, cloud.batch)
    return replace(
        cloud,
        pos=cells.mean(cloud.pos, cloud.measure),
        measure=cells.sum(cloud.measure),
        batch=cells.batch,
        spacing=cloud.spacing.clamp_min(scale),
        x=None if cloud.x is None else cells.mean(cloud.x, cloud.measure),
    )


def own_positions(cloud: PointCloud, places: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
    """Positions along the axes of each entry's own frame, ``(num_points, dim)``: of the points, or of other places."""
    places, batch = (cloud.pos, cloud.batch) if places is None or batch is None else (places, batch)
    parts = places.double().split(torch.bincount(batch, minlength=cloud.num_entries).tolist())
    with torch.autocast(places.device.type, enabled=False):
        own = [part @ frame.to(part) for part, frame in zip(parts, cloud.frame, strict=True)]
    return torch.cat(own).to(places.dtype)

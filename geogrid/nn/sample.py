"""Reading scattered points in between."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from geogrid.errors import GeogridError
from geogrid.graph import Level
from geogrid.graph.boxes import within_box
from geogrid.graph.pooling import own_positions
from geogrid.nn.knots import interpolation_weights
from geogrid.spatial import PointCloud

CHUNK_BYTES = 2**26
"""What is computed about that many bytes of neighbours at a time; more than one part is computed again going back."""
TINY = 1e-12


def sample_scattered(cloud: PointCloud, points: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
    r"""Reads the features of a cloud at places in between, by the interpolation of law (b) with a single knot on each place.

    The hats are as wide as the points are apart, along the axes of each entry's frame (:attr:`Level.local_spacing`), and weigh
    by measure. The value is normalised and corrected to reproduce constants, and linear fields where there are neighbours
    enough. Where a place leaves the cloud, or falls into a hole of it, it is seen less, and its value goes over to the mean of
    its entry:

    .. math:: y_i = \sum_j w_{ij} x_j + (1 - s_i) \frac{\sum_j v_j x_j}{\sum_j v_j}, \qquad s_i = \sum_j w_{ij} \in [0, 1] .

    Both are continuous in all positions. On the points of a lattice this is linear interpolation, as for images, at all places
    between the outermost points (up to rounding; 3e-6 of the standard deviation of the features in float32). Among random
    points with their own volumes two places in five have neighbours enough for linear fields.

    Args:
        cloud: with features; lattices too, whose points are then taken as scattered.
        points: ``(num_places, dim)`` places in mm.
        batch: ``(num_places,)`` int64, sorted: the entry in which each place is read.

    Returns:
        The values ``(num_places, channels)`` and how much each place is seen, ``(num_places,)`` from 0 to 1; differentiable in
        the places, in the points of the cloud and in its features.

    Raises:
        GeogridError: for a cloud without features, and for places that do not fit the batch or the cloud.

    Example:
        >>> pos = torch.cartesian_prod(torch.arange(4.0), torch.arange(3.0))
        >>> cloud = PointCloud.from_points(pos, torch.ones(12), pos[:, :1] + 2)
        >>> values, seen = sample_scattered(cloud, torch.tensor([[1.3, 0.8], [9.0, 9.0]]), torch.zeros(2, dtype=torch.int64))
        >>> [round(float(v), 3) for v in values[:, 0]], seen.tolist()
        ([3.3, 3.5], [1.0, 0.0])
    """
    if cloud.x is None:
        raise GeogridError("cloud: expected a cloud with features to read, got one without")
    if points.dim() != 2 or points.shape[1] != cloud.dim or batch.shape != points.shape[:1]:
        raise GeogridError(
            f"points, batch: expected (num_places, {cloud.dim}) places in mm and their entries, got {tuple(points.shape)} and "
            f"{tuple(batch.shape)}"
        )
    width = Level(cloud, float(cloud.spacing.min())).local_spacing.to(points.dtype)
    place, query = own_positions(cloud).to(points.dtype), own_positions(cloud, points, batch)
    mean, unit = _means(cloud, points.dtype), width.min() if len(width) else width.new_ones(())
    if len(width) == 0 or len(points) == 0:
        return mean[batch], points.new_zeros(len(points))
    near = within_box(place, query, width.amax(0), cloud.batch, batch)
    share = cloud.measure.to(points.dtype) / width.prod(1)
    given = cloud.x, place / unit, width / unit, share
    step = max(1, CHUNK_BYTES // (40 * max(1, near.k) * width.element_size()))
    again = partial(checkpoint, _read, use_reentrant=False, preserve_rng_state=False)
    read = _read if len(points) <= step else again
    parts = []
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        parts.append(read(*given, query[rows] / unit, near.index[rows], near.mask[rows]))
    values, seen = (torch.cat(part) for part in zip(*parts, strict=True))
    return values + (1 - seen)[:, None].to(values.dtype) * mean[batch].to(values.dtype), seen


def _read(
    x: Tensor, place: Tensor, width: Tensor, share: Tensor, query: Tensor, index: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    rel = place[index] - query[:, None]
    weights = interpolation_weights(rel, width[index], share[index] * mask, at=(0.0,))[:, 0]
    return (weights[:, None].to(x.dtype) @ x[index])[:, 0], weights.sum(1).clamp(0, 1)


def _means(cloud: PointCloud, dtype: torch.dtype) -> Tensor:
    """Measure-weighted means of the features of each entry, ``(num_entries, channels)``; 0 for entries without points."""
    assert cloud.x is not None
    measure = cloud.measure.to(cloud.x.dtype)[:, None]
    total = cloud.x.new_zeros(cloud.num_entries, cloud.x.shape[1] + 1)
    total = total.index_add(0, cloud.batch, torch.cat([measure * cloud.x, measure], 1))
    return (total[:, :-1] / total[:, -1:].clamp_min(TINY)).to(torch.promote_types(dtype, cloud.x.dtype))

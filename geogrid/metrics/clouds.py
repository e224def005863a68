"""Distances in mm between two sets of points that need not correspond."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.graph import knn


@dataclass(frozen=True)
class CloudDistances:
    r"""How far two sets of points are apart, by each point's distance to its nearest neighbour in the other set.

    Args:
        chamfer_mm: half the sum of both directed means.
        hausdorff_mm: the largest distance, from either side.
        hd95_mm: the larger of the two directed 95th percentiles.
    """

    chamfer_mm: float
    hausdorff_mm: float
    hd95_mm: float


def cloud_distances(first: Tensor, second: Tensor) -> CloudDistances:
    r"""Chamfer and Hausdorff distances of two sets of points.

    .. math:: d_C = \tfrac12 \Big(\mathrm{mean}_i \min_j |x_i - y_j| + \mathrm{mean}_j \min_i |x_i - y_j|\Big), \qquad
        d_H = \max\Big(\max_i \min_j |x_i - y_j|, \max_j \min_i |x_i - y_j|\Big)

    Args:
        first: ``(num_first, dim)`` mm.
        second: ``(num_second, dim)`` mm.

    Returns:
        The distances; not differentiable.

    Raises:
        GeogridError: for clouds that do not fit each other.

    Example:
        >>> cloud_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
        CloudDistances(chamfer_mm=2.0, hausdorff_mm=5.0, hd95_mm=4.8)
    """
    ways = [_to_nearest(a.double(), b.double()) for a, b in ((first, second), (second, first))]
    return CloudDistances(
        chamfer_mm=float(sum(way.mean() for way in ways)) / 2,
        hausdorff_mm=max(float(way.max()) for way in ways),
        hd95_mm=max(_percentile(way, 0.95) for way in ways),
    )


def _to_nearest(points: Tensor, others: Tensor) -> Tensor:
    """Distance of each point to the nearest of the others, ``(num_points,)``."""
    nearest = others[knn(others, points, 1).index[:, 0]]
    distance: Tensor = torch.linalg.vector_norm(points - nearest, dim=1)
    return distance


def _percentile(values: Tensor, share: float) -> float:
    """Linear between the two nearest ranks; ``torch.quantile`` takes 16 million values at most."""
    ordered = values.sort().values
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (place - low) * (ordered[high] - ordered[low]))

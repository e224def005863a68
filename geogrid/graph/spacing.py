"""How far apart points are."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.graph.search import knn

FOURTH = 4
"""The spacing is the median distance to this neighbour: pairs of near duplicates do not lower it."""
SAMPLE = 4000
"""Points whose neighbours are looked up."""


def point_spacing(points: Tensor) -> float:
    """Median distance to the fourth neighbour among distinct points (of fewer than 16 to a nearer one); 0 for one place.

    Of points that fill a volume evenly this is nearly the edge of the cube that each one has to itself.

    Args:
        points: ``(num_points, dim)``; of many, every so-manieth in the order of their coordinates is looked at.

    Returns:
        In the unit of the points.

    Example:
        >>> axis = torch.arange(10.0)
        >>> point_spacing(3 * torch.cartesian_prod(axis, axis))
        3.0
    """
    distinct = torch.unique(points.detach(), dim=0)
    rows = torch.linspace(0, len(distinct) - 1, min(SAMPLE, len(distinct)), dtype=torch.float64).round().long()
    rank = max(1, min(FOURTH, len(distinct) // FOURTH))
    last = knn(distinct, distinct[rows], min(rank + 1, len(distinct))).index[:, -1]
    return float((distinct[last] - distinct[rows]).norm(dim=1).median())

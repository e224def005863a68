"""A subset of points spread evenly over a cloud."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import compiled
from geogrid.graph.checks import check_batch, check_count, check_points, per_axis
from geogrid.graph.metric import metric_positions, squared_distance
from geogrid.graph.search import MetricScale


def farthest_points(
    points: Tensor,
    num: int | None = None,
    *,
    ratio: float | None = None,
    batch: Tensor | None = None,
    metric_scale: MetricScale = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Farthest point sampling: each point taken is the one farthest from those taken before.

    .. math:: i_{t+1} = \arg\max_i \min_{s \le t} |x_i - x_{i_s}|

    Deterministic: starts at the first point of each batch entry, ties go to the lowest index, distances are float64. No point
    is taken twice, duplicates come last. Costs O(num_points num) per entry.

    Args:
        points: ``(num_points, dim)`` positions in mm.
        num: how many points of each batch entry; entries with fewer give all they have.
        ratio: instead of ``num``, the fraction in (0, 1] of each entry, rounded up.
        batch: ``(num_points,)`` int64, sorted; entries may be empty.
        metric_scale: positive scale of the axes, one number or one per axis, that positions are divided by.
        generator: draws the start of each entry when given, on the CPU.

    Returns:
        ``(num_taken,)`` int64 rows of ``points``, entry after entry, in the order they were taken.

    Raises:
        GeogridError: when not exactly one of ``num`` and ``ratio`` is given, or one is out of range.

    Reference:
        Eldar, Lindenbaum, Porat and Zeevi, "The farthest point strategy for progressive image sampling", IEEE Transactions
        on Image Processing 6(9), 1997.

    Example:
        >>> farthest_points(torch.tensor([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]]), num=2)
        tensor([0, 2])
    """
    check_points(points, "points")
    if (num is None) == (ratio is None):
        raise GeogridError(f"farthest_points: expected one of num and ratio, got num={num} and ratio={ratio}")
    if num is not None:
        check_count(num, "num")
    elif ratio is not None and not 0 < ratio <= 1:
        raise GeogridError(f"ratio: expected a fraction above 0 and up to 1, got {ratio}")
    sizes = torch.bincount(check_batch(batch, points, "batch")).tolist()
    taken, first = [], 0
    for cloud in metric_positions(points, per_axis(metric_scale, points, "metric_scale")).split(sizes):
        size = len(cloud)
        wanted = num if num is not None else math.ceil(round(size * float(ratio or 1), 9))
        if size:
            start = 0 if generator is None else int(torch.randint(size, (1,), generator=generator))
            taken.append(first + _spread(cloud, min(wanted, size), start))
        first += size
    return torch.cat(taken) if taken else torch.zeros(0, dtype=torch.int64, device=points.device)


def _spread(cloud: Tensor, num: int, start: int) -> Tensor:
    if not compiled.serves(cloud):
        return _spread_plain(cloud, num, start)
    from geogrid.graph import loops

    taken = torch.full((num,), start, dtype=torch.int64)
    loops.fill_spread(cloud.contiguous().numpy(), taken.numpy())
    return taken


def _spread_plain(cloud: Tensor, num: int, start: int) -> Tensor:
    taken = torch.full((num,), start, dtype=torch.int64, device=cloud.device)
    distance = torch.full((len(cloud),), torch.inf, dtype=torch.float64, device=cloud.device)
    for step in range(num):
        if step:
            taken[step] = distance.argmax()
        last = taken[step : step + 1]
        distance = torch.minimum(distance, squared_distance(cloud, cloud[last]))
        distance[last] = -1.0
    return taken

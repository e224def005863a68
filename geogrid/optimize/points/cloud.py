"""A point cloud in its own units, in an order of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geogrid.graph import farthest_points, point_spacing

SAMPLE = 4000
"""Points among which spread ones are chosen, at least."""
ROUNDING = 1e-9
"""A radius below this fraction of the coordinates is one place."""
FAR = 5.0
"""Points farther from the middle than this many radii carry no control point."""


@dataclass(frozen=True, eq=False)
class OrderedCloud:
    """Points sorted by their distance from the middle, which no rigid motion and no shuffling changes.

    Every k-th of them is a subset of the same density, so subsets need no random numbers.

    Args:
        points: ``(num_points, dim)`` float64, sorted.
        order: ``(num_points,)`` int64, the row each one had.
        middle: ``(dim,)`` their geometric median, which up to half of the points cannot drag away.
        radius: median distance from the middle.
        features: ``(num_points, channels)`` in the same order, or None.
    """

    points: Tensor
    order: Tensor
    middle: Tensor
    radius: float
    features: Tensor | None = None

    @classmethod
    def of(cls, points: Tensor, features: Tensor | None = None) -> OrderedCloud:
        """Sorts a cloud; points equally far from the middle by their coordinates."""
        points = points.detach().to("cpu", torch.float64)
        order = torch.arange(len(points))
        for axis in reversed(range(points.shape[1])):
            order = order[points[order, axis].argsort(stable=True)]
        middle = geometric_median(points[order])
        distance = (points - middle).norm(dim=1)
        order = order[distance[order].argsort(stable=True)]
        chosen = None if features is None else features.detach().to("cpu", torch.float32)[order]
        radius = float(distance.median())
        return cls(points[order], order, middle, radius if radius > ROUNDING * float(points.abs().max()) else 0.0, chosen)

    def __len__(self) -> int:
        """Number of points."""
        return len(self.points)

    def centred(self, middle: Tensor, unit: float) -> OrderedCloud:
        """The cloud as seen from a place and measured in a unit."""
        return replace(
            self, points=(self.points - middle) / unit, middle=(self.middle - middle) / unit, radius=self.radius / unit
        )

    def subset(self, num: int) -> OrderedCloud:
        """At most ``num`` points of the same density: every k-th in the order of distance."""
        if len(self) <= num:
            return self
        rows = torch.linspace(0, len(self) - 1, num, dtype=torch.float64).round().long()
        features = None if self.features is None else self.features[rows]
        return OrderedCloud(self.points[rows], self.order[rows], self.middle, self.radius, features)

    def spacing(self) -> float:
        """How far apart the points are (:func:`geogrid.graph.point_spacing`)."""
        return point_spacing(self.points)

    def spread_points(self, num: int) -> Tensor:
        """At most ``num`` distinct points that cover the cloud evenly; what lies far outside is left out."""
        near = self.subset(max(SAMPLE, 10 * num)).points
        near = near[(near - self.middle).norm(dim=1) <= FAR * max(self.radius, 1e-300)]
        taken = near[farthest_points(near, num)]
        earlier = torch.ones(len(taken), len(taken), dtype=torch.bool).tril(-1)
        return taken[~((torch.cdist(taken, taken) <= 1e-6 * self.radius) & earlier).any(1)]


def geometric_median(points: Tensor, iterations: int = 100) -> Tensor:
    r"""The place whose summed distance to the points is least, by Weiszfeld's iteration.

    Args:
        points: ``(num_points, dim)``.
        iterations: number of steps.

    Reference:
        Weiszfeld, "Sur le point pour lequel la somme des distances de n points donnés est minimum", Tohoku Math. J. 43, 1937.
    """
    place = points.mean(0)
    for _ in range(iterations):
        distance = (points - place).norm(dim=1)
        weight = 1 / distance.clamp_min(1e-9 * float(distance.max()) + 1e-300)
        place = (points * (weight / weight.sum())[:, None]).sum(0)
    return place

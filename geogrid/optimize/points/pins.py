"""Partners that are known beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.optimize.points.cloud import OrderedCloud

SLACK = 0.1
"""Standard deviation around a known partner, in spacings, per axis."""
WORTH = 4.0
"""Weight of a known partner against a found one at the last fit."""


@dataclass(frozen=True, eq=False)
class Pins:
    """Places that are known to be carried to places.

    Args:
        points: ``(num_pins, dim)`` in fixed space.
        shift: ``(num_pins, dim)`` to their partners.
        sigma: standard deviation per axis.
    """

    points: Tensor
    shift: Tensor
    sigma: float

    @classmethod
    def of(cls, fixed: OrderedCloud, moving: OrderedCloud, pairs: Tensor | None, spacing: float) -> Pins:
        """The pins that pairs of original rows stand for."""
        pairs = torch.zeros(0, 2, dtype=torch.int64) if pairs is None else pairs
        places = (cloud.points[cloud.order.argsort()[rows]] for cloud, rows in zip((fixed, moving), pairs.T, strict=True))
        here, there = places
        return cls(here, there - here, SLACK * spacing)

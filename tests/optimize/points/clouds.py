"""Small pairs of point sets whose answer is known."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def scattered(dim: int, count: int = 120, seed: int = 0, size: float = 100.0) -> Tensor:
    """Even random points in a box, float64."""
    return size * torch.rand(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wave(points: Tensor, size: float = 5.0) -> Tensor:
    """A smooth displacement of some mm plus a shift."""
    turned = points.roll(1, dims=1)
    return points + size * torch.sin(2 * math.pi * turned / 150) + 3.0


def shuffled(points: Tensor, seed: int = 5) -> Tensor:
    """The same points in another order."""
    return points[torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))]


def mean_error(found: Tensor, truth: Tensor) -> float:
    """Mean distance."""
    return float((found - truth).norm(dim=1).mean())

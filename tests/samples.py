"""An image that is a formula, a second one of which the map to it is known, and samples of both."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.io import PointTable
from geogrid.spatial import Grid

Map = Callable[[Tensor], Tensor]
RADIUS = 34.0


def shown(points: Tensor) -> Tensor:
    """Intensity in [0, 1] at world points in mm: a ball of some 30 mm with a texture of 15 to 25 mm, dark outside."""
    inside = torch.sigmoid((30 - points.norm(dim=1)) / 2)
    axes = points.T
    texture = torch.sin(axes[0] / 3) * torch.cos(axes[1] / 2.5) + torch.sin((axes[1] + axes[-1]) / 4)
    return inside * (0.5 + 0.2 * texture)


def moved(points: Tensor) -> Tensor:
    """The true map of fixed points to moving space: a shift and waves of 3 mm."""
    shift = points.new_tensor([3.0, -2.0, 2.5])[: points.shape[1]]
    return points + shift + 2 * torch.sin(points.roll(1, dims=1) / 15)


def fixed_shown(points: Tensor) -> Tensor:
    """The fixed image at world points."""
    return shown(moved(points))


def scattered(image: Map, dim: int, spacing: float, seed: int = 0) -> PointTable:
    """Samples at random places of a box, so many that each stands for a cube of ``spacing`` mm."""
    count = round((2 * RADIUS / spacing) ** dim)
    places = torch.rand(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    places = RADIUS * (2 * places - 1)
    return PointTable(places, features=image(places)[:, None], feature_names=("intensity",))


def on_grid(image: Map, spacing: tuple[float, ...], degrees: float = 0.0) -> tuple[Tensor, Tensor]:
    """An array and its affine: the same box in voxels of some spacing, in the plane of the first axes turned."""
    dim = len(spacing)
    turn = torch.eye(dim, dtype=torch.float64)
    angle = math.radians(degrees)
    turn[:2, :2] = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    steps = torch.tensor(spacing, dtype=torch.float64)
    shape = [int(n) for n in (2 * RADIUS / steps).ceil()]
    affine = torch.eye(dim + 1, dtype=torch.float64)
    affine[:-1, :-1] = turn * steps
    affine[:-1, -1] = -affine[:-1, :-1] @ ((torch.tensor(shape, dtype=torch.float64) - 1) / 2)
    return image(Grid(tuple(shape), affine).points().double()).view(shape), affine


@dataclass(frozen=True)
class Errors:
    """Mean distance in mm to the true map over the fixed content."""

    before: float
    after: float


def errors(found: Map, dim: int) -> Errors:
    """How far a map of fixed points is from the true one."""
    places = torch.rand(2000, dim, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    places = 25 * (2 * places - 1)
    places = places[places.norm(dim=1) < 25]
    truth = moved(places)
    return Errors(float((places - truth).norm(dim=1).mean()), float((found(places) - truth).norm(dim=1).mean()))

"""Pairs of textures with a known displacement, on lattices of every kind, as batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.graph import pool_cloud
from geogrid.spatial import Grid, PointCloud
from geogrid.transforms import AffineTransform, StepBatch, TrajectoryBatch
from tests.spatial.cases import centered, homogeneous, make_grid, rotation
from tests.transforms.cases import ANGLES, make_wave

SHAPES = {2: (14, 12), 3: (8, 6, 8)}
SPACINGS = {2: (1.0, 1.6), 3: (1.0, 1.2, 2.0)}


@dataclass(frozen=True, eq=False)
class Scene:
    """``fixed_b(x) = moving_b(start_b(x + motion_b(x)))``, everything float64 but the positions."""

    fixed: PointCloud
    moving: PointCloud
    starts: tuple[AffineTransform, ...]
    scale: float = 1.0

    def level(self, level: int) -> PointCloud:
        cloud = self.fixed
        for number in range(level + 1):
            cloud = pool_cloud(cloud, self.scale * 2**number)
        return cloud

    def truth(self, points: PointCloud, share: float = 1.0) -> Tensor:
        parts = points.pos.double().split(points.counts().tolist())
        return share * torch.cat([motion(part, entry) for entry, part in enumerate(parts)])

    def trajectory(self, levels: Sequence[int], share: float = 1.0) -> TrajectoryBatch:
        clouds = {level: self.level(level) for level in set(levels)}
        steps = [StepBatch(n, self.scale * 2**n, clouds[n], self.truth(clouds[n], share)) for n in levels]
        return TrajectoryBatch(self.starts, tuple(steps))

    def entry(self, number: int) -> Scene:
        return Scene(self.fixed.entry(number), self.moving.entry(number), self.starts[number : number + 1], self.scale)


def motion(points: Tensor, entry: int) -> Tensor:
    return make_wave(points.shape[1], 0.8, 25.0, seed=2 + entry).displacement(points)


def texture(points: Tensor, entry: int) -> Tensor:
    waves = make_wave(points.shape[1], 1.0, 11.0, count=6, seed=5 + entry)
    return 0.5 + waves.displacement(points).sum(1, keepdim=True) / 12


def make_scene(dim: int, entries: int = 2, alike: bool = True) -> Scene:
    """Oblique and anisotropic, turned differently in each entry; the moving lattices are larger and lie straight."""
    fixed, moving = [], []
    for entry in range(entries):
        angles = [a + 25 * entry for a in ANGLES[dim]]
        grow = 0 if alike else 2 * entry
        fixed.append(centered(make_grid([n + grow for n in SHAPES[dim]], SPACINGS[dim], angles)))
        moving.append(centered(make_grid([n + 12 + grow for n in SHAPES[dim]], SPACINGS[dim])))
    starts = tuple(start(dim, entry) for entry in range(entries))
    return Scene(
        PointCloud.on_lattices(fixed, torch.cat([fixed_values(grid, b, starts[b]) for b, grid in enumerate(fixed)])),
        PointCloud.on_lattices(moving, torch.cat([texture(exact_points(grid), b) for b, grid in enumerate(moving)])),
        starts,
    )


def start(dim: int, entry: int) -> AffineTransform:
    turn = rotation([5.0 + 3 * entry] * (dim * (dim - 1) // 2))
    return AffineTransform(homogeneous(turn, (0.6, -0.8 - 0.3 * entry, 0.5)[:dim]))


def exact_points(grid: Grid) -> Tensor:
    return grid.index_to_world(grid.indices().double())


def fixed_values(grid: Grid, entry: int, affine: AffineTransform) -> Tensor:
    points = exact_points(grid)
    return texture(affine(points + motion(points, entry)), entry)

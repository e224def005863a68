"""Batches of every kind: equal lattices, unlike lattices, scattered points with empty entries."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor

from geogrid.spatial import Grid, PointCloud
from tests.spatial.cases import homogeneous, make_grid, rotation

KINDS = ("equal", "unlike", "scattered")
DIMS = (2, 3)
ANGLES = {2: (25.0,), 3: (25.0, -10.0, 40.0)}


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal float32 numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def turned(angle: float, dim: int) -> list[float]:
    """The angles of a grid, other ones for each ``angle``."""
    return [angle * a for a in ANGLES[dim]]


def grids(kind: str, dim: int) -> list[Grid]:
    """Three oblique grids; "equal" ones differ in where and how they lie only."""
    shapes = [(7, 6, 5)] * 3 if kind == "equal" else [(7, 6, 5), (4, 9, 3), (5, 5, 6)]
    spacings = [(1.0, 1.0, 2.0)] * 3 if kind == "equal" else [(1.0, 1.0, 2.0), (1.5, 1.0, 1.0), (1.0, 2.0, 2.0)]
    places = enumerate(zip(shapes, spacings, strict=True))
    return [make_grid(n[:dim], h[:dim], turned(0.5 * i, dim), [3.0 * i, -2.0, 1.0][:dim]) for i, (n, h) in places]


def make_batch(kind: str, dim: int, channels: int = 2) -> PointCloud:
    """Three entries with features; of the scattered kind five, of which number 1 and the last have no points."""
    if kind != "scattered":
        made = grids(kind, dim)
        return PointCloud.on_lattices(made, draw(sum(grid.num_points for grid in made), channels))
    counts = torch.tensor([60, 0, 25, 40, 0])
    total = int(counts.sum())
    batch = torch.arange(5).repeat_interleave(counts)
    size = {2: 8.0, 3: 4.5}[dim]
    pos = size * torch.rand(total, dim, generator=torch.Generator().manual_seed(1)) + 5 * batch[:, None]
    density = torch.tensor([60, 1, 25, 40, 1])[batch] / size**dim
    spread = 1 + 0.3 * torch.rand(total, generator=torch.Generator().manual_seed(2))
    frames = torch.stack([rotation(turned(0.3 * number, dim)) for number in range(5)])
    return PointCloud.from_points(pos, spread / density, draw(total, channels), batch, frames, num_entries=5)


def scattered(cloud: PointCloud) -> PointCloud:
    """The points of lattices, their order and spacing kept, that they are lattices forgotten."""
    return replace(cloud, lattices=())


def shuffled(cloud: PointCloud, order: Tensor) -> PointCloud:
    """One entry of scattered points in another order."""
    x = None if cloud.x is None else cloud.x[order]
    return replace(cloud, pos=cloud.pos[order], measure=cloud.measure[order], x=x)


def motions(dim: int, number: int) -> Tensor:
    """One rigid motion of the world per entry."""
    shift = torch.tensor([4.0, -3.0, 2.0], dtype=torch.float64)[:dim]
    return torch.stack([homogeneous(rotation(turned(1 + i, dim)), (i + 1) * shift) for i in range(number)])


def entries(cloud: PointCloud) -> list[PointCloud]:
    """All entries, each as a batch of its own."""
    return [cloud.entry(number) for number in range(cloud.num_entries)]


def assert_same(found: PointCloud, expected: PointCloud, atol: float = 1e-5) -> None:
    """Compares all tensors, and the lattices in space."""
    for name in (field.name for field in fields(PointCloud) if field.name != "lattices"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            torch.testing.assert_close(ours, theirs, atol=atol, rtol=1e-5, msg=lambda m, name=name: f"{name}: {m}")
    pairs = zip(found.lattices, expected.lattices, strict=True)
    assert all(ours.same_space(theirs) for ours, theirs in pairs)

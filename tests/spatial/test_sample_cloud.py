"""Reading a batch of lattices at world positions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geogrid.spatial import Grid, PointCloud, sample_lattice
from geogrid.spatial.sampling import sample_cloud
from tests.spatial.cases import grids, make_grid, refused

COUNTS = {"stacked": (9, 9, 9), "one by one": (9, 0, 14)}


def _cloud(dim: int, alike: bool) -> PointCloud:
    turned = [[10.0 * n] * (dim * (dim - 1) // 2) for n in range(3)]
    shapes = [[n + (0 if alike else entry) for n in (5, 4, 6)[:dim]] for entry in range(3)]
    lattices = [make_grid(s, (1.0, 2.0, 1.5)[:dim], a, (3.0, -2.0, 1.0)[:dim]) for s, a in zip(shapes, turned, strict=True)]
    generator = torch.Generator().manual_seed(0)
    return PointCloud.on_lattices(
        lattices, torch.rand(sum(g.num_points for g in lattices), 2, generator=generator, dtype=torch.float64)
    )


def _places(cloud: PointCloud, counts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Inside and outside of each lattice."""
    generator = torch.Generator().manual_seed(1)
    points = []
    for grid, count in zip(cloud.lattices, counts, strict=True):
        share = 1.6 * torch.rand(count, cloud.dim, generator=generator, dtype=torch.float64) - 0.3
        points.append(grid.index_to_world(share * (torch.tensor(grid.shape) - 1)))
    return torch.cat(points), torch.arange(3).repeat_interleave(torch.tensor(counts))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
def test_a_batch_equals_its_entries(dim: int, alike: bool, counts: tuple[int, ...]):
    cloud = _cloud(dim, alike)
    points, batch = _places(cloud, counts)
    expected = []
    for number, grid in enumerate(cloud.lattices):
        values = cloud.entry(number).x.T.reshape(2, *grid.shape)  # type: ignore[union-attr]
        expected.append(sample_lattice(values, grid.world_to_index(points[batch == number])).T)
    torch.testing.assert_close(sample_cloud(cloud, points, batch), torch.cat(expected))


@given(grids(max_size=5), st.integers(0, 50))
def test_linear_fields_are_read_exactly_inside(grid: Grid, seed: int):
    points = grid.index_to_world(grid.indices().double())
    slope = torch.randn(grid.dim, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    share = torch.rand(6, grid.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    places = grid.index_to_world(share * (torch.tensor(grid.shape) - 1))
    read = sample_cloud(PointCloud.on_lattices([grid], points @ slope), places, torch.zeros(6, dtype=torch.int64))
    torch.testing.assert_close(read, places @ slope, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("dim", [2, 3])
def test_gradcheck(dim: int):
    cloud = _cloud(dim, True)
    points, batch = _places(cloud, (3, 3, 3))
    assert cloud.x is not None
    assert torch.autograd.gradcheck(
        lambda x, p: sample_cloud(cloud.with_features(x), p, batch), (cloud.x.requires_grad_(), points.requires_grad_())
    )


def test_refusals():
    cloud = _cloud(2, True)
    with refused("lattices with features"):
        sample_cloud(cloud.with_features(None), cloud.pos, cloud.batch)
    with refused("lattices with features"):
        sample_cloud(PointCloud.from_points(cloud.pos, cloud.measure, cloud.x), cloud.pos, cloud.batch)

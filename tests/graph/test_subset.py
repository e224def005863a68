"""Random parts of a cloud: which points stay and what they stand for."""

from __future__ import annotations

import math

import pytest
import torch

from geogrid.graph import random_rows, random_subset, subset
from geogrid.spatial import Grid, PointCloud, to_cloud
from tests.spatial.cases import make_grid, refused


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dim", [2, 3])
def test_points_keep_their_features_and_order(dim: int):
    cloud = to_cloud(torch.rand(3, *(7, 6, 5)[:dim], generator=_generator()))
    part = random_subset(cloud, 0.4, _generator(1))
    count = round(0.4 * cloud.num_points / 3)
    assert part.counts().tolist() == [count] * 3
    assert not part.is_lattice
    rows = [
        int((cloud.x[:, 0] == value).logical_and((cloud.pos == pos).all(1)).nonzero()[0, 0])
        for value, pos in zip(part.x[:, 0], part.pos, strict=True)
    ]
    assert rows == sorted(set(rows))
    assert torch.equal(cloud.batch[rows], part.batch)
    assert torch.equal(part.frame, cloud.frame)


def test_entries_are_thinned_apart():
    part = random_subset(to_cloud(torch.zeros(2, 10, 10)), 0.5, _generator())
    first, second = part.entry(0), part.entry(1)
    assert not torch.equal(first.pos, second.pos)


@pytest.mark.parametrize(("shape", "spacing"), [((20, 20), (1.0, 1.0)), ((20, 20), (1.0, 2.0)), ((10, 9, 8), (2.0, 2.0, 2.0))])
def test_the_whole_stands_for_what_it_stood_for(shape: tuple[int, ...], spacing: tuple[float, ...]):
    grid = make_grid(shape, spacing, (30.0,) if len(shape) == 2 else (20.0, 40.0, 10.0))
    cloud = PointCloud.on_lattices([grid])
    everything = random_subset(cloud, 1.0, _generator())
    assert torch.equal(everything.pos, cloud.pos)
    torch.testing.assert_close(everything.spacing, cloud.spacing)
    torch.testing.assert_close(everything.measure, cloud.measure, rtol=0.02, atol=0)


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_cells_fill_the_field_of_view(share: float):
    cloud = to_cloud(torch.zeros(20, 28, 28))
    part = random_subset(cloud, share, _generator())
    areas = torch.zeros(20).index_add(0, part.batch, part.measure)
    assert abs(float(areas.mean()) / 784 - 1) < 0.05
    torch.testing.assert_close(part.spacing, cloud.spacing / math.sqrt(share))


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, (2**0.5, 2**0.5, 4.0)), (0.05, (80 ** (1 / 3),) * 3), (1.0, (1.0, 1.0, 4.0))]
)
def test_slices_stay_apart_while_their_points_get_fewer(share: float, expected: tuple[float, ...]):
    cloud = PointCloud.on_lattices([make_grid((10, 10, 4), (1.0, 1.0, 4.0))])
    spacing = random_subset(cloud, share, _generator()).spacing
    torch.testing.assert_close(spacing, torch.tensor([expected], dtype=torch.float64))


def test_cells_integrate_better_than_equal_shares():
    """What the docstring says, on blobs: the spread of integrals from half of the points is well below that of equal shares."""
    grid = Grid((28, 28), torch.eye(3))
    blob = torch.exp(-(grid.points() - grid.center.float()).square().sum(1) / 2 / 4**2)[:, None]
    part = random_subset(PointCloud.on_lattices([grid] * 60, blob.repeat(60, 1)), 0.5, _generator())
    empty, values = torch.zeros(60), part.x[:, 0]
    by_cells = empty.index_add(0, part.batch, values * part.measure) / blob.sum()
    by_share = empty.index_add(0, part.batch, values / 0.5) / blob.sum()
    assert abs(float(by_cells.mean()) - 1) < 0.02
    assert by_cells.std() < 0.6 * by_share.std()


def test_scattered_points_can_be_thinned_too():
    pos = torch.rand(300, 2, generator=_generator()) * 20
    cloud = PointCloud.from_points(pos, torch.full((300,), 400 / 300), pos)
    part = random_subset(cloud, 0.5, _generator(1))
    assert part.num_points == 150
    assert torch.equal(part.pos, part.x)
    assert abs(float(part.measure.sum()) / 400 - 1) < 0.1


def test_at_least_one_point_stays_and_empty_entries_stay_empty():
    pos = torch.tensor([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]])
    cloud = PointCloud.from_points(pos, torch.ones(3), batch=torch.tensor([0, 0, 2]))
    assert random_subset(cloud, 0.1, _generator()).counts().tolist() == [1, 0, 1]


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_shares_out_of_range(share: float):
    with refused("share: expected"):
        random_subset(to_cloud(torch.zeros(1, 4, 4)), share, _generator())


@pytest.mark.parametrize("dim", [2, 3])
def test_rows_name_the_points_of_the_subset(dim: int):
    cloud = to_cloud(torch.rand(3, *(7, 6, 5)[:dim], generator=_generator()))
    rows = random_rows(cloud, 0.4, _generator(1))
    whole, part = random_subset(cloud, 0.4, _generator(1)), subset(cloud, rows)
    for name in ("pos", "measure", "batch", "x", "spacing", "frame"):
        assert torch.equal(getattr(part, name), getattr(whole, name))


def test_a_gradient_moves_the_points_to_one_end():
    cloud = to_cloud(torch.zeros(40, 60, 60))
    ratios = []
    rows = random_rows(cloud, 0.05, _generator(1), gradient=9.0)
    for number in range(40):
        kept = cloud.pos[rows[cloud.batch[rows] == number]]
        assert len(kept) == 180
        ratios.append(float(kept.mean(0).norm()))
    even = random_rows(cloud, 0.05, _generator(1))
    still = [float(cloud.pos[even[cloud.batch[even] == number]].mean(0).norm()) for number in range(40)]
    assert sum(ratios) > 2 * sum(still)


def test_a_gradient_out_of_range_is_refused():
    with refused("gradient", "0.5"):
        random_rows(to_cloud(torch.zeros(1, 4, 4)), 0.5, _generator(), gradient=0.5)

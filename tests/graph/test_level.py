"""Who is near whom on a level, against all pairs compared one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geogrid.graph import Level, Neighborhood, pool_cloud
from geogrid.graph.level import ON_POINT
from geogrid.spatial import Grid, PointCloud, map_points
from tests.spatial.batches import DIMS, KINDS, draw, entries, make_batch, motions, scattered
from tests.spatial.cases import make_grid


def exact(cloud: PointCloud) -> Tensor:
    """Positions in float64, those of lattices without rounding."""
    if not cloud.is_lattice:
        return cloud.pos.double()
    return torch.cat([grid.index_to_world(grid.indices().double()) for grid in cloud.lattices])


def queries(cloud: PointCloud, skipped: int = 1) -> tuple[Tensor, Tensor]:
    """Places inside, at the border, outside and far outside of each entry but one."""
    places, batch = [], []
    for number, entry in enumerate(entries(cloud)):
        if number == skipped or entry.num_points == 0:
            continue
        low, high = entry.pos.amin(0), entry.pos.amax(0)
        share = torch.rand(40, cloud.dim, generator=torch.Generator().manual_seed(number)) * 1.6 - 0.3
        far = high + torch.tensor([100.0, 0.0, -50.0])[: cloud.dim]
        places += [low + share * (high - low), entry.pos[:10] + 0.01 * draw(len(entry.pos[:10]), cloud.dim), far[None]]
        batch += [torch.full((len(places[-3]) + len(places[-2]) + 1,), number)]
    return torch.cat(places), torch.cat(batch)


def neighbors(table: Neighborhood) -> list[set[int]]:
    """Per query, and that no neighbour is named twice."""
    found = [row[mask].tolist() for row, mask in zip(table.index, table.mask, strict=True)]
    assert all(len(row) == len(set(row)) for row in found)
    assert int(table.index.min()) >= 0
    assert int(table.index.max()) < table.num_context
    return [set(row) for row in found]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("reach", [1.3, 3.1])
def test_a_window_is_the_ball_in_the_own_entry(kind: str, dim: int, reach: float) -> None:
    cloud = make_batch(kind, dim)
    level = Level.of(cloud, 1.0)
    places, batch = queries(cloud)
    near = (exact(cloud) - places.double()[:, None]).norm(dim=-1) <= reach
    near &= cloud.batch == batch[:, None]
    found = level.window(places, batch, reach)
    assert found.num_context == cloud.num_points
    assert neighbors(found) == [set(row.nonzero()[:, 0].tolist()) for row in near]
    assert near.sum() > 50
    assert not near.any(1).all()


@pytest.mark.parametrize("kind", ["equal", "unlike"])
@pytest.mark.parametrize("dim", DIMS)
def test_parents_on_a_lattice_are_the_corners_around(kind: str, dim: int) -> None:
    cloud = make_batch(kind, dim)
    places, batch = queries(cloud)
    index = torch.cat([grid.indices().double() for grid in cloud.lattices])
    here = torch.stack([cloud.lattices[b].world_to_index(q) for q, b in zip(places.double(), batch.tolist(), strict=True)])
    corners = ((index - here[:, None]).abs() < 1 - ON_POINT).all(-1) & (cloud.batch == batch[:, None])
    found = neighbors(Level.of(cloud, 1.0).parents(places, batch))
    assert found == [set(row.nonzero()[:, 0].tolist()) for row in corners]
    assert {len(row) for row in found} >= {0, 2 ** (dim - 1), 2**dim}


@pytest.mark.parametrize("k", [None, 3, 70])
@pytest.mark.parametrize("dim", DIMS)
def test_scattered_parents_are_the_nearest_of_the_own_entry(k: int | None, dim: int) -> None:
    cloud = make_batch("scattered", dim)
    places, batch = queries(cloud, skipped=3)
    distance = (cloud.pos.double() - places.double()[:, None]).norm(dim=-1)
    distance = torch.where(cloud.batch == batch[:, None], distance, torch.inf)
    wanted = 2**dim + 2 if k is None else k
    counts = cloud.counts()[batch].clamp_max(wanted).tolist()
    expected = [set(row.argsort()[:n].tolist()) for row, n in zip(distance, counts, strict=True)]
    found = Level.of(cloud, 1.0).parents(places, batch, k)
    assert found.k == wanted
    assert neighbors(found) == expected


def test_parents_among_thick_slices_are_looked_for_in_units_of_the_spacing() -> None:
    grid = make_grid((6, 6, 3), (2, 2, 8), [25.0, -10.0, 40.0])
    level = Level.of(scattered(PointCloud.on_lattices([grid])), 2.0)
    query = grid.index_to_world(torch.tensor([[2.4, 2.6, 0.9]]))
    found = next(iter(neighbors(level.parents(query, torch.zeros(1, dtype=torch.int64), k=8))))
    slices = {int(grid.indices()[row, 2]) for row in found}
    assert slices == {0, 1}
    mm = (grid.points() - query).norm(dim=1).argsort()[:8]
    assert grid.indices()[mm, 2].unique().tolist() == [1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_a_rigid_motion_changes_no_neighbour(kind: str, dim: int) -> None:
    cloud = make_batch(kind, dim)
    level, matrices = Level.of(cloud, 1.0), motions(dim, cloud.num_entries)
    places, batch = queries(cloud)
    there = torch.stack([map_points(matrices[b], q) for q, b in zip(places.double(), batch.tolist(), strict=True)])
    moved = level.moved(matrices)
    assert moved.neighborhood is level.neighborhood
    assert neighbors(moved.window(there, batch, 2.3)) == neighbors(level.window(places, batch, 2.3))
    assert neighbors(moved.parents(there, batch)) == neighbors(level.parents(places, batch))
    torch.testing.assert_close(moved.local_spacing, level.local_spacing)


@pytest.mark.parametrize("dim", DIMS)
def test_equal_lattices_give_what_unlike_ones_give(dim: int) -> None:
    """The shortcut for stacks against the general way, which a smaller third entry forces."""
    cloud = make_batch("equal", dim)
    other = PointCloud.on_lattices([*cloud.lattices, make_grid((2,) * dim, (1.0,) * dim)])
    assert cloud.stackable
    assert not other.stackable
    places, batch = queries(cloud)
    for reach in (1.3, 2.9):
        ours, theirs = (Level.of(c, 1.0).window(places, batch, reach) for c in (cloud, other))
        assert neighbors(ours) == neighbors(theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_no_queries_at_all(kind: str) -> None:
    level = Level.of(make_batch(kind, 2), 1.0)
    places, batch = torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)
    assert level.window(places, batch, 2.0).num_query == 0
    assert level.parents(places, batch).num_query == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_what_a_level_says_of_its_points(kind: str, dim: int) -> None:
    cloud = pool_cloud(make_batch(kind, dim), 2.0)
    level = Level.of(cloud, 2.0)
    torch.testing.assert_close(level.log_measure.exp() * 2.0**dim, cloud.measure)
    torch.testing.assert_close(level.local_spacing.prod(1), cloud.measure)
    assert (level.neighborhood is None) == cloud.is_lattice
    for number, entry in enumerate(entries(cloud)):
        own = level.own_positions[cloud.rows(number)]
        torch.testing.assert_close(own.double(), entry.pos.double() @ entry.frame[0], atol=1e-5, rtol=0)


SPACINGS = [((1.0, 1.0, 4.0), [False, False, True]), ((1.0, 1.5, 3.0), [False, True, True]), ((2.0, 2.0, 2.0), [False] * 3)]


@pytest.mark.parametrize(("spacing", "sliced"), SPACINGS)
def test_slices_are_wider_apart_than_the_scale_and_than_their_points(spacing: tuple[float, ...], sliced: list[bool]) -> None:
    pos, measure = torch.rand(6, 3), 0.5 + torch.arange(6.0)
    cloud = PointCloud.from_points(pos, measure, spacing=torch.tensor(spacing))
    level = Level.of(cloud, 1.0)
    assert level.sliced.tolist() == [sliced]
    assert not Level.of(cloud, 4.0).sliced.any()
    torch.testing.assert_close(level.local_spacing[:, sliced], torch.tensor(spacing)[sliced].expand(6, -1))
    torch.testing.assert_close(level.local_spacing.prod(1), measure)


def test_own_positions_of_a_lattice_are_multiples_of_its_spacing() -> None:
    grid: Grid = make_grid((3, 2), (2.0, 5.0), [33.0])
    own = Level.of(PointCloud.on_lattices([grid]), 1.0).own_positions
    torch.testing.assert_close(own, grid.indices() * torch.tensor([2.0, 5.0]), atol=1e-5, rtol=0)

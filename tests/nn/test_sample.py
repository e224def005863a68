"""Scattered points read in between: known fields, the lattice's own interpolation, and what happens beyond the border."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geogrid.graph import point_volumes
from geogrid.nn import sample_scattered
from geogrid.spatial import PointCloud, map_points
from geogrid.spatial.sampling import sample_cloud
from tests.nn.clouds import cloud as random_points
from tests.spatial.batches import DIMS, KINDS, draw, entries, make_batch, motions, scattered, shuffled
from tests.spatial.cases import refused

dims = pytest.mark.parametrize("dim", DIMS)


def places_among(cloud: PointCloud, count: int = 40, margin: float = 0.0) -> tuple[Tensor, Tensor]:
    """Places between the outermost points of each lattice, or ``margin`` spacings beyond them at most."""
    generator, parts = torch.Generator().manual_seed(3), []
    for grid in cloud.lattices:
        last = torch.tensor(grid.shape, dtype=torch.float64) - 1
        share = torch.rand(count, cloud.dim, generator=generator, dtype=torch.float64)
        parts.append(grid.index_to_world(share * (last + 2 * margin) - margin))
    return torch.cat(parts).float(), torch.arange(len(cloud.lattices)).repeat_interleave(count)


@dims
@pytest.mark.parametrize("kind", ["equal", "unlike"])
def test_the_points_of_a_lattice_are_read_as_the_lattice_is(dim: int, kind: str) -> None:
    """Anisotropic and oblique ones, values and gradients; on the points themselves too."""
    cloud = make_batch(kind, dim)
    places, batch = places_among(cloud)
    results = []
    for read in (lambda p: sample_cloud(cloud, p, batch), lambda p: sample_scattered(scattered(cloud), p, batch)[0]):
        there = places.clone().requires_grad_()
        values = read(there)
        results.append((values, *torch.autograd.grad((values * draw(*values.shape)).sum(), [there])))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-4)
    values, seen = sample_scattered(scattered(cloud), cloud.pos, cloud.batch)
    torch.testing.assert_close(values, cloud.x, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(seen, torch.ones_like(seen), atol=1e-5, rtol=0)


@dims
def test_linear_fields_are_read_exactly_where_there_are_neighbours_enough(dim: int) -> None:
    """At two in five places in a random cloud with its own volumes; everywhere with hats of six times the volume."""
    pos = random_points(dim, 150 * dim**2, 6.0)
    slope = torch.tensor([0.7, -1.1, 0.4], dtype=torch.float64)[:dim]
    places, batch = 1.5 + random_points(dim, 50, 3.0, 7), torch.zeros(50, dtype=torch.int64)
    volumes = point_volumes(pos).measure
    for grow, exactly in ((1.0, 0.4), (6.0, 1.0)):
        cloud = PointCloud.from_points(pos, grow * volumes, (pos @ slope + 3)[:, None])
        values, seen = sample_scattered(cloud, places, batch)
        error = (values[:, 0] - places @ slope - 3).abs()
        assert float((error < 1e-9).double().mean()) >= exactly, error
        assert float(error.max()) < 0.5
        assert float(seen.mean()) > 0.95


@dims
def test_places_fade_to_the_mean_beyond_the_border(dim: int) -> None:
    cloud = make_batch("equal", dim)
    grid, one = cloud.lattices[0], scattered(cloud).entry(0)
    steps = torch.linspace(0, 2, 201, dtype=torch.float64)
    index = torch.full((201, dim), 2.0, dtype=torch.float64)
    index[:, 0] = -steps
    values, seen = sample_scattered(one, grid.index_to_world(index), torch.zeros(201, dtype=torch.int64))
    torch.testing.assert_close(seen, (2 * (1 - steps)).clamp(0, 1), atol=1e-4, rtol=0)
    assert one.x is not None
    torch.testing.assert_close(values[100:], one.x.mean(0).expand(101, -1), atol=1e-4, rtol=0)
    assert values.diff(dim=0).abs().max() < 0.1


@dims
@pytest.mark.parametrize("others", [0, 5, 40])
def test_nothing_jumps_as_a_place_crosses_a_cloud(dim: int, others: int) -> None:
    pos = torch.cat([torch.full((1, dim), 2.0, dtype=torch.float64), random_points(dim, others, 4.0)])
    x = draw(len(pos), 1).double()
    cloud = PointCloud.from_points(pos, torch.full((len(pos),), 1.2, dtype=torch.float64), x)
    along = torch.linspace(-3, 7, 5001, dtype=torch.float64)
    places = torch.stack([along, *[torch.full_like(along, 1.7 + 0.2 * a) for a in range(dim - 1)]], 1)
    values, seen = sample_scattered(cloud, places, torch.zeros(5001, dtype=torch.int64))
    assert seen[0] == seen[-1] == 0
    assert float(seen.max()) > 0.5
    assert float(seen.diff().abs().max()) < 25 * 2e-3
    assert float(values.diff(dim=0).abs().max()) < 25 * 2e-3 * float(x.abs().max())


@dims
def test_order_motion_and_other_entries_change_nothing(dim: int) -> None:
    cloud = make_batch("scattered", dim)
    places = cloud.pos + draw(*cloud.pos.shape)
    values, seen = sample_scattered(cloud, places, cloud.batch)
    assert 0.1 < float(seen.mean()) < 0.999
    matrices = motions(dim, cloud.num_entries)
    there = torch.cat([map_points(m, p) for m, p in zip(matrices, places.double().split(cloud.counts().tolist()), strict=True)])
    moved = sample_scattered(cloud.moved(matrices), there.float(), cloud.batch)
    torch.testing.assert_close(moved[0], values, atol=1e-3, rtol=0)
    torch.testing.assert_close(moved[1], seen, atol=1e-3, rtol=0)
    for number, entry in enumerate(entries(cloud)):
        rows = cloud.rows(number)
        single = sample_scattered(entry, places[rows], entry.batch)
        torch.testing.assert_close(single[0], values[rows], atol=1e-4, rtol=0)
    one = cloud.entry(0)
    order = torch.randperm(one.num_points, generator=torch.Generator().manual_seed(5))
    again = sample_scattered(shuffled(one, order), places[cloud.rows(0)], one.batch)
    torch.testing.assert_close(again[0], values[cloud.rows(0)], atol=1e-4, rtol=0)


@dims
def test_gradcheck(dim: int) -> None:
    pos, places, x = random_points(dim, 12, 2.5), random_points(dim, 5, 3.0, 4), draw(12, 2).double()
    measure, batch = torch.full((12,), 1.1, dtype=torch.float64), torch.zeros(5, dtype=torch.int64)

    def run(pos: Tensor, places: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return sample_scattered(PointCloud.from_points(pos, measure, x), places, batch)

    assert torch.autograd.gradcheck(run, tuple(v.requires_grad_() for v in (pos, places, x)), atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
def test_no_places_and_no_points(kind: str) -> None:
    cloud = make_batch(kind, 2)
    none = torch.zeros(0, dtype=torch.int64)
    assert sample_scattered(cloud, torch.zeros(0, 2), none)[0].shape == (0, 2)
    empty = replace(make_batch("scattered", 2).entry(1))
    values, seen = sample_scattered(empty, torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64))
    assert not values.any()
    assert not seen.any()


def test_refusals() -> None:
    cloud = make_batch("scattered", 2)
    with refused("cloud", "with features", "without"):
        sample_scattered(cloud.with_features(None), cloud.pos, cloud.batch)
    with refused("points, batch", "(num_places, 2)", "(125, 3)"):
        sample_scattered(cloud, torch.zeros(125, 3), cloud.batch)


@dims
def test_reading_in_parts_changes_nothing(dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One part is kept for the way back, several are computed again: the same values and gradients."""
    cloud = scattered(make_batch("unlike", dim))
    places, batch = places_among(make_batch("unlike", dim))
    found = []
    for size in (2**26, 2**12):
        monkeypatch.setattr("geogrid.nn.sample.CHUNK_BYTES", size)
        there = places.clone().requires_grad_()
        values, seen = sample_scattered(cloud, there, batch)
        found.append((values, seen, *torch.autograd.grad((values * draw(*values.shape)).sum(), [there])))
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(whole, parts)

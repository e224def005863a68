"""What the surroundings of points without features look like: known shapes, laws, and clouds that are hardly any."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from geogrid.graph import Level, radius, random_subset
from geogrid.models import GeoReg
from geogrid.nn import geometry_channels, local_geometry
from geogrid.spatial import PointCloud
from tests.models.cases import awake, small_config
from tests.nn.clouds import cloud as random_points
from tests.nn.clouds import everyone
from tests.spatial.batches import DIMS, KINDS, draw, entries, make_batch, motions, shuffled
from tests.spatial.cases import make_grid, refused

dims = pytest.mark.parametrize("dim", DIMS)


def described(cloud: PointCloud, scale: float = 1.0) -> Tensor:
    near = radius(cloud.pos, cloud.pos, 2.5 * scale, batch_context=cloud.batch, batch_query=cloud.batch)
    return local_geometry(cloud, near, scale)


def solid(dim: int, size: int = 9, step: float = 0.5) -> PointCloud:
    """A box of points; the scale is 1."""
    pos = step * torch.cartesian_prod(*[torch.arange(float(size))] * dim)
    return PointCloud.from_points(pos, torch.full((len(pos),), step**dim))


@dims
def test_inside_a_solid_all_but_the_constant_vanish(dim: int) -> None:
    cloud = solid(dim)
    x = described(cloud)
    assert x.shape[1] == geometry_channels(dim)
    torch.testing.assert_close(x[len(x) // 2, 1:], torch.zeros(x.shape[1] - 1), atol=0.02, rtol=0)
    assert bool((x[:, 0] == 1).all())


@dims
def test_borders_planes_and_curves_are_told_apart(dim: int) -> None:
    face = described(solid(dim))[4 if dim == 2 else 4 * 9 + 4][1:]
    fill, offset, spread = face[0], face[2 : 2 + dim], face[2 + dim :]
    assert -0.35 < fill < -0.1
    assert offset[0] > 0.5
    torch.testing.assert_close(offset[1:], torch.zeros(dim - 1), atol=1e-5, rtol=0)
    assert spread[0] < -0.3 < spread[-1]
    line = torch.zeros(21, dim)
    line[:, 0] = 0.25 * torch.arange(21.0)
    curve = described(PointCloud.from_points(line, torch.full((21,), 0.25)))[10]
    diagonal = curve[3 + dim :][[0, 2] if dim == 2 else [0, 3, 5]]
    assert diagonal[0] > 0.05
    torch.testing.assert_close(diagonal[1:], -torch.ones(dim - 1))
    assert curve[2] > 0.2


@dims
@pytest.mark.parametrize("kind", KINDS)
def test_moving_a_cloud_with_its_frame_changes_nothing_and_a_batch_equals_its_entries(dim: int, kind: str) -> None:
    cloud = make_batch(kind, dim)
    x = described(cloud)
    torch.testing.assert_close(described(cloud.moved(motions(dim, cloud.num_entries))), x, atol=2e-4, rtol=0)
    singles = [described(entry) for entry in entries(cloud) if entry.num_points]
    torch.testing.assert_close(torch.cat(singles), x, atol=1e-5, rtol=0)


@dims
def test_a_cloud_turned_within_its_frame_looks_different(dim: int) -> None:
    cloud = make_batch("scattered", dim).entry(0)
    turned = cloud.moved(motions(dim, 1))
    assert (described(replace(turned, frame=cloud.frame)) - described(cloud)).abs().max() > 0.1


@dims
def test_order_unit_and_shared_places_change_nothing(dim: int) -> None:
    cloud = make_batch("scattered", dim).entry(0)
    x = described(cloud)
    order = torch.randperm(cloud.num_points, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(described(shuffled(cloud, order)), x[order], atol=1e-5, rtol=0)
    larger = replace(cloud, pos=4 * cloud.pos, measure=4**dim * cloud.measure, spacing=4 * cloud.spacing)
    torch.testing.assert_close(described(larger, 4.0), x, atol=1e-6, rtol=0)
    twice = torch.arange(0, cloud.num_points, 3)
    measure = cloud.measure.clone()
    measure[twice] /= 2
    doubled = PointCloud.from_points(
        torch.cat([cloud.pos, cloud.pos[twice]]), torch.cat([measure, measure[twice]]), frame=cloud.frame[0]
    )
    torch.testing.assert_close(described(doubled), torch.cat([x, x[twice]]), atol=1e-5, rtol=0)


@dims
@settings(max_examples=20)
@given(seed=st.integers(0, 1000), count=st.integers(0, 3), flat=st.booleans(), same=st.booleans())
def test_few_flat_and_coinciding_points_have_finite_features(dim: int, seed: int, count: int, flat: bool, same: bool) -> None:
    pos = 1.5 * torch.rand(count, dim, generator=torch.Generator().manual_seed(seed))
    pos[:, 0] *= not flat
    pos = pos[:1].expand_as(pos).clone() if same else pos
    cloud = PointCloud.from_points(pos.requires_grad_(), torch.full((count,), 1e-6 + seed % 3))
    x = local_geometry(cloud, everyone(count, count), 1.0)
    assert x.shape == (count, geometry_channels(dim))
    x.sum().backward()
    assert pos.grad is not None
    assert bool(x.isfinite().all() and pos.grad.isfinite().all())
    assert bool((x.detach().abs() < 10).all())


@dims
def test_points_beyond_the_ball_have_no_say(dim: int) -> None:
    cloud = make_batch("scattered", dim).entry(0)
    more = local_geometry(cloud, everyone(cloud.num_points, cloud.num_points), 1.0)
    torch.testing.assert_close(described(cloud), more)
    alone = PointCloud.from_points(torch.zeros(1, dim), torch.ones(1))
    far = PointCloud.from_points(torch.cat([torch.zeros(1, dim), torch.full((1, dim), 2.0)]), torch.ones(2))
    torch.testing.assert_close(local_geometry(far, everyone(2, 2), 1.0)[:1], local_geometry(alone, everyone(1, 1), 1.0))


@dims
def test_a_point_moving_a_little_changes_little(dim: int) -> None:
    """By 12 times as much at most, across all rims."""
    pos, chance = random_points(dim, 40, 4.0), torch.Generator().manual_seed(0)
    for _ in range(30):
        step, moved = torch.randn(dim, generator=chance, dtype=torch.float64), pos.clone()
        moved[int(torch.randint(40, (1,), generator=chance))] += 1e-4 * step / step.norm()
        one, other = (described(PointCloud.from_points(p, torch.ones(40, dtype=torch.float64))) for p in (pos, moved))
        assert float((one - other).abs().max()) <= 12e-4


@dims
def test_gradcheck(dim: int) -> None:
    pos = random_points(dim, 6, 2.0).requires_grad_()

    def run(pos: Tensor) -> Tensor:
        return local_geometry(PointCloud.from_points(pos, torch.ones(6, dtype=torch.float64)), everyone(6, 6), 1.0)

    assert torch.autograd.gradcheck(run, (pos,), fast_mode=True)


FOUND = {(2, 1.0): 0.264, (2, 0.5): 0.100, (3, 1.0): 0.200, (3, 0.5): 0.044}
"""Measured at a random half of a solid's points that are 1 and 0.5 scales apart."""


@pytest.mark.parametrize(("dim", "step"), FOUND)
def test_a_random_half_has_the_features_of_the_whole_up_to_the_noise_of_sums(dim: int, step: float) -> None:
    assert part_and_whole(dim, 0.5, step)[0] < 1.15 * FOUND[dim, step]


def part_and_whole(dim: int, share: float, step: float) -> tuple[float, float]:
    """Root mean square difference of the features, and root mean square of the whole's own, on half a ball of points."""
    grid = make_grid((int(10 / step) + 1,) * dim, (step,) * dim)
    place = grid.points() - grid.center.float()
    keep = (place.norm(dim=1) < 4.7) & (place[:, 0] > -1.2)
    index = torch.arange(int(keep.sum()), dtype=torch.float32)[:, None]
    whole = PointCloud.from_points(grid.points()[keep], torch.full((len(index),), step**dim), index)
    part = random_subset(whole, share, torch.Generator().manual_seed(1))
    assert part.x is not None
    rows = part.x[:, 0].long()
    ours, theirs = described(part)[:, 1:], described(whole)[rows, 1:]
    return float((ours - theirs).square().mean().sqrt()), float(theirs.square().mean().sqrt())


@dims
def test_a_model_registers_clouds_without_features(dim: int) -> None:
    """Points on a curved sheet, in two poses that share nothing but their shape."""
    torch.manual_seed(0)
    model = awake(GeoReg(small_config(dim, in_channels=0)))
    pos = 8 * draw(80, dim).abs()
    pos[:, 0] = 3 * (pos[:, 1] / 4).sin()
    fixed, moving = (PointCloud.from_points(p, torch.ones(80)) for p in (pos, pos * 1.1 + 0.3))
    trajectory = model(fixed, moving, scale=1.0)
    displacement = trajectory.last.displacement
    assert displacement.shape == (80, dim)
    displacement.square().sum().backward()
    first = model.encoder.stages[0][0].conv1.weight
    assert first.shape[1] == geometry_channels(dim)
    assert first.grad is not None
    assert float(first.grad.abs().max()) > 0
    with refused("cloud", "with 0 features, got"):
        model(fixed.with_features(pos), moving)


def test_refusals() -> None:
    cloud = solid(2)
    with refused("neighborhood", "81 points", "3 and 3"):
        local_geometry(cloud, everyone(3, 3), 1.0)
    with refused("scale", "positive"):
        local_geometry(cloud, everyone(81, 81), 0.0)


def test_a_level_knows_the_neighbours() -> None:
    cloud = make_batch("scattered", 3)
    level = Level.of(cloud, 1.0)
    assert level.neighborhood is not None
    torch.testing.assert_close(local_geometry(cloud, level.neighborhood, 1.0), described(cloud), atol=1e-5, rtol=0)

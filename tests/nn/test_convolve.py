"""One convolution on any sampling: the doors agree, entries do not mix, no neighbour is missed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from geogrid.graph import Level, Neighborhood
from geogrid.nn import ContinuousConv, convolve
from geogrid.nn.convolve import knots_of
from geogrid.spatial import PointCloud
from tests.nn.clouds import layer
from tests.spatial.batches import DIMS, KINDS, draw, entries, make_batch, motions, scattered, shuffled
from tests.spatial.cases import make_grid, refused


def everyone(count: int) -> Neighborhood:
    return Neighborhood(torch.arange(count).repeat(count, 1), torch.ones(count, count, dtype=torch.bool), count)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_a_batch_equals_its_entries(kind: str, dim: int) -> None:
    cloud, conv = make_batch(kind, dim), layer(dim, dtype=torch.float32)
    whole = convolve(conv, cloud.x, Level.of(cloud, 1.0))
    for number, entry in enumerate(entries(cloud)):
        single = convolve(conv, entry.x, Level.of(entry, 1.0))
        torch.testing.assert_close(whole[cloud.rows(number)], single, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 4.0), (0.7, 1.0, 2.5)])
@pytest.mark.parametrize("dim", DIMS)
def test_a_lattice_and_its_points_scattered_agree(spacing: tuple[float, ...], dim: int) -> None:
    spacing = spacing if dim == 3 else spacing[1:]
    grid = make_grid((7, 5, 4)[:dim], spacing, {2: [25.0], 3: [25.0, -10.0, 40.0]}[dim])
    cloud, conv = PointCloud.on_lattices([grid], draw(grid.num_points, 2)), layer(dim, dtype=torch.float32)
    found, expected = (convolve(conv, c.x, Level.of(c, 1.0)) for c in (scattered(cloud), cloud))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("dim", DIMS)
def test_no_point_that_matters_is_left_out_where_density_varies(dim: int) -> None:
    cloud = make_batch("scattered", dim).entry(0)
    measure = torch.where(torch.arange(cloud.num_points) % 5 == 0, 3.0**dim, 0.5)
    cloud = PointCloud.from_points(cloud.pos, measure, cloud.x)
    conv = layer(dim, dtype=torch.float32)
    found = convolve(conv, cloud.x, Level.of(cloud, 1.0))
    expected = conv(cloud.x, cloud.pos, everyone(cloud.num_points), scale=1.0, measure=measure)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_a_rigid_motion_changes_nothing(kind: str, dim: int) -> None:
    cloud, conv = make_batch(kind, dim), layer(dim, dtype=torch.float32)
    level = Level.of(cloud, 1.0)
    expected = convolve(conv, cloud.x, level)
    for moved in (level.moved(motions(dim, cloud.num_entries)), Level.of(cloud.moved(motions(dim, cloud.num_entries)), 1.0)):
        torch.testing.assert_close(convolve(conv, cloud.x, moved), expected, atol=1e-4, rtol=0)


def test_the_weights_of_a_level_are_made_once() -> None:
    cloud = make_batch("scattered", 2)
    level = Level.of(cloud, 1.0)
    knots = knots_of(level)
    assert knots_of(level.moved(motions(2, cloud.num_entries))) is knots
    assert knots_of(Level.of(cloud, 1.0)) is not knots
    assert knots_of(Level.of(cloud, 2.0)) is not knots


def test_gradients_reach_positions_where_these_are_learned() -> None:
    cloud, conv = make_batch("scattered", 2), layer(2)
    level = Level.of(replace(cloud, pos=cloud.pos.double().requires_grad_()), 1.0)
    convolve(conv, cloud.x.double(), level).square().sum().backward()
    assert level.points.pos.grad is not None
    assert bool((level.points.pos.grad != 0).any())


def test_permuting_scattered_points_permutes_the_answer() -> None:
    cloud, conv = make_batch("scattered", 3).entry(0), layer(3, dtype=torch.float32)
    order = torch.randperm(cloud.num_points, generator=torch.Generator().manual_seed(5))
    other = shuffled(cloud, order)
    found, expected = convolve(conv, other.x, Level.of(other, 1.0)), convolve(conv, cloud.x, Level.of(cloud, 1.0))
    torch.testing.assert_close(found, expected[order], atol=1e-5, rtol=1e-5)


def test_scattered_points_without_their_neighbours_are_refused() -> None:
    cloud = make_batch("scattered", 2)
    with refused("level", "Level.of"):
        convolve(layer(2, dtype=torch.float32), cloud.x, Level(cloud, 1.0))


@pytest.mark.parametrize("dim", DIMS)
def test_a_spacing_that_float32_rounded_is_the_scale(dim: int) -> None:
    conv, x = layer(dim, dtype=torch.float32), draw(1, 2, *(6, 5, 4)[:dim])
    exact = conv.on_grid(x, 1.0, scale=1.0)
    for steps in (1 + 2e-7, 1 - 2e-7):
        assert torch.equal(conv.on_grid(x, steps, scale=1.0), exact)
    apart = [1 - 2e-7, *[1.5] * (dim - 1)]
    torch.testing.assert_close(conv.on_grid(x, apart, scale=1.0), conv.on_grid(x, [1.0, *apart[1:]], scale=1.0))


def test_a_layer_that_was_used_for_inference_can_be_trained() -> None:
    conv = ContinuousConv(1, 1, 2).double()
    x = torch.ones(1, 1, 5, 5, dtype=torch.float64)
    with torch.inference_mode():
        conv.on_grid(x, [1.0, 2.71], scale=1.0)
    conv.on_grid(x, [1.0, 2.71], scale=1.0).sum().backward()
    assert conv.weight.grad is not None
    assert bool((conv.weight.grad != 0).all())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind: str) -> None:
    cloud, conv = make_batch(kind, 2), layer(2)
    cloud = replace(cloud, pos=cloud.pos.double())
    level, x = Level.of(cloud, 1.0), cloud.x.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *_: convolve(conv, x, level), (x, conv.weight, conv.bias), fast_mode=True)

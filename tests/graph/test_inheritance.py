"""From parents to children: affine motion survives, fallbacks are as stated, entries do not mix."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geogrid.graph import Level, concatenate, inherit_displacement, pool_cloud
from geogrid.graph.inheritance import fit_weights
from geogrid.spatial import Grid, PointCloud
from tests.graph.test_level import exact
from tests.spatial.batches import DIMS, KINDS, draw, entries, make_batch, motions, scattered, shuffled
from tests.spatial.cases import make_grid, refused

EPS = torch.finfo(torch.float32).eps


def affine(dim: int, points: Tensor, seed: int = 7) -> Tensor:
    """A displacement that is affine in space, float64."""
    linear, shift = draw(dim, dim, seed=seed).double(), draw(dim, seed=seed + 1).double()
    return points @ linear.T + shift


def rounding(parents: Tensor, dim: int) -> float:
    r"""What float32 may leave between lattices.

    Per axis a weight, a product and a sum are rounded, and the input and the output once, half an eps each; children up to
    half a spacing beyond the parents have weights 3/2 and -1/2 along an axis, whose sizes add up to 2.
    """
    return (1.5 * dim + 1) * EPS * 2**dim * float(parents.abs().max())


def rounding_of_fit(parents: Level, children: PointCloud, displacement: Tensor) -> float:
    """The same among scattered points: k products and sums, sizes of weights as they are."""
    found = parents.parents(children.pos, children.batch)
    places = [parents.in_spacings(c.pos, c.batch) for c in (parents.points, children)]
    size = float(fit_weights(places[0], places[1], found).abs().sum(1).max())
    return (found.k / 2 + 2) * EPS * size * float(displacement.abs().max())


@pytest.mark.parametrize("kind", ["equal", "unlike"])
@pytest.mark.parametrize("dim", DIMS)
def test_affine_motion_survives_on_lattices_borders_included(kind: str, dim: int) -> None:
    fine = make_batch(kind, dim)
    coarse = pool_cloud(fine, 2.0)
    given, expected = affine(dim, exact(coarse)), affine(dim, exact(fine))
    found = inherit_displacement(Level.of(coarse, 2.0), fine, given.float())
    assert float((found - expected).abs().max()) <= rounding(given, dim)


@pytest.mark.parametrize("kind", ["equal", "unlike"])
@pytest.mark.parametrize("dim", DIMS)
def test_affine_motion_survives_from_a_lattice_to_points_anywhere(kind: str, dim: int) -> None:
    coarse = pool_cloud(make_batch(kind, dim), 2.0)
    inside = [(1.6 * torch.rand(30, dim, generator=torch.Generator().manual_seed(1)) - 0.3) for _ in coarse.lattices]
    reach = [torch.tensor(grid.shape) - 1 for grid in coarse.lattices]
    index = [torch.maximum(torch.minimum(s * n, n + 0.9), torch.tensor(-0.9)) for s, n in zip(inside, reach, strict=True)]
    pos = torch.cat([grid.index_to_world(i) for grid, i in zip(coarse.lattices, index, strict=True)])
    children = PointCloud.from_points(pos, torch.ones(len(pos)), batch=torch.arange(3).repeat_interleave(30))
    found = inherit_displacement(Level.of(coarse, 2.0), children, affine(dim, exact(coarse)))
    torch.testing.assert_close(found, affine(dim, pos.double()), atol=1e-10, rtol=0)


@pytest.mark.parametrize("dim", DIMS)
def test_points_that_are_a_lattice_inherit_like_it(dim: int) -> None:
    fine = make_batch("unlike", dim)
    coarse = pool_cloud(fine, 2.0)
    values = draw(coarse.num_points, 2)
    parents = Level.of(coarse, 2.0)
    found, expected = (inherit_displacement(parents, children, values) for children in (scattered(fine), fine))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", DIMS)
def test_affine_motion_survives_among_scattered_points_outside_the_hull_too(dtype: torch.dtype, dim: int) -> None:
    fine = make_batch("scattered", dim)
    coarse = pool_cloud(fine, 2.0)
    center = torch.stack([entry.pos.mean(0) if entry.num_points else torch.zeros(dim) for entry in entries(fine)])
    children = replace(fine, pos=center[fine.batch] + 1.5 * (fine.pos - center[fine.batch]))
    parents = Level.of(coarse, 2.0)
    given = affine(dim, coarse.pos.double())
    found = inherit_displacement(parents, children, given.to(dtype))
    share = 1.0 if dtype == torch.float32 else torch.finfo(torch.float64).eps / EPS * 1e3  # the fit's own conditioning
    error = float((found - affine(dim, children.pos.double())).abs().max())
    assert error <= share * rounding_of_fit(parents, children, given)


def test_affine_motion_survives_thick_slices() -> None:
    grid = make_grid((8, 8, 3), (2, 2, 8), [25.0, -10.0, 40.0])
    coarse = scattered(PointCloud.on_lattices([grid]))
    pos = grid.index_to_world(torch.rand(50, 3, generator=torch.Generator().manual_seed(2)) * torch.tensor([7.0, 7.0, 2.0]))
    children = PointCloud.from_points(pos, torch.ones(50))
    given = affine(3, coarse.pos.double())
    found = inherit_displacement(Level.of(coarse, 2.0), children, given)
    torch.testing.assert_close(found, affine(3, pos.double()), atol=1e-9, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_a_batch_equals_its_entries(kind: str, dim: int) -> None:
    fine = make_batch(kind, dim)
    coarse = pool_cloud(fine, 2.0)
    values = draw(coarse.num_points, 2)
    whole = inherit_displacement(Level.of(coarse, 2.0), fine, values)
    for number in range(fine.num_entries):
        parents = Level.of(coarse.entry(number), 2.0)
        single = inherit_displacement(parents, fine.entry(number), values[coarse.rows(number)])
        torch.testing.assert_close(whole[fine.rows(number)], single, atol=1e-5, rtol=0)


def test_equal_lattices_that_lie_differently_to_their_parents_are_told_apart() -> None:
    children = PointCloud.on_lattices([make_grid((6, 6), (1, 1)), make_grid((6, 6), (1, 1))])
    parents = PointCloud.on_lattices([make_grid((4, 4), (2, 2)), make_grid((4, 4), (2, 2), origin=[-1.0, -0.5])])
    assert children.stackable
    assert parents.stackable
    given = affine(2, exact(parents))
    found = inherit_displacement(Level.of(parents, 2.0), children, given.float())
    assert float((found - affine(2, exact(children))).abs().max()) <= rounding(given, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_a_rigid_motion_changes_nothing(kind: str, dim: int) -> None:
    fine = make_batch(kind, dim)
    coarse = pool_cloud(fine, 2.0)
    values, matrices = draw(coarse.num_points, 1), motions(dim, fine.num_entries)
    parents = Level.of(coarse, 2.0)
    moved = inherit_displacement(parents.moved(matrices), fine.moved(matrices), values)
    torch.testing.assert_close(moved, inherit_displacement(parents, fine, values), atol=1e-5, rtol=0)


def test_the_order_of_scattered_parents_is_of_no_account() -> None:
    fine = make_batch("scattered", 3).entry(0)
    coarse = pool_cloud(fine, 2.0)
    values, order = draw(coarse.num_points, 3), torch.randperm(coarse.num_points, generator=torch.Generator().manual_seed(0))
    found = inherit_displacement(Level.of(shuffled(coarse, order), 2.0), fine, values[order])
    torch.testing.assert_close(found, inherit_displacement(Level.of(coarse, 2.0), fine, values), atol=1e-5, rtol=1e-5)


def cloud_of(pos: Tensor) -> PointCloud:
    return PointCloud.from_points(pos, torch.ones(len(pos)))


@pytest.mark.parametrize("spread", [1, 2])
def test_parents_in_a_plane_or_on_a_line_are_constant_across_it(spread: int) -> None:
    axes = torch.linalg.qr(draw(3, 3, seed=4).double())[0]
    within = axes[:, :spread]
    pos = (2 * draw(12, spread, seed=5).double() @ within.T + 20).float().double()
    plane = pos.mean(0)
    children = draw(9, 3, seed=6).double() + 20
    shadow = plane + (children - plane) @ within @ within.T
    found = inherit_displacement(Level.of(cloud_of(pos), 1.0), cloud_of(children), affine(3, pos))
    torch.testing.assert_close(found, affine(3, shadow), atol=1e-5, rtol=0)
    assert float((found - affine(3, children)).abs().max()) > 0.1


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("distance", [0.0, 30.0])
def test_a_single_parent_gives_its_value_and_coinciding_ones_their_mean(dim: int, distance: float) -> None:
    children = cloud_of(torch.full((2, dim), 5.0 + distance))
    one, three = (Level.of(cloud_of(torch.full((n, dim), 5.0)), 1.0) for n in (1, 3))
    given = draw(3, dim)
    torch.testing.assert_close(inherit_displacement(one, children, given[:1]), given[:1].expand(2, dim))
    torch.testing.assert_close(inherit_displacement(three, children, given), given.mean(0).expand(2, dim))


@pytest.mark.parametrize("dim", DIMS)
def test_two_parents_interpolate_along_their_line(dim: int) -> None:
    ends = torch.zeros(2, dim)
    ends[1, 0] = 4.0
    children = ends[1:] * torch.tensor([[0.0], [0.25], [1.0], [1.5]]) + torch.eye(dim)[1] * torch.tensor([[0.0], [1], [0], [2]])
    found = inherit_displacement(Level.of(cloud_of(ends), 1.0), cloud_of(children), torch.tensor([[0.0], [8.0]]))
    torch.testing.assert_close(found[:, 0], torch.tensor([0.0, 2.0, 8.0, 12.0]), atol=1e-5, rtol=0)


def test_without_parents_children_stay_where_they_are() -> None:
    parents = PointCloud.from_points(torch.rand(4, 2), torch.ones(4), batch=torch.tensor([0, 0, 0, 2]), num_entries=3)
    children = concatenate([cloud_of(torch.rand(3, 2))] * 3)
    found = inherit_displacement(Level.of(parents, 1.0), children, torch.tensor([[1.0], [1.0], [1.0], [5.0]]))
    torch.testing.assert_close(found[:, 0], torch.tensor([1.0, 1, 1, 0, 0, 0, 5, 5, 5]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dim", DIMS)
def test_an_axis_with_a_single_parent_is_constant(dim: int) -> None:
    coarse, fine = make_grid((1, 3, 3)[:dim], (8, 2, 2)[:dim]), make_grid((4, 6, 6)[:dim], (1, 1, 1)[:dim])
    for children in (PointCloud.on_lattices([fine]), scattered(PointCloud.on_lattices([fine]))):
        parents = PointCloud.on_lattices([coarse])
        found = inherit_displacement(Level.of(parents, 2.0), children, parents.pos[:, 1:] + 1)
        expected = (children.pos[:, 1:] + 1).clamp(-1, 7)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [*KINDS, "to points"])
@pytest.mark.parametrize("dim", DIMS)
def test_gradients(kind: str, dim: int) -> None:
    fine = make_batch("unlike" if kind == "to points" else kind, dim)
    coarse = pool_cloud(fine, 4.0)
    children = scattered(fine) if kind == "to points" else fine
    values = draw(coarse.num_points, 1).double().requires_grad_()
    parents = Level.of(coarse, 4.0)
    assert torch.autograd.gradcheck(lambda u: inherit_displacement(parents, children, u), values, fast_mode=True)


def test_lattices_across_each_other_are_refused() -> None:
    one: Grid = make_grid((4, 4), (2, 2))
    other = make_grid((6, 6), (1, 1), [30.0])
    with refused("parallel"):
        inherit_displacement(Level.of(PointCloud.on_lattices([one]), 2.0), PointCloud.on_lattices([other]), torch.zeros(16, 2))

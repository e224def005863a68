from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geogrid.graph import Level, inherit_displacement, pool_cloud
from geogrid.nn import Choose
from geogrid.nn.choose import sharpened
from geogrid.spatial import PointCloud
from tests.spatial.cases import make_grid

DIMS = pytest.mark.parametrize("dim", [2, 3])
SCATTERED = pytest.mark.parametrize("scattered", [False, True])


def _levels(dim: int, scattered: bool = False) -> tuple[Level, Level]:
    fine = PointCloud.on_lattices([make_grid((9, 8, 7)[:dim], (1.0,) * dim)])
    if scattered:
        fine = PointCloud.from_points(fine.pos, fine.measure)
    return Level.of(pool_cloud(fine, 2.0), 2.0), Level.of(fine, 1.0)


def _features(parents: Level, children: Level) -> tuple[Tensor, Tensor]:
    return torch.randn(parents.points.num_points, 6), torch.randn(children.points.num_points, 4)


def _open(layer: Choose, sharpness: float = 2.0) -> Choose:
    """The gate wide open, and nothing but the votes of the surroundings."""
    with torch.no_grad():
        layer.gate.bias.fill_(20.0)
        layer.vote.weight.zero_()
        layer.log_sharpness.fill_(sharpness)
    return layer


def _awake(layer: Choose) -> Choose:
    torch.nn.init.normal_(layer.gate.weight)
    torch.nn.init.normal_(layer.vote.weight)
    return layer


def _slip(level: Level, slip: float) -> Tensor:
    """Two halves of the level slide along each other, past a border that runs through cells of the parents."""
    u = torch.zeros_like(level.points.pos)
    u[:, 1] = torch.where(level.points.pos[:, 0] > 4.2, slip / 2, -slip / 2)
    return u


@DIMS
@SCATTERED
def test_affine_motion_survives_exactly_everywhere_in_the_untrained_layer(dim: int, scattered: bool):
    torch.manual_seed(0)
    parents, children = _levels(dim, scattered)
    matrix, shift = 0.2 * torch.randn(dim, dim), torch.randn(dim)
    u = parents.points.pos @ matrix + shift
    found = Choose((6, 4), dim)(_features(parents, children), parents, children, u)
    torch.testing.assert_close(found, children.points.pos @ matrix + shift, atol=1e-4, rtol=0)


@DIMS
@SCATTERED
@pytest.mark.parametrize("slip", [2.0, 10.0])
def test_children_at_a_sliding_border_take_a_side_whatever_the_slip(dim: int, scattered: bool, slip: float):
    """Interpolation leaves them in between; the vote of the surroundings is taken to the nearer of the two."""
    torch.manual_seed(0)
    parents, children = _levels(dim, scattered)
    layer = _open(Choose((6, 4), dim), sharpness=4.0)
    u, x = _slip(parents, slip), _features(parents, children)
    mixed = inherit_displacement(parents, children.points, u)
    found = layer(x, parents, children, u)
    between = [float(((v[:, 1].abs() - slip / 2).abs() > 0.02 * slip).float().mean()) for v in (mixed, found)]
    assert between[0] > 0.15
    assert between[1] < 0.03
    assert found[:, 0].abs().max() < 1e-4
    clear = (children.points.pos[:, 0] - 4.2).abs() > 2
    torch.testing.assert_close(found[clear], _slip(children, slip)[clear], atol=1e-3, rtol=0)


@DIMS
def test_children_go_with_the_parents_that_they_resemble(dim: int):
    torch.manual_seed(0)
    parents, children = _levels(dim)
    sides = [(_slip(level, 2.0)[:, 1] > 0).float() for level in (parents, children)]
    x = tuple(torch.stack([side, 1 - side], 1) for side in sides)
    layer = _open(Choose((2, 2), dim, head_channels=2))
    with torch.no_grad():
        layer.attention.lin_query.weight.copy_(torch.eye(2))
        layer.attention.lin_key.weight.copy_(torch.eye(2))
        layer.attention.position_key.zero_()
        layer.attention.log_temperature.fill_(3.0)
    found = layer(x, parents, children, _slip(parents, 6.0))
    torch.testing.assert_close(found, _slip(children, 6.0), atol=1e-2, rtol=0)


@pytest.mark.parametrize("seed", range(6))
def test_at_a_sliding_border_that_no_feature_shows_learning_begins_by_opening_the_gate(seed: int):
    torch.manual_seed(seed)
    fine = PointCloud.on_lattices([make_grid((24, 20), (1.0, 1.0))])
    parents, children = Level.of(pool_cloud(fine, 2.0), 2.0), Level.of(fine, 1.0)
    border = fine.pos[:, 0].mean() + 0.3
    u, truth = (3 * (level.points.pos[:, :1] - border).sign() * torch.tensor([0.0, 1.0]) for level in (parents, children))
    x = torch.ones(parents.points.num_points, 6), torch.ones(children.points.num_points, 4)
    layer = Choose((6, 4), 2, radius=3.0)
    (layer(x, parents, children, u) - truth).norm(dim=1).mean().backward()
    assert layer.gate.bias.grad < 0


def test_gradients_reach_parents_features_and_weights():
    torch.manual_seed(0)
    parents, children = _levels(2)
    x = tuple(value.requires_grad_() for value in _features(parents, children))
    u = torch.randn(parents.points.num_points, 2, requires_grad=True)
    layer = _awake(Choose((6, 4), 2))
    layer(x, parents, children, u).square().sum().backward()
    leaves = {"parents": x[0], "children": x[1], "u": u} | dict(layer.named_parameters())
    assert {name for name, leaf in leaves.items() if leaf.grad is None or not leaf.grad.abs().max() > 0} == set()


@DIMS
@SCATTERED
def test_a_motion_of_all_parents_is_carried_along(dim: int, scattered: bool):
    torch.manual_seed(0)
    parents, children = _levels(dim, scattered)
    layer, x = _awake(Choose((6, 4), dim)).double(), tuple(f.double() for f in _features(parents, children))
    u, shift = torch.randn(parents.points.num_points, dim).double(), torch.full((dim,), 3.0)
    expected = layer(x, parents, children, u) + shift
    torch.testing.assert_close(layer(x, parents, children, u + shift), expected, atol=1e-6, rtol=0)


@DIMS
def test_where_all_parents_move_alike_so_do_the_children_whatever_was_learned(dim: int):
    torch.manual_seed(0)
    parents, children = _levels(dim)
    u = torch.full((parents.points.num_points, dim), 2.5)
    found = _awake(Choose((6, 4), dim))(_features(parents, children), parents, children, u)
    torch.testing.assert_close(found, torch.full_like(found, 2.5), atol=1e-4, rtol=0)


@DIMS
def test_a_lattice_and_the_same_points_scattered_give_the_same(dim: int):
    """Under affine motion, which both inherit alike, the choice is the same too."""
    torch.manual_seed(0)
    levels = _levels(dim)
    clouds = [level.points for level in levels]
    scattered = [replace(PointCloud.from_points(c.pos, c.measure), spacing=c.spacing) for c in clouds]
    others = [Level.of(cloud, level.scale) for cloud, level in zip(scattered, levels, strict=True)]
    layer, x = _awake(Choose((6, 4), dim)), _features(*levels)
    u = clouds[0].pos @ (0.2 * torch.randn(dim, dim))
    found = layer(x, *levels, u)
    assert (found - inherit_displacement(levels[0], clouds[1], u)).abs().max() > 0.05
    torch.testing.assert_close(layer(x, others[0], others[1], u), found, atol=2e-3, rtol=0)


def test_a_child_far_from_all_parents_inherits():
    torch.manual_seed(0)
    parents, _ = _levels(2, scattered=True)
    far = PointCloud.from_points(torch.tensor([[200.0, 0.0], [203.0, 1.0], [201.0, 4.0]]), torch.ones(3))
    children, u = Level.of(far, 1.0), torch.randn(parents.points.num_points, 2)
    x = torch.randn(parents.points.num_points, 6), torch.randn(3, 4)
    found = _awake(Choose((6, 4), 2))(x, parents, children, u)
    torch.testing.assert_close(found, inherit_displacement(parents, far, u))


def test_sharpened_weights_sum_to_one_or_are_all_zero():
    weights, nearness = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([[0.0, -1.0, 9.0], [1.0, 2.0, 3.0]])
    found = sharpened(weights, nearness)
    torch.testing.assert_close(found[0, 0] / found[0, 1], torch.tensor(2.718281828))
    torch.testing.assert_close(found.sum(1), torch.tensor([1.0, 0.0]))
    assert found[0, 2] == 0

from __future__ import annotations

import pytest
import torch

from geogrid.graph import Level, inherit_displacement, pool_cloud
from geogrid.nn.interpolate import Interpolate
from geogrid.spatial import PointCloud
from tests.spatial.cases import make_grid


def _levels(dim: int, scattered: bool = False) -> tuple[Level, Level]:
    fine = PointCloud.on_lattices([make_grid((9, 8, 7)[:dim], (1.0,) * dim)])
    if scattered:
        fine = PointCloud.from_points(fine.pos, fine.measure)
    return Level.of(pool_cloud(fine, 2.0), 2.0), Level.of(fine, 1.0)


def _features(parents: Level, children: Level) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(parents.points.num_points, 6), torch.randn(children.points.num_points, 4)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("scattered", [False, True])
def test_affine_motion_survives_exactly_everywhere_in_the_untrained_layer(dim: int, scattered: bool):
    torch.manual_seed(0)
    parents, children = _levels(dim, scattered)
    matrix, shift = 0.2 * torch.randn(dim, dim), torch.randn(dim)
    u = parents.points.pos @ matrix + shift
    found = Interpolate((6, 4), dim)(_features(parents, children), parents, children, u)
    torch.testing.assert_close(found, children.points.pos @ matrix + shift, atol=1e-4, rtol=0)


def test_a_child_can_take_the_side_of_the_parents_that_it_resembles():
    """Two halves slide along each other; with choice 1 and sharp attention children move with their own half, unmixed."""
    torch.manual_seed(0)
    parents, children = _levels(2)
    border = 4.0
    sides = [(level.points.pos[:, 0] > border).float() for level in (parents, children)]
    x = tuple(torch.stack([side, 1 - side], 1) for side in sides)
    u = torch.stack([torch.zeros_like(sides[0]), 2 * sides[0] - 1], 1)
    layer = Interpolate((2, 2), 2, heads=1, head_channels=2)
    with torch.no_grad():
        layer.attention.lin_query.weight.copy_(torch.eye(2))
        layer.attention.lin_key.weight.copy_(torch.eye(2))
        layer.attention.position_key.zero_()
        layer.attention.log_temperature.fill_(4.0)
        layer.choice.fill_(1.0)
    truth = torch.stack([torch.zeros_like(sides[1]), 2 * sides[1] - 1], 1)
    mixed = inherit_displacement(parents, children.points, u)
    assert (mixed - truth).abs().max() > 0.2
    torch.testing.assert_close(layer(x, parents, children, u), truth, atol=1e-3, rtol=0)


def test_gradients_reach_parents_features_and_weights():
    torch.manual_seed(0)
    parents, children = _levels(2)
    x = tuple(value.requires_grad_() for value in _features(parents, children))
    u = torch.randn(parents.points.num_points, 2, requires_grad=True)
    layer = Interpolate((6, 4), 2)
    with torch.no_grad():
        layer.choice.fill_(0.5)
        layer.out.weight.normal_()
    layer(x, parents, children, u).square().sum().backward()
    leaves = {"parents": x[0], "children": x[1], "u": u} | dict(layer.named_parameters())
    assert {name for name, leaf in leaves.items() if leaf.grad is None or not leaf.grad.abs().max() > 0} == set()


@pytest.mark.parametrize("dim", [2, 3])
def test_a_motion_of_all_parents_carries_the_correction_along(dim: int):
    """Only differences of displacements enter: a constant added to all parents is added to all children."""
    torch.manual_seed(0)
    parents, children = _levels(dim)
    layer, x = Interpolate((6, 4), dim), _features(parents, children)
    torch.nn.init.normal_(layer.out.weight)
    u, shift = torch.randn(parents.points.num_points, dim), torch.full((dim,), 3.0)
    torch.testing.assert_close(
        layer(x, parents, children, u + shift), layer(x, parents, children, u) + shift, atol=2e-5, rtol=0
    )

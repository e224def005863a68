from __future__ import annotations

import pytest
import torch

from geogrid.transforms import AffineTransform, Step, Trajectory
from tests.spatial.cases import field_on, make_grid
from tests.transforms.cases import ANGLES, SHAPES, SPACINGS, turn


def _linear_step(dim: int) -> tuple[Step, torch.Tensor, torch.Tensor]:
    """A step with an affine displacement ``x A + b``."""
    points = make_grid(SHAPES[dim], SPACINGS[dim], ANGLES[dim]).pool((2,) * dim)
    matrix, shift = 0.1 * torch.randn(dim, dim, generator=torch.Generator().manual_seed(0)).double(), 2.0
    return Step(1, 4.0, points, field_on(points, lambda x: x @ matrix + shift).float()), matrix, torch.tensor(shift)


@pytest.mark.parametrize("dim", [2, 3])
def test_children_inherit_affine_motion_exactly(dim: int):
    step, matrix, shift = _linear_step(dim)
    children = make_grid(SHAPES[dim], SPACINGS[dim], ANGLES[dim])
    expected = field_on(children, lambda x: x @ matrix + shift).float()
    torch.testing.assert_close(step.inherit(children), expected, atol=1e-3, rtol=0)


def test_inheritance_passes_gradients_to_parents():
    points = make_grid((3, 3), (4, 4))
    unknown = torch.zeros(2, 3, 3, requires_grad=True)
    Step(1, 4.0, points, unknown).inherit(make_grid((5, 5), (2, 2))).sum().backward()
    assert unknown.grad is not None
    torch.testing.assert_close(unknown.grad.sum(), torch.tensor(50.0))
    assert unknown.grad.min() > 0


@pytest.mark.parametrize("dim", [2, 3])
def test_a_point_is_displaced_first_and_then_starts(dim: int):
    step, matrix, shift = _linear_step(dim)
    grid = make_grid(SHAPES[dim], SPACINGS[dim], ANGLES[dim])
    points = grid.points()
    expected = turn(dim)(points + (points.double() @ matrix + shift).float())
    torch.testing.assert_close(Trajectory(turn(dim), (step,)).transform(grid)(points), expected, atol=2e-3, rtol=0)


def test_the_last_step_is_total_and_the_first_ones_are_kept():
    grid = make_grid((4, 4), (2, 2))
    steps = [Step(level, 2.0, grid, torch.full((2, 4, 4), float(level))) for level in (3, 2)]
    empty = Trajectory(AffineTransform.identity(2), ())
    trajectory = empty.append(steps[0]).append(steps[1])
    assert empty.steps == ()
    assert trajectory.steps == tuple(steps)
    assert (trajectory.deformation(grid).displacement == 2).all()


@pytest.mark.parametrize("dim", [2, 3])
def test_without_steps_only_the_start_moves(dim: int):
    grid = make_grid(SHAPES[dim], SPACINGS[dim])
    trajectory = Trajectory(turn(dim), ())
    assert trajectory.deformation(grid).displacement.abs().max() == 0
    torch.testing.assert_close(trajectory.transform(grid)(grid.points()), turn(dim)(grid.points()))


def test_beyond_the_grid_the_border_value_goes_on():
    grid = make_grid((4, 4), (2, 2))
    trajectory = Trajectory(AffineTransform.identity(2), (Step(0, 2.0, grid, torch.full((2, 4, 4), 5.0)),))
    assert trajectory.transform(grid)(torch.tensor([[100.0, -100.0]])).tolist() == [[105, -95]]


def test_a_deformation_carries_no_gradient():
    grid = make_grid((4, 4), (2, 2))
    step = Step(0, 2.0, grid, torch.zeros(2, 4, 4, requires_grad=True))
    assert not Trajectory(AffineTransform.identity(2), (step,)).deformation(grid).displacement.requires_grad

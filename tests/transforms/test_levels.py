"""What each level adds, on trajectories whose parts are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geogrid.graph import pool_cloud
from geogrid.spatial import PointCloud
from geogrid.transforms import AffineTransform, StepBatch, TrajectoryBatch, own_displacement_lengths, own_displacements
from tests.spatial.cases import make_grid
from tests.transforms.cases import turn

SHAPES = {2: (9, 8), 3: (7, 6, 8)}


def _clouds(dim: int) -> tuple[PointCloud, PointCloud]:
    """Fine and coarse points of two pairs whose lattices differ in shape, place and direction."""
    angles = (20.0,) if dim == 2 else (20.0, -35.0, 10.0)
    grids = [make_grid(SHAPES[dim], [1.0] * dim), make_grid(SHAPES[dim][::-1], [1.0] * dim, angles, [30.0] * dim)]
    fine = PointCloud.on_lattices(grids)
    return fine, pool_cloud(fine, 2.0)


def _affine(points: Tensor) -> Tensor:
    dim = points.shape[1]
    matrix = 0.1 * torch.randn(dim, dim, generator=torch.Generator().manual_seed(0))
    return points @ matrix + 2


def _trajectory(dim: int, own: Tensor | None = None) -> tuple[TrajectoryBatch, Tensor]:
    fine, coarse = _clouds(dim)
    own = torch.randn(fine.num_points, dim, generator=torch.Generator().manual_seed(1)) if own is None else own
    steps = (
        StepBatch(1, 2.0, coarse, torch.full_like(coarse.pos, 99.0)),
        StepBatch(1, 2.0, coarse, _affine(coarse.pos)),
        StepBatch(0, 1.0, fine, torch.full_like(fine.pos, -99.0), learned=False),
        StepBatch(0, 1.0, fine, _affine(fine.pos) + own),
    )
    return TrajectoryBatch((turn(dim), AffineTransform.identity(dim)), steps), own


@pytest.mark.parametrize("dim", [2, 3])
def test_what_a_level_adds_is_found_on_top_of_affine_motion(dim: int):
    trajectory, own = _trajectory(dim)
    first, second = own_displacements(trajectory)
    assert [(first.level, first.scale), (second.level, second.scale)] == [(1, 2.0), (0, 1.0)]
    torch.testing.assert_close(first.displacement, trajectory.steps[1].displacement)
    torch.testing.assert_close(second.displacement, own, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_inheritance_is_that_of_a_single_pair(dim: int):
    trajectory, _ = _trajectory(dim)
    second = own_displacements(trajectory)[1]
    for number in range(2):
        single = trajectory.entry(number)
        last = single.steps[-1]
        expected = last.displacement - single.steps[1].inherit(last.points)
        torch.testing.assert_close(second.entry(number).movedim(-1, 0), expected)


@pytest.mark.parametrize("dim", [2, 3])
def test_lengths_are_medians_in_mm(dim: int):
    fine, _ = _clouds(dim)
    length = torch.arange(float(fine.num_points - 1 + fine.num_points % 2))
    length = torch.cat([length, length.new_full((fine.num_points - len(length),), float(length.median()))])
    own = torch.zeros(fine.num_points, dim)
    own[:, -1] = length
    found = own_displacement_lengths(_trajectory(dim, own)[0])
    assert list(found) == [1, 0]
    assert found[0] == pytest.approx(float(length.median()), abs=1e-3)


def test_gradients_reach_both_levels():
    fine, coarse = _clouds(2)
    first, second = (torch.zeros_like(cloud.pos).requires_grad_() for cloud in (coarse, fine))
    steps = (StepBatch(1, 2.0, coarse, first), StepBatch(0, 1.0, fine, second))
    own_displacements(TrajectoryBatch((AffineTransform.identity(2),) * 2, steps))[1].displacement.sum().backward()
    torch.testing.assert_close(second.grad, torch.ones_like(second))
    torch.testing.assert_close(first.grad.sum(), -second.grad.sum())


def test_scattered_points_inherit_affine_motion_and_add_the_rest():
    fine = PointCloud.from_points(10 * torch.rand(40, 2, generator=torch.Generator().manual_seed(0)), torch.ones(40))
    coarse = PointCloud.from_points(fine.pos[::4], 4 * torch.ones(10))
    matrix = torch.tensor([[0.1, 0.2], [-0.3, 0.1]])
    own = torch.tensor([0.3, -0.4])
    steps = StepBatch(1, 2.0, coarse, coarse.pos @ matrix), StepBatch(0, 1.0, fine, fine.pos @ matrix + own)
    found = own_displacements(TrajectoryBatch((AffineTransform.identity(2),), steps))[1].displacement
    torch.testing.assert_close(found, own.expand(40, 2), atol=1e-4, rtol=0)


def test_without_steps_there_are_no_levels():
    assert own_displacements(TrajectoryBatch((AffineTransform.identity(2),), ())) == ()

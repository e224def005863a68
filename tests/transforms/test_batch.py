"""Steps and trajectories of a batch: each pair alone, and where its points are."""

from __future__ import annotations

import pytest
import torch

from geogrid.spatial import PointCloud
from geogrid.transforms import AffineTransform, StepBatch, TrajectoryBatch
from tests.spatial.batches import DIMS, KINDS, draw, entries, make_batch
from tests.spatial.cases import refused
from tests.transforms.cases import stretch, turn


def starts(dim: int, number: int) -> tuple[AffineTransform, ...]:
    """Different ones."""
    return tuple(stretch(dim) if i % 2 else turn(dim, 10.0 * i) for i in range(number))


def step_of(points: PointCloud, level: int = 0, learned: bool = True) -> StepBatch:
    return StepBatch(level, 2.0**level, points, draw(points.num_points, points.dim, seed=level), learned)


@pytest.mark.parametrize("kind", ["equal", "unlike"])
@pytest.mark.parametrize("dim", DIMS)
def test_a_pair_of_the_batch_is_a_trajectory(kind: str, dim: int) -> None:
    points = make_batch(kind, dim)
    batch = TrajectoryBatch(starts(dim, 3), (step_of(points, 1, learned=False), step_of(points, 0)))
    assert batch.last is batch.steps[1]
    places = batch.moved(batch.last)
    for number, entry in enumerate(entries(points)):
        single = batch.entry(number)
        assert [step.level for step in single.steps] == [1, 0]
        assert [step.scale for step in single.steps] == [2.0, 1.0]
        assert single.start is batch.starts[number]
        step = single.steps[-1]
        assert step.points is entry.lattices[0]
        rows = step.displacement.flatten(1).T
        torch.testing.assert_close(rows, batch.last.displacement[points.rows(number)], atol=0, rtol=0)
        expected = single.transform(step.points)(entry.pos)
        torch.testing.assert_close(places[points.rows(number)], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_points_move_and_then_the_start_takes_them(kind: str, dim: int) -> None:
    points = make_batch(kind, dim)
    step = step_of(points)
    batch = TrajectoryBatch(starts(dim, points.num_entries), (step,))
    expected = points.pos.double() + step.displacement.double()
    linear = torch.stack([start.matrix[:-1, :-1] for start in batch.starts])[points.batch]
    shift = torch.stack([start.matrix[:-1, -1] for start in batch.starts])[points.batch]
    expected = torch.einsum("nab,nb->na", linear, expected) + shift
    torch.testing.assert_close(batch.moved(step).double(), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_displacement(kind: str) -> None:
    points = make_batch(kind, 2)
    values = draw(points.num_points, 2).requires_grad_()
    step = StepBatch(0, 1.0, points, values)
    batch = TrajectoryBatch(starts(2, points.num_entries), (step,))
    weights = draw(points.num_points, 2, seed=3)
    (found,) = torch.autograd.grad((batch.moved(step) * weights).sum(), values)
    linear = torch.stack([start.matrix[:-1, :-1] for start in batch.starts]).float()[points.batch]
    torch.testing.assert_close(found, torch.einsum("nab,na->nb", linear, weights))


def test_what_does_not_fit_is_refused() -> None:
    points = make_batch("equal", 2)
    step = step_of(points)
    with refused("displacement", "(126, 2)", "(126, 3)"):
        StepBatch(0, 1.0, points, torch.zeros(126, 3))
    with refused("starts", "3", "2"):
        TrajectoryBatch(starts(2, 2), (step,))
    with refused("at least one step"):
        _ = TrajectoryBatch(starts(2, 3), ()).last
    with refused("entry", "0 to 2"):
        step.entry(3)
    with refused("step", "lattice", "scattered"):
        step_of(make_batch("scattered", 2)).entry(0)

"""Coarse-to-fine optimisation of the displacement of points."""

from __future__ import annotations

import pytest
import torch

from geogrid.losses import Objective
from geogrid.optimize import HistoryEntry, InstanceConfig, optimize_displacement
from geogrid.optimize.instance import num_levels
from geogrid.transforms import AffineTransform, Trajectory
from tests.optimize.cases import errors_mm, on_grid
from tests.spatial.cases import centered, make_grid
from tests.transforms.cases import Wave, make_wave

LEVELS = [1, 0]
DIMS = pytest.mark.parametrize("dim", [2, 3])


def _problem(dim: int) -> tuple[Objective, Trajectory, Wave]:
    """The phantom against itself seen through waves of some mm: ``fixed(x) = moving(wave(x))``."""
    wave = make_wave(dim, 5.0, 120.0, count=2, seed=1)
    grid = centered(make_grid((36, 44, 38)[:dim], (4.5,) * dim))
    return Objective(on_grid(grid, wave), on_grid(grid), 4.5), Trajectory(AffineTransform.identity(dim), ()), wave


def _total(objective: Objective, trajectory: Trajectory) -> list[float]:
    return [objective.step_loss(step, trajectory.start).item() for step in trajectory.steps]


@DIMS
def test_every_level_lowers_its_loss_and_a_smooth_field_is_recovered(dim: int):
    objective, start, wave = _problem(dim)
    trajectory, history = optimize_displacement(objective, start, LEVELS)
    assert [step.level for step in trajectory.steps] == LEVELS
    assert [step.scale for step in trajectory.steps] == [9, 4.5]
    losses = {level: [e.loss for e in history if e.level == level] for level in LEVELS}
    for level, total in zip(LEVELS, _total(objective, trajectory), strict=True):
        assert min(losses[level]) < losses[level][0]
        assert total == pytest.approx(min(losses[level]), abs=1e-5)
    grid = objective.fixed.grid
    before = errors_mm(start.start, wave, grid).mean()
    assert before > 4
    assert errors_mm(trajectory.transform(grid), wave, grid).mean() < 0.25 * before


@DIMS
def test_the_same_problem_twice_gives_the_same_bits(dim: int):
    first, second = (optimize_displacement(*_problem(dim)[:2], [1]) for _ in range(2))
    assert torch.equal(first[0].steps[0].displacement, second[0].steps[0].displacement)
    assert first[1] == second[1]


def test_a_level_starts_from_what_it_inherits():
    objective, start, _ = _problem(2)
    coarse, _ = optimize_displacement(objective, start, [1])
    idle = InstanceConfig(iterations=(1,))
    fine, history = optimize_displacement(objective, coarse, [0], idle)
    assert fine.steps[0] is coarse.steps[0]
    torch.testing.assert_close(fine.steps[1].displacement, coarse.steps[0].inherit(fine.steps[1].points))
    assert len(history) == 1


def test_points_are_spaced_in_units_of_the_level():
    objective, start, _ = _problem(2)
    for spacing in (1.0, 2.0, 4.0):
        config = InstanceConfig(point_spacing=spacing, iterations=(1,))
        trajectory, _ = optimize_displacement(objective, start, LEVELS, config)
        assert [s.points.spacing.tolist() for s in trajectory.steps] == [[9 * spacing] * 2, [4.5 * spacing] * 2]


def test_images_that_match_stay_within_a_fraction_of_a_voxel():
    grid = centered(make_grid((36, 44), (4.5, 4.5)))
    start = Trajectory(AffineTransform.identity(2), ())
    trajectory, _ = optimize_displacement(Objective(on_grid(grid), on_grid(grid), 4.5), start, [0])
    assert errors_mm(trajectory.transform(grid), start.start, grid).mean() < 0.2 * 4.5


def test_a_level_ends_when_nothing_is_gained():
    objective, start, _ = _problem(2)
    config = InstanceConfig(iterations=(20,), patience=3, tolerance=10.0)
    assert len(optimize_displacement(objective, start, [0], config)[1]) == 4


def test_history_and_progress_tell_the_truth():
    objective, start, _ = _problem(2)
    told: list[tuple[str, float]] = []
    config = InstanceConfig(iterations=(3, 4), patience=99, cheap=0)
    _, history = optimize_displacement(objective, start, LEVELS, config, lambda m, f: told.append((m, f)))
    assert [(e.stage, e.level, e.iteration) for e in history] == [
        *[("deformable", 1, i) for i in range(4)],
        *[("deformable", 0, i) for i in range(3)],
    ]
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert {message for message, _ in told} == {"deformable"}


def test_entries_compare_by_value():
    assert HistoryEntry("affine", 0, 1, -0.5) == HistoryEntry("affine", 0, 1, -0.5)
    assert HistoryEntry("affine", 0, 1, -0.5) != HistoryEntry("affine", 0, 2, -0.5)


@pytest.mark.parametrize(
    ("shape", "spacing", "scale", "expected"),
    [
        ((160, 192, 224), (1.0, 1.0, 1.0), 1.0, 5),
        ((80, 96, 112), (2.0, 2.0, 2.0), 2.0, 4),
        ((160, 192, 224), (1.0, 1.0, 1.0), 2.0, 4),
        ((217, 182), (1.0, 1.0), 1.0, 5),
        ((24, 10), (1.0, 1.0), 1.0, 2),
        ((23, 10), (1.0, 1.0), 1.0, 1),
        ((5, 5), (1.0, 1.0), 1.0, 1),
    ],
)
def test_number_of_levels(shape: tuple[int, ...], spacing: tuple[float, ...], scale: float, expected: int):
    assert num_levels(make_grid(shape, spacing), scale, InstanceConfig()) == expected


def test_the_last_entry_holds_for_all_coarser_levels():
    config = InstanceConfig()
    assert [config.of_level((1, 2, 3), level) for level in (0, 1, 2, 7)] == [1, 2, 3, 3]

"""Instance optimisation: one pair, coarse to fine, on the displacements of points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from geogrid.losses import Objective
from geogrid.optimize.adam import Adam
from geogrid.optimize.history import HistoryEntry, Progress, no_progress, part_of
from geogrid.optimize.threads import threads_for
from geogrid.spatial import Grid
from geogrid.spatial.lattice import apply_per_axis, smoothing_matrix
from geogrid.spatial.pyramid import pool_factors
from geogrid.transforms import Step, Trajectory


@dataclass(frozen=True)
class InstanceConfig:
    """Settings of :func:`optimize_displacement`.

    Args:
        point_spacing: distance between a level's points, in units of its scale.
        iterations: most iterations per level, the finest first; the last entry holds for all coarser levels.
        cheap: voxel visits that are always affordable: a level of few voxels gets up to the last entry's iterations for them.
        rate: step length of Adam per level, in units of the level's scale, the finest first; likewise.
        coarsest_points: the coarsest level has about this many voxels along the longest axis.
        patience: a level ends when this many iterations together lower the loss by less than ``tolerance``.
        tolerance: absolute; the loss lies between -1 and 0.
    """

    point_spacing: float = 2.0
    iterations: tuple[int, ...] = (10, 20)
    cheap: int = 1_000_000
    rate: tuple[float, ...] = (0.45, 0.7, 0.9)
    coarsest_points: int = 12
    patience: int = 8
    tolerance: float = 2e-4

    def with_effort(self, factor: float) -> InstanceConfig:
        """These settings with ``factor`` times the iterations, at least one.

        Example:
            >>> InstanceConfig(iterations=(10, 20)).with_effort(4).iterations
            (40, 80)
        """
        return replace(self, iterations=tuple(max(1, round(factor * count)) for count in self.iterations))

    def of_level(self, values: Sequence[float], level: int) -> float:
        """The entry for a level."""
        return values[min(level, len(values) - 1)]


def num_levels(grid: Grid, scale: float, config: InstanceConfig) -> int:
    """Levels from the finest scale to the one at which the longest axis has about ``coarsest_points`` voxels."""
    extent = float((torch.tensor(grid.shape) * grid.spacing).max())
    return 1 + math.floor(math.log2(max(1.0, extent / (scale * config.coarsest_points))))


def optimize_displacement(
    objective: Objective,
    trajectory: Trajectory,
    levels: Sequence[int],
    config: InstanceConfig | None = None,
    progress: Progress = no_progress,
) -> tuple[Trajectory, list[HistoryEntry]]:
    """Adds one step per level to a trajectory, each the best displacement of the level's points that was found.

    The points of a level inherit the displacement of the last step by linear interpolation and then move on their own. The
    unknowns are smoothed, so that a point moves with its neighbours.

    Args:
        objective: what is minimised.
        trajectory: where to begin.
        levels: in the order in which they are visited, coarse to fine.
        config: settings.
        progress: told the fraction of the work that is done.

    Returns:
        The longer trajectory and the loss at each iteration.
    """
    config = config or InstanceConfig()
    history: list[HistoryEntry] = []
    for number, level in enumerate(levels):
        part = part_of(progress, number / len(levels), 1 / len(levels))
        with threads_for(objective.level(level).fixed_grid.num_points):
            step, losses = _optimize_level(objective, trajectory, level, config, part)
        trajectory = trajectory.append(step)
        history += [HistoryEntry("deformable", level, i, loss) for i, loss in enumerate(losses)]
        if level:
            objective.forget(level)
    return trajectory, history


def _optimize_level(
    objective: Objective,
    trajectory: Trajectory,
    level: int,
    config: InstanceConfig,
    progress: Progress,
) -> tuple[Step, list[float]]:
    """The best step of a level and the loss at each iteration.

    The unknowns are in units of the scale and along the axes of the fixed lattice, so that neither the unit of length nor the
    orientation of the scanner changes what Adam does.
    """
    start = _inherited_step(objective, trajectory, level, config)
    to_world = (start.scale * start.points.frame).to(start.displacement)
    smooth = [smoothing_matrix(n).to(start.displacement) for n in start.points.shape]
    unknown = torch.zeros_like(start.displacement, requires_grad=True)
    iterations, rate = _iterations(objective, level, config), config.of_level(config.rate, level)
    adam = Adam(unknown)
    losses: list[float] = []
    best = (math.inf, start)
    for iteration in range(iterations):
        own = (to_world @ apply_per_axis(smooth, unknown).flatten(1)).reshape(unknown.shape)
        step = replace(start, displacement=start.displacement + own)
        loss = objective.step_loss(step, trajectory.start)
        losses.append(float(loss.detach()))
        if losses[-1] < best[0]:
            best = (losses[-1], replace(step, displacement=step.displacement.detach()))
        if _stalled(losses, config):
            break
        (gradient,) = torch.autograd.grad(loss, unknown)
        adam.step(gradient, rate * (1 - 0.8 * iteration / iterations))
        progress("deformable", (iteration + 1) / iterations)
    return best[1], losses


def _iterations(objective: Objective, level: int, config: InstanceConfig) -> int:
    affordable = min(config.cheap // objective.level(level).fixed_grid.num_points, config.iterations[-1])
    return int(max(config.of_level(config.iterations, level), affordable))


def _inherited_step(objective: Objective, trajectory: Trajectory, level: int, config: InstanceConfig) -> Step:
    """The points of a level with the displacement that they inherit."""
    scale = objective.scale * 2**level
    grid = objective.fixed.grid
    points = grid.pool(pool_factors(grid, config.point_spacing * scale))
    if trajectory.steps:
        return Step(level, scale, points, trajectory.steps[-1].inherit(points))
    return Step(level, scale, points, torch.zeros(points.dim, *points.shape, device=objective.fixed.data.device))


def _stalled(losses: list[float], config: InstanceConfig) -> bool:
    """Whether the last iterations together brought less than the tolerance."""
    return len(losses) > config.patience and min(losses[: -config.patience]) - min(losses) < config.tolerance

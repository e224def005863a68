"""Every intermediate transform of a batch of pairs: what a model returns and losses see."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial import PointCloud
from geogrid.spatial.grid import map_entries
from geogrid.transforms.affine import AffineTransform
from geogrid.transforms.trajectory import Step, Trajectory


@dataclass(frozen=True, eq=False)
class StepBatch:
    """The fixed points of one level, of all pairs, and where they are after one step.

    Args:
        level: 0 is the finest.
        scale: the level's scale s_l in mm.
        points: the fixed points.
        displacement: ``(num_points, dim)`` in mm along the world axes, total since the trajectory's start.
        learned: whether the step looked at the moving image (g); otherwise it is an interpolation (h) or plain inheritance.

    Raises:
        GeogridError: for a displacement that does not fit the points.
    """

    level: int
    scale: float
    points: PointCloud
    displacement: Tensor
    learned: bool = True

    def __post_init__(self) -> None:
        if self.displacement.shape != self.points.pos.shape:
            raise GeogridError(
                f"displacement: expected {tuple(self.points.pos.shape)} like the points, got {tuple(self.displacement.shape)}"
            )

    def entry(self, number: int) -> Step:
        """The step of one pair whose fixed points are a lattice.

        Raises:
            GeogridError: for scattered points, which have no array.
        """
        if not self.points.is_lattice:
            raise GeogridError("step: expected points on a lattice, got scattered ones; use its displacement as it is")
        one = self.points.entry(number)
        return Step(self.level, self.scale, one.lattices[0], one.to_lattice(self.displacement[self.points.rows(number)])[0])


@dataclass(frozen=True, eq=False)
class TrajectoryBatch:
    """Starts and the steps that follow them, coarse to fine.

    A fixed point x of pair b is at ``starts[b](x + u(x))`` after a step with displacement u.

    Args:
        starts: one affine map of fixed to moving space per pair.
        steps: in the order in which they were taken.

    Raises:
        GeogridError: when there are not as many starts as there are pairs.
    """

    starts: tuple[AffineTransform, ...]
    steps: tuple[StepBatch, ...]

    def __post_init__(self) -> None:
        entries = {step.points.num_entries for step in self.steps} - {len(self.starts)}
        if entries:
            raise GeogridError(f"starts: expected one per pair of the steps, {entries.pop()}, got {len(self.starts)}")

    @property
    def last(self) -> StepBatch:
        """The last step, the answer."""
        if not self.steps:
            raise GeogridError("trajectory: expected at least one step, got none")
        return self.steps[-1]

    def entry(self, number: int) -> Trajectory:
        """The trajectory of one pair whose fixed points are lattices."""
        return Trajectory(self.starts[number], tuple(step.entry(number) for step in self.steps))

    def moved(self, step: StepBatch) -> Tensor:
        """Where a step's points are in moving space, ``(num_points, dim)`` in mm; differentiable in the displacement."""
        matrices = torch.stack([start.matrix for start in self.starts])
        return map_entries(matrices, step.points.pos + step.displacement, step.points.counts().tolist())

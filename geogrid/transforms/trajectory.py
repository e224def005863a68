"""Every intermediate transform of a coarse-to-fine registration."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.spatial import Grid
from geogrid.spatial.lattice import inherit
from geogrid.transforms.affine import AffineTransform
from geogrid.transforms.displacement import Composition, DisplacementField


@dataclass(frozen=True, eq=False)
class Step:
    """The fixed points of one level and where they are after one step.

    Args:
        level: 0 is the finest.
        scale: the level's scale s_l in mm.
        points: the lattice of fixed points.
        displacement: ``(dim, *points.shape)`` in mm along the world axes, total since the trajectory's start.
    """

    level: int
    scale: float
    points: Grid
    displacement: Tensor

    def inherit(self, children: Grid) -> Tensor:
        """The displacement of finer points, ``(dim, *children.shape)``: linear between parents, extrapolated beyond them.

        The lattices' axes must be parallel.
        """
        return inherit(self.displacement, self.points, children)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A start and the steps that follow it, coarse to fine; what the losses see of a registration.

    A fixed point x is at ``start(x + u(x))`` after a step with displacement u.

    Args:
        start: an affine map of fixed to moving space.
        steps: in the order in which they were taken.
    """

    start: AffineTransform
    steps: tuple[Step, ...]

    def append(self, step: Step) -> Trajectory:
        """The trajectory with one more step."""
        return Trajectory(self.start, (*self.steps, step))

    def deformation(self, grid: Grid) -> DisplacementField:
        """The last step's displacement on a grid, without the start; beyond the grid the border value goes on."""
        if not self.steps:
            return DisplacementField(torch.zeros(*grid.shape, grid.dim), grid, outside="extend")
        return DisplacementField(self.steps[-1].inherit(grid).detach().movedim(0, -1), grid, outside="extend")

    def transform(self, grid: Grid) -> Composition:
        """The final map of fixed points to moving space, given on ``grid`` (usually the fixed image's)."""
        return Composition((self.deformation(grid), self.start))

"""What each level of a registration adds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise

import torch
from torch import Tensor

from geogrid.graph import Level, inherit_displacement
from geogrid.spatial import PointCloud
from geogrid.transforms.batch import TrajectoryBatch


@dataclass(frozen=True, eq=False)
class LevelDisplacement:
    """How far a level's own steps moved its points; made by :func:`own_displacements`.

    Args:
        level: 0 is the finest.
        scale: the level's scale s_l in mm.
        points: the fixed points.
        displacement: ``(num_points, dim)`` in mm along the world axes, without what was inherited.
    """

    level: int
    scale: float
    points: PointCloud
    displacement: Tensor

    def entry(self, number: int) -> Tensor:
        """The displacement of one pair, ``(*shape, dim)`` on its lattice ``points.lattices[number]``."""
        counts = [grid.num_points for grid in self.points.lattices]
        own: Tensor = self.displacement.split(counts)[number]
        return own.reshape(*self.points.lattices[number].shape, -1)


def own_displacements(trajectory: TrajectoryBatch) -> tuple[LevelDisplacement, ...]:
    r"""The displacement that each level adds to what it inherits, coarse to fine.

    :math:`u_l - I u_{l+1}`, with :math:`u_l` the total displacement after the last step of level l and I linear inheritance
    from parents to children (:func:`geogrid.graph.inherit_displacement`); the coarsest level inherits nothing. The learned
    correction of an interpolation belongs to the finer level.

    Args:
        trajectory: of lattices or scattered points.
    """
    ends = [list(steps)[-1] for _, steps in groupby(trajectory.steps, key=lambda step: step.level)]
    inherited = [torch.zeros_like(step.displacement) for step in ends[:1]]
    inherited += [
        inherit_displacement(Level(before.points, before.scale), after.points, before.displacement)
        for before, after in pairwise(ends)
    ]
    return tuple(
        LevelDisplacement(step.level, step.scale, step.points, step.displacement - start)
        for step, start in zip(ends, inherited, strict=True)
    )


def own_displacement_lengths(trajectory: TrajectoryBatch) -> dict[int, float]:
    """Median length in mm of the displacement that each level adds, over the points of all pairs.

    Returns:
        Level to length, coarse to fine.

    Example:
        >>> from geogrid.spatial import to_cloud
        >>> from geogrid.transforms import AffineTransform, StepBatch, TrajectoryBatch
        >>> coarse, fine = to_cloud(torch.rand(1, 4, 4), 2.0), to_cloud(torch.rand(1, 8, 8))
        >>> steps = (
        ...     StepBatch(1, 2.0, coarse, torch.tensor([3.0, 4.0]).repeat(16, 1)),
        ...     StepBatch(0, 1.0, fine, torch.tensor([3.0, 4.5]).repeat(64, 1)),
        ... )
        >>> own_displacement_lengths(TrajectoryBatch((AffineTransform.identity(2),), steps))
        {1: 5.0, 0: 0.5}
    """
    return {own.level: float(own.displacement.detach().norm(dim=1).median()) for own in own_displacements(trajectory)}

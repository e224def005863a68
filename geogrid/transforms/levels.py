"""What each level of a registration adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial import PointCloud
from geogrid.spatial.lattice import apply_per_axis, inheritance_matrices
from geogrid.transforms.batch import StepBatch, TrajectoryBatch


@dataclass(frozen=True, eq=False)
class LevelDisplacement:
    """How far a level's own steps moved its points; made by :func:`own_displacements`.

    Args:
        level: 0 is the finest.
        scale: the level's scale s_l in mm.
        points: the fixed points, on lattices.
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
    from parents to children (extrapolated beyond the outermost parents); the coarsest level inherits nothing. The learned
    correction of an interpolation belongs to the finer level.

    Args:
        trajectory: with fixed points on lattices whose axes stay parallel from level to level.

    Raises:
        GeogridError: for scattered points.
    """
    ends = [list(steps)[-1] for _, steps in groupby(trajectory.steps, key=lambda step: step.level)]
    if not all(step.points.is_lattice for step in ends):
        raise GeogridError("own displacements: expected fixed points on lattices, got scattered ones")
    inherited = [torch.zeros_like(step.displacement) for step in ends[:1]]
    inherited += [_inherited(before, after.points) for before, after in pairwise(ends)]
    return tuple(
        LevelDisplacement(step.level, step.scale, step.points, step.displacement - start)
        for step, start in zip(ends, inherited, strict=True)
    )


def own_displacement_lengths(trajectory: TrajectoryBatch) -> dict[int, float]:
    """Median length in mm of the displacement that each level adds, over the points of all pairs.

    Returns:
        Level to length, coarse to fine.

    Raises:
        GeogridError: for scattered points.

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


def _inherited(before: StepBatch, children: PointCloud) -> Tensor:
    """A step's displacement at finer points, ``(num_children, dim)``."""
    counts: Sequence[int] = [grid.num_points for grid in before.points.lattices]
    parts = []
    for values, parents, grid in zip(before.displacement.split(counts), before.points.lattices, children.lattices, strict=True):
        matrices = [m.to(values) for m in inheritance_matrices(parents, grid)]
        parts.append(apply_per_axis(matrices, values.T.reshape(-1, *parents.shape)).flatten(1).T)
    return torch.cat(parts)

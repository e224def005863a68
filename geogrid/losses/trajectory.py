"""Deep supervision of a batch of pairs: what a model learns from, on every intermediate transform."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import pool_cloud
from geogrid.losses.dissimilarity import lncc_loss, mind_loss, mse_loss, ncc_loss, nmi_loss
from geogrid.losses.scattered import scattered_smoothness_loss
from geogrid.losses.similarity import default_radius
from geogrid.losses.smoothness import smoothness_loss
from geogrid.nn import sample_scattered
from geogrid.spatial import PointCloud
from geogrid.spatial.sampling import sample_cloud
from geogrid.transforms import StepBatch, TrajectoryBatch

Dissimilarity = Literal["mse", "ncc", "lncc", "mind", "nmi"]


@dataclass(frozen=True)
class TrajectoryLossConfig:
    """Weights of a :class:`TrajectoryLoss`; none has a unit that depends on the images.

    Args:
        dissimilarity: ``mse`` (:func:`mse_loss`), ``ncc`` (:func:`ncc_loss`) or ``lncc`` (:func:`lncc_loss`); for images of
            different contrast ``mind`` (:func:`mind_loss`) or ``nmi`` (:func:`nmi_loss`). Their sizes differ (about 1, 1, 1,
            0.1 and 0.2 from no match to a match), so the other weights need to differ too.
        diffusion: weight of the mean squared derivative.
        bending: weight of the bending energy, times the squared spacing of the level's points.
        folding: weight of the penalty on small Jacobian determinants.
        folding_margin: the determinant below which that penalty sets in.
        level_weights: weight of each level's steps in the mean, level 0 first; default 1. Steps of weight 0 are not scored.
        floor: standard deviation below which an image (``ncc``), window (``lncc``) or place (``mind``) counts as flat.
        radius: half width of the window of ``lncc`` in units of the level's scale, default 2 in 3-D and 4 in 2-D; or how far
            a descriptor of ``mind`` looks, half of it to a neighbour and half of it around that one, default 2.
        stride: points from window to window of ``lncc``, from descriptor to descriptor of ``mind``, 1 or 2.

    Raises:
        GeogridError: for an unknown dissimilarity or a negative weight.
    """

    dissimilarity: Dissimilarity = "mse"
    diffusion: float = 0.3
    bending: float = 0.0
    folding: float = 10.0
    folding_margin: float = 0.3
    level_weights: tuple[float, ...] = ()
    floor: float = 0.01
    radius: float | None = None
    stride: int = 2

    def __post_init__(self) -> None:
        if self.dissimilarity not in get_args(Dissimilarity):
            raise GeogridError(f"dissimilarity: expected mse, ncc, lncc, mind or nmi, got {self.dissimilarity}")
        weights = (self.diffusion, self.bending, self.folding, *self.level_weights)
        if min(weights) < 0:
            raise GeogridError(f"weights: expected numbers from 0 on, got {weights}")

    @property
    def is_smooth(self) -> bool:
        """Whether any smoothness term has a weight."""
        return max(self.diffusion, self.bending, self.folding) > 0

    def weight(self, level: int) -> float:
        """The weight of a level's steps."""
        return self.level_weights[level] if level < len(self.level_weights) else 1.0


class TrajectoryLoss:
    r"""Scores every step of a batch of trajectories from the intensities (paper, Eq. 8-10).

    Both clouds are pooled level by level, as the encoder pools them. A step is scored at its own points: the moving
    intensities of its level, read where the step has brought these points, against the fixed ones. After a refinement that is
    Eq. 8; after an interpolation, whose points are already the finer level's, Eq. 9: a coarse displacement answers for all its
    children. The sum over the steps with a weight per level is Eq. 10, here divided by the sum of the weights:

    .. math:: L = \frac{1}{\sum_t w_{l(t)}} \sum_t w_{l(t)} \left[ D(F_l, M_l \circ T_t) + \lambda R(u_t) \right]

    with D the dissimilarity and R the smoothness terms, each a mean over the pairs. Nothing of it depends on a model.

    Beyond the border of a moving image its border value goes on. Scattered moving points are read by
    :func:`geogrid.nn.sample_scattered`; fixed points that have left them count less and less in the mean, down to nothing. That
    share is taken as given: no gradient rewards leaving.

    Args:
        config: weights; the default is meant for intensities in [0, 1].

    Example:
        >>> from geogrid.spatial import Grid
        >>> from geogrid.transforms import AffineTransform
        >>> ramp = torch.arange(16.0).reshape(16, 1) / 16
        >>> cloud = PointCloud.on_lattices([Grid((4, 4), torch.eye(3))], ramp)
        >>> step = StepBatch(level=0, scale=1.0, points=cloud, displacement=torch.zeros(16, 2))
        >>> TrajectoryLoss()(TrajectoryBatch((AffineTransform.identity(2),), (step,)), cloud, cloud)
        tensor(0.)
    """

    def __init__(self, config: TrajectoryLossConfig | None = None) -> None:
        self.config = config or TrajectoryLossConfig()

    def __call__(self, trajectory: TrajectoryBatch, fixed: PointCloud, moving: PointCloud) -> Tensor:
        """The weighted mean over all steps (Eq. 10).

        Args:
            trajectory: of the pairs, its steps at the points of the pooled fixed clouds.
            fixed: intensities as features, one entry per pair; lattices, or scattered if bending has no weight.
            moving: likewise, lattices or scattered.

        Raises:
            GeogridError: when the trajectory does not belong to the clouds, and for scattered fixed points where bending has
                a weight.
        """
        weights = [self.config.weight(step.level) for step in trajectory.steps]
        if not sum(weights) > 0:
            raise GeogridError("trajectory loss: expected a step with a weight, got none; set level_weights")
        levels = _pool_pair(trajectory, fixed, moving)
        scored = [(w, step) for w, step in zip(weights, trajectory.steps, strict=True) if w]
        terms = [w * (self.dissimilarity(trajectory, step, *levels[step.level]) + self.smoothness(step)) for w, step in scored]
        return torch.stack(terms).sum() / sum(weights)

    def dissimilarity(self, trajectory: TrajectoryBatch, step: StepBatch, fixed: PointCloud, moving: PointCloud) -> Tensor:
        """The dissimilarity of one step (Eq. 8 or 9), unweighted.

        Args:
            trajectory: to which the step belongs.
            step: one of its steps.
            fixed: pooled to the step's level.
            moving: likewise.
        """
        check_fit(step, fixed, moving)
        return self.compare(step, fixed, *read_moving(moving, trajectory.moved(step), fixed))

    def compare(self, step: StepBatch, fixed: PointCloud, warped: Tensor, measure: Tensor) -> Tensor:
        """The same, of moving intensities that were read already.

        Args:
            step: where the scale is taken from.
            fixed: pooled to the step's level.
            warped: ``(num_fixed, channels)`` moving intensities where the step brings the fixed points.
            measure: ``(num_fixed,)`` what each fixed point counts for, in mm^dim.
        """
        config, intensities = self.config, fixed.x
        assert intensities is not None
        if config.dissimilarity == "mse":
            return mse_loss(intensities, warped, measure, fixed.batch)
        if config.dissimilarity == "ncc":
            return ncc_loss(intensities, warped, measure, fixed.batch, config.floor)
        if config.dissimilarity == "nmi":
            return nmi_loss(intensities, warped, measure, fixed.batch)
        radius = step.scale * (config.radius or default_radius(config.dissimilarity, fixed.dim))
        fixed = replace(fixed, measure=measure)
        if config.dissimilarity == "mind":
            return mind_loss(fixed, warped, radius / 2, radius / 2, config.floor, config.stride)
        return lncc_loss(fixed, warped, radius, config.floor, config.stride)

    def smoothness(self, step: StepBatch) -> Tensor:
        """The weighted smoothness terms of one step, at its own points, mean over the pairs; no unit."""
        points, rows = step.points, step.displacement
        if not self.config.is_smooth:
            return rows.new_zeros(())
        if not points.is_lattice:
            config = self.config
            if config.bending:
                raise GeogridError("bending: expected fixed points on lattices, got scattered ones; set bending to 0")
            return scattered_smoothness_loss(rows, points, config.diffusion, config.folding, config.folding_margin)
        if points.stackable:
            return self._smoothness(points.to_lattice(rows), points)
        entries = [points.entry(number) for number in range(points.num_entries)]
        parts = zip(entries, rows.split(points.counts().tolist()), strict=True)
        return torch.stack([self._smoothness(entry.to_lattice(part), entry) for entry, part in parts]).mean()

    def _smoothness(self, displacement: Tensor, points: PointCloud) -> Tensor:
        """Of stackable entries; where they are turned apart, in their own axes, so that one grid stands for them all."""
        config, grid, u = self.config, points.lattices[0], displacement
        if not bool((points.frame == points.frame[:1]).all()):
            grid = grid.straight()
            u = (points.frame.mT.to(u) @ u.flatten(2)).reshape(u.shape)
        return smoothness_loss(u, grid, config.diffusion, config.bending, config.folding, config.folding_margin)


def _pool_pair(trajectory: TrajectoryBatch, fixed: PointCloud, moving: PointCloud) -> list[tuple[PointCloud, PointCloud]]:
    """Both clouds at each level up to the coarsest of a trajectory, each pooled from the one before."""
    if fixed.num_entries != len(trajectory.starts) or moving.num_entries != len(trajectory.starts):
        raise GeogridError(
            f"fixed, moving: expected {len(trajectory.starts)} entries, one per pair of the trajectory, got "
            f"{fixed.num_entries} and {moving.num_entries}"
        )
    return list(zip(pool_to_levels(trajectory, fixed), pool_to_levels(trajectory, moving), strict=True))


def pool_to_levels(trajectory: TrajectoryBatch, cloud: PointCloud) -> list[PointCloud]:
    """A cloud at each level up to the coarsest of a trajectory, each pooled from the one before, as the encoder pools."""
    finest = trajectory.last.scale / 2**trajectory.last.level
    levels = [pool_cloud(cloud, finest)]
    for level in range(1, max(step.level for step in trajectory.steps) + 1):
        levels.append(pool_cloud(levels[-1], finest * 2**level))
    return levels


def read_moving(moving: PointCloud, places: Tensor, fixed: PointCloud) -> tuple[Tensor, Tensor]:
    """Moving features at places, one per fixed point, and what each fixed point then counts for.

    Args:
        moving: lattices, or scattered points (:func:`geogrid.nn.sample_scattered`).
        places: ``(num_fixed, dim)`` in mm.
        fixed: the points that the places belong to.

    Returns:
        ``(num_fixed, channels)`` and ``(num_fixed,)`` in mm^dim; less than the fixed points' measure where a place has left
        scattered moving points.
    """
    if moving.is_lattice:
        return sample_cloud(moving, places, fixed.batch), fixed.measure
    warped, seen = sample_scattered(moving, places, fixed.batch)
    return warped, fixed.measure * seen.detach()


def check_fit(step: StepBatch, fixed: PointCloud, moving: PointCloud) -> None:
    """Raises unless a step and the clouds of its level, both with features, fit each other."""
    if fixed.x is None or moving.x is None:
        raise GeogridError("fixed, moving: expected clouds with intensities as features, got clouds without")
    if step.points.num_points != fixed.num_points or not torch.equal(step.points.batch, fixed.batch):
        raise GeogridError(
            f"step of level {step.level}: expected the {fixed.num_points} points of the pooled fixed cloud, got "
            f"{step.points.num_points} points; was the model given other clouds or scales?"
        )

"""Deep supervision: what a registration is scored by, from every intermediate transform."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.losses.similarity import GAINS, Similarity, default_radius, similarity_loss
from geogrid.losses.smoothness import smoothness_loss
from geogrid.spatial import Grid, Image, map_points, pool_image
from geogrid.spatial.lattice import inheritance_matrices, place_children
from geogrid.spatial.sampling import normalization, sample_normalized
from geogrid.transforms import AffineTransform, Step, Trajectory


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights and sizes of an :class:`Objective`; none has a unit that depends on the images.

    Args:
        radius: half width of the correlation window, in units of the level's scale; default 2 in 3-D and 4 in 2-D, so that a
            window holds about a hundred samples. For ``mind`` how far a descriptor looks, default 2.
        stride: voxels from window to window, 1 or 2.
        floor: standard deviation below which a window counts as flat, for intensities in about [0, 1].
        gain: factor of the dissimilarity; default 1 for ``lncc``, 2 for ``nmi`` and 3 for ``mind``, so that the smoothness
            weights mean about the same for all.
        diffusion: weight of the mean squared derivative at the finest level.
        growth: factor by which that weight grows from level to level; coarse levels see few details and need more of it.
        bending: weight of the bending energy, times the squared spacing of the level's points.
        folding: weight of the penalty on small Jacobian determinants.
        folding_margin: the determinant below which that penalty sets in.
        level_weights: weight of each level's steps in the sum, level 0 first; default 1.
    """

    radius: float | None = None
    stride: int = 2
    floor: float = 0.01
    gain: float | None = None
    diffusion: float = 0.05
    growth: float = 2.0
    bending: float = 0.0
    folding: float = 30.0
    folding_margin: float = 0.3
    level_weights: tuple[float, ...] = ()

    def weight(self, level: int) -> float:
        """The weight of a level's steps."""
        return self.level_weights[level] if level < len(self.level_weights) else 1.0


class Objective:
    r"""Scores a trajectory, step by step (paper, Eq. 8-10).

    The images of level l are pooled to its scale s_l. A step's points hand their displacement to the level's voxels by linear
    interpolation: with the points on the voxels this is Eq. 8, with coarser points Eq. 9, a parent answering for all its
    children. The sum over the steps, weighted per level, is Eq. 10:

    .. math:: L = \sum_t w_{l(t)} \left[ D(F_l, M_l \circ T_t) + \lambda R(u_t) \right]

    with D the dissimilarity and R the smoothness terms.

    Args:
        fixed: intensities scaled to about [0, 1].
        moving: likewise.
        scale: the finest scale s_0 in mm.
        config: weights.
        fixed_weight: weight in [0, 1] of each fixed point; default 1.
        moving_weight: weight in [0, 1] of each moving point; default 1.
        similarity: ``lncc``, ``nmi`` or ``mind``.
    """

    def __init__(
        self,
        fixed: Image,
        moving: Image,
        scale: float,
        config: ObjectiveConfig | None = None,
        fixed_weight: Image | None = None,
        moving_weight: Image | None = None,
        similarity: Similarity = "lncc",
    ) -> None:
        self.fixed, self.moving, self.scale, self.similarity = fixed, moving, scale, similarity
        self.config = config or ObjectiveConfig()
        self.fixed_weight, self.moving_weight = fixed_weight, moving_weight
        self._levels: dict[int, _LevelPair] = {}

    def __call__(self, trajectory: Trajectory) -> Tensor:
        """The weighted sum over all steps (Eq. 10)."""
        terms = [self.config.weight(s.level) * self.step_loss(s, trajectory.start) for s in trajectory.steps]
        return torch.stack(terms).sum()

    def step_loss(self, step: Step, start: AffineTransform) -> Tensor:
        """The loss of one step (Eq. 8 or 9)."""
        return self.dissimilarity(step, start) + self.smoothness(step)

    def dissimilarity(self, step: Step, start: AffineTransform) -> Tensor:
        """The dissimilarity of one step, times its gain; in [-1, 0] for ``lncc``."""
        return self.level(step.level).dissimilarity(step, start)

    def smoothness(self, step: Step) -> Tensor:
        """The weighted smoothness terms of one step, at its own points."""
        config = self.config
        diffusion = config.diffusion * config.growth**step.level
        return smoothness_loss(step.displacement, step.points, diffusion, config.bending, config.folding, config.folding_margin)

    def level(self, level: int) -> _LevelPair:
        """The pair at a level's scale; made on first use, kept until :meth:`forget`."""
        if level not in self._levels:
            self._levels[level] = _LevelPair(self, self.scale * 2**level)
        return self._levels[level]

    def forget(self, level: int) -> None:
        """Frees the images of a level."""
        self._levels.pop(level, None)


class _LevelPair:
    """Fixed and moving image at one scale, with all that does not change between iterations."""

    def __init__(self, objective: Objective, scale: float) -> None:
        self.fixed, self.moving = pool_image(objective.fixed, scale), pool_image(objective.moving, scale)
        weight = None if objective.fixed_weight is None else pool_image(objective.fixed_weight, scale).data
        self.moving_weight = None if objective.moving_weight is None else pool_image(objective.moving_weight, scale)
        config = objective.config
        radius = config.radius or default_radius(objective.similarity, self.fixed.dim)
        spacing, kind = self.fixed.grid.spacing.tolist(), objective.similarity
        self.loss = similarity_loss(kind, self.fixed.data, spacing, radius * scale, weight, config.floor, config.stride)
        self.gain = config.gain or GAINS[kind]
        self._start: tuple[AffineTransform, Tensor, Tensor] | None = None
        self._parents: tuple[Grid, list[Tensor]] | None = None

    def dissimilarity(self, step: Step, start: AffineTransform) -> Tensor:
        """Reads the moving image where the step has brought the fixed voxels, and compares."""
        base, linear = self._positions(start)
        moved = (linear @ step.displacement.flatten(1)).reshape(step.displacement.shape)
        position = place_children(self._inheritance(step.points), moved, base)
        shape = self.fixed.grid.shape
        weight = None
        if self.moving_weight is not None:
            weight = sample_normalized(self.moving_weight.data[None], position.detach())[0].reshape(shape)
        return self.gain * self.loss(sample_normalized(self.moving.data[None], position)[0].reshape(shape), weight)

    def _inheritance(self, points: Grid) -> list[Tensor]:
        """The matrices that carry values of points to the fixed voxels."""
        if self._parents is None or self._parents[0] is not points:
            matrices = [m.to(self.fixed.data) for m in inheritance_matrices(points, self.fixed.grid)]
            self._parents = (points, matrices)
        return self._parents[1]

    def _positions(self, start: AffineTransform) -> tuple[Tensor, Tensor]:
        """Where undisplaced voxels read the moving image, and how a displacement in mm moves that place."""
        if self._start is None or self._start[0] is not start:
            scale, shift = normalization(self.moving.grid.shape)
            to_cube = torch.linalg.inv(self.moving.grid.affine) @ start.matrix
            to_cube[:-1] *= scale[:, None]
            to_cube[:-1, -1] += shift
            index = self.fixed.grid.indices(self.fixed.data.device)
            base = map_points(to_cube @ self.fixed.grid.affine, index).flip(-1).contiguous()
            self._start = (start, base, to_cube[:-1, :-1].flip(0).to(base))
        return self._start[1], self._start[2]

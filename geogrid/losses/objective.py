"""Deep supervision: what a registration is scored by, from every intermediate transform."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from geogrid.losses.edge_pair import EdgePair, Edges, content_cells
from geogrid.losses.level_pair import ImagePair, LevelPair
from geogrid.losses.similarity import GAINS, Similarity, default_radius, similarity_loss
from geogrid.losses.smoothness import smoothness_loss
from geogrid.spatial import Image, pool_image
from geogrid.spatial.cut import is_cut
from geogrid.transforms import AffineTransform, Step, Trajectory


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights and sizes of an :class:`Objective`; none has a unit that depends on the images.

    Args:
        radius: half width of the correlation window, in units of the level's scale; default 2 in 3-D and 4 in 2-D, so that a
            window holds about a hundred samples. For ``mind`` how far a descriptor looks, default 2.
        stride: voxels from window to window, 1 or 2.
        floor: standard deviation below which a window counts as flat, for intensities in about [0, 1].
        gain: factor of the dissimilarity; default 1 for ``lncc`` and ``mind``, .7 for ``nmi`` and .25 for ``edges``, so that
            the smoothness weights mean about the same for all.
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

    def smoother(self, factor: float) -> ObjectiveConfig:
        """These settings with ``factor`` times the weights of ``diffusion`` and ``bending``."""
        return replace(self, diffusion=factor * self.diffusion, bending=factor * self.bending)

    def weight(self, level: int) -> float:
        """The weight of a level's steps."""
        return self.level_weights[level] if level < len(self.level_weights) else 1.0


class Objective:
    r"""Scores a trajectory, step by step (paper, Eq. 8-10).

    The images of level l are pooled to its scale s_l. A step's points hand their displacement to the level's voxels by linear
    interpolation: with the points on the voxels this is Eq. 8, with coarser points Eq. 9, a parent answering for all its
    children. The sum over the steps, weighted per level, is Eq. 10:

    .. math:: L = \sum_t w_{l(t)} \left[ D(F_l, M_l \circ T_t) + \lambda R(u_t) \right]

    with D the dissimilarity and R the smoothness terms. Where the moving image is cut (:func:`geogrid.spatial.cut.is_cut`),
    nothing is known beyond the border that tissue crosses, and nothing is compared there; beyond other borders the border value
    goes on.

    Args:
        fixed: intensities scaled to about [0, 1].
        moving: likewise.
        scale: the finest scale s_0 in mm.
        config: weights.
        fixed_weight: weight in [0, 1] of each fixed point; default 1.
        moving_weight: weight in [0, 1] of each moving point; default 1.
        similarity: ``lncc``, ``nmi``, ``mind`` or ``edges``.
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
        self.cut = is_cut(moving)
        self._levels: dict[int, LevelPair] = {}

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

    def level(self, level: int) -> LevelPair:
        """The pair at a level's scale; made on first use, kept until :meth:`forget`."""
        if level not in self._levels:
            make = self._edge_pair if self.similarity == "edges" else self._image_pair
            self._levels[level] = make(self.scale * 2**level)
        return self._levels[level]

    def forget(self, level: int) -> None:
        """Frees the images of a level."""
        self._levels.pop(level, None)

    def _image_pair(self, scale: float) -> LevelPair:
        fixed, moving = pool_image(self.fixed, scale), pool_image(self.moving, scale)
        weight, moving_weight = (None if w is None else pool_image(w, scale) for w in (self.fixed_weight, self.moving_weight))
        config, kind = self.config, self.similarity
        radius = scale * (config.radius or default_radius(kind, fixed.dim))
        spacing, weights = fixed.grid.spacing.tolist(), None if weight is None else weight.data
        loss = similarity_loss(kind, fixed.data, spacing, radius, weights, config.floor, config.stride)
        return ImagePair(fixed.grid, moving, loss, config.gain or GAINS[kind], moving_weight, self.cut)

    def _edge_pair(self, scale: float) -> LevelPair:
        fixed, moving, moving_weight = self._edges
        gain = self.config.gain or GAINS["edges"]
        return EdgePair(fixed, moving, scale, self.scale, gain, self.fixed_weight, moving_weight, self.cut)

    @cached_property
    def _edges(self) -> tuple[Edges, Edges, Image | None]:
        """Edges of both images and the weight of the moving one, the moving side cropped to its content."""
        box = content_cells(self.moving, self.scale)
        weight = None if self.moving_weight is None else self.moving_weight.crop(*box)
        return Edges.of(self.fixed, self.scale), Edges.of(self.moving.crop(*box), self.scale), weight

"""The coarse-to-fine loop of GeoReg."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from geogrid.errors import GeogridError
from geogrid.graph import Level, concatenate, inherit_displacement
from geogrid.models.frames import Frames
from geogrid.nn.choose import Choose
from geogrid.nn.encoder import Pyramid, PyramidEncoder
from geogrid.nn.interpolate import Interpolate
from geogrid.nn.refine import DIRECT, Refine
from geogrid.spatial import PointCloud
from geogrid.transforms import AffineTransform, StepBatch, TrajectoryBatch


@dataclass(frozen=True)
class GeoRegConfig:
    """Sizes of a :class:`GeoReg`.

    Args:
        dim: 2 or 3.
        channels: features per level, the finest first.
        steps: refinement steps per level, the finest first; 0: interpolation only.
        in_channels: features of the clouds; 1 for images, 0 for points without features.
        num_blocks: residual blocks per level of the encoder.
        heads: of the attention of g, one number or one per level, the finest first; coarse levels have few points, so more
            heads cost little there.
        head_channels: width of a head.
        hidden: width of the convolutional head of g, one number or one per level.
        radius: of the attention of g, in units of a level's scale, one number or one per level; coarse levels have few
            points, so a large radius, and with it a large capture range, costs little there.
        learned_interpolation: whether h corrects what children inherit.
        choice_radius: how far around a child h looks for displacements to choose from (:class:`~geogrid.nn.Choose`), in units
            of the parents' scale, where motion may have sharp borders; 0: h is :class:`~geogrid.nn.Interpolate`.
        matcher: whether g starts as a matcher (law e); otherwise it is the plain operator.
        two_encoders: whether fixed and moving images have encoders of their own.
        affine_levels: at how many of the coarsest levels the points of an image move together, affinely.
    """

    dim: int
    channels: tuple[int, ...]
    steps: tuple[int, ...]
    in_channels: int = 1
    num_blocks: int = 2
    heads: int | tuple[int, ...] = 2
    head_channels: int = 8
    hidden: int | tuple[int, ...] = 32
    radius: float | tuple[float, ...] = 2.0
    learned_interpolation: bool = True
    matcher: bool = True
    two_encoders: bool = False
    affine_levels: int = 0
    choice_radius: float = 0.0

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.channels) or min(self.steps) < 0 or self.steps[-1] < 1:
            raise GeogridError(
                f"steps: expected {len(self.channels)} numbers from 0 up, the last (coarsest) at least 1, got {self.steps}"
            )
        for name in ("heads", "hidden", "radius"):
            given = getattr(self, name)
            if isinstance(given, tuple) and len(given) != len(self.channels):
                raise GeogridError(f"{name}: expected one number or {len(self.channels)}, one per level, got {given}")
        if self.choice_radius and self.choice_radius < 1:
            raise GeogridError(
                f"choice_radius: expected 0 or at least 1, so that every child has parents, got {self.choice_radius}"
            )

    def at(self, name: str, level: int) -> int:
        """The number of heads, or the hidden width, of a level."""
        given: int | tuple[int, ...] = getattr(self, name)
        return given[level] if isinstance(given, tuple) else given

    def radius_at(self, level: int) -> float:
        """The radius of a level, in units of its scale."""
        return self.radius[level] if isinstance(self.radius, tuple) else self.radius


class GeoReg(nn.Module):
    r"""Registration by points that move and features that do not (paper, Sec. 3).

    Both images become pyramids of features, each alone. From the coarsest level down, the fixed points :math:`x_i` of a level
    inherit the displacement of the level above (h, :class:`~geogrid.nn.Interpolate` or :class:`~geogrid.nn.Choose`), then take
    some steps (g, :class:`~geogrid.nn.Refine`): each looks at the moving points around :math:`T(x_i) = A(x_i + u_i)` and adds
    to :math:`u_i`. Nothing is resampled or encoded again, and only displacements go from level to level.

    The decoder computes along the axes of each fixed image, from its centre, so that a rigid motion of the world changes
    nothing but the frame of the answer. Places at which g looks are detached: gradients reach the weights through what is
    found there and through the sum of the steps.

    Args:
        config: sizes.

    Reference:
        Sideri-Lampretsa, Stolt-Ansó et al., "Interpretable deformable image registration: a geometric deep learning
        perspective", arXiv 2412.13294.

    Example:
        >>> from geogrid.spatial import Grid, Image
        >>> model = GeoReg(GeoRegConfig(dim=2, channels=(8, 16), steps=(1, 2)))
        >>> grid = Grid((12, 10), torch.eye(3))
        >>> fixed, moving = (PointCloud.from_images(Image(torch.rand(12, 10), grid)) for _ in range(2))
        >>> trajectory = model(fixed, moving)
        >>> [(step.level, step.learned, tuple(step.displacement.shape)) for step in trajectory.steps]
        [(1, True, (30, 2)), (1, True, (30, 2)), (0, False, (120, 2)), (0, True, (120, 2))]
    """

    def __init__(self, config: GeoRegConfig) -> None:
        super().__init__()
        self.config = c = config
        self.encoder = PyramidEncoder(c.in_channels, c.channels, c.dim, c.num_blocks)
        self.moving_encoder = PyramidEncoder(c.in_channels, c.channels, c.dim, c.num_blocks) if c.two_encoders else None
        self.refine = nn.ModuleList(self.make_step(level) if steps else nn.Identity() for level, steps in enumerate(c.steps))
        self.interpolate = nn.ModuleList(
            self.make_interpolation(coarse, fine) for fine, coarse in zip(c.channels, c.channels[1:], strict=False)
        )

    @property
    def step_bound(self) -> float:
        """How far an untrained model moves a point in one step, at most, in units of the level's scale.

        The direct term reaches ``direct * radius``; the head, whose last layer starts with weights of about .001, adds little.
        """
        return DIRECT * max(map(self.config.radius_at, range(len(self.config.channels)))) + 0.1

    def make_step(self, level: int) -> nn.Module:
        """The layer g of a level."""
        c = self.config
        heads, hidden = c.at("heads", level), c.at("hidden", level)
        affine = level >= len(c.channels) - c.affine_levels
        return Refine(
            c.channels[level], c.dim, heads, c.head_channels, hidden, c.radius_at(level), matcher=c.matcher, affine=affine
        )

    def make_interpolation(self, coarse: int, fine: int) -> nn.Module:
        """The layer h between levels of so many channels."""
        c = self.config
        return Choose((coarse, fine), c.dim, c.choice_radius) if c.choice_radius else Interpolate((coarse, fine), c.dim)

    def forward(
        self, fixed: PointCloud, moving: PointCloud, scale: float | None = None, starts: Sequence[AffineTransform] = ()
    ) -> TrajectoryBatch:
        """Registers a batch of pairs.

        Args:
            fixed: one entry per pair, with ``in_channels`` features.
            moving: likewise.
            scale: finest scale s_0 in mm; default the coarser of the two in-plane spacings.
            starts: an affine map of fixed to moving space per pair; default the identity.

        Returns:
            Every intermediate transform.
        """
        if fixed.num_entries != moving.num_entries:
            raise GeogridError(f"moving: expected {fixed.num_entries} entries like fixed, got {moving.num_entries}")
        scale = finest_scale_of(fixed, moving) if scale is None else scale
        starts = tuple(starts) or (AffineTransform.identity(fixed.dim),) * fixed.num_entries
        return TrajectoryBatch(starts, tuple(self.decode(*self.encode(fixed, moving, scale), starts)))

    def encode(self, fixed: PointCloud, moving: PointCloud, scale: float) -> tuple[Pyramid, Pyramid]:
        """The pyramids of fixed and moving clouds, each encoded alone; ``scale`` is the finest, s_0, in mm."""
        if self.moving_encoder is None and set(fixed.lattices) == set(moving.lattices) and len(set(fixed.lattices)) == 1:
            first, second = self.encoder(concatenate([fixed, moving]), scale).split(fixed.num_entries)
            return first, second
        return self.encoder(fixed, scale), (self.moving_encoder or self.encoder)(moving, scale)

    def decode(self, fixed: Pyramid, moving: Pyramid, starts: Sequence[AffineTransform]) -> list[StepBatch]:
        """The steps, coarse to fine."""
        frames = Frames.of(fixed.levels[0].points, starts)
        here = [level.moved(frames.of_fixed) for level in fixed.levels]
        steps: list[StepBatch] = []
        u = torch.zeros_like(here[-1].points.pos)

        def record(learned: bool) -> None:
            world = fixed.levels[number]
            steps.append(StepBatch(number, world.scale, world.points, frames.to_world(u, world.points), learned))

        for number in reversed(range(len(here))):
            x = fixed.features[number]
            if number + 1 < len(here):
                u = self._interpolated(number, (fixed.features[number + 1], x), here[number + 1], here[number], u)
                record(False)
            if self.config.steps[number] == 0:
                continue
            there, refine = moving.levels[number].moved(frames.of_moving), cast(Refine, self.refine[number])
            own = refine.own(x, here[number])
            for _ in range(self.config.steps[number]):
                place = frames.to_moving((here[number].points.pos + u).detach(), here[number].points)
                change = refine((moving.features[number], x), there, here[number], place, own)
                u = u + frames.from_moving(change, here[number].points)
                record(True)
        return steps

    def _interpolated(self, number: int, x: tuple[Tensor, Tensor], parents: Level, children: Level, u: Tensor) -> Tensor:
        if not self.config.learned_interpolation:
            return inherit_displacement(parents, children.points, u)
        found: Tensor = self.interpolate[number](x, parents, children, u)
        return found


def finest_scale_of(fixed: PointCloud, moving: PointCloud) -> float:
    """The finest scale s_0 of a batch in mm: the coarsest in-plane (second smallest) spacing of all entries."""
    return max(float(cloud.spacing.sort(dim=1).values[:, 1].max()) for cloud in (fixed, moving))

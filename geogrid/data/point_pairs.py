"""Synthetic pairs of point sets with known motion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.data.point_shapes import Shape, random_shape


@dataclass(frozen=True)
class PointPairConfig:
    """What :func:`random_point_pair` draws from; lengths in mm.

    Args:
        shapes: what the points lie on, one drawn per pair.
        dim: 2 or 3.
        num_points: fewest and most points before any are left out.
        motion: least and greatest mean length of the true displacement.
        widths: of the Gaussian correlation of the motion, from fine to coarse; one displacement of each is added up.
        local: probability of a strong motion of one part only.
        kept: least and greatest share of the points that each side keeps.
        outliers: greatest share of points without any partner that is added to each side.
        noise: least and greatest standard deviation of the position of a point, per axis and side.
        texture: likewise, of what the true correspondences themselves deviate from a smooth motion.
        oriented: whether shapes stand upright in their axes, as they are made; else the pair as a whole is turned at random.
        turn_degrees: least and greatest rotation about a random axis, on top of the motion.
        shift: least and greatest length of a displacement of everything, on top of the motion.
    """

    shapes: tuple[Shape, ...] = ("volume", "tree", "surface")
    dim: int = 3
    num_points: tuple[int, int] = (800, 2400)
    motion: tuple[float, float] = (5.0, 20.0)
    widths: tuple[float, ...] = (15.0, 30.0, 60.0)
    local: float = 0.5
    kept: tuple[float, float] = (0.6, 0.9)
    outliers: float = 0.1
    noise: tuple[float, float] = (0.3, 0.7)
    texture: tuple[float, float] = (0.2, 0.6)
    oriented: bool = True
    turn_degrees: tuple[float, float] = (0.0, 0.0)
    shift: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class PointPair:
    """Two point sets without correspondences, and the truth about them.

    Args:
        fixed: ``(num_fixed, dim)`` shuffled points in mm.
        moving: ``(num_moving, dim)`` shuffled points in mm.
        partner: ``(num_fixed,)`` int64 row of ``moving`` that is the same point, -1 where there is none.
        displacement: ``(num_fixed, dim)`` from the fixed points to where they truly belong in moving space, NaN at outliers.
        landmarks: ``(num_landmarks, dim)`` fixed points without noise, also those that were left out.
        landmarks_moved: where they are in moving space.
    """

    fixed: Tensor
    moving: Tensor
    partner: Tensor
    displacement: Tensor
    landmarks: Tensor
    landmarks_moved: Tensor


def random_point_pair(generator: torch.Generator, config: PointPairConfig | None = None) -> PointPair:
    """Draws points on a shape, moves them, and leaves out, adds and disturbs some on either side independently.

    The motion is an affine map near the identity plus displacements with Gaussian correlation of several widths (drawn as
    random waves), made gentle enough not to fold; sometimes one part of the cloud, behind a soft plane, moves strongly by
    itself.

    Args:
        generator: draws everything, on the CPU.
        config: what to draw from.

    Example:
        >>> pair = random_point_pair(torch.Generator().manual_seed(0))
        >>> has = pair.partner >= 0
        >>> 0.3 < float(has.float().mean()) < 0.9
        True
    """
    config = config or PointPairConfig()
    shape = config.shapes[int(torch.randint(len(config.shapes), (), generator=generator))]
    count = int(torch.randint(config.num_points[0], config.num_points[1] + 1, (), generator=generator))
    points = random_shape(shape, count, config.dim, generator)
    moved = points + _motion(points, config, generator)
    moved = moved + _uniform(config.texture, generator) * torch.randn(moved.shape, generator=generator)
    moved = _carried(moved, config, generator)
    if not config.oriented:
        axes = _random_rotation(config.dim, generator)
        points, moved = points @ axes, moved @ axes
    noise, kept = _uniform(config.noise, generator), _uniform(config.kept, generator)
    fixed, fixed_label = _observe(points, noise, kept, config, generator)
    moving, moving_label = _observe(moved, noise, kept, config, generator)
    displacement = torch.where((fixed_label >= 0)[:, None], moved[fixed_label] - fixed, torch.nan)
    return PointPair(fixed, moving, _partners(fixed_label, moving_label), displacement, points, moved)


def _observe(
    points: Tensor, noise: float, kept: float, config: PointPairConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One side: a random subset with noise and outliers, shuffled, and each one's number (-1 for outliers)."""
    chosen = torch.randperm(len(points), generator=generator)[: max(1, round(kept * len(points)))]
    seen = points[chosen] + noise * torch.randn(len(chosen), points.shape[1], generator=generator)
    num_outliers = int(_uniform((0.0, config.outliers), generator) * len(chosen))
    near = points[torch.randint(len(points), (num_outliers,), generator=generator)]
    wrong = near + 8 * torch.randn(near.shape, generator=generator)
    label = torch.cat([chosen, torch.full((num_outliers,), -1)])
    order = torch.randperm(len(label), generator=generator)
    return torch.cat([seen, wrong])[order], label[order]


def _partners(fixed: Tensor, moving: Tensor) -> Tensor:
    """For each fixed number the row of the same moving number, or -1."""
    table = torch.full((int(torch.cat([fixed, moving]).max()) + 2,), -1)
    rows = torch.arange(len(moving))
    table[moving[moving >= 0]] = rows[moving >= 0]
    return torch.where(fixed >= 0, table[fixed], -1)


def _motion(points: Tensor, config: PointPairConfig, generator: torch.Generator) -> Tensor:
    """A displacement of the mean length that was drawn, or less where that would fold space."""
    dim = points.shape[1]
    center, wanted = points.mean(0), _uniform(config.motion, generator)
    linear = 0.06 * torch.randn(dim, dim, generator=generator)
    total = (points - center) @ linear + 4 * torch.randn(dim, generator=generator)
    for width in config.widths:
        total = total + width * _uniform((0.02, 0.2), generator) * _waves(points, width, generator)
    if float(torch.rand((), generator=generator)) < config.local:
        total = total + _part_motion(points, generator)
    mean = float(total.norm(dim=1).mean())
    return total * min(1.0, wanted / max(mean, 1e-9))


def _carried(points: Tensor, config: PointPairConfig, generator: torch.Generator) -> Tensor:
    """Turned about their middle and shifted; where there is nothing to do nothing is drawn."""
    dim = points.shape[1]
    if config.turn_degrees[1]:
        angle = math.radians(_uniform(config.turn_degrees, generator))
        first, second = torch.linalg.qr(torch.randn(dim, 2, generator=generator)).Q.T
        skew = angle * (torch.outer(second, first) - torch.outer(first, second))
        middle = points.mean(0)
        points = middle + (points - middle) @ torch.linalg.matrix_exp(skew).T
    if config.shift[1]:
        points = points + _uniform(config.shift, generator) * torch.nn.functional.normalize(
            torch.randn(dim, generator=generator), dim=0
        )
    return points


def _random_rotation(dim: int, generator: torch.Generator) -> Tensor:
    """Evenly distributed over all rotations."""
    axes, upper = torch.linalg.qr(torch.randn(dim, dim, generator=generator))
    axes = axes * upper.diagonal().sign()
    flip = torch.ones(dim)
    flip[0] = torch.linalg.det(axes).sign()
    turned: Tensor = axes * flip
    return turned


def _waves(points: Tensor, width: float, generator: torch.Generator, count: int = 24) -> Tensor:
    """A vector field with unit variance per component and Gaussian correlation of the given width."""
    dim = points.shape[1]
    vectors = torch.randn(dim, count, generator=generator) / width
    phase = 2 * math.pi * torch.rand(count, generator=generator)
    amplitude = torch.randn(count, dim, generator=generator) * math.sqrt(2 / count)
    waves: Tensor = torch.cos(points @ vectors + phase) @ amplitude
    return waves


def _part_motion(points: Tensor, generator: torch.Generator) -> Tensor:
    """5 to 15 mm in one direction behind a soft plane."""
    normal, direction = (v / v.norm() for v in torch.randn(2, points.shape[1], generator=generator))
    height = points @ normal
    border = float(height.quantile(_uniform((0.5, 0.85), generator)))
    share = torch.sigmoid((height - border) / _uniform((3.0, 12.0), generator))
    motion: Tensor = _uniform((5.0, 15.0), generator) * share[:, None] * direction
    return motion


def _uniform(span: tuple[float, float], generator: torch.Generator) -> float:
    return span[0] + (span[1] - span[0]) * float(torch.rand((), generator=generator))

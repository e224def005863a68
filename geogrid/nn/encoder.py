"""From an image or a cloud to features at several physical scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from geogrid.errors import GeogridError
from geogrid.graph import Level, pool_cloud
from geogrid.nn.conv import ContinuousConv
from geogrid.nn.convolve import convolve
from geogrid.nn.geometry import RADIUS, geometry_channels, local_geometry
from geogrid.nn.norm import MeasureNorm
from geogrid.spatial import PointCloud

SLOPE = 0.1


@dataclass(frozen=True, eq=False)
class Pyramid:
    """Features of a cloud, level by level.

    Args:
        levels: where the points of each level are, 0 the finest.
        features: ``(num_points_l, channels_l)`` of each level, mean 0 and variance 1 per entry and channel.
    """

    levels: tuple[Level, ...]
    features: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.levels)

    def split(self, count: int) -> tuple[Pyramid, Pyramid]:
        """The pyramids of the first ``count`` entries and of the others, of lattices."""
        ends = (0, count, self.levels[0].points.num_entries)
        levels = [[Level(level.points.part(*pair), level.scale) for level in self.levels] for pair in pairwise(ends)]
        sizes = [[level.points.num_points for level in part] for part in levels]
        features = [x.split(list(rows)) for x, rows in zip(self.features, zip(*sizes, strict=True), strict=True)]
        first, second = (Pyramid(tuple(part), rows) for part, rows in zip(levels, zip(*features, strict=True), strict=True))
        return first, second


class ResidualBlock(nn.Module):
    r"""Two continuous convolutions beside a shortcut, :math:`\phi(S x + N(C_2\, \phi(C_1 x)))`.

    :math:`S` is the identity, or a linear map where the channels change; :math:`N` a :class:`MeasureNorm`; :math:`\phi` a
    leaky ReLU.

    Args:
        in_channels: of the input.
        out_channels: of the result.
        dim: 2 or 3.
    """

    def __init__(self, in_channels: int, out_channels: int, dim: int) -> None:
        super().__init__()
        self.conv1 = ContinuousConv(in_channels, out_channels, dim)
        self.conv2 = ContinuousConv(out_channels, out_channels, dim, bias=False)
        self.norm = MeasureNorm(out_channels)
        self.shortcut = nn.Identity() if in_channels == out_channels else nn.Linear(in_channels, out_channels, bias=False)

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """Features ``(num_points, in_channels)`` of a level's points to ``(num_points, out_channels)``."""
        inner = leaky_relu(convolve(self.conv1, x, level), SLOPE)
        inner = self.norm(convolve(self.conv2, inner, level), level.points)
        return leaky_relu(self.shortcut(x) + inner, SLOPE)


class PyramidEncoder(nn.Module):
    r"""Residual blocks of continuous convolutions at physical scales, pooling in between (paper, Sec. 3.1; laws a, b and c).

    Level :math:`l` has the scale :math:`s_l = 2^l s_0` mm. The cloud is pooled to :math:`s_0`, then from each level to the
    next (:func:`geogrid.graph.pool_cloud`): lattices stay lattices, and an axis that is coarser than the scale keeps its
    points. Convolutions are functions of millimetres in units of the scale, averages are weighted by measure, so one set of
    weights serves any sampling. Fixed and moving images are encoded alone. Points without features are described by the shape
    of their surroundings.

    Args:
        in_channels: features of the clouds; 1 for images, 0 for points that have none and are described by their surroundings
            at the finest level (:func:`local_geometry`).
        channels: of each level, the finest first.
        dim: 2 or 3.
        num_blocks: residual blocks per level.

    Reference:
        Sideri-Lampretsa, Stolt-Ansó et al., arXiv 2412.13294, Sec. 3.1 and Appendix 7.

    Example:
        >>> import torch
        >>> from geogrid.spatial import Grid, Image
        >>> encoder = PyramidEncoder(1, (8, 16, 32), dim=2)
        >>> cloud = PointCloud.from_images(Image(torch.rand(9, 8), Grid((9, 8), torch.eye(3))))
        >>> pyramid = encoder(cloud, scale=1.0)
        >>> [tuple(x.shape) for x in pyramid.features]
        [(72, 8), (20, 16), (6, 32)]
    """

    def __init__(self, in_channels: int, channels: Sequence[int], dim: int, num_blocks: int = 2) -> None:
        super().__init__()
        self.in_channels, self.channels, self.dim = in_channels, tuple(channels), dim
        before = (in_channels or geometry_channels(dim), *self.channels[:-1])
        self.stages = nn.ModuleList(
            nn.ModuleList(ResidualBlock(a if number == 0 else b, b, dim) for number in range(num_blocks))
            for a, b in zip(before, self.channels, strict=True)
        )
        self.norms = nn.ModuleList(MeasureNorm(width, affine=False) for width in self.channels)

    def forward(self, cloud: PointCloud, scale: float) -> Pyramid:
        """The pyramid of a batch of images or clouds.

        Args:
            cloud: with ``in_channels`` features; without any if that is 0.
            scale: s_0, that of the finest level, in mm.

        Raises:
            GeogridError: for a cloud of another dimension or with other features.
        """
        given = 0 if cloud.x is None else cloud.x.shape[1]
        if cloud.dim != self.dim or given != self.in_channels:
            raise GeogridError(
                f"cloud: expected {self.dim}-D points with {self.in_channels} features, got {cloud.dim}-D with {given}; "
                "a model with in_channels=0 takes points without features (cloud.with_features(None))"
            )
        levels, features = [], []
        for number, (blocks, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            cloud = pool_cloud(cloud, scale * 2**number)
            level = Level.of(cloud.with_features(None), scale * 2**number)
            x = _geometry(level) if number == 0 and self.in_channels == 0 else cloud.x
            for block in cast(nn.ModuleList, blocks):
                x = block(x, level)
            levels.append(level)
            features.append(norm(x, cloud))
            cloud = cloud.with_features(x)
        return Pyramid(tuple(levels), tuple(features))


def _geometry(level: Level) -> Tensor:
    points = level.points
    near = level.neighborhood
    if near is None:
        near = level.window(points.pos, points.batch, RADIUS * level.scale)
    return local_geometry(points, near, level.scale)

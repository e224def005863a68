"""Arrays of images as clouds, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial.grid import Grid, kept
from geogrid.spatial.image import Image
from geogrid.spatial.points import PointCloud


def to_cloud(images: Tensor, spacing: float | Sequence[float] = 1.0) -> PointCloud:
    """A stack of images of one shape as a batch of lattices, one entry each, their intensities as the only feature.

    The middle of every image lies at the world's origin and its index axes are the world's, so stacks of the same field of view
    lie on each other whatever their pixels.

    Args:
        images: ``(num_images, *shape)``, 2-D or 3-D, axis 0 of an image along x.
        spacing: of the pixels in mm, for all axes or one each.

    Raises:
        GeogridError: when shape and spacing do not fit each other or the spacing is not positive.

    Example:
        >>> cloud = to_cloud(torch.rand(3, 28, 14), (1.0, 2.0))
        >>> cloud.x.shape, cloud.lattices[0].points().amin(0)
        (torch.Size([1176, 1]), tensor([-13.5000, -13.0000]))
    """
    shape = tuple(images.shape[1:])
    sizes = [float(spacing)] * len(shape) if isinstance(spacing, int | float) else [float(s) for s in spacing]
    if len(images) == 0 or len(sizes) != len(shape) or min(sizes, default=0) <= 0:
        raise GeogridError(
            f"images, spacing: expected (num_images, *shape) and one positive spacing per axis, got {tuple(images.shape)} "
            f"and {sizes}"
        )
    return PointCloud.on_lattices([_centred(shape, tuple(sizes))] * len(images), images.reshape(-1, 1))


@kept
def _centred(shape: tuple[int, ...], sizes: tuple[float, ...]) -> Grid:
    """The lattice whose middle lies at the world's origin."""
    affine = torch.diag(torch.tensor([*sizes, 1.0], dtype=torch.float64))
    affine[:-1, -1] = -affine.diagonal()[:-1] * (torch.tensor(shape, dtype=torch.float64) - 1) / 2
    return Grid(shape, affine)


def to_images(cloud: PointCloud, channel: int = 0) -> tuple[Image, ...]:
    """One channel of a cloud on lattices, as an image per entry.

    Args:
        cloud: with features; its lattices may differ.
        channel: which feature.

    Raises:
        GeogridError: for scattered points, or without features.
    """
    if cloud.x is None or not cloud.is_lattice:
        raise GeogridError("cloud: expected features on lattices, got scattered points or no features")
    parts = cloud.x[:, channel].split([grid.num_points for grid in cloud.lattices])
    return tuple(Image(part.reshape(grid.shape), grid) for part, grid in zip(parts, cloud.lattices, strict=True))

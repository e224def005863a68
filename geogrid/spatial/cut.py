"""Images that show a part of something larger, so that tissue goes on beyond their borders."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.spatial.image import Image
from geogrid.spatial.intensity import CONTENT_LEVEL
from geogrid.spatial.sampling import sample_normalized

CUT_SHARE = 0.25
"""An image is cut where content covers more than this share of its middle face."""
TISSUE = 2 * CONTENT_LEVEL
"""Scaled intensity above which a border voxel is tissue, not the noise of a background."""


def is_cut(image: Image) -> bool:
    """Whether tissue reaches most faces of an image: a cord or a prostate within a body, not a head in the air.

    A head whose neck leaves through one face is not cut. The centre of what a cut image shows is that of the picture, not of
    anything in the world, and beyond its border there is not nothing, but something unknown.

    Args:
        image: scaled intensities on a dark background (:func:`geogrid.spatial.intensity.on_dark_background`).

    Example:
        >>> from geogrid.spatial import Grid
        >>> inside = torch.zeros(9, 9)
        >>> inside[2:7, 2:7] = 1
        >>> [is_cut(Image(values, Grid((9, 9), torch.eye(3)))) for values in (inside, torch.ones(9, 9))]
        [False, True]
    """
    axes = [axis for axis, size in enumerate(image.grid.shape) if size > 1]
    faces = [(image.data.select(axis, end) > TISSUE).float().mean() for axis in axes for end in (0, -1)]
    return bool(faces) and bool(torch.stack(faces).median() > CUT_SHARE)


def known_beyond(background: Tensor, position: Tensor) -> Tensor:
    """Weight of what is read of a cut image: 1 within it, and beyond its border where the border shows background.

    Args:
        background: ``(*shape)``, 1 at voxels without tissue and 0 at others (:func:`background_of`).
        position: ``(num_points, dim)`` in the normalised cube, axes reversed.

    Returns:
        ``(num_points,)`` in [0, 1].
    """
    outside = (position.abs() > 1 + 1e-3).any(-1)
    return torch.where(outside, sample_normalized(background[None], position.clamp(-1, 1))[0], 1.0)


def background_of(image: Image) -> Tensor:
    """1 at the voxels of an image with scaled intensities that show no tissue, 0 at the others, ``(*shape)``."""
    return (image.data <= TISSUE).float()

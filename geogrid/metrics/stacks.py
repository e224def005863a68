"""Scores of many images at once."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.errors import GeogridError


def foreground_dice(fixed: Tensor, warped: Tensor, threshold: float = 0.5) -> Tensor:
    r"""Dice coefficient of what is brighter than a threshold, :math:`2 |F \cap W| / (|F| + |W|)`, per image.

    The same figure as :func:`dice` of the label maps ``fixed > threshold`` and ``warped > threshold``, for a whole stack.

    Args:
        fixed: ``(num_images, *shape)``, 2-D or 3-D.
        warped: ``(num_images, *shape)``, the moving images on the fixed grids.
        threshold: intensities above it are foreground.

    Returns:
        ``(num_images,)`` float64 in [0, 1]; NaN where neither image has foreground.

    Raises:
        GeogridError: when the shapes differ.

    Example:
        >>> foreground_dice(torch.tensor([[[0.9, 0.8, 0.1]]]), torch.tensor([[[0.2, 0.7, 0.0]]]))
        tensor([0.6667], dtype=torch.float64)
    """
    if fixed.shape != warped.shape:
        raise GeogridError(
            f"images: expected two stacks of the same shape, got {tuple(fixed.shape)} and {tuple(warped.shape)}; warp the "
            "moving images onto the fixed grids first"
        )
    first, second = (images.flatten(1) > threshold for images in (fixed, warped))
    return 2 * (first & second).sum(1).double() / (first.sum(1) + second.sum(1))


def image_spread(images: Tensor) -> float:
    r"""How much images that should be alike differ: :math:`\sqrt{\mathrm{mean}_x \mathrm{var}_n I_n(x)}`, 0 for copies.

    Args:
        images: ``(num_images, *shape)``, one at least.

    Returns:
        Root mean square over the pixels of the standard deviation over the images, in units of intensity.

    Raises:
        GeogridError: without images.

    Example:
        >>> round(image_spread(torch.tensor([[[0.0, 1.0]], [[0.0, 3.0]]])), 6)
        0.707107
    """
    if images.numel() == 0:
        raise GeogridError(f"images: expected one at least, got a stack of shape {tuple(images.shape)}")
    return float(torch.var(images.double(), 0, correction=0).mean().sqrt())

"""Images moved at random."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial import sample_lattice


def random_affine(
    images: Tensor,
    generator: torch.Generator,
    *,
    rotation_degrees: float = 15.0,
    scale: float = 1.15,
    shear: float = 0.1,
    shift: float = 2.0,
) -> Tensor:
    r"""Every image after an affine motion of its own about its middle, read bilinearly; what comes in from outside is 0.

    The result at a pixel :math:`x` (from the middle) is the image at :math:`R S H x + t`: a turn R, scalings S of the two axes,
    a shear H along the first axis, a shift t; each drawn evenly from its range, the scalings on a logarithmic scale.

    Args:
        images: ``(num_images, width, height)`` floating point, square pixels.
        generator: on the CPU.
        rotation_degrees: largest turn to either side.
        scale: from 1 up, largest enlargement of an axis; the largest reduction is its inverse.
        shear: largest shift of a row per row, to either side.
        shift: largest shift along each axis in pixels.

    Returns:
        ``(num_images, width, height)``.

    Raises:
        GeogridError: for images of another dimension, or ranges below their least value.

    Example:
        >>> copies = random_affine(torch.rand(28, 28).expand(5, 28, 28), torch.Generator().manual_seed(0))
        >>> copies.shape
        torch.Size([5, 28, 28])
    """
    if images.dim() != 3 or not images.is_floating_point():
        raise GeogridError(f"images: expected (num_images, width, height) floats, got {images.dtype} {tuple(images.shape)}")
    if min(rotation_degrees, shear, shift) < 0 or scale < 1:
        raise GeogridError(
            f"ranges: expected rotation, shear and shift from 0 up and scale from 1 up, got {rotation_degrees}, {shear}, "
            f"{shift}, {scale}"
        )
    draws = 2 * torch.rand(len(images), 6, generator=generator, dtype=torch.float64) - 1
    linear = _linear_parts(draws[:, :4], math.radians(rotation_degrees), math.log(scale), shear)
    shape = torch.tensor(images.shape[1:], dtype=torch.float64)
    middle = (shape - 1) / 2
    place = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in images.shape[1:])) - middle
    index = (place @ linear.mT + (middle + shift * draws[:, 4:])[:, None]).to(images)
    framed = F.pad(images, (1, 1, 1, 1))
    read = [sample_lattice(image[None], places + 1)[0] for image, places in zip(framed, index, strict=True)]
    return torch.stack(read).reshape(images.shape) if len(images) else images


def _linear_parts(draws: Tensor, angle: float, log_scale: float, shear: float) -> Tensor:
    """Turn times scaling times shear, ``(n, 2, 2)``, from draws in [-1, 1]: ``(n, 4)`` turn, two scalings, shear."""
    turn = angle * draws[:, 0]
    cos, sin = turn.cos(), turn.sin()
    rotation = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    scaling = torch.diag_embed((log_scale * draws[:, 1:3]).exp())
    sheared = torch.eye(2, dtype=draws.dtype).repeat(len(draws), 1, 1)
    sheared[:, 0, 1] = shear * draws[:, 3]
    return rotation @ scaling @ sheared

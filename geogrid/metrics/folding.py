"""Whether a deformation folds space, and how unevenly it changes volume, inside the fixed content."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial import Image
from geogrid.spatial.intensity import CONTENT_LEVEL, intensity_range
from geogrid.transforms import DisplacementField, jacobian_determinant


def content_mask(image: Image, mask: Image | None = None) -> Tensor:
    """The voxels of an image that show something: the one definition behind every share of "content".

    Values are scaled so that the 0.5th and the 99.5th percentile of the finite ones are 0 and 1 (minimum and maximum where
    the percentiles coincide); content is what lies above 0.05. A constant image has none. NaN is never content.

    Args:
        image: the fixed image.
        mask: overrides the definition: content is where the mask is above 0.

    Returns:
        ``(*image.grid.shape)`` bool.

    Raises:
        GeogridError: when the mask is not on the image's grid.
    """
    if mask is not None:
        if not mask.grid.same_space(image.grid):
            raise GeogridError(
                f"mask: expected the grid of its image, {image.grid.shape}, got {mask.grid.shape} or another place; "
                "resample the mask onto the image first"
            )
        return mask.data > 0
    values = image.data if image.data.is_floating_point() else image.data.float()
    low, high = intensity_range(values)
    return values > low + CONTENT_LEVEL * (high - low)


def folding_percent(field: DisplacementField | Tensor, content: Tensor) -> float:
    """Share of content voxels where space folds: Jacobian determinant <= 0.

    Args:
        field: the deformation, or its Jacobian determinant ``(*shape)`` where that is known already.
        content: ``(*shape)`` bool, see :func:`content_mask`.

    Returns:
        Percentage in [0, 100].

    Raises:
        GeogridError: when the shapes differ or there is no content.
    """
    return 100 * float((_inside(field, content) <= 0).double().mean())


def log_jacobian_spread(field: DisplacementField | Tensor, content: Tensor) -> float:
    """Standard deviation of the natural logarithm of the Jacobian determinant over the content.

    0 for any affine map. Determinants below 0.001, folded ones included, count as 0.001.

    Args:
        field: the deformation, or its Jacobian determinant ``(*shape)`` where that is known already.
        content: ``(*shape)`` bool, see :func:`content_mask`.

    Raises:
        GeogridError: when the shapes differ or there is no content.
    """
    return float(_inside(field, content).double().clamp_min(1e-3).log().std(correction=0))


def _inside(field: DisplacementField | Tensor, content: Tensor) -> Tensor:
    determinant = jacobian_determinant(field) if isinstance(field, DisplacementField) else field
    if content.dtype != torch.bool or content.shape != determinant.shape:
        raise GeogridError(
            f"content: expected a bool mask on the deformation's grid, {tuple(determinant.shape)}, "
            f"got {content.dtype} of shape {tuple(content.shape)}"
        )
    if not content.any():
        raise GeogridError("content: expected at least one voxel, got none; check that the fixed image or mask is not constant")
    return determinant[content.to(determinant.device)]

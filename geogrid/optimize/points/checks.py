"""What point registration demands of two clouds, checked once at the door."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from geogrid.errors import GeogridError, GeogridWarning
from geogrid.graph.checks import check_points
from geogrid.optimize.points.cloud import OrderedCloud

MOST_RATIO = 30.0
"""Clouds whose radii differ by more than this factor are in different units."""
NEAR_RATIO = 2.0
"""Within this factor of a power of ten the difference is one of units."""


def check_clouds(fixed: Tensor, moving: Tensor) -> None:
    """Refuses clouds that are empty, not finite or not of one dimension."""
    for name, points in (("fixed points", fixed), ("moving points", moving)):
        check_points(points, name)
        if not len(points):
            raise GeogridError(f"{name}: expected at least one point, got none; check the file or selection they came from")
    if fixed.shape[1] != moving.shape[1]:
        raise GeogridError(
            f"moving points: expected {fixed.shape[1]}-D points like the fixed ones, got {moving.shape[1]}-D; "
            "give both clouds the same number of dimensions"
        )


def unit_factor(fixed: OrderedCloud, moving: OrderedCloud) -> float:
    """By what the moving points are to be multiplied so that both clouds are in one unit; warns when that is not 1.

    Raises:
        GeogridError: when one cloud is many times larger than the other and no power of ten brings them near each other.
    """
    if min(fixed.radius, moving.radius) <= 0:
        return 1.0
    ratio = fixed.radius / moving.radius
    if 1 / MOST_RATIO <= ratio <= MOST_RATIO:
        return 1.0
    factor = 10.0 ** round(math.log10(ratio))
    sizes = f"the fixed points (radius {fixed.radius:.3g}), got {moving.radius:.3g}"
    if not 1 / NEAR_RATIO <= ratio / factor <= NEAR_RATIO:
        raise GeogridError(
            f"moving points: expected about the size of {sizes}, a factor of {max(ratio, 1 / ratio):.3g}; bring both into one "
            "unit (mm, not metres)"
        )
    warnings.warn(
        f"moving points: expected about the size of {sizes}; they are taken to be in another unit and multiplied by {factor:g} "
        "to be registered, and the transform leads into their own; bring both into one unit (mm)",
        GeogridWarning,
        stacklevel=3,
    )
    return factor


def check_features(features: tuple[Tensor, Tensor] | None, fixed: Tensor, moving: Tensor) -> None:
    """Refuses features that do not fit the points."""
    if features is None:
        return
    for name, values, points in zip(("fixed", "moving"), features, (fixed, moving), strict=True):
        if values.dim() != 2 or len(values) != len(points) or not bool(torch.isfinite(values).all()):
            raise GeogridError(
                f"{name} features: expected finite values of shape ({len(points)}, channels), got {tuple(values.shape)}"
            )
    if features[0].shape[1] != features[1].shape[1]:
        raise GeogridError(
            f"features: expected the same channels on both sides, got {features[0].shape[1]} and {features[1].shape[1]}"
        )


def check_correspondences(pairs: Tensor | None, fixed: Tensor, moving: Tensor) -> None:
    """Refuses pairs of rows that are not there."""
    if pairs is None:
        return
    if pairs.dim() != 2 or pairs.shape[1] != 2 or pairs.dtype != torch.int64:
        raise GeogridError(
            f"correspondences: expected int64 rows of shape (num_pairs, 2), got {pairs.dtype} {tuple(pairs.shape)}"
        )
    size = torch.tensor([len(fixed), len(moving)])
    bad = ((pairs < 0) | (pairs >= size)).any(1)
    if bool(bad.any()):
        first = pairs[bad][0].tolist()
        raise GeogridError(f"correspondences: expected rows below {size.tolist()} of the fixed and moving points, got {first}")

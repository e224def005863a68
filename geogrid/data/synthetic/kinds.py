"""Deformations of one size by name."""

from __future__ import annotations

from typing import Literal

from geogrid.data.synthetic.config import DeformationConfig
from geogrid.errors import GeogridError

DeformationKind = Literal["affine", "smooth", "brownian", "sliding", "mixed"]

DEFORMATION_KINDS: tuple[DeformationKind, ...] = ("affine", "smooth", "brownian", "sliding", "mixed")


def deformation_kind(kind: DeformationKind, size_mm: float) -> DeformationConfig:
    """Sizes that belong together.

    ``affine``: a shift by ``size_mm``, a turn by up to 20 degrees, scales of up to 1.2 per axis. ``smooth`` and ``brownian``:
    displacements of that root mean square length. ``sliding``: a slip by ``size_mm`` and a smooth displacement of a third of
    it. ``mixed``: everything but the slip.

    Args:
        kind: which one.
        size_mm: 0 or more.

    Raises:
        GeogridError: for an unknown kind or a size below 0.

    Example:
        >>> deformation_kind("smooth", 5.0).smooth_mm
        (5.0, 5.0)
    """
    if kind not in DEFORMATION_KINDS or not 0 <= size_mm < float("inf"):
        raise GeogridError(
            f"deformation: expected one of {', '.join(DEFORMATION_KINDS)} and mm from 0 up, got {kind}, {size_mm}"
        )
    whole, third = (size_mm, size_mm), (size_mm / 3, size_mm / 3)
    if kind == "affine":
        return DeformationConfig(rotation_degrees=(0, 20), scale=1.2, shift_mm=whole)
    if kind == "smooth":
        return DeformationConfig(smooth_mm=whole)
    if kind == "brownian":
        return DeformationConfig(brownian_mm=whole)
    if kind == "sliding":
        return DeformationConfig(slip_mm=whole, smooth_mm=third)
    return DeformationConfig(rotation_degrees=(0, 20), scale=1.2, shift_mm=whole, smooth_mm=whole, brownian_mm=third)

"""The hat function."""

from __future__ import annotations

from torch import Tensor


def hat(distance_over_width: Tensor) -> Tensor:
    """The kernel of linear interpolation, ``max(0, 1 - |t|)``, of any shape."""
    return (1 - distance_over_width.abs()).clamp_min(0)

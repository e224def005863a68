"""The hat function, the kernel of linear interpolation."""

from __future__ import annotations

from torch import Tensor


def hat(t: Tensor) -> Tensor:
    """``max(0, 1 - |t|)``, elementwise; t is a distance in widths."""
    return (1 - t.abs()).clamp_min(0)

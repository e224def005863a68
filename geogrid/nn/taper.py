"""How a neighbour leaves: a smooth rim, and a fade for queries that only have neighbours at the rim."""

from __future__ import annotations

from torch import Tensor

FADE = 0.25
"""Sum of tapers below which a query's update is scaled down; a lone neighbour reaches it at .71 of the radius."""


RIM = 4.0
"""Slope of the factor that takes neighbours near the rim out of the cost volume."""


def inside(square: Tensor, radius: float) -> Tensor:
    """``max(0, 1 - r^2 / radius^2)`` of squared distances; the taper is its square, which has no kink at the rim."""
    return (1 - square / radius**2).clamp_min(0)


def rim(inside: Tensor) -> Tensor:
    """The factor in [0, 1] on a neighbour's part in the cost volume: 1 up to .87 of the radius, 0 at the radius."""
    return (RIM * inside).clamp_max(1)


def coverage(total: Tensor) -> Tensor:
    """The factor in [0, 1] on a query's update, from the sum of its neighbours' tapers.

    Softmax weights sum to one however weak the neighbours are, so without this factor the update would jump to zero when the
    last neighbour crosses the rim.
    """
    return (total / FADE).clamp_max(1)

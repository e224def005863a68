"""The one formula for distances, so that every implementation agrees about ties to the last bit."""

from __future__ import annotations

import torch
from torch import Tensor


def metric_positions(points: Tensor, scale: Tensor) -> Tensor:
    """Positions in the metric of the search: float64, each axis divided by its scale."""
    return points.detach().to(torch.float64) / scale


def squared_distance(context: Tensor, query: Tensor) -> Tensor:
    r"""Squared distances :math:`\sum_a (x_{ja} - x_{ia})^2` of float64 positions ``(..., dim)``, broadcast, in mm^2.

    Computed from differences and summed in the order of the axes, one rounding per operation: the same bits on every device
    and as in plain Python floats.
    """
    total: Tensor | None = None
    for axis in range(context.shape[-1]):
        difference = context[..., axis] - query[..., axis]
        square = difference * difference
        total = square if total is None else total + square
    assert total is not None
    return total

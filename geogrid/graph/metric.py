"""The one formula for distances, so that every implementation agrees about ties to the last bit."""

from __future__ import annotations

from collections.abc import Iterable

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
    return _summed((context[..., axis], query[..., axis]) for axis in range(context.shape[-1]))


def squared_distance_to_rows(context: Tensor, index: Tensor, query: Tensor) -> Tensor:
    """:func:`squared_distance` of each query to some rows of the context, ``(num_query, k)``; looked up axis by axis.

    Args:
        context: ``(num_context, dim)`` float64 positions.
        index: ``(num_query, k)`` int64 rows of them.
        query: ``(num_query, dim)`` float64 positions.
    """
    return _summed((context[:, axis].take(index), query[:, axis, None]) for axis in range(context.shape[1]))


def _summed(axes: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    total: Tensor | None = None
    for here, there in axes:
        difference = here - there
        square = difference * difference
        total = square if total is None else total + square
    assert total is not None
    return total

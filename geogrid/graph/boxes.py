"""Neighbours within a box."""

from __future__ import annotations

from torch import Tensor

from geogrid.graph.neighborhood import Neighborhood
from geogrid.graph.search import radius

SLACK = 1e-3
"""How much larger than asked for the box is, relative to it, so that rounding loses nobody."""


def within_box(context: Tensor, query: Tensor, reach: Tensor, batch_context: Tensor, batch_query: Tensor) -> Neighborhood:
    """The context points within a box around each query point, found in the ellipsoid around that box.

    Args:
        context: ``(num_context, dim)`` positions.
        query: ``(num_query, dim)`` positions.
        reach: ``(dim,)`` half widths of the box.
        batch_context: ``(num_context,)`` int64, sorted.
        batch_query: ``(num_query,)`` int64, sorted.

    Returns:
        All within the box, and at most those that exceed it by a thousandth.
    """
    context, query = context.detach() / reach, query.detach() / reach
    found = radius(context, query, context.shape[1] ** 0.5, batch_context=batch_context, batch_query=batch_query)
    inside = ((context[found.index] - query[:, None]).abs() <= 1 + SLACK).all(-1)
    return Neighborhood(found.index, found.mask & inside, len(context)).compact()

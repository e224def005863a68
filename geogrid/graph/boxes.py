"""Neighbours within a box."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from geogrid.graph.neighborhood import Neighborhood
from geogrid.graph.search import radius

SLACK = 1e-3
"""How much larger than asked for the box is, relative to it, so that rounding loses nobody."""
APART = 4.0
"""Distance, in half boxes, of the entries of a batch along an axis of their own; beyond the box, so that they never meet."""


def within_box(context: Tensor, query: Tensor, reach: Tensor, batch_context: Tensor, batch_query: Tensor) -> Neighborhood:
    """The context points within a box around each query point.

    On a processor a k-d tree finds them in the maximum norm; elsewhere they are looked for in the ellipsoid around the box.

    Args:
        context: ``(num_context, dim)`` positions.
        query: ``(num_query, dim)`` positions.
        reach: ``(dim,)`` half widths of the box.
        batch_context: ``(num_context,)`` int64, sorted.
        batch_query: ``(num_query,)`` int64, sorted.

    Returns:
        All within the box, and at most those that exceed it by a thousandth; in no particular order.

    Example:
        >>> points, batch = torch.tensor([[0.0, 0.0], [0.9, 1.9], [1.1, 0.0]]), torch.tensor([0, 0, 0])
        >>> within_box(points, points[:1], torch.tensor([1.0, 2.0]), batch, batch[:1]).edge_index
        tensor([[0, 1],
                [0, 0]])
    """
    context, query = context.detach() / reach, query.detach() / reach
    search = _by_tree if context.device.type == "cpu" else _by_ball
    return search(context, query, batch_context, batch_query)


def _by_ball(context: Tensor, query: Tensor, batch_context: Tensor, batch_query: Tensor) -> Neighborhood:
    """Half boxes are units here, as in :func:`_by_tree`."""
    found = radius(context, query, context.shape[1] ** 0.5, batch_context=batch_context, batch_query=batch_query)
    inside = ((context[found.index] - query[:, None]).abs() <= 1 + SLACK).all(-1)
    return Neighborhood(found.index, found.mask & inside, len(context)).compact()


def _by_tree(context: Tensor, query: Tensor, batch_context: Tensor, batch_query: Tensor) -> Neighborhood:
    trees = [
        cKDTree(torch.cat([pos.double(), APART * batch[:, None]], 1).numpy(), balanced_tree=False)
        for pos, batch in ((query, batch_query), (context, batch_context))
    ]
    pairs = trees[0].sparse_distance_matrix(trees[1], 1 + SLACK, p=np.inf, output_type="ndarray")
    rows, columns = (torch.from_numpy(pairs[name].astype(np.int64)) for name in ("i", "j"))
    order = (rows * len(context) + columns).argsort()
    return Neighborhood.from_edge_index(torch.stack([columns, rows])[:, order], len(context), len(query))

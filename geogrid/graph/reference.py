"""The oracle: neighbours by sorting all pairs in plain Python floats. Slow and obvious; for tests."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from geogrid.graph.neighborhood import Neighborhood

Ranked = list[list[tuple[float, int]]]


def ranked_pairs(context: Tensor, query: Tensor, batch_context: Tensor, batch_query: Tensor, scale: Tensor) -> Ranked:
    """For each query all context points of its batch entry as (squared distance, index), nearest first, ties by index."""
    scales = scale.tolist()

    def rows(points: Tensor, batch: Tensor) -> Iterator[tuple[int, list[float]]]:
        for entry, point in zip(batch.tolist(), points.double().tolist(), strict=True):
            yield entry, [x / s for x, s in zip(point, scales, strict=True)]

    senders = list(rows(context, batch_context))
    ranked = []
    for entry, here in rows(query, batch_query):
        same = [(j, there) for j, (other, there) in enumerate(senders) if other == entry]
        ranked.append(sorted((sum((a - b) * (a - b) for a, b in zip(there, here, strict=True)), j) for j, there in same))
    return ranked


def knn_reference(
    context: Tensor, query: Tensor, k: int, batch_context: Tensor, batch_query: Tensor, scale: Tensor
) -> Neighborhood:
    """The k nearest context points of each query."""
    ranked = ranked_pairs(context, query, batch_context, batch_query, scale)
    return _table([[j for _, j in row[:k]] for row in ranked], k, context)


def radius_reference(
    context: Tensor, query: Tensor, radius: float, batch_context: Tensor, batch_query: Tensor, scale: Tensor
) -> Neighborhood:
    """All context points not farther than the radius from each query."""
    ranked = ranked_pairs(context, query, batch_context, batch_query, scale)
    inside = [[j for squared, j in row if squared <= radius * radius] for row in ranked]
    return _table(inside, max(map(len, inside), default=0), context)


def _table(rows: list[list[int]], width: int, context: Tensor) -> Neighborhood:
    index = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], dtype=torch.int64).reshape(len(rows), width)
    mask = torch.tensor([[place < len(row) for place in range(width)] for row in rows], dtype=torch.bool)
    return Neighborhood(index.to(context.device), mask.reshape(len(rows), width).to(context.device), len(context))

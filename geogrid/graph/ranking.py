"""From a back end's candidates to the exact neighbours, in their exact order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from geogrid.graph.backends import build_searcher
from geogrid.graph.backends.searcher import Searcher
from geogrid.graph.metric import squared_distance_to_rows

BYTES_PER_CANDIDATE = 80
FIRST_IN_RADIUS = 16
Complete = Callable[[Tensor, Tensor], Tensor]
Ranked = tuple[Tensor, Tensor, Tensor]


class ExactSearch:
    """The exact neighbours in one cloud, whatever the back end.

    Candidates are ranked by :func:`squared_distance`, then by index. A point that the back end left out is not nearer than its
    farthest candidate less twice the back end's error; where that does not settle who belongs to the answer (ties at the rim,
    for instance), the search is repeated for those queries with twice as many candidates.

    Args:
        name: of the implementation.
        context: ``(num_context, dim)`` float64 positions, one at least.
        query: ``(num_query, dim)`` float64 positions.
        max_bytes: bound on working memory.
    """

    def __init__(self, name: str, context: Tensor, query: Tensor, max_bytes: int) -> None:
        self.context, self.query, self.max_bytes = context, query, max_bytes
        self.searcher = build_searcher(name, context, query, max_bytes)
        self._wide: Searcher | None = None

    def knn(self, k: int) -> tuple[Tensor, Tensor]:
        """Index and squared distance of the k nearest (k not above the number of context points), ``(num_query, k)`` each."""
        parts = list(self._decided(k + 2 + k // 4, lambda squared, rim: squared[:, k - 1] < rim))
        return _tables([(rows, index[:, :k], squared[:, :k]) for rows, index, squared in parts], len(self.query), k)

    def radius(self, radius: float) -> tuple[Tensor, Tensor]:
        """Index and squared distance of all within the radius, nearest first; what is farther has an infinite distance."""
        limit = radius * radius
        parts = []
        for rows, index, squared in self._decided(FIRST_IN_RADIUS, lambda _, rim: rim > limit):
            width = int((squared <= limit).sum(1).max())
            parts.append((rows, index[:, :width], squared[:, :width].masked_fill(squared[:, :width] > limit, torch.inf)))
        return _tables(parts, len(self.query), max((index.shape[1] for _, index, _ in parts), default=0))

    def _decided(self, first: int, complete: Complete) -> Iterator[Ranked]:
        """Queries whose answer is settled with their ranked candidates, in chunks of bounded size."""
        rows = torch.arange(len(self.query), device=self.query.device)
        count = min(first, len(self.context))
        while len(rows):
            undecided = []
            for chunk in rows.split(max(1, self.max_bytes // (BYTES_PER_CANDIDATE * count))):
                index, squared, rim = self._candidates(chunk, count)
                done = complete(squared, rim) | (count == len(self.context))
                if bool(done.all()):
                    yield chunk, index, squared
                    continue
                if bool(done.any()):
                    yield chunk[done], index[done], squared[done]
                undecided.append(chunk[~done])
            rows, count = torch.cat(undecided) if undecided else rows[:0], min(2 * count, len(self.context))

    def _candidates(self, rows: Tensor, count: int) -> Ranked:
        query = self.query[rows]
        searcher = self._searcher(count)
        index = searcher.nearest(query, count)
        squared = squared_distance_to_rows(self.context, index, query)
        index, squared = _ranked(index, squared)
        rim = (squared[:, -1].sqrt() - 2 * searcher.error).clamp_min(0)
        return index, squared, rim.square() * (1 - 2.0**-50)

    def _searcher(self, count: int) -> Searcher:
        limit = self.searcher.max_k
        if limit is None or count <= limit:
            return self.searcher
        if self._wide is None:
            self._wide = build_searcher("torch", self.context, self.query, self.max_bytes)
        return self._wide


def _ranked(index: Tensor, squared: Tensor) -> tuple[Tensor, Tensor]:
    """Sorts the rows that are not in strictly rising order by (squared distance, index)."""
    rows = (squared[:, 1:] <= squared[:, :-1]).any(1).nonzero()[:, 0]
    if len(rows):
        by_index, order = index[rows].sort(dim=1)
        by_distance, place = squared[rows].gather(1, order).sort(dim=1, stable=True)
        index[rows], squared[rows] = by_index.gather(1, place), by_distance
    return index, squared


def _tables(parts: list[Ranked], num_query: int, width: int) -> tuple[Tensor, Tensor]:
    """Chunks of rows put into place; entries that a chunk does not have get index 0 and an infinite distance."""
    if len(parts) == 1 and parts[0][1].shape == (num_query, width):
        return parts[0][1:]
    device = parts[0][1].device
    index = torch.zeros(num_query, width, dtype=torch.int64, device=device)
    squared = torch.full((num_query, width), torch.inf, dtype=torch.float64, device=device)
    for rows, some_index, some_squared in parts:
        index[rows, : some_index.shape[1]] = some_index
        squared[rows, : some_index.shape[1]] = some_squared
    return index, squared

"""Nearest neighbours and neighbours within a radius among scattered points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph.backends import REFERENCE, choose_implementation
from geogrid.graph.checks import MAX_BYTES, check_batches, check_count, check_pair, check_positive, per_axis
from geogrid.graph.metric import metric_positions
from geogrid.graph.neighborhood import Neighborhood
from geogrid.graph.ranking import ExactSearch
from geogrid.graph.reference import knn_reference, radius_reference

Implementation = Literal["auto", "reference", "scipy", "torch", "torch_cluster", "pyg_lib", "pytorch3d"]
MetricScale = float | Sequence[float] | Tensor | None
Part = tuple[Tensor, Tensor, Tensor]


def knn(
    context: Tensor,
    query: Tensor,
    k: int,
    *,
    batch_context: Tensor | None = None,
    batch_query: Tensor | None = None,
    metric_scale: MetricScale = None,
    implementation: Implementation = "auto",
    max_bytes: int = MAX_BYTES,
) -> Neighborhood:
    r"""The k context points nearest to each query point.

    Distances are :math:`|(x_j - x_i) / s|` with one scale :math:`s` per axis. They are compared in float64, by differences, so
    all implementations return the same table: neighbours sorted by distance, ties by the lowest context index. Not
    differentiable.

    Args:
        context: ``(num_context, dim)`` positions in mm, dim 2 or 3.
        query: ``(num_query, dim)`` positions in mm.
        k: neighbours wanted, from 1 up; a query whose batch entry has fewer gets those, the rest of its row is masked.
        batch_context: ``(num_context,)`` int64, the sorted batch entry of each context point; entries may be empty.
        batch_query: the same for the query points; only points of one entry are neighbours.
        metric_scale: positive scale of the axes, one number or one per axis, that positions are divided by.
        implementation: ``"auto"`` (SciPy on the CPU, torch elsewhere) or a name of :func:`implementation_status`.
        max_bytes: bound on working memory, the result not counted.

    Returns:
        A table of width k.

    Raises:
        GeogridError: for clouds that do not fit each other, unsorted batches, an implementation that is not there.

    Example:
        >>> points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
        >>> knn(points, torch.tensor([[0.0, 1.0]]), k=2).index
        tensor([[0, 2]])
    """
    check_pair(context, query)
    check_count(k, "k")
    batches = check_batches(batch_context, batch_query, context, query)
    scale = per_axis(metric_scale, context, "metric_scale")
    name = choose_implementation(implementation, context)
    if name == REFERENCE:
        return knn_reference(context, query, k, *batches, scale)
    found = _search(context, query, batches, scale, lambda c, q: ExactSearch(name, c, q, max_bytes).knn(min(k, len(c))))
    index, mask, _ = _assemble(list(found), len(query), k, context.device)
    return Neighborhood(index, mask, len(context))


def radius(
    context: Tensor,
    query: Tensor,
    radius: float,
    *,
    max_neighbors: int | None = None,
    on_overflow: Literal["nearest", "raise"] = "nearest",
    batch_context: Tensor | None = None,
    batch_query: Tensor | None = None,
    metric_scale: MetricScale = None,
    implementation: Implementation = "auto",
    max_bytes: int = MAX_BYTES,
) -> Neighborhood:
    r"""The context points within a radius of each query point, the rim included.

    Point j is a neighbour of i when :math:`|(x_j - x_i) / s|^2 \le r^2`, compared in float64; neighbours are sorted by
    distance, ties by the lowest context index.

    Args:
        context: ``(num_context, dim)`` positions in mm, dim 2 or 3.
        query: ``(num_query, dim)`` positions in mm.
        radius: in mm, above 0 (in units of ``metric_scale`` if that is given).
        max_neighbors: width of the table, from 1 up; none: as wide as the fullest neighbourhood.
        on_overflow: what happens when more than ``max_neighbors`` are inside: keep the nearest, or raise.
        batch_context: ``(num_context,)`` int64, the sorted batch entry of each context point; entries may be empty.
        batch_query: the same for the query points; only points of one entry are neighbours.
        metric_scale: positive scale of the axes, one number or one per axis, that positions are divided by.
        implementation: ``"auto"`` (SciPy on the CPU, torch elsewhere) or a name of :func:`implementation_status`.
        max_bytes: bound on working memory, the result not counted.

    Returns:
        A table of width ``max_neighbors``, or as wide as needed.

    Raises:
        GeogridError: as :func:`knn`; for too many neighbours with ``on_overflow="raise"``.

    Example:
        >>> points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
        >>> radius(points, points, 2.0).edge_index
        tensor([[0, 1, 1, 0, 2],
                [0, 0, 1, 1, 2]])
    """
    check_pair(context, query)
    limit = check_positive(radius, "radius")
    if max_neighbors is not None:
        check_count(max_neighbors, "max_neighbors")
    if on_overflow not in ("nearest", "raise"):
        raise GeogridError(f"on_overflow: expected nearest or raise, got {on_overflow}")
    batches = check_batches(batch_context, batch_query, context, query)
    scale = per_axis(metric_scale, context, "metric_scale")
    name = choose_implementation(implementation, context)
    if name == REFERENCE:
        return _capped(radius_reference(context, query, limit, *batches, scale), max_neighbors, on_overflow)
    wanted = None if max_neighbors is None else max_neighbors + (on_overflow == "raise")

    def search(c: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        exact = ExactSearch(name, c, q, max_bytes)
        return exact.radius(limit) if wanted is None else exact.knn(min(wanted, len(c)))

    found = list(_search(context, query, batches, scale, search))
    width = max((index.shape[1] for _, index, _ in found), default=0) if wanted is None else wanted
    index, mask, squared = _assemble(found, len(query), width, context.device)
    mask &= squared <= limit * limit
    return _capped(Neighborhood(index.masked_fill(~mask, 0), mask, len(context)), max_neighbors, on_overflow)


def _search(
    context: Tensor,
    query: Tensor,
    batches: tuple[Tensor, Tensor],
    scale: Tensor,
    search: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> Iterator[Part]:
    """For each batch entry that has context and queries: its query rows, their context rows, their squared distances."""
    senders, receivers = metric_positions(context, scale), metric_positions(query, scale)
    num_entries = max((int(b[-1]) + 1 for b in batches if len(b)), default=0)
    first = 0, 0
    for sizes in zip(*(torch.bincount(b, minlength=num_entries).tolist() for b in batches), strict=True):
        last = first[0] + sizes[0], first[1] + sizes[1]
        if min(sizes):
            index, squared = search(senders[first[0] : last[0]], receivers[first[1] : last[1]])
            yield torch.arange(first[1], last[1], device=query.device), index + first[0], squared
        first = last


def _assemble(parts: list[Part], num_query: int, width: int, device: torch.device) -> Part:
    """Index, mask and squared distance tables; entries of which there is nothing are masked."""
    index = torch.zeros(num_query, width, dtype=torch.int64, device=device)
    mask = torch.zeros(num_query, width, dtype=torch.bool, device=device)
    squared = torch.full((num_query, width), torch.inf, dtype=torch.float64, device=device)
    for rows, some_index, some_squared in parts:
        columns = slice(0, some_index.shape[1])
        index[rows, columns], mask[rows, columns], squared[rows, columns] = some_index, True, some_squared
    return index, mask, squared


def _capped(table: Neighborhood, max_neighbors: int | None, on_overflow: str) -> Neighborhood:
    """The table with exactly ``max_neighbors`` columns, of which none is dropped when overflow is to be raised."""
    if max_neighbors is None:
        return table
    if on_overflow == "raise" and bool(table.mask[:, max_neighbors:].any()):
        row = int(table.mask[:, max_neighbors:].any(1).nonzero()[0, 0])
        raise GeogridError(
            f"radius: expected at most max_neighbors={max_neighbors} context points in each ball, got more around query {row}; "
            "raise max_neighbors, or keep the nearest with on_overflow='nearest'"
        )
    missing = max(0, max_neighbors - table.k)
    index, mask = (torch.nn.functional.pad(t[:, :max_neighbors], (0, missing)) for t in (table.index, table.mask))
    return Neighborhood(index, mask, table.num_context)

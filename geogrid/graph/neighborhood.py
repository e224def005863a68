"""Who talks to whom: the context points of each query point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import compiled


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """For each query point, up to k context points.

    Args:
        index: ``(num_query, k)`` int64, rows of the context; entries that are not valid hold some legal row or 0.
        mask: ``(num_query, k)`` bool, which entries are neighbours.
        num_context: how many context points there are.

    Raises:
        GeogridError: when the tables' shapes, types or devices do not fit.

    Example:
        >>> import torch
        >>> table = torch.tensor([[2, 0], [1, 0]])
        >>> Neighborhood(table, torch.tensor([[True, True], [True, False]]), num_context=3).edge_index
        tensor([[2, 0, 1],
                [0, 0, 1]])
    """

    index: Tensor
    mask: Tensor
    num_context: int

    def __post_init__(self) -> None:
        """Checks what can be checked without reading the tables."""
        if self.index.dim() != 2 or self.index.dtype != torch.int64:
            raise GeogridError(
                f"neighborhood index: expected a (num_query, k) int64 table, got {tuple(self.index.shape)} {self.index.dtype}"
            )
        if self.mask.shape != self.index.shape or self.mask.dtype != torch.bool or self.mask.device != self.index.device:
            raise GeogridError(
                f"neighborhood mask: expected a bool table of shape {tuple(self.index.shape)} on {self.index.device}, "
                f"got {tuple(self.mask.shape)} {self.mask.dtype} on {self.mask.device}"
            )

    @property
    def num_query(self) -> int:
        """How many query points there are."""
        return self.index.shape[0]

    @property
    def k(self) -> int:
        """The width of the table."""
        return self.index.shape[1]

    @property
    def edge_index(self) -> Tensor:
        """The valid entries as ``(2, num_edges)`` for PyG: row 0 is the context (``_j``), row 1 the query (``_i``)."""
        query, place = self.mask.nonzero(as_tuple=True)
        return torch.stack([self.index[query, place], query])

    @classmethod
    def from_edge_index(cls, edge_index: Tensor, num_context: int, num_query: int) -> Neighborhood:
        """The table of an edge list; each query keeps its neighbours in the order of the list.

        Args:
            edge_index: ``(2, num_edges)`` int64, row 0 context, row 1 query.
            num_context: how many context points there are.
            num_query: how many query points there are.
        """
        context, query = edge_index
        order = query.argsort(stable=True)
        degree = torch.bincount(query, minlength=num_query)
        first = degree.cumsum(0) - degree
        place = torch.arange(len(order), device=query.device) - first[query[order]]
        shape = (num_query, int(degree.max()) if len(order) else 0)
        index = torch.zeros(shape, dtype=torch.int64, device=query.device)
        mask = torch.zeros(shape, dtype=torch.bool, device=query.device)
        index[query[order], place] = context[order]
        mask[query[order], place] = True
        return cls(index, mask, num_context)

    def compact(self) -> Neighborhood:
        """The same neighbours in their order, valid entries first, in a table no wider than the fullest row."""
        degree = self.mask.sum(1)
        width = int(degree.max()) if len(degree) else 0
        if width == self.k:
            return self
        if compiled.serves(self.index):
            return self._compact_compiled(width)
        query, column = self.mask.nonzero(as_tuple=True)
        place = torch.arange(len(query), device=query.device) - (degree.cumsum(0) - degree)[query]
        index = self.index.new_zeros(self.num_query, width)
        index[query, place] = self.index[query, column]
        return Neighborhood(index, torch.arange(width, device=index.device) < degree[:, None], self.num_context)

    def _compact_compiled(self, width: int) -> Neighborhood:
        from geogrid.graph import loops

        index, mask = (tensor.new_zeros(self.num_query, width) for tensor in (self.index, self.mask))
        arrays = [tensor.contiguous().numpy() for tensor in (self.index, self.mask, index, mask)]
        compiled.share_out(self.num_query, lambda first, last: loops.fill_compact(first, last, *arrays))
        return Neighborhood(index, mask, self.num_context)

    def to(self, device: torch.device | str) -> Neighborhood:
        """The same neighbourhood on another device."""
        return Neighborhood(self.index.to(device), self.mask.to(device), self.num_context)

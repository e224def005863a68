"""Products and sums over a table of neighbours that never store anything of size edges x channels."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from geogrid.errors import GeogridError


def edge_dot(products: Sequence[tuple[Tensor, Tensor]], index: Tensor) -> Tensor:
    """Sum of ``query_i . key_j`` over some products, for the table's pairs, ``(n, k)``.

    Args:
        products: each ``(n, channels)`` and contiguous ``(num_context, channels)`` rows.
        index: ``(n, k)`` rows of the context.
    """
    if index.shape[1] > len(products[0][1]):  # sparse rows hold no more entries than there are columns
        return sum_of((query @ key.T).gather(1, index) for query, key in products)
    if not gathers_nothing(products[0][0]):
        flat = index.reshape(-1)
        return sum_of((q[:, None] * key.index_select(0, flat).view(*index.shape, -1)).sum(-1) for q, key in products)
    hear_beta_notice()
    start = torch.arange(0, index.numel() + 1, index.shape[1])
    total = products[0][0].new_zeros(index.numel())
    for query, key in products:
        size = (len(query), len(key))
        pattern = torch.sparse_csr_tensor(start, index.reshape(-1), total, size, check_invariants=False)
        total = torch.sparse.sampled_addmm(pattern, query.contiguous(), key.t(), beta=1.0).values()
    return total.view(index.shape)


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    """The sum of tensors of one shape."""
    return functools.reduce(torch.add, terms)


def edge_sum(weights: Tensor, values: Tensor, index: Tensor) -> Tensor:
    """``sum_j weights_ij values_j``, ``(n, channels)``, of ``(n, k)`` weights and ``(num_context, channels)`` values."""
    return embedding_bag(index, values, per_sample_weights=weights, mode="sum")


class Transpose:
    """The table seen from the context: sums over the queries that a context point serves.

    Valid entries are sorted once, with ties in their order, and every context row is summed by one reader, in that order. No
    two writers meet, so the sums are deterministic on every device.

    Args:
        index: ``(n, k)`` int64 table.
        mask: ``(n, k)`` bool, which entries count.
        num_context: rows of the context; larger than every valid entry.
    """

    def __init__(self, index: Tensor, mask: Tensor, num_context: int) -> None:
        rows, order = index.masked_fill(~mask, num_context).view(-1).sort(stable=True)
        rows, count = rows.unique_consecutive(return_counts=True)
        start = count.cumsum(0) - count
        if len(rows) and rows[-1] == num_context:
            order, rows, start = order[: start[-1]], rows[:-1], start[:-1]
        self.rows, self.order, self.start = rows, order, start
        self.query = order // index.shape[1]

    def outer(self, weights: Tensor, values: Tensor) -> Tensor:
        """``sum_i weights_ij values_i`` for the context points in ``rows``; ``(n, k)`` weights, ``(n, channels)`` values."""
        if len(self.rows) == 0:
            return values.new_zeros(0, values.shape[1])
        return embedding_bag(self.query, values, self.start, per_sample_weights=weights.reshape(-1)[self.order], mode="sum")

    def add(self, target: Tensor, rows: Tensor) -> None:
        """Adds what :meth:`outer` or :meth:`edges` gave, or some of its columns, to a table of the whole context."""
        if len(self.rows) and rows.shape[1]:
            target.index_copy_(0, self.rows, target.index_select(0, self.rows).add_(rows))

    def edges(self, values: Tensor) -> Tensor:
        """``sum_i values_ij`` for the context points in ``rows``; ``(n, k, channels)`` values."""
        if len(self.rows) == 0:
            return values.new_zeros(0, values.shape[2])
        return embedding_bag(self.order, values.flatten(0, 1), self.start, mode="sum")


def gathers_nothing(like: Tensor) -> bool:
    """Whether dot products over edges read their rows in place; elsewhere a chunk's keys are gathered."""
    return like.device.type == "cpu" and torch.backends.mkl.is_available()


def check_range(index: Tensor, num_context: int) -> None:
    """Refuses tables on the CPU that point outside the context, where kernels would read foreign memory."""
    if index.device.type != "cpu" or index.numel() == 0:
        return
    low, high = (int(bound) for bound in index.aminmax())
    if low < 0 or high >= num_context:
        raise GeogridError(
            f"neighborhood index: expected rows of the context, 0 to {num_context - 1}, got {low} to {high}; "
            "was it made for other points?"
        )


@functools.cache
def hear_beta_notice() -> None:
    """PyTorch says once per process that its sparse rows are in beta; heard here, so that users need not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.zeros(0, dtype=torch.int64), torch.zeros(0), (1, 1))

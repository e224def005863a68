"""Products and sums over a table of neighbours that never store anything of size edges x channels."""

from __future__ import annotations

import functools
import warnings

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from geogrid.errors import GeogridError


def edge_dot(query: Tensor, key: Tensor, index: Tensor) -> Tensor:
    """``query_i . key_j`` for the table's pairs, ``(n, k)``, of ``(n, channels)`` and ``(num_context, channels)`` rows."""
    if not gathers_nothing(query):
        return (query[:, None] * key.index_select(0, index.reshape(-1)).view(*index.shape, -1)).sum(-1)
    _hear_beta_notice()
    start = torch.arange(0, index.numel() + 1, index.shape[1])
    pattern = torch.sparse_csr_tensor(
        start, index.reshape(-1), query.new_zeros(index.numel()), (len(query), len(key)), check_invariants=False
    )
    return torch.sparse.sampled_addmm(pattern, query, key.t(), beta=0.0).values().view(index.shape)


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
def _hear_beta_notice() -> None:
    """PyTorch says once per process that its sparse rows are in beta; heard here, so that users need not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.zeros(0, dtype=torch.int64), torch.zeros(0), (1, 1))

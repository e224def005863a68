"""The fused attention in plain torch operations, forward and backward, a chunk of queries at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.nn import cost as cost_volume
from geogrid.nn.ops.edges import check_range, edge_dot, edge_sum, gathers_nothing
from geogrid.nn.taper import coverage, inside

EDGES_IN_CACHE = 1 << 16
"""Edges per chunk at which the tables of a chunk stay in a processor's cache."""


@dataclass(frozen=True)
class Inputs:
    """What the op takes; see :func:`geogrid.nn.functional.neighbor_attention`."""

    query: Tensor
    key: Tensor
    value: Tensor
    shared: Tensor
    position_query: Tensor
    position_context: Tensor
    log_measure: Tensor | None
    index: Tensor
    mask: Tensor
    radius: float
    cost_width: Sequence[float]
    memory: int

    @property
    def heads(self) -> int:
        """Number of heads."""
        return self.query.shape[1]

    @property
    def empty(self) -> bool:
        """Whether there is no edge at all."""
        return self.index.numel() == 0 or len(self.key) == 0

    def key_table(self, head: int) -> Tensor:
        """Keys of a head with the shared channels."""
        return torch.cat([self.key[:, head], self.shared], 1)

    def value_table(self, head: int) -> Tensor:
        """Values of a head with the shared channels."""
        return torch.cat([self.value[:, head], self.shared], 1)

    def chunks(self) -> Iterator[slice]:
        """Ranges of queries whose temporary tables fit into the memory."""
        num_query, k = self.index.shape
        floats = 12 + (6 * len(self.cost_width) + 4 * 3 ** len(self.cost_width) if self.cost_width else 0)
        floats += 4 * self.position_query.shape[1] + self.heads
        if not gathers_nothing(self.query):
            floats += 2 * (self.key.shape[-1] + self.value.shape[-1] + self.shared.shape[-1])
        per_query = k * (32 + floats * self.query.element_size())
        size = max(1, min(self.memory // max(per_query, 1), EDGES_IN_CACHE // max(k, 1)))
        return (slice(first, min(first + size, num_query)) for first in range(0, num_query, size))


class Chunk:
    """The edges of some queries: what all heads share."""

    def __init__(self, inputs: Inputs, part: slice) -> None:
        self.inputs, self.part = inputs, part
        self.index, self.mask = inputs.index[part], inputs.mask[part]
        flat, shape = self.index.reshape(-1), self.index.shape
        self.log_measure = None if inputs.log_measure is None else inputs.log_measure.index_select(0, flat).view(shape)
        self.base = torch.zeros_like(self.index, dtype=inputs.query.dtype) if self.log_measure is None else self.log_measure
        total = self.mask.sum(1).to(inputs.query.dtype)
        if inputs.radius > 0 or inputs.cost_width:
            gathered = inputs.position_context.index_select(0, flat).view(*shape, -1)
            self.rel = gathered.sub_(inputs.position_query[part][:, None])
        if inputs.radius > 0:
            self.inside = inside(self.rel.square().sum(-1), inputs.radius).mul_(self.mask)
            self.mask = self.inside > 0
            self.base = self.base + 2 * self.inside.log()
            total = self.inside.square().sum(1)
        self.base = self.base.masked_fill(~self.mask, float("-inf"))
        self.has_any = self.mask.any(1, keepdim=True)
        self.total, self.coverage = total, coverage(total)

    def logits(self, head: int, table: Tensor) -> Tensor:
        """``query . key`` of a head, ``(n, k)``."""
        return edge_dot(self.inputs.query[self.part, head], table, self.index)

    def weights(self, logits: Tensor) -> Tensor:
        """Softmax weights, zero for a query without neighbours."""
        return (logits + self.base).softmax(1).masked_fill_(~self.has_any, 0.0)

    def knots(self) -> tuple[Tensor, Tensor]:
        """Measure and hat weights of the cost volume, ``(n, k, 1)`` and ``(n, k, 3^dim)``."""
        valid = self.inputs.mask[self.part].to(self.rel.dtype)
        measure = valid if self.log_measure is None else valid * self.log_measure.exp()
        return measure[..., None], cost_volume.knot_weights(self.rel, self.inputs.cost_width)


def forward(inputs: Inputs, return_weights: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums of values, coverage, cost volume and weights."""
    out, covered, cost, weights = allocate(inputs, return_weights)
    if inputs.empty:
        return out, covered, cost, weights
    check_range(inputs.index, len(inputs.key))
    tables = [(inputs.key_table(h), inputs.value_table(h)) for h in range(inputs.heads)]
    for part in inputs.chunks():
        chunk = Chunk(inputs, part)
        covered[part] = chunk.coverage
        if inputs.cost_width:
            measure, hats = chunk.knots()
            hats.mul_(measure)
            reached = hats.sum(1)
        for head, (keys, values) in enumerate(tables):
            logits = chunk.logits(head, keys)
            if inputs.cost_width:
                cost[part, head] = cost_volume.normalized(torch.bmm(logits[:, None], hats)[:, 0], reached)
            share = chunk.weights(logits)
            if return_weights:
                weights[part, :, head] = share
            out[part, head] = edge_sum(share * chunk.coverage[:, None], values, chunk.index)
    return out, covered, cost, weights


def allocate(inputs: Inputs, return_weights: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Zeros of the shapes that :func:`forward` returns."""
    (num_query, heads, _), k = inputs.query.shape, inputs.index.shape[1]
    knots = 3 ** len(inputs.cost_width) if inputs.cost_width else 0
    return (
        inputs.query.new_zeros(num_query, heads, inputs.value.shape[2] + inputs.shared.shape[1]),
        inputs.query.new_zeros(num_query),
        inputs.query.new_zeros(num_query, heads, knots),
        inputs.query.new_zeros(num_query, k if return_weights else 0, heads),
    )

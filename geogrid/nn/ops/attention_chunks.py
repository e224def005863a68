"""The fused attention in plain torch operations, forward and backward, a chunk of queries at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from geogrid.nn import cost as cost_volume
from geogrid.nn.fourier import turn
from geogrid.nn.ops.edges import check_range, edge_dot, edge_sum, gathers_nothing
from geogrid.nn.taper import coverage, inside, rim

EDGES_IN_CACHE = 1 << 16
"""Edges per chunk at which the tables of a chunk stay in a processor's cache."""


@dataclass(frozen=True)
class Floats:
    """One tensor for each float input that is always there."""

    query: Tensor
    probe: Tensor
    key: Tensor
    value: Tensor
    wave_query: Tensor
    wave_context: Tensor
    position_key: Tensor
    position_value: Tensor
    place_query: Tensor
    place_context: Tensor


FLOATS = tuple(field.name for field in fields(Floats))
"""Inputs that have gradients, besides ``log_measure``."""


@dataclass(frozen=True)
class Inputs(Floats):
    """What the op takes; see :func:`geogrid.nn.functional.neighbor_attention`."""

    log_measure: Tensor | None
    index: Tensor
    mask: Tensor
    radius: float
    cost_width: Sequence[float]
    memory: int
    with_weights: bool
    with_offset: bool

    @property
    def heads(self) -> int:
        """Number of heads."""
        return self.query.shape[1]

    @property
    def empty(self) -> bool:
        """Whether there is no edge at all."""
        return self.index.numel() == 0 or len(self.key) == 0

    def tables(self) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of each head, as rows without gaps."""
        return [(self.key[:, h].contiguous(), self.value[:, h].contiguous()) for h in range(self.heads)]

    def chunks(self) -> Iterator[slice]:
        """Ranges of queries whose temporary tables fit into the memory."""
        num_query, k = self.index.shape
        floats = 12 + (6 * len(self.cost_width) + 4 * 3 ** len(self.cost_width) if self.cost_width else 0)
        floats += 4 * self.place_query.shape[1] + self.heads
        if not gathers_nothing(self.query):
            floats += 2 * (self.key.shape[2] + self.value.shape[2] + 2 * self.wave_context.shape[1])
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
            gathered = inputs.place_context.index_select(0, flat).view(*shape, -1)
            self.rel = gathered.sub_(inputs.place_query[part][:, None])
        if inputs.radius > 0:
            self.inside = inside(self.rel.square().sum(-1), inputs.radius).mul_(self.mask)
            self.mask = self.inside > 0
            self.base = self.base + 2 * self.inside.log()
            total = self.inside.square().sum(1)
        self.base = self.base.masked_fill(~self.mask, float("-inf"))
        self.has_any = self.mask.any(1, keepdim=True)
        self.total, self.coverage = total, coverage(total)

    def asked(self, head: int) -> Tensor:
        """What the queries of a head ask of relative sines and cosines, ``(n, 2 m)``."""
        return self.inputs.probe[self.part, head] @ self.inputs.position_key[head]

    def logits(self, head: int, keys: Tensor, asked: Tensor) -> Tensor:
        """Of a head, ``(n, k)``."""
        turned = turn(asked, self.inputs.wave_query[self.part], forward=True)
        query = self.inputs.query[self.part, head]
        return edge_dot([(query, keys), (turned, self.inputs.wave_context)], self.index)

    def weights(self, logits: Tensor) -> Tensor:
        """Softmax weights, zero for a query without neighbours."""
        return (logits + self.base).softmax(1).masked_fill_(~self.has_any, 0.0)

    def knots(self) -> tuple[Tensor, Tensor]:
        """Measure (down to 0 at the rim) and hat weights of the cost volume, ``(n, k, 1)`` and ``(n, k, 3^dim)``."""
        near = rim(self.inside) if self.inputs.radius > 0 else self.inputs.mask[self.part].to(self.rel.dtype)
        measure = near if self.log_measure is None else near * self.log_measure.exp()
        return measure[..., None], cost_volume.knot_weights(self.rel, self.inputs.cost_width)


def forward(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Update, coverage, offset, cost volume and weights."""
    found = allocate(inputs)
    if inputs.empty:
        return found
    check_range(inputs.index, len(inputs.key))
    tables = inputs.tables()
    for part in inputs.chunks():
        _attend(Chunk(inputs, part), tables, *found)
    return found


def _attend(
    chunk: Chunk, tables: list[tuple[Tensor, Tensor]],
    update: Tensor, covered: Tensor, offset: Tensor, cost: Tensor, weights: Tensor,
) -> None:  # fmt: skip
    inputs, part = chunk.inputs, chunk.part
    covered[part] = chunk.coverage
    if inputs.cost_width:
        measure, hats = chunk.knots()
        masses = hats.mul_(measure)
        reached = masses.sum(1)
    for head, (keys, values) in enumerate(tables):
        logits = chunk.logits(head, keys, chunk.asked(head))
        if inputs.cost_width:
            cost[part, head] = cost_volume.normalized(torch.bmm(logits[:, None], masses)[:, 0], reached)
        share = chunk.weights(logits)
        if inputs.with_weights:
            weights[part, :, head] = share
        share.mul_(chunk.coverage[:, None])
        own, wave = edge_sum(share, values, chunk.index), edge_sum(share, inputs.wave_context, chunk.index)
        relative = turn(wave, inputs.wave_query[part], forward=False)
        update[part, head] = own.addmm_(relative, inputs.position_value[head])
        if inputs.with_offset:
            place = edge_sum(share, inputs.place_context, chunk.index)
            offset[part, head] = place.addcmul_(chunk.coverage[:, None], inputs.place_query[part], value=-1)


def allocate(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Zeros of the shapes that :func:`forward` returns."""
    (num_query, heads, _), k = inputs.query.shape, inputs.index.shape[1]
    knots = 3 ** len(inputs.cost_width) if inputs.cost_width else 0
    return (
        inputs.query.new_zeros(num_query, heads, inputs.value.shape[2]),
        inputs.query.new_zeros(num_query),
        inputs.query.new_zeros(num_query, heads, inputs.place_query.shape[1] if inputs.with_offset else 0),
        inputs.query.new_zeros(num_query, heads, knots),
        inputs.query.new_zeros(num_query, k if inputs.with_weights else 0, heads),
    )

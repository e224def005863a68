"""The fused attention in plain torch operations, forward and backward, a chunk of queries at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.nn import cost as cost_volume
from geogrid.nn.fourier import turn
from geogrid.nn.ops.attention_tables import Inputs, allocate
from geogrid.nn.ops.edges import check_range, edge_dot, edge_sum
from geogrid.nn.taper import coverage, inside, rim


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

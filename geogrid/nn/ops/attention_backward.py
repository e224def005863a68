"""The backward pass of the fused attention: weights are computed again, nothing over edges is kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.nn import cost as cost_volume
from geogrid.nn.ops.attention_chunks import Chunk, Inputs
from geogrid.nn.ops.edges import Transpose, edge_dot, edge_sum
from geogrid.nn.taper import FADE


@dataclass(frozen=True)
class Gradients:
    """Gradients of the float inputs, in their order."""

    query: Tensor
    key: Tensor
    value: Tensor
    shared: Tensor
    position_query: Tensor
    position_context: Tensor
    log_measure: Tensor

    @classmethod
    def zeros(cls, inputs: Inputs) -> Gradients:
        """Zeros in the shapes of the inputs."""
        points = (inputs.query, inputs.key, inputs.value, inputs.shared, inputs.position_query, inputs.position_context)
        return cls(*(torch.zeros_like(p, memory_format=torch.contiguous_format) for p in points), inputs.key.new_zeros(len(inputs.key)))


def backward(inputs: Inputs, out: Tensor, covered: Tensor, cost: Tensor, weights: Tensor) -> Gradients:
    """Gradients of the inputs from those of the outputs, which have the outputs' names here."""
    grads = Gradients.zeros(inputs)
    if inputs.empty:
        return grads
    tables = [(inputs.key_table(h), inputs.value_table(h)) for h in range(inputs.heads)]
    per_head = [(torch.zeros_like(keys), torch.zeros_like(values)) for keys, values in tables]
    for part in inputs.chunks():
        _Backward(Chunk(inputs, part), grads).run(tables, per_head, out[part], covered[part], cost[part], weights[part])
    _collect(grads, per_head)
    return grads


def _collect(grads: Gradients, per_head: list[tuple[Tensor, Tensor]]) -> None:
    for head, (keys, values) in enumerate(per_head):
        own_key, own_value = grads.key.shape[2], grads.value.shape[2]
        grads.key[:, head] = keys[:, :own_key]
        grads.value[:, head] = values[:, :own_value]
        grads.shared.add_(keys[:, own_key:]).add_(values[:, own_value:])


class _Backward:
    """One chunk of queries."""

    def __init__(self, chunk: Chunk, grads: Gradients) -> None:
        self.chunk, self.grads, self.inputs = chunk, grads, chunk.inputs
        self.transpose = Transpose(chunk.index, chunk.inputs.mask[chunk.part], len(chunk.inputs.key))
        self.on_base = torch.zeros_like(chunk.base)
        if self.inputs.cost_width:
            self.measure, self.hats = chunk.knots()
            self.masses = self.hats * self.measure
            self.reached = self.masses.sum(1)
            self.on_masses = torch.zeros_like(self.masses)

    def run(
        self, tables: list[tuple[Tensor, Tensor]], per_head: list[tuple[Tensor, Tensor]],
        out: Tensor, covered: Tensor, cost: Tensor, weights: Tensor,
    ) -> None:  # fmt: skip
        """Adds the chunk's share to the gradients."""
        chunk, on_coverage = self.chunk, covered.clone()
        factor = chunk.coverage[:, None]
        for head, (keys, values) in enumerate(tables):
            logits = chunk.logits(head, keys)
            share = chunk.weights(logits)
            on_out = out[:, head].contiguous()
            on_share = edge_dot(on_out, values, chunk.index)
            on_coverage += (share * on_share).sum(1)
            self.transpose.add_outer(per_head[head][1], share * factor, on_out)
            on_share.mul_(factor)
            if weights.shape[1]:
                on_share += weights[:, :, head]
            on_logits = share * (on_share - (share * on_share).sum(1, keepdim=True))
            self.on_base += on_logits
            if self.inputs.cost_width:
                on_logits = on_logits + self._cost(logits, cost[:, head])
            self.grads.query[chunk.part, head] = edge_sum(on_logits, keys, chunk.index)
            self.transpose.add_outer(per_head[head][0], on_logits, self.inputs.query[chunk.part, head].contiguous())
        self._positions(on_coverage)

    def _cost(self, logits: Tensor, cost: Tensor) -> Tensor:
        """Adds to the gradient of the masses, and gives that of the logits."""
        floor = self.reached.clamp_min(cost_volume.HALF)
        on_total = cost / floor
        value = torch.bmm(logits[:, None], self.masses)[:, 0] / floor
        on_reached = -on_total * value * (self.reached >= cost_volume.HALF)
        self.on_masses.addcmul_(logits[..., None], on_total[:, None]).add_(on_reached[:, None])
        return torch.bmm(self.masses, on_total[..., None])[..., 0]

    def _positions(self, on_coverage: Tensor) -> None:
        """Gradients by way of the measure, the taper, the coverage and the knots."""
        chunk, inputs = self.chunk, self.inputs
        on_measure = self.on_base
        on_rel = torch.zeros_like(chunk.rel) if inputs.radius > 0 or inputs.cost_width else None
        if inputs.radius > 0 and on_rel is not None:
            on_total = on_coverage * (chunk.total < FADE) / FADE
            steps = self.on_base / chunk.inside.clamp_min(torch.finfo(chunk.inside.dtype).tiny)
            on_inside = 2 * (steps + on_total[:, None] * chunk.inside) * chunk.mask
            on_rel.addcmul_(chunk.rel, on_inside[..., None], value=-2 / inputs.radius**2)
        if inputs.cost_width and on_rel is not None:
            on_measure = on_measure + (self.on_masses * self.masses).sum(-1)
            self._knots(on_rel)
        if inputs.log_measure is not None:
            self.transpose.add_edges(self.grads.log_measure[:, None], on_measure[..., None])
        if on_rel is not None:
            self.grads.position_query[chunk.part] -= on_rel.sum(1)
            self.transpose.add_edges(self.grads.position_context, on_rel)

    def _knots(self, on_rel: Tensor) -> None:
        hats = cost_volume.axis_weights(self.chunk.rel, self.inputs.cost_width)
        slopes = cost_volume.axis_slopes(self.chunk.rel, self.inputs.cost_width)
        on_hats = self.on_masses * self.measure
        for axis, slope in enumerate(slopes):
            factors = [*hats[:axis], slope, *hats[axis + 1 :]]
            on_rel[..., axis] += (on_hats * cost_volume.outer(factors)).sum(-1)

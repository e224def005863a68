"""The backward pass of the fused attention: weights are computed again, nothing over edges is kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geogrid.nn import cost as cost_volume
from geogrid.nn.fourier import turn, turn_gradient
from geogrid.nn.ops.attention_chunks import Chunk
from geogrid.nn.ops.attention_tables import Gradients, Inputs, Outputs
from geogrid.nn.ops.edges import Transpose, edge_dot, edge_sum
from geogrid.nn.taper import FADE, RIM


def backward(inputs: Inputs, given: Outputs, with_positions: bool = True) -> Gradients:
    """Gradients of the inputs from those of the outputs; without positions, those of waves, places and measure stay zero."""
    grads = Gradients.zeros(inputs)
    if inputs.empty:
        return grads
    tables = inputs.tables()
    for part in inputs.chunks():
        _Backward(Chunk(inputs, part), grads, given[part], with_positions).run(tables)
    return grads


class _Backward:
    """One chunk of queries."""

    def __init__(self, chunk: Chunk, grads: Gradients, given: Outputs, with_positions: bool) -> None:
        self.chunk, self.grads, self.inputs, self.given = chunk, grads, chunk.inputs, given
        self.with_positions = with_positions
        self.transpose = Transpose(chunk.index, chunk.inputs.mask[chunk.part], len(chunk.inputs.key))
        self.wave = self.inputs.wave_query[chunk.part]
        self.on_base = torch.zeros_like(chunk.base)
        self.on_coverage = given.coverage.clone()
        if self.inputs.cost_width:
            self.measure, self.hats = chunk.knots()
            self.masses = self.hats * self.measure
            self.reached = self.masses.sum(1)
            self.on_masses = torch.zeros_like(self.masses) if with_positions else self.masses

    def run(self, tables: list[tuple[Tensor, Tensor]]) -> None:
        """Adds the chunk's share to the gradients."""
        for head, (keys, values) in enumerate(tables):
            asked = self.chunk.asked(head)
            logits = self.chunk.logits(head, keys, asked)
            on_logits = self._softmax(head, logits, values)
            if self.inputs.cost_width:
                on_logits = on_logits + self._cost(logits, self.given.cost[:, head])
            self._query(head, on_logits, keys, asked)
            columns = [self.inputs.query[self.chunk.part, head], turn(asked, self.wave, forward=True)]
            self._scatter((self.grads.key[:, head], self.grads.wave_context), on_logits, columns)
        if self.with_positions:
            self._positions()

    def _softmax(self, head: int, logits: Tensor, values: Tensor) -> Tensor:
        """Through the sums and the softmax, to the logits."""
        chunk, inputs, factor = self.chunk, self.inputs, self.chunk.coverage[:, None]
        share = chunk.weights(logits)
        weights = share * factor
        on_sums = self._finish(head, weights)
        tables = (values, inputs.wave_context, inputs.place_context)
        on_share = edge_dot(list(zip(on_sums, tables, strict=False)), chunk.index)
        self.on_coverage += (share * on_share).sum(1)
        self._scatter((self.grads.value[:, head], self.grads.wave_context, self.grads.place_context), weights, on_sums)
        on_share.mul_(factor)
        if inputs.with_weights:
            on_share += self.given.weights[:, :, head]
        on_logits = share.mul_(on_share - (share * on_share).sum(1, keepdim=True))
        self.on_base += on_logits
        return on_logits

    def _finish(self, head: int, weights: Tensor) -> list[Tensor]:
        """Through the projection of relative sines and cosines, to the sums of values, waves and (if wanted) places."""
        given, projection = self.given.update[:, head], self.inputs.position_value[head]
        sums = edge_sum(weights, self.inputs.wave_context, self.chunk.index)
        self.grads.position_value[head].addmm_(turn(sums, self.wave, forward=False).T, given)
        on_relative = given @ projection.T
        if self.with_positions:
            self.grads.wave_query[self.chunk.part] += turn_gradient(on_relative, sums, forward=False)
        parts = [given, turn(on_relative, self.wave, forward=True)]
        if self.inputs.with_offset:
            on_place = self.given.offset[:, head]
            parts.append(on_place)
            if self.with_positions:
                self.on_coverage -= (on_place * self.inputs.place_query[self.chunk.part]).sum(1)
                self.grads.place_query[self.chunk.part].addcmul_(self.chunk.coverage[:, None], on_place, value=-1)
        return parts

    def _query(self, head: int, on_logits: Tensor, keys: Tensor, asked: Tensor) -> None:
        """From the logits to what the query's side of the products is made of."""
        part = self.chunk.part
        self.grads.query[part, head] = edge_sum(on_logits, keys, self.chunk.index)
        on_turned = edge_sum(on_logits, self.inputs.wave_context, self.chunk.index)
        if self.with_positions:
            self.grads.wave_query[part] += turn_gradient(on_turned, asked, forward=True)
        on_asked = turn(on_turned, self.wave, forward=False)
        self.grads.probe[part, head] = on_asked @ self.inputs.position_key[head].T
        self.grads.position_key[head].addmm_(self.inputs.probe[part, head].T, on_asked)

    def _scatter(self, targets: Sequence[Tensor], weights: Tensor, columns: Sequence[Tensor]) -> None:
        """Adds the transposed, weighted sums of columns to the gradients of the context: features first, then positions."""
        columns = columns if self.with_positions else columns[:1]
        rows = self.transpose.outer(weights, torch.cat(list(columns), 1))
        for target, part in zip(targets, rows.split([c.shape[1] for c in columns], 1), strict=False):
            self.transpose.add(target, part)

    def _cost(self, logits: Tensor, cost: Tensor) -> Tensor:
        """Adds to the gradient of the masses, and gives that of the logits."""
        floor = self.reached.clamp_min(cost_volume.HALF)
        on_total = cost / floor
        if self.with_positions:
            value = torch.bmm(logits[:, None], self.masses)[:, 0] / floor
            on_reached = -on_total * value * (self.reached >= cost_volume.HALF)
            self.on_masses.addcmul_(logits[..., None], on_total[:, None]).add_(on_reached[:, None])
        return torch.bmm(self.masses, on_total[..., None])[..., 0]

    def _positions(self) -> None:
        """Gradients by way of the measure, the taper, the coverage and the knots."""
        chunk, inputs = self.chunk, self.inputs
        on_measure = self.on_base
        on_rel = torch.zeros_like(chunk.rel) if inputs.radius > 0 or inputs.cost_width else None
        if inputs.radius > 0 and on_rel is not None:
            on_total = self.on_coverage * (chunk.total < FADE) / FADE
            steps = self.on_base / chunk.inside.clamp_min(torch.finfo(chunk.inside.dtype).tiny)
            on_inside = 2 * (steps + on_total[:, None] * chunk.inside) * chunk.mask
            if inputs.cost_width:
                on_inside += self._rim()
            on_rel.addcmul_(chunk.rel, on_inside[..., None], value=-2 / inputs.radius**2)
        if inputs.cost_width and on_rel is not None:
            on_measure = on_measure + (self.on_masses * self.masses).sum(-1)
            self._knots(on_rel)
        if inputs.log_measure is not None:
            self.transpose.add(self.grads.log_measure[:, None], self.transpose.edges(on_measure[..., None]))
        if on_rel is not None:
            self.grads.place_query[chunk.part] -= on_rel.sum(1)
            self.transpose.add(self.grads.place_context, self.transpose.edges(on_rel))

    def _rim(self) -> Tensor:
        """Gradient of what takes neighbours near the rim out of the cost volume."""
        chunk = self.chunk
        measure = 1.0 if chunk.log_measure is None else chunk.log_measure.exp()
        return RIM * (self.on_masses * self.hats).sum(-1) * measure * (chunk.mask & (RIM * chunk.inside < 1))

    def _knots(self, on_rel: Tensor) -> None:
        hats = cost_volume.axis_weights(self.chunk.rel, self.inputs.cost_width)
        slopes = cost_volume.axis_slopes(self.chunk.rel, self.inputs.cost_width)
        on_hats = self.on_masses * self.measure
        for axis, slope in enumerate(slopes):
            factors = [*hats[:axis], slope, *hats[axis + 1 :]]
            on_rel[..., axis] += (on_hats * cost_volume.outer(factors)).sum(-1)

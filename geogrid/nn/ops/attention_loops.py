"""The fused attention on processors, with compiled loops; the same results as the plain torch operations beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from geogrid.graph import compiled
from geogrid.nn import cost as cost_volume
from geogrid.nn.ops.attention_tables import Gradients, Inputs, Outputs, allocate
from geogrid.nn.ops.edges import check_range
from geogrid.nn.taper import FADE, RIM


def serves(inputs: Inputs) -> bool:
    """Whether these loops can run: Numba is installed and the tensors are on the processor."""
    return compiled.serves(inputs.query) and not inputs.empty


def forward(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Update, coverage, offset, cost volume and weights."""
    from geogrid.nn.ops import loops

    check_range(inputs.index, len(inputs.key))
    update, coverage, offset, cost, weights = allocate(inputs)
    width = inputs.wave_context.shape[1]
    sums = inputs.query.new_zeros(*inputs.query.shape[:2], width + inputs.value.shape[2])
    arrays = _arrays(inputs)
    found = [_array(t) for t in (sums, coverage, offset, cost, weights)]
    compiled.share_out(len(inputs.query), lambda a, b: loops.attend(a, b, *arrays, inputs.with_offset, *found))
    waved = _turned(inputs, sums, 0, forward=False)
    torch.add(sums[..., width:], torch.einsum("nhm,hmd->nhd", waved, inputs.position_value), out=update)
    return update, coverage, offset, cost, weights


def backward(inputs: Inputs, given: Outputs) -> Gradients:
    """Gradients of the inputs from those of the outputs; those of waves, places and measure stay zero."""
    grads, (count, heads, own), width = Gradients.zeros(inputs), inputs.query.shape, inputs.wave_context.shape[1]
    on_waved = torch.einsum("nhd,hmd->nhm", given.update, inputs.position_value)
    on_sums = given.update.new_empty(count, heads, width + given.update.shape[2])
    _turned(inputs, on_waved, 0, forward=True, out=on_sums)
    on_sums[..., width:] = given.update
    on_asks, waved = (inputs.query.new_zeros(count, heads, size) for size in (own + width, width))
    found = [_array(t) for t in (on_asks, waved)]
    outputs = [_array(t) for t in (on_sums, given.offset, given.cost, given.weights)]
    arrays = _arrays(inputs)
    for part in _parts(inputs):
        _gradients_of_part(inputs, part, grads, [arrays, outputs, found], _array(given.update))
    on_asked = _turned(inputs, on_asks, own, forward=False)
    grads.query.copy_(on_asks[..., :own])
    grads.probe.copy_(torch.einsum("nhm,hdm->nhd", on_asked, inputs.position_key))
    grads.position_key.copy_(torch.einsum("nhd,nhm->hdm", inputs.probe, on_asked))
    grads.position_value.copy_(torch.einsum("nhm,nhd->hmd", _turned(inputs, waved, 0, forward=False), given.update))
    return grads


def _gradients_of_part(inputs: Inputs, part: slice, grads: Gradients, groups: list[list[Any]], on_own: Any) -> None:
    """Adds a range of queries to the gradients: first over the queries, then over the context points that they saw."""
    from geogrid.nn.ops import loops

    arrays, outputs, found = groups
    (index, mask), first, num_context = (_array(t[part]) for t in (inputs.index, inputs.mask)), part.start, len(inputs.key)
    share, slope = (_array(inputs.query.new_zeros(*index.shape, inputs.heads)) for _ in range(2))

    def of_queries(a: int, b: int) -> None:
        loops.gradients_of_queries(first + a, first + b, *arrays, *outputs, *found, share[a:b], slope[a:b])

    compiled.share_out(len(index), of_queries)
    start, order = _array(torch.zeros(num_context + 1, dtype=torch.int64)), _array(torch.empty(index.size, dtype=torch.int64))
    loops.seen_from_context(index, mask, num_context, start, order)
    query, targets = _array(inputs.query), [_array(t) for t in (grads.key, grads.value)]

    def of_context(a: int, b: int) -> None:
        loops.gradients_of_context(a, b, start, order, index.shape[1], first, query, on_own, share, slope, *targets)

    compiled.share_out(num_context, of_context)


def _parts(inputs: Inputs) -> Iterator[slice]:
    """Ranges of queries whose shares and slopes fit into the memory, with their list as seen from the context."""
    num_query, k = inputs.index.shape
    size = max(1, inputs.memory // (k * (8 + 2 * inputs.heads * inputs.query.element_size())))
    return (slice(first, min(first + size, num_query)) for first in range(0, num_query, size))


def _arrays(inputs: Inputs) -> list[Any]:
    """What both loops over queries begin with."""
    asked = torch.einsum("nhd,hdm->nhm", inputs.probe, inputs.position_key)
    asks = torch.cat([inputs.query, torch.empty_like(asked)], 2)
    _turned(inputs, asked, 0, forward=True, out=asks, place=inputs.query.shape[2])
    wave = inputs.wave_context[:, None].expand(-1, inputs.heads, -1)
    rows = torch.cat([inputs.key, wave, inputs.value], 2)
    measure = torch.ones_like(inputs.place_context[:, 0]) if inputs.log_measure is None else inputs.log_measure.exp()
    places = (inputs.place_query, inputs.place_context, measure)
    number = _array(inputs.query.new_tensor([1 / inputs.radius if inputs.radius else 0.0, FADE, RIM, cost_volume.HALF]))
    width = _array(1 / inputs.query.new_tensor(list(inputs.cost_width)))
    tables = map(_array, (asks, rows, *places, inputs.index, inputs.mask))
    return [*tables, number[0], width, *number[1:]]


def _turned(inputs: Inputs, pairs: Tensor, start: int, forward: bool, out: Tensor | None = None, place: int = 0) -> Tensor:
    """Columns of ``pairs`` from ``start`` on, turned by the queries' waves into columns of ``out`` from ``place`` on."""
    from geogrid.nn.ops import loops

    out = pairs.new_empty(*pairs.shape[:2], inputs.wave_query.shape[1]) if out is None else out
    arrays = _array(pairs), start, _array(inputs.wave_query), forward, _array(out), place
    compiled.share_out(len(pairs), lambda first, last: loops.turned(first, last, *arrays))
    return out


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()

"""``geogrid::neighbor_attention``, registered with PyTorch: shapes for the compiler, autograd, and a place for kernels.

The implementation here serves every device. A kernel for one device is added with
``neighbor_attention_op.register_kernel("cuda")`` and ``neighbor_attention_backward_op.register_kernel("cuda")``; signatures,
shapes and tests stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from geogrid.nn.ops import attention_backward, attention_chunks, attention_loops
from geogrid.nn.ops.attention_tables import FLOATS, Inputs, Outputs, allocate

NUM_TENSORS = len(FLOATS) + 3
POSITIONS = tuple(place for place, name in enumerate((*FLOATS, "log_measure")) if name.startswith(("wave", "place", "log")))
"""Inputs that only need a gradient where positions or measures are learned; skipping them saves half of the backward pass."""


@torch.library.custom_op("geogrid::neighbor_attention", mutates_args=())
def neighbor_attention_op(
    query: Tensor, probe: Tensor, key: Tensor, value: Tensor, wave_query: Tensor, wave_context: Tensor, position_key: Tensor,
    position_value: Tensor, place_query: Tensor, place_context: Tensor, log_measure: Tensor | None, index: Tensor, mask: Tensor,
    radius: float, cost_width: Sequence[float], memory: int, with_weights: bool, with_offset: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Update, coverage, offset, cost volume and weights; see :func:`geogrid.nn.functional.neighbor_attention`."""
    inputs = Inputs(
        query, probe, key, value, wave_query, wave_context, position_key, position_value, place_query, place_context,
        log_measure, index, mask, radius, cost_width, memory, with_weights, with_offset,
    )  # fmt: skip
    with torch.autocast(query.device.type, enabled=False):
        return (attention_loops if attention_loops.serves(inputs) else attention_chunks).forward(inputs)


@neighbor_attention_op.register_fake
def _shapes(*inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return allocate(Inputs(*inputs))


@torch.library.custom_op("geogrid::neighbor_attention_backward", mutates_args=())
def neighbor_attention_backward_op(
    query: Tensor, probe: Tensor, key: Tensor, value: Tensor, wave_query: Tensor, wave_context: Tensor, position_key: Tensor,
    position_value: Tensor, place_query: Tensor, place_context: Tensor, log_measure: Tensor | None, index: Tensor, mask: Tensor,
    radius: float, cost_width: Sequence[float], memory: int, with_weights: bool, with_offset: bool,
    with_positions: bool, update: Tensor, coverage: Tensor, offset: Tensor, cost: Tensor, weights: Tensor,
) -> list[Tensor]:  # fmt: skip
    """Gradients of the eleven float inputs, from those of the five outputs; zeros for positions that are not asked for."""
    inputs = Inputs(
        query, probe, key, value, wave_query, wave_context, position_key, position_value, place_query, place_context,
        log_measure, index, mask, radius, cost_width, memory, with_weights, with_offset,
    )  # fmt: skip
    with torch.autocast(query.device.type, enabled=False):
        given = Outputs(update, coverage, offset, cost, weights)
        looped = attention_loops.serves(inputs) and not with_positions
        grads = (
            attention_loops.backward(inputs, given) if looped else attention_backward.backward(inputs, given, with_positions)
        )
    return [*(getattr(grads, name) for name in FLOATS), grads.log_measure]


@neighbor_attention_backward_op.register_fake
def _gradient_shapes(*inputs: Any) -> list[Tensor]:
    floats = inputs[: len(FLOATS)]
    return [*(tensor.new_empty(tensor.shape) for tensor in floats), inputs[2].new_empty(inputs[2].shape[0])]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:NUM_TENSORS])
    ctx.options = inputs[NUM_TENSORS:]


def _differentiate(ctx: Any, *grad_outputs: Tensor) -> tuple[Any, ...]:
    saved = ctx.saved_tensors
    with_positions = any(ctx.needs_input_grad[place] for place in POSITIONS)
    grads = neighbor_attention_backward_op(*saved, *ctx.options, with_positions, *(grad.contiguous() for grad in grad_outputs))
    on_measure = None if saved[len(FLOATS)] is None else grads[-1]
    return (*grads[:-1], on_measure, None, None, *[None] * len(ctx.options))


neighbor_attention_op.register_autograd(_differentiate, setup_context=_save)

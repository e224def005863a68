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

from geogrid.nn.ops.attention_backward import backward
from geogrid.nn.ops.attention_chunks import Inputs, allocate, forward

NUM_FLOAT_INPUTS = 7


@torch.library.custom_op("geogrid::neighbor_attention", mutates_args=())
def neighbor_attention_op(
    query: Tensor, key: Tensor, value: Tensor, shared: Tensor, position_query: Tensor, position_context: Tensor,
    log_measure: Tensor | None, index: Tensor, mask: Tensor, radius: float, cost_width: Sequence[float], memory: int,
    return_weights: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Sums of values, coverage, cost volume and weights; see :func:`geogrid.nn.functional.neighbor_attention`."""
    inputs = Inputs(
        query, key, value, shared, position_query, position_context, log_measure, index, mask, radius, cost_width, memory
    )
    with torch.autocast(query.device.type, enabled=False):
        return forward(inputs, return_weights)


@neighbor_attention_op.register_fake
def _shapes(
    query: Tensor, key: Tensor, value: Tensor, shared: Tensor, position_query: Tensor, position_context: Tensor,
    log_measure: Tensor | None, index: Tensor, mask: Tensor, radius: float, cost_width: Sequence[float], memory: int,
    return_weights: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return allocate(
        Inputs(
            query, key, value, shared, position_query, position_context, log_measure, index, mask, radius, cost_width, memory
        ),
        return_weights,
    )


@torch.library.custom_op("geogrid::neighbor_attention_backward", mutates_args=())
def neighbor_attention_backward_op(
    query: Tensor, key: Tensor, value: Tensor, shared: Tensor, position_query: Tensor, position_context: Tensor,
    log_measure: Tensor | None, index: Tensor, mask: Tensor, radius: float, cost_width: Sequence[float], memory: int,
    out: Tensor, coverage: Tensor, cost: Tensor, weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of the seven float inputs, from those of the four outputs."""
    inputs = Inputs(
        query, key, value, shared, position_query, position_context, log_measure, index, mask, radius, cost_width, memory
    )
    with torch.autocast(query.device.type, enabled=False):
        grads = backward(inputs, out, coverage, cost, weights)
    return (
        grads.query, grads.key, grads.value, grads.shared, grads.position_query, grads.position_context, grads.log_measure
    )  # fmt: skip


@neighbor_attention_backward_op.register_fake
def _gradient_shapes(
    query: Tensor, key: Tensor, value: Tensor, shared: Tensor, position_query: Tensor, position_context: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    points = (query, key, value, shared, position_query, position_context)
    made = [p.new_empty(p.shape) for p in points]
    return made[0], made[1], made[2], made[3], made[4], made[5], key.new_empty(key.shape[0])


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:9])
    ctx.options = inputs[9:12]


def _differentiate(ctx: Any, *grad_outputs: Tensor) -> tuple[Any, ...]:
    contiguous = [grad.contiguous() for grad in grad_outputs]
    grads = list(neighbor_attention_backward_op(*ctx.saved_tensors, *ctx.options, *contiguous))
    if ctx.saved_tensors[6] is None:
        grads[6] = None
    return (*grads, *[None] * 6)


neighbor_attention_op.register_autograd(_differentiate, setup_context=_save)

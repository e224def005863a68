"""The functions behind the layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import Neighborhood
from geogrid.nn.ops.neighbor_attention import neighbor_attention_op

MEMORY = 256 * 2**20
"""Bytes that the temporary tables of one chunk of queries may take on a processor."""
CUDA_SHARE = 16
"""On a CUDA device they may take one part in so many of all its memory: fewer, larger chunks keep it busy."""


def neighbor_attention(
    queries: tuple[Tensor, Tensor],
    key: Tensor,
    value: Tensor,
    waves: tuple[Tensor, Tensor],
    position_weights: tuple[Tensor, Tensor],
    places: tuple[Tensor, Tensor],
    neighborhood: Neighborhood,
    log_measure: Tensor | None = None,
    *,
    radius: float | None = None,
    cost_width: Sequence[float] | None = None,
    return_weights: bool = False,
    return_offset: bool = False,
    memory: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    r"""Attention with relative Fourier features over a table of neighbours, in one operation.

    With the waves :math:`\gamma(x)` of context and query points, :math:`\gamma(x_j - x_i)` made of them by the
    angle-difference identities, measure :math:`\mu_j` and taper :math:`t_{ij} = \max(0, 1 - |x_j - x_i|^2 / R^2)^2`, per head

    .. math::
        l_{ij} &= q_i \cdot k_j + p_i^T P_k \gamma(x_j - x_i), \qquad
        a_{ij} = \frac{t_{ij} \mu_j e^{l_{ij}}}{\sum_j t_{ij} \mu_j e^{l_{ij}}}, \\
        \mathrm{out}_i &= \min(1, 4 \textstyle\sum_j t_{ij}) \sum_j a_{ij} (v_j + P_v^T \gamma(x_j - x_i)).

    Nothing of size points x neighbours x channels is stored, in either direction, and nothing over edges is kept for the
    backward pass, which computes the weights again. Sums over the queries of a context point are made in a fixed order
    without competing writers, so the gradients are deterministic. The operation works in the dtype of its inputs, under
    ``torch.autocast`` too. There is no second derivative.

    Args:
        queries: q and p, ``(num_query, heads, d)`` float32 or float64; factors such as ``1 / sqrt(d)`` are in them.
        key: ``(num_context, heads, d)``.
        value: ``(num_context, heads, d_v)``.
        waves: ``(num_context, 2 m)`` and ``(num_query, 2 m)`` sines and cosines of the phases.
        position_weights: :math:`P_k` ``(heads, d, 2 m)`` and :math:`P_v` ``(heads, 2 m, d_v)``.
        places: ``(num_context, dim)`` and ``(num_query, dim)`` positions in units of the level's scale.
        neighborhood: who talks to whom.
        log_measure: ``(num_context,)``, log of the volume each context point stands for, in units of the scale^dim.
        radius: of the taper, in units of the scale; None for no taper.
        cost_width: per axis the half width of the hats of the cost volume, in units of the scale, 1 or more; None for none.
        return_weights: whether the weights are wanted.
        return_offset: whether the expected relative positions are wanted.
        memory: bytes that the temporary tables of a chunk of queries may take; one query at a time is the least. Copies of
            keys and values, which do not grow with the number of neighbours, come on top. Default 256 MiB on processors, a
            sixteenth of its memory on a CUDA device.

    Returns:
        The sums ``(num_query, heads, d_v)``; the coverage factor ``(num_query,)``; the expected relative positions times the
        factor ``(num_query, heads, dim)``; the cost volume ``(num_query, heads, 3^dim)``; the weights :math:`a_{ij}`
        ``(num_query, k, heads)``. Of the last three, those that are not wanted have no element.

    Raises:
        GeogridError: for a radius that is not positive; when the table points outside the context (checked on the CPU).

    Example:
        >>> import torch
        >>> table = Neighborhood(torch.tensor([[0, 1]]), torch.tensor([[True, True]]), num_context=2)
        >>> query, key, value = torch.zeros(1, 1, 1), torch.zeros(2, 1, 1), torch.tensor([[[1.0]], [[3.0]]])
        >>> waves, weights = (torch.zeros(2, 2), torch.zeros(1, 2)), (torch.zeros(1, 1, 2), torch.zeros(1, 2, 1))
        >>> places = torch.zeros(2, 3), torch.zeros(1, 3)
        >>> neighbor_attention((query, query), key, value, waves, weights, places, table)[0]
        tensor([[[2.]]])
    """
    if radius is not None and radius <= 0:
        raise GeogridError(f"radius: expected a positive number of scales or None, got {radius}")
    memory = working_memory(key) if memory is None else memory
    update, covered, offset, cost, weights = neighbor_attention_op(
        *queries, key, value, waves[1], waves[0], *position_weights, places[1], places[0], log_measure,
        neighborhood.index, neighborhood.mask, radius or 0.0, list(cost_width or ()), memory, return_weights, return_offset,
    )  # fmt: skip
    return update, covered, offset, cost, weights


def working_memory(like: Tensor) -> int:
    """Bytes that temporary tables may take where a tensor is."""
    if like.device.type != "cuda":
        return MEMORY
    return int(torch.cuda.get_device_properties(like.device).total_memory) // CUDA_SHARE

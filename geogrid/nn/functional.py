"""The functions behind the layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import Neighborhood
from geogrid.nn.ops.neighbor_attention import neighbor_attention_op

MEMORY = 256 * 2**20
"""Bytes that the temporary tables of one chunk of queries may take."""


def neighbor_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    shared: Tensor,
    positions: tuple[Tensor, Tensor],
    neighborhood: Neighborhood,
    log_measure: Tensor | None = None,
    *,
    radius: float | None = None,
    cost_width: Sequence[float] | None = None,
    return_weights: bool = False,
    memory: int = MEMORY,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Attention over a table of neighbours: the only step of the layer that touches edges, in one operation.

    With :math:`k_j` the keys and shared channels of context point j, :math:`v_j` its values and shared channels, measure
    :math:`\mu_j` and taper :math:`t_{ij} = \max(0, 1 - |x_j - x_i|^2 / R^2)^2`,

    .. math::
        l_{ij} = q_i \cdot k_j, \qquad a_{ij} = \frac{t_{ij} \mu_j e^{l_{ij}}}{\sum_j t_{ij} \mu_j e^{l_{ij}}}, \qquad
        o_i = \min(1, 4 \textstyle\sum_j t_{ij}) \sum_j a_{ij} v_j .

    Nothing of size points x neighbours x channels is stored, in either direction, and nothing over edges is kept for the
    backward pass, which computes the weights again. Sums over the queries of a context point are made in a fixed order, so
    the gradients are deterministic. Under ``torch.autocast`` the operation works in the dtype of its inputs. There is no
    second derivative.

    Args:
        query: ``(num_query, heads, d + s)`` float32 or float64; any factor such as ``1 / sqrt(d)`` is in it.
        key: ``(num_context, heads, d)``.
        value: ``(num_context, heads, d_v)``.
        shared: ``(num_context, s)`` channels that all heads append to their keys and values.
        positions: ``(num_context, dim)`` and ``(num_query, dim)``, in units of the level's scale.
        neighborhood: who talks to whom.
        log_measure: ``(num_context,)``, log of the volume each context point stands for, in units of the scale^dim.
        radius: of the taper, in units of the scale; None for no taper.
        cost_width: per axis the half width of the hats of the cost volume, in units of the scale, 1 or more; None for none.
        return_weights: whether the weights are wanted.
        memory: bytes that the temporary tables of a chunk of queries may take; one query at a time is the least.

    Returns:
        The sums :math:`o_i` ``(num_query, heads, d_v + s)``; the coverage factor ``(num_query,)``; the cost volume
        ``(num_query, heads, 3^dim)``, or with 0 knots; the weights :math:`a_{ij}` ``(num_query, k, heads)``, or with k = 0.

    Raises:
        GeogridError: when the table points outside the context (checked on the CPU).

    Example:
        >>> import torch
        >>> table = Neighborhood(torch.tensor([[0, 1]]), torch.tensor([[True, True]]), num_context=2)
        >>> key, value = torch.zeros(2, 1, 1), torch.tensor([[[1.0]], [[3.0]]])
        >>> positions = torch.zeros(2, 3), torch.zeros(1, 3)
        >>> neighbor_attention(torch.zeros(1, 1, 1), key, value, torch.zeros(2, 0), positions, table)[0]
        tensor([[[2.]]])
    """
    if radius is not None and radius <= 0:
        raise GeogridError(f"radius: expected a positive number of scales or None, got {radius}")
    sums, covered, cost, weights = neighbor_attention_op(
        query, key, value, shared, positions[1], positions[0], log_measure, neighborhood.index, neighborhood.mask,
        radius or 0.0, list(cost_width or ()), memory, return_weights,
    )  # fmt: skip
    return sums, covered, cost, weights

"""The formula of attention as it is written, for comparison: slow, large and obvious."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from geogrid.graph import Neighborhood
from geogrid.nn.attention import AttentionOutput, NeighborAttention
from geogrid.nn.hat import hat


def neighbor_attention_reference(
    layer: NeighborAttention,
    x: tuple[Tensor, Tensor],
    pos: tuple[Tensor, Tensor],
    neighborhood: Neighborhood,
    log_measure: Tensor | None = None,
    *,
    scale: float = 1.0,
    frame: Tensor | None = None,
    spacing: Sequence[float] | None = None,
) -> AttentionOutput:
    """What :class:`NeighborAttention` computes, with everything over edges written out; all parts are returned.

    Args:
        layer: whose weights are used.
        x: as in the layer's ``forward``.
        pos: as in the layer's ``forward``.
        neighborhood: as in the layer's ``forward``.
        log_measure: as in the layer's ``forward``.
        scale: as in the layer's ``forward``.
        frame: as in the layer's ``forward``.
        spacing: as in the layer's ``forward``.

    Example:
        >>> from geogrid.nn import NeighborAttention
        >>> layer = NeighborAttention(2, 4, dim=2)
        >>> x, pos = torch.ones(3, 2), torch.rand(3, 2)
        >>> table = Neighborhood(torch.tensor([[0, 1, 2]]), torch.tensor([[True, True, False]]), num_context=3)
        >>> neighbor_attention_reference(layer, (x, x[:1]), (pos, pos[:1]), table).weights.sum()
        tensor(1., grad_fn=<SumBackward0>)
    """
    index, mask = neighborhood.index, neighborhood.mask[..., None]
    rel = (pos[0][index] - pos[1][:, None]) / scale
    rel = rel if frame is None else rel @ frame.to(rel)
    phase = rel @ layer.frequencies.to(rel)
    gamma = torch.cat([phase.sin(), phase.cos()], -1).to(x[0].dtype)
    query = layer.lin_query(x[1]).unflatten(-1, (layer.heads, -1))[:, None]
    key = layer.lin_key(x[0][index]).unflatten(-1, (layer.heads, -1))
    value = layer.lin_value(x[0][index]).unflatten(-1, (layer.heads, -1))
    position = (query * torch.einsum("nkm,hdm->nkhd", gamma, layer.position_key)).sum(-1) / math.sqrt(query.shape[-1])
    if layer.log_temperature is not None:
        content = layer.log_temperature.exp() * (normalize(query, dim=-1) * normalize(key, dim=-1)).sum(-1)
    else:
        content = (query * key).sum(-1) / math.sqrt(query.shape[-1])
    logits = content + position
    measure = torch.ones_like(pos[0][:, 0]) if log_measure is None else log_measure.exp()
    taper = mask * torch.ones_like(logits[..., :1])
    if layer.radius is not None:
        taper = taper * (1 - rel.square().sum(-1, keepdim=True) / layer.radius**2).clamp_min(0) ** 2
    strength = taper * measure[index][..., None] * (logits - logits.detach().amax(1, keepdim=True)).exp()
    weights = strength / strength.sum(1, keepdim=True).clamp_min(torch.finfo(strength.dtype).tiny)
    covered = (taper.sum((1, 2)) / 0.25).clamp_max(1)
    attended = value + torch.einsum("nkm,hmd->nkhd", gamma, layer.position_value)
    update = covered[:, None] * torch.einsum("nkh,nkhd->nhd", weights, attended).flatten(1)
    moved = rel if frame is None else rel @ frame.to(rel).T
    offset = scale * covered[:, None, None] * torch.einsum("nkh,nkd->nhd", weights, moved.to(weights.dtype))
    near = mask[..., 0] * measure[index]
    if layer.radius is not None:
        near = near * (4 * (1 - rel.square().sum(-1) / layer.radius**2).clamp_min(0)).clamp_max(1)
    cost = _cost(layer, logits, rel, near, scale, spacing)
    return AttentionOutput(update, covered, weights, offset, cost)


def _cost(
    layer: NeighborAttention, logits: Tensor, rel: Tensor, measure: Tensor, scale: float, spacing: Sequence[float] | None
) -> Tensor:
    width = torch.ones(layer.dim).to(rel) if spacing is None else (torch.tensor(list(spacing)).to(rel) / scale).clamp_min(1)
    knots = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * layer.dim).to(rel)
    hats = hat((rel[:, :, None] - knots) / width).prod(-1)
    mass = (measure[..., None] * hats).to(logits.dtype)
    reached = mass.sum(1) / width.prod().to(logits.dtype)
    mean = torch.einsum("nkh,nkb->nhb", logits, mass) / mass.sum(1)[:, None].clamp_min(torch.finfo(mass.dtype).tiny)
    return (2 * reached).clamp_max(1)[:, None] * mean

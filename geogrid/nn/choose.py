"""From a coarse level's displacement to that of the next finer one, by choosing among what moves nearby."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from geogrid.graph import Level, inherit_displacement
from geogrid.nn.attention import QUIET, NeighborAttention
from geogrid.nn.conv import ContinuousConv
from geogrid.nn.convolve import convolve
from geogrid.nn.encoder import SLOPE

FLOOR = 1e-3
"""Spread, in units of the scale, below which displacements count as one."""


class Choose(nn.Module):
    r"""Children inherit their parents' displacement linearly, then choose one among those of the parents around them.

    With the inherited displacement :math:`\bar u_i` (:func:`geogrid.graph.inherit_displacement`), attention weights
    :math:`a_{ij}` from the child's feature and place to those of the parents within a radius, and the mean and the spread of
    what these parents move more than the child inherits,

    .. math::
        \delta_i &= \sum_j a_{ij} (u_j - \bar u_i), \qquad m_i^2 = \sum_j a_{ij} |u_j - \bar u_i|^2, \\
        [c_i, \gamma_i] &= W\, \phi(C_2\, \phi(C_1 [x_i, o_i, \delta_i / m_i, m_i / (m_i + s)])), \\
        b_{ij} &\propto a_{ij} \exp(-\kappa\, |u_j - \bar u_i - \delta_i - m_i c_i|^2 / m_i^2), \\
        u_i &= \bar u_i + \tanh(\gamma_i) \sum_j b_{ij} (u_j - \bar u_i).

    with the attended value :math:`o_i`. :math:`\delta_i` is a vote of the surroundings, which two convolutions over the
    children put right where they see an edge of the image; the second attention takes the displacement nearest to it, as it
    is. Everything is in units of the spread, so the layer treats a slip of 2 mm like one of 10 mm. Only differences of
    displacements enter. The gate :math:`\gamma` starts at zero, so the untrained layer is linear interpolation. Position terms
    of the attention start quiet: a vote that at first leans to one side would teach the gate to stay shut. Parents are compared
    where they lie, not where they have moved to: what slips past a child stays beside it.

    Args:
        channels: features of the parents and of the children.
        dim: 2 or 3.
        radius: of the attention, in units of the parents' scale.
        head_channels: width of the attention.
        hidden: width of the convolutions.

    Reference:
        Sideri-Lampretsa, Stolt-Ansó et al., arXiv 2412.13294, Sec. 3.3, whose attention to the parents this extends.
    """

    def __init__(
        self, channels: tuple[int, int], dim: int, radius: float = 2.0, head_channels: int = 8, hidden: int = 16
    ) -> None:
        super().__init__()
        self.radius, self.dim = radius, dim
        self.attention = NeighborAttention(
            channels, head_channels, dim, radius=radius, cosine=True, temperature=1.0, num_frequencies=8
        )
        self.outer = ContinuousConv(channels[1] + head_channels + dim + 1, hidden, dim)
        self.inner = ContinuousConv(hidden, hidden, dim)
        self.vote = nn.Linear(hidden, dim)
        self.gate = nn.Linear(hidden, 1)
        self.log_sharpness = nn.Parameter(torch.ones(()))
        nn.init.normal_(self.vote.weight, std=1e-2)
        with torch.no_grad():
            self.attention.position_key.mul_(QUIET)
        for zero in (self.vote.bias, self.gate.weight, self.gate.bias):
            nn.init.zeros_(zero)

    def forward(self, x: tuple[Tensor, Tensor], parents: Level, children: Level, displacement: Tensor) -> Tensor:
        """The children's displacement.

        Args:
            x: ``(num_parents, channels[0])`` and ``(num_children, channels[1])`` features.
            parents: the coarser level of an image or cloud.
            children: the next finer level of the same.
            displacement: ``(num_parents, dim)`` in mm.

        Returns:
            ``(num_children, dim)`` in mm; what is inherited where no parent is within the radius.
        """
        inherited = inherit_displacement(parents, children.points, displacement)
        table = parents.window(children.points.pos, children.points.batch, self.radius * parents.scale)
        places = parents.points.pos, children.points.pos
        found = self.attention(x, places, table, parents.log_measure, return_attention=True, scale=parents.scale)
        weights = cast(Tensor, found.weights)[..., 0]
        more = displacement[table.index] - inherited[:, None]
        square = more.square().sum(2)
        vote = _mean(weights, more)
        spread = ((weights * square).sum(1, keepdim=True) + (FLOOR * children.scale) ** 2).sqrt()
        seen = torch.cat([x[1], found.update, vote / spread, spread / (spread + children.scale)], 1)
        hidden = leaky_relu(convolve(self.outer, seen, children), SLOPE)
        hidden = leaky_relu(convolve(self.inner, hidden, children), SLOPE)
        vote = vote + spread * self.vote(hidden)
        nearness = (2 * (more @ vote[..., None])[..., 0] - square) * (self.log_sharpness.exp() / spread.square())
        chosen = _mean(sharpened(weights, nearness), more)
        return inherited + found.coverage[:, None] * self.gate(hidden).tanh() * chosen


def _mean(weights: Tensor, vectors: Tensor) -> Tensor:
    """Weighted sums ``(num_children, dim)`` of vectors ``(num_children, k, dim)``."""
    return (weights[:, None] @ vectors)[:, 0]


def sharpened(weights: Tensor, nearness: Tensor) -> Tensor:
    """Weights ``(num_children, k)`` times the exponential of a nearness, again with sum 1, or 0 where all are 0."""
    kept = weights > 0
    logits = weights.clamp_min(torch.finfo(weights.dtype).tiny).log() + nearness
    return logits.masked_fill(~kept, -1e30).softmax(1) * kept

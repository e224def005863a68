"""From a coarse level's displacement to that of the next finer one: the paper's interpolation function h."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from geogrid.graph import Level, Neighborhood, inherit_displacement
from geogrid.nn.attention import AttentionOutput, NeighborAttention
from geogrid.nn.encoder import SLOPE


class Interpolate(nn.Module):
    r"""Children inherit their parents' displacement linearly, then look at their nearest parents and correct it (Sec. 3.3).

    With the inherited displacement :math:`\bar u_i` (:func:`geogrid.graph.inherit_displacement`: affine motion survives
    exactly), attention weights :math:`a_{ij}` from the child's feature at :math:`x_i + \bar u_i` to the parents' features at
    :math:`x_j + u_j`, and per head :math:`\delta_i = \sum_j a_{ij} (u_j - \bar u_i)`,

    .. math:: u_i = \bar u_i + \sum_h \beta_h \delta_i^h + s\, W_2\, \phi(W_1 [o_i, \delta_i / s]),

    where :math:`o_i` is the attended value. With :math:`\beta = 1` a child can take the displacement of one parent as it is:
    that is how it chooses a side of a sliding border. :math:`\beta` and :math:`W_2` start at zero, so the untrained layer is
    linear interpolation.

    Args:
        channels: features of the parents and of the children.
        dim: 2 or 3.
        heads: of the attention.
        head_channels: width of a head.
        hidden: width of the correction's hidden layer.

    Reference:
        Sideri-Lampretsa, Stolt-Ansó et al., arXiv 2412.13294, Sec. 3.3.
    """

    def __init__(self, channels: tuple[int, int], dim: int, heads: int = 1, head_channels: int = 8, hidden: int = 16) -> None:
        super().__init__()
        self.attention = NeighborAttention(
            channels, heads * head_channels, dim, heads=heads, cosine=True, temperature=4.0, num_frequencies=8
        )
        self.hidden = nn.Linear(heads * (head_channels + dim), hidden)
        self.out = nn.Linear(hidden, dim)
        self.choice = nn.Parameter(torch.zeros(heads))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: tuple[Tensor, Tensor], parents: Level, children: Level, displacement: Tensor) -> Tensor:
        """The children's displacement.

        Args:
            x: ``(num_parents, channels[0])`` and ``(num_children, channels[1])`` features.
            parents: the coarser level of an image or cloud.
            children: the next finer level of the same.
            displacement: ``(num_parents, dim)`` in mm.

        Returns:
            ``(num_children, dim)`` in mm.
        """
        table = parents.parents(children.points.pos, children.points.batch)
        inherited = inherit_displacement(parents, children.points, displacement, table)
        places = (parents.points.pos + displacement.detach(), children.points.pos + inherited.detach())
        found = self.attention(x, places, table, parents.log_measure, return_attention=True, scale=children.scale)
        delta = choose(found, table, displacement, inherited)
        inputs = torch.cat([found.update, delta.flatten(1) / children.scale], 1)
        correction = self.out(leaky_relu(self.hidden(inputs), SLOPE)) * children.scale
        return inherited + torch.einsum("h,nhd->nd", self.choice, delta) + correction


def choose(found: AttentionOutput, table: Neighborhood, displacement: Tensor, inherited: Tensor) -> Tensor:
    """What the parents that a child attends to move more than it inherits, ``(num_children, heads, dim)`` in mm."""
    weights = cast(Tensor, found.weights) * found.coverage[:, None, None]
    sums = torch.einsum("nkh,nkd->nhd", weights, displacement[table.index])
    return sums - weights.sum(1)[..., None] * inherited[:, None]

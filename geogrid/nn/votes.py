"""Neighbours vote on matches: message passing between candidates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu
from torch_geometric.nn import MessagePassing

from geogrid.graph import Neighborhood
from geogrid.nn.encoder import SLOPE

TOLERANCES = (0.12, 0.35, 1.0)
"""Standard deviations of the agreement kernels, in spacings."""


class VoteScorer(MessagePassing):
    r"""Scores each point's candidates by how well the neighbours' candidates agree in displacement.

    Point i has candidates k at offsets :math:`d_{ik}` with probabilities :math:`q_{ik}`. Neighbour j says about each of them

    .. math:: m_{ijk} = \phi\Big(\big[\textstyle\sum_l q_{jl}\, e^{-|d_{ik} - d_{jl}|^2 / 2 \tau_b^2}\big]_b,\;
        \textstyle\sum_l q_{jl},\; r_{ij}\Big)

    and the mean over j, with the candidate's own state, gives its next state and score. The same weights serve every pass. Only
    distances enter, so a rotation changes nothing, and the weights serve 2-D and 3-D alike.

    Args:
        hidden: width of the messages.
        state: channels that a candidate keeps from pass to pass.
        tolerances: the :math:`\tau_b`, in the unit of the offsets.
    """

    def __init__(self, hidden: int = 24, state: int = 12, tolerances: Sequence[float] = TOLERANCES) -> None:
        super().__init__(aggr="mean")
        self.tolerances, self.num_state = tuple(tolerances), state
        self.say = nn.Sequential(nn.Linear(len(self.tolerances) + 2, hidden), nn.LeakyReLU(SLOPE), nn.Linear(hidden, hidden))
        self.hear = nn.Linear(hidden + state + 3, hidden + 8)
        self.judge = nn.Linear(hidden + 8, state + 1)
        nn.init.zeros_(self.judge.bias)

    def forward(
        self, offset: Tensor, cost: Tensor, shares: Tensor, wanted: Tensor, state: Tensor, voters: Neighborhood,
        distance: Tensor, rows: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """One pass over some of the points.

        Args:
            offset: ``(num_points, k, dim)`` from where a point is to its candidates, in spacings.
            cost: ``(num_rows, k)`` disagreement of features.
            shares: ``(num_points, k)`` the present probabilities.
            wanted: ``(num_rows, k)`` how much all points together want the candidate.
            state: ``(num_rows, k, state)``.
            voters: the neighbours of each of the rows among the points.
            distance: ``(num_rows, v)`` to them, in spacings.
            rows: ``(num_rows,)`` int64, which points.

        Returns:
            Scores ``(num_rows, k)``, logits against having no partner, and the next states.
        """
        own = offset[rows]
        heard = self.propagate(
            voters.edge_index, offset=(offset, own), shares=(shares, shares[rows]), distance=distance[voters.mask],
            size=(len(offset), len(rows)),
        )  # fmt: skip
        near = own.square().sum(-1) + 0.1 * cost
        told = torch.stack([near.sqrt(), shares[rows], wanted.clamp_max(4)], -1)
        inner = leaky_relu(self.hear(torch.cat([heard.view(*told.shape[:2], -1), told, state], -1)), SLOPE)
        found = self.judge(inner)
        return 4 * found[..., 0] - 0.5 * cost, torch.tanh(found[..., 1:])

    def message(self, offset_i: Tensor, offset_j: Tensor, shares_j: Tensor, distance: Tensor) -> Tensor:
        """What each neighbour says about each candidate, ``(num_edges, k * hidden)``."""
        squared = (offset_i.square().sum(-1)[:, :, None] + offset_j.square().sum(-1)[:, None]).sub_(
            2 * offset_i @ offset_j.transpose(1, 2)
        )
        agree = [torch.exp(squared * (-0.5 / t**2)) @ shares_j[..., None] for t in self.tolerances]
        sure = shares_j.sum(1)[:, None, None].expand_as(agree[0])
        words = torch.cat([*agree, sure, distance[:, None, None].expand_as(sure)], -1)
        return self.say(words).flatten(1)

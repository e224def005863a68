"""Neighbours vote on matches: message passing between candidates."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu
from torch_geometric.nn import MessagePassing

from geogrid.graph import Neighborhood, compiled
from geogrid.nn.encoder import SLOPE

TOLERANCE = 1.0
"""Standard deviation of the widest agreement kernel, in spacings."""
LEAST = 1e-4
"""Least agreement that is raised to a power: what is fainter would be slow to multiply."""
KERNELS = 3
"""Number of agreement kernels; each is the one before to the power of 8, so that one exponential serves all."""


class VoteScorer(MessagePassing):
    r"""Scores each point's candidates by how well the neighbours' candidates agree in displacement.

    Point i has candidates k at offsets :math:`d_{ik}` with probabilities :math:`q_{ik}`. Neighbour j says about each of them

    .. math:: m_{ijk} = \phi\Big(\big[\textstyle\sum_l q_{jl}\, e^{-|d_{ik} - d_{jl}|^2 / 2 \tau_b^2}\big]_b,\;
        \textstyle\sum_l q_{jl},\; r_{ij}\Big)

    and the mean over j, with the candidate's own state and its distance from where the voters expect the partner, gives its
    next state and score. The same weights serve every pass. Only distances enter, so a rotation changes nothing, and the same
    weights serve 2-D and 3-D.

    Args:
        hidden: width of the messages.
        state: channels that a candidate keeps from pass to pass.
        tolerance: the largest :math:`\tau_b`, in the unit of the offsets; the others are smaller by :math:`\sqrt 8` each.
    """

    def __init__(self, hidden: int = 24, state: int = 8, tolerance: float = TOLERANCE) -> None:
        super().__init__(aggr="mean", node_dim=0)
        self.tolerance, self.num_state = tolerance, state
        self.say = nn.Linear(KERNELS + 2, hidden)
        self.hear = nn.Linear(hidden + state + 5, 2 * hidden)
        self.judge = nn.Linear(2 * hidden, state + 1)
        nn.init.zeros_(self.judge.bias)

    def agreement(self, offset: Tensor, rows: Tensor, voters: Neighborhood) -> Tensor:
        r"""How near candidates' offsets are to a voter's, by the widest kernel :math:`e^{-|d_{ik} - d_{jl}|^2 / 2 \tau_0^2}`.

        Args:
            offset: ``(num_points, k, dim)`` from where a point is to its candidates.
            rows: ``(num_rows,)`` int64, which points are voted on.
            voters: the neighbours of each of the rows among the points.

        Returns:
            ``(num_edges, k, k)``, the voter's candidates last. It is the same in every pass.
        """
        if self._is_looped(offset, voters):
            return self._looped_agreement(offset, rows, voters)
        context, query = voters.edge_index
        own, theirs = offset[rows[query]], offset[context]
        squared = (own[:, :, None] - theirs[:, None]).square().sum(-1)
        return torch.exp(squared * self._rate)

    @property
    def _rate(self) -> float:
        return -0.5 / self.tolerance**2

    def forward(
        self, agreement: Tensor, offset: Tensor, cost: Tensor, shares: Tensor, wanted: Tensor, aside: Tensor, weight: Tensor,
        state: Tensor, voters: Neighborhood, distance: Tensor, rows: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """One pass over some of the points.

        Args:
            agreement: what :meth:`agreement` gives.
            offset: ``(num_rows, k, dim)`` from where a point is to its candidates.
            cost: ``(num_rows, k)`` disagreement of features.
            shares: ``(num_points, k)`` the present probabilities.
            wanted: ``(num_rows, k)`` how much all points together want the candidate.
            aside: ``(num_rows, k)`` how far the candidate lies from where the voters expect the partner.
            weight: ``(num_rows,)`` how much the voters have to say about that.
            state: ``(num_rows, k, state)``.
            voters: the neighbours of each of the rows among the points.
            distance: ``(num_rows, v)`` to them, in the unit of the offsets.
            rows: ``(num_rows,)`` int64, which points.

        Returns:
            Scores ``(num_rows, k)``, logits against having no partner, and the next states.
        """
        if self._is_looped(agreement, voters):
            heard = self._looped(agreement, shares, voters, distance)
        else:
            heard = self.propagate(
                voters.edge_index, shares=(shares, shares[rows]), agreement=agreement, distance=distance[voters.mask],
                size=(len(shares), len(rows)),
            )  # fmt: skip
        certain = (weight / (1 + weight))[:, None].expand_as(aside)
        told = torch.stack([offset.square().sum(-1).sqrt(), shares[rows], wanted.clamp_max(4), aside.clamp_max(3), certain], -1)
        inner = leaky_relu(self.hear(torch.cat([heard.view(*told.shape[:2], -1), told, state], -1)), SLOPE)
        found = self.judge(inner)
        return 4 * found[..., 0] - 0.5 * cost, torch.tanh(found[..., 1:])

    def _is_looped(self, values: Tensor, voters: Neighborhood) -> bool:
        """Whether compiled loops may take the place of messages: on processors, all tables full, and nobody learns."""
        return compiled.serves(values) and not torch.is_grad_enabled() and bool(voters.mask.all()) and voters.k > 0

    def _looped_agreement(self, offset: Tensor, rows: Tensor, voters: Neighborhood) -> Tensor:
        from geogrid.nn.ops import vote_loops

        k = offset.shape[1]
        found = offset.new_empty(len(rows), voters.k, k, k)
        arrays = [part.contiguous().numpy() for part in (offset, rows, voters.index, found)]
        compiled.share_out(len(rows), lambda first, last: vote_loops.fill_exponents(first, last, *arrays, self._rate))
        return found.exp_().view(-1, k, k)

    def _looped(self, agreement: Tensor, shares: Tensor, voters: Neighborhood, distance: Tensor) -> Tensor:
        """What :meth:`message` and the mean over the voters give, ``(num_rows, k, hidden)``."""
        from geogrid.nn.ops import vote_loops

        k, count = shares.shape[1], voters.num_query
        heard = shares.new_empty(count, k, self.say.out_features)
        parts = (agreement.view(count, voters.k, k, k), shares, voters.index, distance, self.say.weight.T, self.say.bias)
        arrays = [part.detach().contiguous().numpy() for part in parts]
        compiled.share_out(count, lambda first, last: vote_loops.hear(first, last, *arrays, SLOPE, LEAST, heard.numpy()))
        return heard

    def message(self, shares_j: Tensor, agreement: Tensor, distance: Tensor) -> Tensor:
        """What each neighbour says about each candidate, ``(num_edges, k, hidden)``."""
        kernels = [agreement]
        for _ in range(KERNELS - 1):
            kernels.append(kernels[-1].clamp_min(LEAST).square().square().square())
        agree = torch.cat([kernel @ shares_j[..., None] for kernel in kernels], -1)
        rest = torch.stack([shares_j.sum(1), distance], 1)[:, None].expand(-1, agree.shape[1], -1)
        said: Tensor = leaky_relu(self.say(torch.cat([agree, rest], -1)), SLOPE)
        return said

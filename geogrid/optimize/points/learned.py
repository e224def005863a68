"""Voting by the learned scorer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.graph import Neighborhood
from geogrid.nn import VoteScorer
from geogrid.optimize.points.ballot import Ballot

BLOCK = 3000
"""Points whose voters speak at once."""
AT_FIRST = 1.0
"""Standard deviation in spacings of what a candidate is worth before anybody has voted."""
VOTERS = 14
"""The nearest ones that are heard in a registration."""
PASSES = 4
"""Of messages in a registration."""
FARTHEST = 4.0
"""A candidate that is farther than this, in spacings, is nobody's partner: no training has seen such."""


def vote_by_scorer(ballot: Ballot, scorer: VoteScorer, passes: int) -> list[Tensor]:
    """Probability of each candidate after each pass, ``(num_fixed, k)``; see :class:`geogrid.nn.VoteScorer`.

    Args:
        ballot: candidates and voters.
        scorer: whose weights decide.
        passes: of messages.
    """
    count = len(ballot.offset)
    shares = ballot.shares(-0.5 * (ballot.offset.square().sum(-1) / AT_FIRST**2 + ballot.cost), 0.15)
    state = shares.new_zeros(*shares.shape, scorer.num_state)
    blocks = [_Block.of(ballot, rows) for rows in torch.arange(count).split(BLOCK)]
    beyond = ballot.offset.norm(dim=-1) > FARTHEST
    kept = scorer.agreement(ballot.offset, blocks[0].rows, blocks[0].voters) if len(blocks) == 1 else None
    found = []
    for _ in range(passes):
        heard = (ballot.wanted(shares), *ballot.consensus(shares))
        parts = [block.ask(scorer, shares, heard, state, kept) for block in blocks]
        score, state = (torch.cat(part) for part in zip(*parts, strict=True))
        shares = ballot.shares(score.masked_fill(beyond, -torch.inf), 1.0)
        found.append(shares)
    return found


@dataclass(frozen=True, eq=False)
class _Block:
    """Some of the points, so that memory stays bounded: the agreement of many is found anew in every pass."""

    ballot: Ballot
    rows: Tensor
    voters: Neighborhood

    @classmethod
    def of(cls, ballot: Ballot, rows: Tensor) -> _Block:
        voters = ballot.voters[rows]
        return cls(ballot, rows, Neighborhood(voters, torch.ones_like(voters, dtype=torch.bool), len(ballot.offset)))

    def ask(
        self, scorer: VoteScorer, shares: Tensor, heard: tuple[Tensor, Tensor, Tensor], state: Tensor, kept: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        rows, ballot = self.rows, self.ballot
        agreement = scorer.agreement(ballot.offset, rows, self.voters) if kept is None else kept
        answer: tuple[Tensor, Tensor] = scorer(
            agreement, ballot.offset[rows], ballot.cost[rows], shares, *(part[rows] for part in heard), state[rows],
            self.voters, ballot.distance[rows], rows,
        )  # fmt: skip
        return answer

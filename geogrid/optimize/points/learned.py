"""Voting by the learned scorer."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.graph import Neighborhood
from geogrid.nn import VoteScorer
from geogrid.optimize.points.ballot import Ballot

BLOCK = 4000
"""Points whose voters speak at once."""
AT_FIRST = 1.0
"""Standard deviation in spacings of what a candidate is worth before anybody has voted."""


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
    blocks = torch.arange(count).split(BLOCK)
    found = []
    for _ in range(passes):
        wanted = ballot.wanted(shares)
        parts = [_speak(ballot, scorer, shares, wanted, state, rows) for rows in blocks]
        score, state = (torch.cat(part) for part in zip(*parts, strict=True))
        shares = ballot.shares(score, 1.0)
        found.append(shares)
    return found


def _speak(
    ballot: Ballot, scorer: VoteScorer, shares: Tensor, wanted: Tensor, state: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor]:
    voters = ballot.voters[rows]
    table = Neighborhood(voters, torch.ones_like(voters, dtype=torch.bool), len(shares))
    scores: tuple[Tensor, Tensor] = scorer(
        ballot.offset, ballot.cost[rows], shares, wanted[rows], state[rows], table, ballot.distance[rows], rows
    )
    return scores

"""Voting by hand: a candidate is as good as the agreement of the neighbours' candidates."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geogrid.optimize.points.ballot import Ballot

REACH = 0.8
"""Standard deviation of a right candidate's offset, in spacings."""
TOLERANCE = 0.2
"""Standard deviation between the offsets of two right candidates side by side, in spacings."""
GROWTH = 0.1
"""By how much that grows per spacing between the two points."""
TRUST = 0.5
"""Exponent on a voter's word: voters are not independent."""
DOUBT = 0.05
"""Odds that a voter says nothing of use."""
AT_FIRST = 0.05
"""Odds of having no partner before anybody has voted."""
NO_PARTNER = 5.5 / 20
"""Log-odds per voter of having no partner against a candidate at the middle of its reach that no voter supports."""


def vote_by_agreement(ballot: Ballot, passes: int) -> Tensor:
    r"""Probability of each candidate, by messages between neighbours.

    .. math:: s_{ik} = -\frac{|d_{ik}|^2}{2 \rho^2} + \lambda \sum_j \log\Big(1 + \frac1\epsilon \sum_l q_{jl}\,
        \Big(\tfrac{\tau_0}{\tau_{ij}}\Big)^3 e^{-|d_{ik} - d_{jl}|^2 / 2 \tau_{ij}^2}\Big), \qquad
        \tau_{ij}^2 = \tau_0^2 + (g\, r_{ij})^2

    and :math:`q` the shares that follow from :math:`s`. Wrong candidates get some support by chance, so the odds of having no
    partner are high; they are low at first, or nobody would have anything to say.

    Args:
        ballot: candidates and voters.
        passes: of messages.

    Returns:
        ``(num_fixed, k)``; what is missing to 1 in a row is the probability of having no partner.
    """
    near = -0.5 * (ballot.offset.square().sum(-1) / REACH**2 + ballot.cost)
    variance = (TOLERANCE**2 + (GROWTH * ballot.distance) ** 2)[..., None, None]
    support = torch.exp(ballot.disagreement * (-0.5 / variance)).mul_((TOLERANCE**2 / variance) ** 1.5 / DOUBT)
    odds = math.exp(NO_PARTNER * ballot.voters.shape[1])
    shares = ballot.shares(near, AT_FIRST)
    for _ in range(passes):
        heard = (support @ shares[ballot.voters][..., None])[..., 0]
        shares = ballot.shares(near + TRUST * torch.log1p(heard).sum(1), odds)
    return shares

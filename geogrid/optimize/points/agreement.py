"""Voting by hand: a candidate is as good as the agreement of the neighbours' candidates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.graph import compiled
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
    hear = _Compiled.of(ballot) if compiled.serves(near) else _Plain.of(ballot)
    odds = math.exp(NO_PARTNER * ballot.voters.shape[1])
    shares = ballot.shares(near, AT_FIRST)
    for _ in range(passes):
        shares = ballot.shares(near + TRUST * hear(shares), odds)
    return shares


def _kernel(ballot: Ballot) -> tuple[Tensor, Tensor]:
    """Of each voter the factor in the exponent, and that before it, ``(num_fixed, v)``."""
    variance = TOLERANCE**2 + (GROWTH * ballot.distance) ** 2
    return -0.5 / variance, (TOLERANCE**2 / variance) ** 1.5 / DOUBT


@dataclass(frozen=True, eq=False)
class _Plain:
    """What the voters say, by torch's own operations; ``support`` is ``(num_fixed, v, k, k)``."""

    ballot: Ballot
    support: Tensor

    @classmethod
    def of(cls, ballot: Ballot) -> _Plain:
        rate, gain = _kernel(ballot)
        return cls(ballot, torch.exp(ballot.disagreement * rate[..., None, None]).mul_(gain[..., None, None]))

    def __call__(self, shares: Tensor) -> Tensor:
        heard = (self.support @ shares[self.ballot.voters][..., None])[..., 0]
        return torch.log1p(heard).sum(1)


@dataclass(frozen=True, eq=False)
class _Compiled:
    """The same by compiled loops; ``support`` lacks the factors ``gain``."""

    ballot: Ballot
    support: Tensor
    gain: Tensor

    @classmethod
    def of(cls, ballot: Ballot) -> _Compiled:
        from geogrid.optimize.points import loops

        (rate, gain), (count, k, _) = _kernel(ballot), ballot.offset.shape
        support = ballot.offset.new_empty(count, ballot.voters.shape[1], k, k)
        arrays = [part.numpy() for part in (ballot.offset.contiguous(), ballot.voters, rate, support)]
        compiled.share_out(count, lambda first, last: loops.fill_exponents(first, last, *arrays))
        return cls(ballot, support.exp_(), gain)

    def __call__(self, shares: Tensor) -> Tensor:
        from geogrid.optimize.points import loops

        words = torch.empty_like(shares, memory_format=torch.contiguous_format)
        parts = (self.support, self.gain, self.ballot.voters, shares.contiguous(), words)
        arrays = [part.numpy() for part in parts]
        compiled.share_out(len(shares), lambda first, last: loops.fill_words(first, last, *arrays))
        return words

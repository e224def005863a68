"""One map from several proposals, each followed where its neighbours agree with it most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.optimize.points.agreement import vote_by_agreement
from geogrid.optimize.points.ballot import Ballot
from geogrid.optimize.points.cloud import OrderedCloud
from geogrid.optimize.points.config import PointsConfig
from geogrid.optimize.points.fit import SmoothFit

SHARPNESS = 2.0
"""Exponent on the probabilities of matches: doubtful ones draw the map less than their share."""
LOOSE = 0.3
"""Standard deviation of a match, in spacings: wider than at the last fit, so that the sure carry the doubtful along."""
PASSES = 3
"""Of messages in a round of votes; the last vote of a registration takes more."""
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the votes about one map say of each fixed point.

    Args:
        target: ``(num_fixed, dim)`` where it belongs among the moving points.
        weight: ``(num_fixed,)`` how much that counts.
        certainty: ``(num_fixed,)`` probability of the best candidate, averaged over the point and its voters.
    """

    target: Tensor
    weight: Tensor
    certainty: Tensor


@dataclass(frozen=True, eq=False)
class Fusion:
    """Makes one map of several that may each be right somewhere else.

    An annealed fit can bend itself to wrong neighbours in one part of a cloud where a stiffer one, made earlier, still lies
    nearer to the right ones; elsewhere it is the other way round. So every proposal is voted on for some rounds by itself, each
    point follows the proposal about which its surroundings are surest, and the map through all that is voted on again.

    Args:
        fixed: the points, in units of their radius.
        moving: likewise.
        spacing: of both on average.
        fit: what maps are fitted with.
        config: settings.
        voters: ``(num_fixed, v)`` the neighbours of each fixed point.
        basis: rows of the fit at the fixed points.

    Reference:
        Lempitsky, Rother, Roth, Blake, "Fusion moves for Markov random field optimization", IEEE TPAMI 32(8), 2010 (choosing
        between proposals point by point).
    """

    fixed: OrderedCloud
    moving: OrderedCloud
    spacing: float
    fit: SmoothFit
    config: PointsConfig
    voters: Tensor
    basis: Tensor

    def __call__(self, proposals: Sequence[Tensor]) -> tuple[Tensor, list[float]]:
        """The coefficients of the fused map, and by what share of the points each proposal was followed.

        Args:
            proposals: coefficients of one or more maps.
        """
        verdicts = [self._verdict(theta) for theta in proposals]
        best = torch.stack([verdict.certainty for verdict in verdicts]).argmax(0)
        rows = torch.arange(len(best))
        target, weight = (
            torch.stack(parts)[best, rows] for parts in zip(*((v.target, v.weight) for v in verdicts), strict=True)
        )
        fused = self._verdict(self._through(target, weight))
        followed = torch.bincount(best, minlength=len(proposals)).double() / len(best)
        return self._through(fused.target, fused.weight), followed.tolist()

    def _verdict(self, theta: Tensor) -> Verdict:
        """After all rounds of votes, with a fit between one and the next."""
        verdict = self._vote(theta)
        for _ in range(self.config.fusion_rounds - 1):
            verdict = self._vote(self._through(verdict.target, verdict.weight))
        return verdict

    def _vote(self, theta: Tensor) -> Verdict:
        place = self.fixed.points + self.basis @ theta
        ballot = Ballot.of(self.fixed, place, self.moving, self.spacing, self.config, self.voters)
        shares = vote_by_agreement(ballot, PASSES)
        sure, sharp = shares.amax(1), shares.double() ** SHARPNESS
        weight = sharp.sum(1)
        target = (sharp[..., None] * self.moving.points[ballot.candidates]).sum(1) / weight.clamp_min(TINY)[:, None]
        around = (sure + sure[ballot.voters].sum(1)) / (1 + ballot.voters.shape[1])
        return Verdict(target, weight, around)

    def _through(self, target: Tensor, weight: Tensor) -> Tensor:
        precision = weight / (LOOSE * self.spacing) ** 2
        return self.fit.solve(self.basis, target - self.fixed.points, precision)

"""Who votes on what: each fixed point's candidates, and its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from geogrid.graph import knn
from geogrid.optimize.points.assign import feature_cost
from geogrid.optimize.points.cloud import OrderedCloud
from geogrid.optimize.points.config import PointsConfig

AROUND = 1.2
"""Standard deviation of the weights of voters in a consensus, in spacings."""
LEVEL = 0.02
"""Prior precision of a consensus at the point, relative to that of a sure voter."""
SLOPE = 1.0
"""Prior precision of its slope, per spacing, likewise."""


@dataclass(frozen=True, eq=False)
class Ballot:
    """Candidates and voters of every fixed point; lengths in spacings.

    Args:
        candidates: ``(num_fixed, k)`` int64 rows of the moving points nearest to where a fixed point is now.
        offset: ``(num_fixed, k, dim)`` from there to the candidate.
        cost: ``(num_fixed, k)`` disagreement of features.
        voters: ``(num_fixed, v)`` int64, the fixed points nearest to each one.
        toward: ``(num_fixed, v, dim)`` from the point to them.
        num_moving: how many moving points there are.
    """

    candidates: Tensor
    offset: Tensor
    cost: Tensor
    voters: Tensor
    toward: Tensor
    num_moving: int

    @classmethod
    def of(
        cls,
        fixed: OrderedCloud,
        place: Tensor,
        moving: OrderedCloud,
        spacing: float,
        config: PointsConfig,
        voters: Tensor | None = None,
    ) -> Ballot:
        """Looks candidates and voters up.

        Args:
            fixed: points.
            place: ``(num_fixed, dim)`` where they are now.
            moving: points.
            spacing: the unit of length.
            config: how many of both, and what features are worth.
            voters: what :func:`nearest_others` said of the fixed points earlier.
        """
        points = fixed.points
        candidates = knn(moving.points, place, min(config.candidates, len(moving))).index
        voters = nearest_others(points, config.voters) if voters is None else voters
        offset = ((moving.points[candidates] - place[:, None]) / spacing).float()
        toward = ((points[voters] - points[:, None]) / spacing).float()
        cost = feature_cost(fixed, moving, candidates, config.feature_sigma)
        return cls(candidates, offset, cost.float(), voters, toward, len(moving))

    @cached_property
    def distance(self) -> Tensor:
        """From each point to its voters, ``(num_fixed, v)``."""
        length: Tensor = self.toward.norm(dim=-1)
        return length

    @cached_property
    def disagreement(self) -> Tensor:
        r"""Squared differences :math:`|d_{ik} - d_{jl}|^2` of point i's and voter j's offsets, ``(num_fixed, v, k, k)``."""
        theirs = self.offset[self.voters]
        squares = self.offset.square().sum(-1)
        cross = torch.einsum("nkd,nvld->nvkl", self.offset, theirs)
        return (squares[:, None, :, None] + squares[self.voters][:, :, None, :] - 2 * cross).clamp_min_(0)

    def shares(self, score: Tensor, outliers: float) -> Tensor:
        """Probabilities from scores: against the other candidates, none of them, and other fixed points that want the same.

        Args:
            score: ``(num_fixed, k)`` logits.
            outliers: odds of having no partner against a score of 0.

        Returns:
            ``(num_fixed, k)``; rows sum to at most 1, and so does what all fixed points together want of a moving one.
        """
        top = score.amax(1, keepdim=True).clamp_min(0)
        likely = torch.exp(score - top)
        likely = likely / (likely.sum(1, keepdim=True) + outliers * torch.exp(-top))
        return likely / self.wanted(likely).clamp_min(1)

    def wanted(self, shares: Tensor) -> Tensor:
        """How much all fixed points together want each candidate, ``(num_fixed, k)``."""
        total = shares.new_zeros(self.num_moving).index_add(0, self.candidates.flatten(), shares.flatten())
        return total[self.candidates]

    def consensus(self, shares: Tensor) -> tuple[Tensor, Tensor]:
        r"""Where the voters alone expect a point's partner, and how much they have to say.

        The offsets of the voters, each weighted by how sure it is and how near, are met by a displacement that is linear around
        the point, with a Gaussian prior on its value and its slope; what it is at the point is :math:`\mu_i`.

        Args:
            shares: ``(num_fixed, k)`` the present probabilities.

        Returns:
            :math:`|d_{ik} - \mu_i|`, ``(num_fixed, k)``, and the weight of the voters, ``(num_fixed,)``.
        """
        sharp = shares.square()
        near = torch.exp(self.toward.square().sum(-1) * (-0.5 / AROUND**2))
        weight = near * sharp.sum(1)[self.voters]
        mean = (sharp[..., None] * self.offset).sum(1)[self.voters]
        place = torch.cat([torch.ones_like(near)[..., None], self.toward], -1)
        normal = torch.einsum("nv,nva,nvb->nab", weight, place, place)
        first = torch.zeros(normal.shape[1], dtype=normal.dtype)
        first[0] = 1
        prior = torch.full_like(first, LEVEL)
        prior[1:] = SLOPE
        row = torch.linalg.solve(normal + torch.diag(prior), first.expand(len(normal), -1))
        expected = torch.einsum("nv,nva,na,nvd->nd", near, place, row, mean)
        return ((self.offset - expected[:, None]).square().sum(-1) + 1e-8).sqrt(), 1 / row[:, 0]


def nearest_others(points: Tensor, count: int) -> Tensor:
    """The ``count`` nearest other points of each point (or all of them, where there are fewer), int64."""
    found = knn(points, points, min(count + 1, len(points))).index
    itself = found == torch.arange(len(points))[:, None]
    itself[~itself.any(1), -1] = True
    return found[~itself].view(len(points), -1)

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


@dataclass(frozen=True, eq=False)
class Ballot:
    """Candidates and voters of every fixed point; lengths in spacings.

    Args:
        candidates: ``(num_fixed, k)`` int64 rows of the moving points nearest to where a fixed point is now.
        offset: ``(num_fixed, k, dim)`` from there to the candidate.
        cost: ``(num_fixed, k)`` disagreement of features.
        voters: ``(num_fixed, v)`` int64, the fixed points nearest to each one.
        distance: ``(num_fixed, v)`` to them.
        num_moving: how many moving points there are.
    """

    candidates: Tensor
    offset: Tensor
    cost: Tensor
    voters: Tensor
    distance: Tensor
    num_moving: int

    @classmethod
    def of(cls, fixed: OrderedCloud, place: Tensor, moving: OrderedCloud, spacing: float, config: PointsConfig) -> Ballot:
        """Looks candidates and voters up.

        Args:
            fixed: points.
            place: ``(num_fixed, dim)`` where they are now.
            moving: points.
            spacing: the unit of length.
            config: how many of both, and what features are worth.
        """
        points = fixed.points
        candidates = knn(moving.points, place, min(config.candidates, len(moving))).index
        voters = knn(points, points, min(config.voters + 1, len(fixed))).index
        itself = voters == torch.arange(len(fixed))[:, None]
        itself[~itself.any(1), -1] = True
        voters = voters[~itself].view(len(fixed), -1)
        offset = ((moving.points[candidates] - place[:, None]) / spacing).float()
        distance = ((points[voters] - points[:, None]).norm(dim=-1) / spacing).float()
        cost = feature_cost(fixed, moving, candidates, config.feature_sigma)
        return cls(candidates, offset, cost.float(), voters, distance, len(moving))

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

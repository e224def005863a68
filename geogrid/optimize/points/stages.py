"""The stages of point registration, in the units of the clouds."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from geogrid.optimize.history import HistoryEntry
from geogrid.optimize.points.agreement import vote_by_agreement
from geogrid.optimize.points.anneal import anneal, falling
from geogrid.optimize.points.assign import Assigner
from geogrid.optimize.points.ballot import Ballot
from geogrid.optimize.points.cloud import OrderedCloud
from geogrid.optimize.points.config import PointsConfig
from geogrid.optimize.points.evidence import evidence_fit
from geogrid.optimize.points.fit import SmoothFit
from geogrid.optimize.points.matches import Matches

FAR_START = 0.25
"""Middles farther apart than this many radii ask for a second start, which brings them together."""
NOISES = 0.03 * 2.0 ** (torch.arange(10, dtype=torch.float64) / 2)
"""Standard deviations of matches that are tried at the last fit, in spacings."""


@dataclass(frozen=True, eq=False)
class Stages:
    """Two clouds in units of the fixed one's radius, and what is done to them.

    Args:
        fixed: centred on its middle, radius 1.
        moving: in the same units and the same frame.
        spacing: of both clouds, on average.
        config: settings.
        history: is added to.
    """

    fixed: OrderedCloud
    moving: OrderedCloud
    spacing: float
    config: PointsConfig
    history: list[HistoryEntry] = field(default_factory=list)

    def affine(self) -> Tensor:
        """Coefficients of the affine map; of two starts the one that explains the moving points better."""
        config, dim = self.config, self.fixed.points.shape[1]
        fit = SmoothFit(self.fixed.points[:0], config.widths, config.amplitudes)
        assigner = self._assigner(config.affine_points)
        shift = self.moving.middle - self.fixed.middle
        far = float(shift.norm()) > FAR_START
        found = []
        for start in [torch.zeros_like(shift), shift] if far else [torch.zeros_like(shift)]:
            theta = torch.cat([start[None], torch.zeros(dim, dim, dtype=start.dtype)])
            found.append(anneal("affine", 2, assigner, fit, theta, falling(*config.affine_sigma, config.affine_steps)))
        theta, history = min(found, key=lambda one: one[1][-1].loss)
        self.history.extend(history)
        return theta

    def deform(self, affine: Tensor) -> tuple[SmoothFit, Tensor]:
        """Dense and then sparse EM over a smooth displacement."""
        config = self.config
        fit = SmoothFit(self.fixed.spread_points(config.control_points), config.widths, config.amplitudes)
        theta = torch.cat([affine, affine.new_zeros(len(fit.centers), affine.shape[1])])
        dense = self._assigner(config.dense_points)
        coarser = max(1.0, len(self.fixed) / config.dense_points) ** (1 / affine.shape[1])
        sigmas = falling(config.dense_sigma[0], config.dense_sigma[1] * self.spacing * coarser, config.dense_steps)
        theta, history = anneal("dense", 1, dense, fit, theta, sigmas)
        self.history.extend(history)
        sparse = self._assigner(config.sparse_points, config.neighbors)
        sigmas = falling(*(sigma * self.spacing for sigma in config.sparse_sigma), config.sparse_steps)
        theta, history = anneal("sparse", 0, sparse, fit, theta, sigmas)
        self.history.extend(history)
        return fit, theta

    def vote(self, fit: SmoothFit, theta: Tensor) -> tuple[Tensor, Matches]:
        """Lets neighbours vote on the matches and fits the map to what they chose."""
        config = self.config
        fixed, moving = self.fixed.subset(config.sparse_points), self.moving.subset(config.sparse_points)
        place = fixed.points + fit.basis(fixed.points) @ theta
        ballot = Ballot.of(fixed, place, moving, self.spacing, config)
        matches = Matches(ballot.candidates, vote_by_agreement(ballot, config.passes).double())
        return self._refit(fit, fixed, matches.target(moving.points), matches.support), matches

    def polish(self, fit: SmoothFit, theta: Tensor) -> Tensor:
        """EM at the last standard deviation, and a fit whose noise and stiffness the matches choose."""
        config = self.config
        assigner = self._assigner(config.sparse_points, config.neighbors)
        sigma = config.sparse_sigma[-1] * self.spacing
        theta, history = anneal("polish", 0, assigner, fit, theta, [sigma] * config.polish_steps)
        self.history.extend(history)
        fixed = assigner.fixed
        found = assigner(fixed.points + fit.basis(fixed.points) @ theta, sigma)
        return self._refit(fit, fixed, found.target, found.weight)

    def matches(self, fit: SmoothFit, theta: Tensor) -> Matches:
        """Where all fixed points end up: votes where neighbours were asked, plain likelihood in larger clouds."""
        config = self.config
        place = self.fixed.points + fit.basis(self.fixed.points) @ theta
        if max(len(self.fixed), len(self.moving)) > config.sparse_points or config.voting == "none":
            sigma = config.sparse_sigma[-1] * self.spacing
            assigner = Assigner(self.fixed, self.moving, config.outliers, config.feature_sigma, config.neighbors)
            return assigner.near(place, sigma)
        ballot = Ballot.of(self.fixed, place, self.moving, self.spacing, config)
        return Matches(ballot.candidates, vote_by_agreement(ballot, config.passes).double())

    def _refit(self, fit: SmoothFit, fixed: OrderedCloud, target: Tensor, weight: Tensor) -> Tensor:
        basis = fit.basis(fixed.points)
        return evidence_fit(fit, basis, target - fixed.points, weight, NOISES * self.spacing).theta

    def _assigner(self, num: int, neighbors: int | None = None) -> Assigner:
        most = num if neighbors else 2 * num
        return Assigner(
            self.fixed.subset(num), self.moving.subset(most), self.config.outliers, self.config.feature_sigma, neighbors
        )

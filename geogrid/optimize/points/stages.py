"""The stages of point registration, in the units of the clouds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from geogrid.models import GeoReg, load_vote_scorer
from geogrid.optimize.history import HistoryEntry
from geogrid.optimize.points.agreement import vote_by_agreement
from geogrid.optimize.points.anneal import anneal, falling
from geogrid.optimize.points.assign import Assigner
from geogrid.optimize.points.ballot import Ballot, nearest_others
from geogrid.optimize.points.closing import NOISES, ClosingFit
from geogrid.optimize.points.cloud import OrderedCloud
from geogrid.optimize.points.config import PointsConfig
from geogrid.optimize.points.evidence import evidence_fit
from geogrid.optimize.points.fine import FineSchedule, refine
from geogrid.optimize.points.fit import SmoothFit
from geogrid.optimize.points.fusion import Fusion
from geogrid.optimize.points.learned import PASSES, VOTERS, vote_by_scorer
from geogrid.optimize.points.matches import Matches
from geogrid.optimize.points.network import network_map
from geogrid.optimize.points.pins import WORTH, Pins
from geogrid.transforms import KernelTransform

FAR_START = 0.25
"""Middles farther apart than this many radii ask for a second start, which brings them together."""
HANDFUL = 10
"""Clouds of no more points than this are always tried with their middles brought together."""
SHORT = 4
"""Steps of the start that trusts where the clouds are."""
FEWEST = 0.5
"""A fit to less than this much of a match is not made."""


@dataclass(frozen=True, eq=False)
class Stages:
    """Two clouds in units of the fixed one's radius, and what is done to them.

    Args:
        fixed: centred on its middle, radius 1.
        moving: in the same units and the same frame.
        spacing: of both clouds, on average.
        config: settings.
        pins: known partners.
        history: is added to.
    """

    fixed: OrderedCloud
    moving: OrderedCloud
    spacing: float
    config: PointsConfig
    pins: Pins
    history: list[HistoryEntry] = field(default_factory=list)

    def affine(self) -> Tensor:
        """Coefficients of the affine map; of several starts the one that explains the moving points best.

        From where the clouds are, from where their middles agree if these are far apart, and from where they are with a small
        standard deviation at once, for clouds that lie well but of which one shows only a part.
        """
        config, dim = self.config, self.fixed.points.shape[1]
        fit = SmoothFit(self.fixed.points[:0], config.widths, config.amplitudes, self.pins)
        assigner = self._assigner(config.affine_points)
        sigmas = falling(*config.affine_sigma, config.affine_steps)
        shift = self.moving.middle - self.fixed.middle
        starts = [(torch.zeros_like(shift), sigmas)]
        if min(len(self.fixed), len(self.moving)) <= HANDFUL:
            starts.append((shift, sigmas[-SHORT:]))
        if float(shift.norm()) > FAR_START:
            starts += [(shift, sigmas), (torch.zeros_like(shift), sigmas[-SHORT:])]
        found = []
        for start, schedule in starts:
            theta = torch.cat([start[None], torch.zeros(dim, dim, dtype=start.dtype)])
            found.append(anneal("affine", 2, assigner, fit, theta, schedule))
        theta, history = min(found, key=lambda one: one[1][-1].loss)
        self.history.extend(history)
        return theta

    @cached_property
    def fit(self) -> SmoothFit:
        """What smooth maps are fitted with."""
        config = self.config
        centers = self.fixed.spread_points(config.control_points)
        return SmoothFit(centers, config.widths, config.amplitudes, self.pins)

    @cached_property
    def closing(self) -> ClosingFit:
        """What the matches of votes are fitted with."""
        config, points = self.config, self._last.fixed.points
        fine = SmoothFit(
            self.fixed.spread_points(config.closing_points), config.closing_widths, config.closing_amplitudes, self.pins
        )
        return ClosingFit(self.fit, fine, points, self._basis, self.spacing)

    def deform(self, affine: Tensor) -> dict[str, Tensor]:
        """Dense and then sparse EM over a smooth displacement: the map at the start, after the one and after the other."""
        config, fit = self.config, self.fit
        maps = {"affine": fit.affine_only(affine)}
        dense = self._assigner(config.dense_points)
        coarser = self._coarser(config.dense_points)
        sigmas = falling(config.dense_sigma[0], config.dense_sigma[1] * self.spacing * coarser, config.dense_steps)
        maps["dense"], history = anneal("dense", 1, dense, fit, maps["affine"], sigmas)
        self.history.extend(history)
        unit = self.spacing * self._thinned(config.sparse_points)
        sigmas = [sigma * unit for sigma in falling(*config.sparse_sigma, config.sparse_steps)]
        maps["sparse"], history = anneal("sparse", 0, self._last, fit, maps["dense"], sigmas, self._basis)
        self.history.extend(history)
        return maps

    def learned(self, model: GeoReg) -> Tensor:
        """The map that a trained model gives."""
        seen, spacing = self._last, self.spacing * self._thinned(self.config.sparse_points)
        return network_map(model, seen.fixed, seen.moving, spacing, self.fit)

    def fuse(self, maps: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """One map of several, and by what share of the points each was followed; see :class:`Fusion`."""
        seen = self._last
        fusion = Fusion(seen.fixed, seen.moving, self.spacing, self.fit, self.config, self._voters, self._basis)
        theta, followed = fusion(list(maps.values()))
        return theta, dict(zip(maps, followed, strict=True))

    def vote(self, place: Tensor, learned: bool = False) -> Matches:
        """Lets neighbours vote on the matches, by hand or by what was learned, with the fixed points at ``place``."""
        seen, config = self._last, self.config
        voters = self._voters[:, :VOTERS] if learned else self._voters
        ballot = Ballot.of(seen.fixed, place, seen.moving, self.spacing, config, voters)
        if not learned:
            return Matches(ballot.candidates, vote_by_agreement(ballot, config.passes).double())
        with torch.no_grad():
            return Matches(ballot.candidates, vote_by_scorer(ballot, load_vote_scorer(), PASSES)[-1].double())

    def vote_again(self, votes: Matches) -> Matches:
        """A learned vote about the map that is fitted to an earlier one."""
        return self.vote(self.closing.place(self.closing.through(votes, self._last.moving.points)), learned=True)

    def settle(self, theta: Tensor) -> Tensor:
        """A few EM steps at the last standard deviation, and, where there are matches, the fit whose stiffness they choose."""
        sigmas = [self._sigma] * self.config.settle_steps
        theta, history = anneal("settle", 0, self._last, self.fit, theta, sigmas, self._basis)
        self.history.extend(history)
        found = self._last(self.place(theta), self._sigma)
        if float(found.weight.sum()) < FEWEST:
            return theta
        rows = self.fit.pinned(self._basis, found.target - self._last.fixed.points, found.weight, WORTH)
        return evidence_fit(self.fit, *rows, NOISES * self.spacing).theta

    def closed(self, votes: Matches) -> KernelTransform:
        """The fit to what was voted."""
        return self.closing.fine.transform(self.closing.through(votes, self._last.moving.points))

    def reconcile(self, votes: Matches) -> KernelTransform:
        """The fit to what was voted, then to an assignment among the same candidates, the vote counting beside the distance."""
        fit, sigma = self.closing, self._sigma
        theta = fit.through(votes, self._last.moving.points)
        found = self._last(fit.place(theta), sigma, votes)
        if float(found.weight.sum()) >= FEWEST:
            theta = fit(found.target, found.weight)
        self.history.append(HistoryEntry("settle", 0, 0, found.loss + self.fixed.points.shape[1] * math.log(sigma)))
        return fit.fine.transform(theta)

    @property
    def takes_votes(self) -> bool:
        """Whether neighbours vote on the matches."""
        return self.config.voting != "none" and not self.is_dense

    @property
    def is_dense(self) -> bool:
        """Whether subsets of the clouds cannot be expected to share points, so that the fine stage takes the place of votes."""
        sizes = len(self.fixed), len(self.moving)
        return min(sizes) >= self.config.fine_from and max(sizes) > self.config.sparse_points

    def fine(self, transform: KernelTransform) -> KernelTransform:
        """Adds the detail that dense clouds show; others keep their map."""
        config = self.config
        if min(len(self.fixed), len(self.moving)) < config.fine_from:
            return transform
        fixed, moving = self.fixed.subset(config.fine_points), self.moving.subset(config.fine_points)
        spacing = (fixed.spacing() + moving.spacing()) / 2
        (wide, narrow), (begin, end) = config.fine_widths, config.fine_sigma
        widths, sigmas = (wide, narrow * spacing), (begin, end * spacing)
        schedule = FineSchedule.between(widths, sigmas, config.fine_steps, config.outliers)
        detail, history = refine(fixed, moving, transform, schedule)
        self.history.extend(history)
        return replace(transform, detail=detail)

    def near(self, transform: KernelTransform) -> Matches:
        """Matches of all fixed points by their distance alone, for clouds of which only a part has voted."""
        config = self.config
        assigner = Assigner(self.fixed, self.moving, config.outliers, config.feature_sigma, config.neighbors)
        return assigner.near(transform(self.fixed.points), self._sigma)

    def _coarser(self, num: int) -> float:
        """How much larger the spacing of a subset of ``num`` fixed points is."""
        return float(max(1.0, len(self.fixed) / num) ** (1 / self.fixed.points.shape[1]))

    def _thinned(self, num: int) -> float:
        return self._coarser(num) if self.is_dense else 1.0

    @property
    def _sigma(self) -> float:
        return self.config.sparse_sigma[-1] * self.spacing

    @cached_property
    def _last(self) -> Assigner:
        return self._assigner(self.config.sparse_points, self.config.neighbors)

    @cached_property
    def _voters(self) -> Tensor:
        return nearest_others(self._last.fixed.points, self.config.voters)

    @cached_property
    def _basis(self) -> Tensor:
        return self.fit.basis(self._last.fixed.points)

    def place(self, theta: Tensor) -> Tensor:
        """Where a map carries the fixed points that are looked at last."""
        return self._last.fixed.points + self._basis @ theta

    def _assigner(self, num: int, neighbors: int | None = None) -> Assigner:
        most = num if neighbors else 2 * num
        return Assigner(
            self.fixed.subset(num), self.moving.subset(most), self.config.outliers, self.config.feature_sigma, neighbors
        )

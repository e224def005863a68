"""E-steps: how likely each moving point is which fixed one, or none."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.graph import knn
from geogrid.optimize.points.cloud import OrderedCloud
from geogrid.optimize.points.matches import Matches

FAINTEST = -50.0
"""Least exponent of a likelihood: fainter ones would be denormal numbers, which processors multiply slowly."""
LEAST_VOTE = 1e-3
"""Added to a vote before it is weighed against distance."""


@dataclass(frozen=True, eq=False)
class Assignment:
    """What the soft assignment says about each fixed point.

    Args:
        weight: ``(num_fixed,)`` how many moving points it stands for.
        target: ``(num_fixed, dim)`` their mean position.
        loss: mean negative log-likelihood of the moving points, up to a constant.
    """

    weight: Tensor
    target: Tensor
    loss: float


@dataclass(frozen=True, eq=False)
class Assigner:
    r"""Soft assignment of moving points to fixed ones, with an outlier class.

    .. math:: p_{ij} = \frac{\ell_{ij}}{\omega + \sum_k \ell_{kj}}, \qquad
        \ell_{ij} = \exp(-|T(x_i) - y_j|^2 / 2 \sigma^2 - |f_i - g_j|^2 / 2 \sigma_f^2)

    Args:
        fixed: the fixed points.
        moving: the moving points.
        outliers: the weight :math:`\omega`.
        feature_sigma: :math:`\sigma_f`.
        neighbors: how many moving points near a fixed one are looked at; None: all.

    Reference:
        Myronenko and Song, "Point Set Registration: Coherent Point Drift", IEEE TPAMI 32(12), 2010.
    """

    fixed: OrderedCloud
    moving: OrderedCloud
    outliers: float
    feature_sigma: float = 1.0
    neighbors: int | None = None

    def __call__(self, place: Tensor, sigma: float, votes: Matches | None = None) -> Assignment:
        r"""The assignment when the fixed points are at ``place``, ``(num_fixed, dim)``.

        With votes it is among their candidates, and :math:`\ell_{ij}` is multiplied by the root of the vote.
        """
        if self.neighbors is None and votes is None:
            return self._among_all(place, sigma)
        return self._among_near(place, sigma, votes)

    def _among_all(self, place: Tensor, sigma: float) -> Assignment:
        middle = self.moving.middle
        here, there = ((part - middle).float() / sigma for part in (place, self.moving.points))
        cost = torch.addmm(there.square().sum(1)[None], here, there.T, alpha=-2).add_(here.square().sum(1)[:, None])
        if self.fixed.features is not None and self.moving.features is not None:
            cost += torch.cdist(self.fixed.features, self.moving.features).square_().div_(self.feature_sigma**2)
        likely = cost.mul_(-0.5).clamp_(FAINTEST, 0).exp_()
        total = likely.sum(0) + self.outliers
        sums = (torch.cat([there.T, torch.ones_like(total)[None]]) / total @ likely.T).T.double()
        weight = sums[:, -1]
        target = sums[:, :-1] * sigma / weight.clamp_min(1e-12)[:, None] + middle
        return Assignment(weight, target, -float(total.log().mean()))

    def _among_near(self, place: Tensor, sigma: float, votes: Matches | None) -> Assignment:
        found, total = self._shares(place, sigma, votes)
        return Assignment(found.support, found.target(self.moving.points), -float(total.log().mean()))

    def near(self, place: Tensor, sigma: float) -> Matches:
        """The probabilities of the near candidates themselves."""
        return self._shares(place, sigma)[0]

    def _shares(self, place: Tensor, sigma: float, votes: Matches | None = None) -> tuple[Matches, Tensor]:
        points = self.moving.points
        if votes is None:
            table = knn(points, place, min(self.neighbors or len(points), len(points))).index
        else:
            table = votes.candidates
        cost = (points[table] - place[:, None]).square().sum(-1) / sigma**2
        likely = torch.exp(-0.5 * (cost + feature_cost(self.fixed, self.moving, table, self.feature_sigma)))
        if votes is not None:
            likely = likely * (votes.shares + LEAST_VOTE).sqrt()
        total = likely.new_zeros(len(points)).index_add_(0, table.flatten(), likely.flatten()) + self.outliers
        return Matches(table, likely / total[table]), total


def feature_cost(fixed: OrderedCloud, moving: OrderedCloud, table: Tensor, sigma: float) -> Tensor:
    r""":math:`|f_i - g_j|^2 / \sigma_f^2` of a table of moving rows per fixed point; 0 without features."""
    if fixed.features is None or moving.features is None:
        return torch.zeros(table.shape, dtype=torch.float64)
    return (moving.features[table] - fixed.features[:, None]).double().square().sum(-1) / sigma**2

"""The last fits: a finer family of maps, once matches are sure enough to carry it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from geogrid.optimize.points.evidence import evidence_fit
from geogrid.optimize.points.fit import SmoothFit
from geogrid.optimize.points.matches import Matches
from geogrid.optimize.points.pins import WORTH

NOISES = 0.03 * 2.0 ** (torch.arange(10, dtype=torch.float64) / 2)
"""Standard deviations of matches that are tried, in spacings."""


@dataclass(frozen=True, eq=False)
class ClosingFit:
    """Fits a fine family of maps with the noise and the stiffness that a coarse one finds likeliest.

    Trying all of them costs an eigenvalue problem, which grows with the cube of the number of control points, while the answer
    hardly depends on it: what is tried on few control points serves many.

    Args:
        coarse: what noise and stiffness are chosen with.
        fine: what the map is made of.
        points: ``(num_points, dim)`` the fixed points.
        basis: rows of ``coarse`` at the points.
        spacing: of the points, the unit of the noise.
    """

    coarse: SmoothFit
    fine: SmoothFit
    points: Tensor
    basis: Tensor
    spacing: float

    @cached_property
    def fine_basis(self) -> Tensor:
        """Rows of the fine family at the points."""
        return self.fine.basis(self.points)

    def __call__(self, target: Tensor, weight: Tensor) -> Tensor:
        """Coefficients of the fine family.

        Args:
            target: ``(num_points, dim)`` where the points belong.
            weight: ``(num_points,)`` how much that counts, 0 to 1.
        """
        shift = target - self.points
        rows = self.coarse.pinned(self.basis, shift, weight, WORTH)
        found = evidence_fit(self.coarse, *rows, NOISES * self.spacing)
        precision = 1 / (found.noise**2 * found.stiffness)
        return self.fine.solve(self.fine_basis, shift, weight * precision, WORTH * precision)

    def through(self, votes: Matches, moving: Tensor) -> Tensor:
        """The same to what was voted."""
        return self(votes.target(moving), votes.support)

    def place(self, theta: Tensor) -> Tensor:
        """Where a map of the fine family carries the points."""
        return self.points + self.fine_basis @ theta

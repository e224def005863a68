"""The fine stage: a displacement on a lattice, driven by near neighbours of dense clouds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.graph import knn
from geogrid.optimize.history import HistoryEntry
from geogrid.optimize.points.anneal import falling
from geogrid.optimize.points.cloud import FAR, OrderedCloud
from geogrid.spatial import Grid
from geogrid.spatial.lattice import apply_per_axis, inherit
from geogrid.spatial.sampling import lattice_corners
from geogrid.transforms import DisplacementField, KernelTransform, jacobian_determinant

MARGIN = 0.3
"""Of the lattice around the fixed points, in radii."""
MOST_NODES = 2_000_000
"""A lattice with more points than this is made coarser."""
STILL = 0.05
"""Weight of no motion against the median weight of the matches around a point."""
LEAST_VOLUME = 0.1
"""Where a step would bring the change of volume below this share of the affine map's, it is not made."""
COARSE = 3
"""Lattice points from one place where the smooth map is looked up to the next."""
TRIALS = 6
"""How often a step is taken back a width around places that fold; as often again in twice, four times, ... that width."""


@dataclass(frozen=True, eq=False)
class FineLattice:
    """Where the displacement is known, and the fixed points in its terms.

    Args:
        grid: the lattice.
        corners: ``(num_points, 2**dim)`` lattice points around each fixed point.
        shares: of the same shape, their weights.
    """

    grid: Grid
    corners: Tensor
    shares: Tensor

    @classmethod
    def around(cls, points: Tensor, step: float) -> FineLattice:
        """A lattice around points with about the spacing ``step``."""
        near = points[points.norm(dim=1) <= FAR]
        near = near if len(near) else points
        low, high = near.amin(0) - MARGIN, near.amax(0) + MARGIN
        dim = points.shape[1]
        step = max(step, float((high - low).prod() / MOST_NODES) ** (1 / dim))
        affine = torch.diag(torch.tensor([step] * dim + [1.0], dtype=torch.float64))
        affine[:-1, -1] = low
        shape = tuple(math.ceil(extent / step) + 1 for extent in (high - low).tolist())
        grid = Grid(shape, affine)
        return cls(grid, *lattice_corners(grid.world_to_index(points), shape))

    def gather(self, values: Tensor) -> Tensor:
        """Values ``(channels, *shape)`` at the points, ``(num_points, channels)`` float64."""
        flat = values.flatten(1).T.double()
        return torch.stack([(flat[:, c][self.corners] * self.shares).sum(1) for c in range(flat.shape[1])], 1)

    def spread(self, values: Tensor) -> Tensor:
        """Sums of what the points hold, ``(num_points, channels)`` to ``(channels, *shape)`` float32."""
        total = torch.zeros(values.shape[1], self.grid.num_points)
        for share, corner in zip(self.shares.float().T, self.corners.T, strict=True):
            total.index_add_(1, corner, (values.float() * share[:, None]).T)
        return total.view(-1, *self.grid.shape)

    def smooth(self, values: Tensor, width: float) -> Tensor:
        """Values ``(channels, *shape)`` under a Gaussian of standard deviation ``width``, nothing beyond the border."""
        step = float(self.grid.spacing[0])
        places = (torch.arange(n, dtype=torch.float32)[:, None] * step for n in self.grid.shape)
        return apply_per_axis([torch.exp(-0.5 * ((p - p.T) / width).square()) for p in places], values)


@dataclass(frozen=True, eq=False)
class Pull:
    """Where the matches pull the fixed points.

    Args:
        weight: ``(num_fixed, 1)`` of the matches, from either side.
        shift: ``(num_fixed, dim)`` weight times the mean displacement that is left.
        loss: mean negative log-likelihood of either side's points, up to a constant.
    """

    weight: Tensor
    shift: Tensor
    loss: float


def pull(place: Tensor, moving: Tensor, sigma: float, outliers: float, neighbors: int) -> Pull:
    r"""Soft nearest neighbours both ways: of the fixed points among the moving ones and the other way round.

    Each point of either side shares its vote among its nearest partners by :math:`\exp(-r^2 / 2 \sigma^2)` against the
    outlier weight, so that no part of either cloud is left without a say.
    """
    there = knn(moving, place, min(neighbors, len(moving))).index
    back = knn(place, moving, min(neighbors, len(place))).index
    forward, backward = moving[there] - place[:, None], moving[:, None] - place[back]
    shares, total = zip(*(_shares(offset, sigma, outliers) for offset in (forward, backward)), strict=True)
    weight = shares[0].sum(1, keepdim=True)
    weight = weight.index_add(0, back.flatten(), shares[1].reshape(-1, 1))
    shift = (shares[0][..., None] * forward).sum(1)
    shift = shift.index_add(0, back.flatten(), (shares[1][..., None] * backward).flatten(0, 1))
    return Pull(weight, shift, -sum(float(part.log().mean()) for part in total) / 2)


def refine(
    fixed: OrderedCloud, moving: OrderedCloud, start: KernelTransform, schedule: FineSchedule
) -> tuple[DisplacementField, list[HistoryEntry]]:
    r"""A displacement to be added to a smooth map, found at falling length scales.

    Each step smooths the pull of the matches, as regression with a Gaussian kernel of width :math:`l`,

    .. math:: \delta u = \frac{G_l * \sum_i w_i r_i \delta_{x_i}}{G_l * \sum_i w_i \delta_{x_i} + \epsilon} ,

    and adds it to what was found so far; :math:`l` and the standard deviation of the assignment fall together. Where a step
    would fold space it is not made.

    Args:
        fixed: points, centred on their middle, in radii.
        moving: points in the same frame.
        start: the smooth map.
        schedule: scales and steps.

    Returns:
        The displacement on a lattice around the fixed points, and the loss at each step.
    """
    lattice = FineLattice.around(fixed.points, schedule.widths[-1])
    guard = FoldGuard.of(lattice, start)
    base = start(fixed.points)
    total = torch.zeros(fixed.points.shape[1], *lattice.grid.shape)
    place, history = base, []
    for step, (width, sigma) in enumerate(zip(schedule.widths, schedule.sigmas, strict=True)):
        found = pull(place, moving.points, sigma, schedule.outliers, schedule.neighbors)
        both = lattice.smooth(lattice.spread(torch.cat([found.weight, found.shift], 1)), width)
        weight, shift = both.split([1, len(total)])
        quiet = STILL * float(lattice.gather(weight).median())
        total = guard.add(total, shift / (weight + max(quiet, 1e-12)), width)
        place = base + lattice.gather(total)
        history.append(HistoryEntry("fine", 0, step, found.loss + len(total) * math.log(sigma)))
    return DisplacementField(total.movedim(0, -1).contiguous(), lattice.grid, outside="extend"), history


@dataclass(frozen=True, eq=False)
class FoldGuard:
    """Keeps the whole map from folding at the lattice points around the fixed points.

    Args:
        lattice: where.
        before: ``(dim, *shape)`` displacement of the smooth map.
        touched: ``(*shape)`` lattice points that have a fixed point beside them.
        least: change of volume that is allowed.
    """

    lattice: FineLattice
    before: Tensor
    touched: Tensor
    least: float

    @classmethod
    def of(cls, lattice: FineLattice, start: KernelTransform) -> FoldGuard:
        """The guard of what is added to a smooth map."""
        grid = lattice.grid
        coarse = grid.pool((COARSE,) * grid.dim)
        nodes = coarse.points().double()
        before = inherit((start(nodes) - nodes).float().T.reshape(grid.dim, *coarse.shape), coarse, grid)
        touched = torch.zeros(grid.num_points, dtype=torch.bool)
        touched[lattice.corners.flatten()] = True
        return cls(lattice, before, touched.view(grid.shape), LEAST_VOLUME * float(torch.linalg.det(start.affine.linear)))

    def add(self, total: Tensor, step: Tensor, width: float) -> Tensor:
        """The displacement after a step, without the step at places that it would fold and a ``width`` around them.

        Places that are left after some trials are cleared more and more widely: giving the whole step up for the sake of one of
        them would make the answer depend on rounding.
        """
        was_bad = self.folds(total)
        for trial in range(2 * TRIALS):
            bad = self.folds(total + step) & ~was_bad
            if not bool(bad.any()):
                return total + step
            reach = width * 2.0 ** max(0, trial + 1 - TRIALS)
            step = step * (1 - self.lattice.smooth(bad[None].float(), reach).clamp(0, 1))
        return total

    def folds(self, total: Tensor) -> Tensor:
        """Which touched lattice points lose too much volume."""
        field = DisplacementField((self.before + total).movedim(0, -1), self.lattice.grid, outside="extend")
        return (jacobian_determinant(field) < self.least) & self.touched


@dataclass(frozen=True)
class FineSchedule:
    """Scales of the fine stage, one entry per step.

    Args:
        widths: of the kernel that smooths.
        sigmas: of the assignment.
        outliers: weight of the outlier class.
        neighbors: partners among which a point's vote is shared.
    """

    widths: list[float]
    sigmas: list[float]
    outliers: float = 0.15
    neighbors: int = 4

    @classmethod
    def between(cls, widths: tuple[float, float], sigmas: tuple[float, float], steps: int, outliers: float) -> FineSchedule:
        """Scales that fall geometrically."""
        return cls(falling(*widths, steps), falling(*sigmas, steps), outliers)


def _shares(offset: Tensor, sigma: float, outliers: float) -> tuple[Tensor, Tensor]:
    likely = torch.exp(offset.square().sum(-1) * (-0.5 / sigma**2))
    total = likely.sum(1, keepdim=True) + outliers
    return likely / total, total

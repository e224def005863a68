"""Fusion of proposals: right where any of them is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geogrid.optimize import register_points
from geogrid.optimize.points.ballot import nearest_others
from geogrid.optimize.points.cloud import OrderedCloud
from geogrid.optimize.points.config import PointsConfig
from geogrid.optimize.points.fit import SmoothFit
from geogrid.optimize.points.fusion import Fusion
from tests.optimize.points.clouds import scattered

CONFIG = PointsConfig()


def problem(dim: int, kept: float = 0.8) -> tuple[Fusion, Tensor]:
    """A fusion for points and their copies moved by a wave, some missing on each side; and where the points truly belong."""
    points = (scattered(dim, 500) - 50) / 40
    moved = points + 0.1 * torch.sin(2 * points.roll(1, dims=1))
    draw = torch.Generator().manual_seed(4)
    chosen = [torch.rand(len(points), generator=draw) < kept for _ in range(2)]
    fixed, moving = OrderedCloud.of(points[chosen[0]]), OrderedCloud.of(moved[chosen[1]])
    fit = SmoothFit(fixed.spread_points(200), CONFIG.widths, CONFIG.amplitudes)
    voters, basis = nearest_others(fixed.points, CONFIG.voters), fit.basis(fixed.points)
    return Fusion(fixed, moving, fixed.spacing(), fit, CONFIG, voters, basis), moved[chosen[0]][fixed.order]


def fitted(fusion: Fusion, target: Tensor) -> Tensor:
    points = fusion.fixed.points
    return fusion.fit.solve(fusion.fit.basis(points), target - points, torch.full((len(points),), 1e4, dtype=torch.float64))


def error(fusion: Fusion, theta: Tensor, truth: Tensor) -> Tensor:
    """Distance of each point from where it belongs, in spacings."""
    points = fusion.fixed.points
    return (points + fusion.fit.basis(points) @ theta - truth).norm(dim=1) / fusion.spacing


@pytest.mark.parametrize("dim", [2, 3])
def test_each_point_follows_the_proposal_that_is_right_about_it(dim: int):
    fusion, truth = problem(dim)
    along = fusion.fixed.points[:, 0]
    wrong = torch.zeros(dim, dtype=torch.float64)
    wrong[-1] = 4 * fusion.spacing
    left, right = (fitted(fusion, truth + torch.sigmoid(side * along / 0.05)[:, None] * wrong) for side in (1, -1))
    far = along.abs() > 0.3
    for proposal in (left, right):
        assert float((error(fusion, proposal, truth)[far] > 1).double().mean()) == pytest.approx(0.5, abs=0.1)
        if dim == 2:  # in 3-D the sure half carries the other along
            assert float((error(fusion, fusion([proposal])[0], truth)[far] > 1).double().mean()) > 0.1
    for both in ([left, right], [right, left]):
        assert float(error(fusion, fusion(both)[0], truth)[far].max()) < 0.5


@pytest.mark.parametrize("dim", [2, 3])
def test_a_right_map_stays_right_beside_a_wrong_one(dim: int):
    fusion, truth = problem(dim)
    right, wrong = fitted(fusion, truth), fitted(fusion, truth + 3 * fusion.spacing)
    assert float(error(fusion, fusion([right])[0], truth).mean()) < 0.1
    assert fusion([wrong, right])[1] == pytest.approx([0.0, 1.0], abs=0.02)
    torch.testing.assert_close(fusion([wrong, right])[0], fusion([right])[0], rtol=0.05, atol=0.05)


def test_no_rounds_leave_the_last_map_alone():
    fixed = scattered(2, 120)
    moved = fixed + 3 * torch.sin(fixed.roll(1, dims=1) / 30)
    plain, fused = (register_points(fixed, moved, PointsConfig(fusion_rounds=rounds)) for rounds in (0, 2))
    assert plain.followed == {"sparse": 1.0}
    assert set(fused.followed) == {"affine", "dense", "sparse"}
    assert float((plain.transform(fixed) - moved).norm(dim=1).mean()) < 0.5
    assert float((fused.transform(fixed) - moved).norm(dim=1).mean()) < 0.5

"""The fits to what was voted."""

from __future__ import annotations

import pytest
import torch

from geogrid.optimize.points.closing import NOISES, ClosingFit
from geogrid.optimize.points.evidence import evidence_fit
from geogrid.optimize.points.fit import SmoothFit
from geogrid.optimize.points.matches import Matches
from geogrid.optimize.points.pins import WORTH, Pins
from tests.optimize.points.clouds import mean_error, scattered

COARSE, FINE = ((0.2, 0.4), (0.1, 0.3)), ((0.1, 0.3, 1.0), (0.02, 0.05, 0.3))


def _points(count: int = 300) -> torch.Tensor:
    return scattered(2, count) / 50 - 1


def _ripple(points: torch.Tensor) -> torch.Tensor:
    return points + 0.02 * torch.sin(points.roll(1, dims=1) * 12) + 0.1


def _closing(points: torch.Tensor, fine: SmoothFit, pins: Pins | None = None) -> ClosingFit:
    coarse = SmoothFit(points[::15], *COARSE, pins)
    return ClosingFit(coarse, fine, points, coarse.basis(points), 0.1)


@pytest.mark.parametrize("pinned", [False, True])
def test_with_one_family_it_is_the_fit_by_evidence(pinned):
    points, draw = _points(), torch.Generator().manual_seed(0)
    target = _ripple(points) + 0.01 * torch.randn(points.shape, generator=draw, dtype=torch.float64)
    weight = torch.rand(len(points), generator=draw, dtype=torch.float64)
    pins = Pins(points[:5], torch.full((5, 2), 0.2, dtype=torch.float64), 0.01) if pinned else None
    coarse = SmoothFit(points[::15], *COARSE, pins)
    closing = _closing(points, coarse, pins)
    rows = coarse.pinned(closing.basis, target - points, weight, WORTH)
    expected = points + closing.basis @ evidence_fit(coarse, *rows, NOISES * 0.1).theta
    torch.testing.assert_close(closing.place(closing(target, weight)), expected, rtol=0, atol=1e-4)


def test_a_finer_family_follows_finer_motion():
    points, weight = _points(), torch.ones(300, dtype=torch.float64)
    fine = _closing(points, SmoothFit(points, *FINE))
    coarse = _closing(points, fine.coarse)
    off = [mean_error(fit.place(fit(_ripple(points), weight)), _ripple(points)) for fit in (coarse, fine)]
    assert off[1] < 0.7 * off[0]


def test_votes_are_fitted_by_their_mean_and_their_sum():
    points = _points()
    closing = _closing(points, SmoothFit(points[::3], *FINE))
    moving, draw = _ripple(points), torch.Generator().manual_seed(1)
    candidates = torch.stack([torch.arange(300), torch.arange(300).roll(1)], 1)
    votes = Matches(candidates, 0.5 * torch.rand(300, 2, generator=draw, dtype=torch.float64))
    mean = (votes.shares[..., None] * moving[candidates]).sum(1) / votes.shares.sum(1)[:, None]
    torch.testing.assert_close(closing.through(votes, moving), closing(mean, votes.shares.sum(1)))

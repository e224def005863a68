"""The fine stage: dense clouds that were sampled each by itself."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch

from geogrid.data.point_shapes import random_shape
from geogrid.errors import GeogridWarning
from geogrid.graph import knn
from geogrid.optimize import PointsConfig, register_points
from geogrid.optimize.points import fine
from geogrid.optimize.points.fine import FineLattice, FoldGuard, pull
from geogrid.transforms import AffineTransform, KernelTransform
from tests.optimize.points.clouds import mean_error, scattered, wave

SMALL = PointsConfig(fine_from=500, sparse_points=500, dense_points=300, control_points=60, fine_steps=12)


def curves(count: int, seed: int) -> torch.Tensor:
    """Points along ten wavy lines, at random places of them."""
    generator = torch.Generator().manual_seed(seed)
    along = 100 * torch.rand(count, generator=generator, dtype=torch.float64)
    line = torch.randint(10, (count,), generator=generator).double()
    return torch.stack([along, 10 * line + 3 * torch.sin(along / 8 + line)], 1)


def ripple(points: torch.Tensor) -> torch.Tensor:
    """Finer than the widths of the kernels."""
    return points + 1.5 * torch.sin(points.roll(1, dims=1) / 6)


def distance(points: torch.Tensor, curve: torch.Tensor) -> float:
    """Mean distance to the nearest point of a curve."""
    return mean_error(points, curve[knn(curve, points, 1).index[:, 0]])


def quietly(fixed, moving, config):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeogridWarning)
        return register_points(fixed, moving, config)


def test_detail_is_found_that_control_points_cannot_follow():
    fixed, moving, curve = curves(1500, 0), ripple(curves(1500, 1)), ripple(curves(20_000, 2))
    coarse = quietly(fixed, moving, replace(SMALL, fine_from=10_000, voting="none"))
    found = quietly(fixed, moving, SMALL)
    off = [distance(one.transform(fixed), curve) for one in (coarse, found)]
    assert coarse.transform.detail is None
    assert off[1] < 0.7 * off[0]
    assert found.history[-1].stage == "fine"


def test_detail_does_not_fold_space():
    fixed, moving = curves(1500, 0), ripple(ripple(curves(1500, 1)))
    transform = quietly(fixed, moving, SMALL).transform
    step = 0.05 * torch.eye(2, dtype=torch.float64)
    columns = [(transform(fixed + one) - transform(fixed - one)) / 0.1 for one in step]
    assert float(torch.linalg.det(torch.stack(columns, -1)).min()) > 0


def test_one_stubborn_place_does_not_cost_the_step_elsewhere(monkeypatch):
    """However few trials there are: a step that folds at one place is made where it does not."""
    monkeypatch.setattr(fine, "TRIALS", 1)
    points = scattered(2, 2000) / 100 - 0.5
    none = torch.zeros(0, 2, dtype=torch.float64)
    guard = FoldGuard.of(
        FineLattice.around(points, 0.05), KernelTransform(AffineTransform.identity(2), none, none, (1.0,), (1.0,))
    )
    step = torch.full((2, *guard.lattice.grid.shape), 0.01)
    middle = [n // 2 for n in step.shape[1:]]
    step[0, middle[0], middle[1]] -= 0.2
    total = guard.add(torch.zeros_like(step), step, 0.05)
    assert bool(guard.folds(step).any())
    assert not bool(guard.folds(total).any())
    torch.testing.assert_close(total[:, : middle[0] - 10], step[:, : middle[0] - 10])


def test_the_order_of_dense_points_changes_nothing():
    fixed, moving = curves(800, 0), ripple(curves(800, 1))
    order = torch.randperm(800, generator=torch.Generator().manual_seed(0))
    first, second = quietly(fixed, moving, SMALL), quietly(fixed[order], moving.flip(0), SMALL)
    torch.testing.assert_close(first.transform(fixed), second.transform(fixed), atol=1e-9, rtol=0)


def test_far_outliers_do_not_make_the_lattice_coarse():
    points = torch.cat([scattered(3, 200) / 100 - 0.5, torch.full((1, 3), 1e5, dtype=torch.float64)])
    assert float(FineLattice.around(points, 0.1).grid.spacing.max()) == pytest.approx(0.1)


def test_spread_and_gather_are_adjoint():
    lattice = FineLattice.around(scattered(3, 50) / 100, 0.2)
    values, there = (
        scattered(3, 50, seed=1) / 100,
        torch.randn(3, *lattice.grid.shape, generator=torch.Generator().manual_seed(0)),
    )
    expected = float((lattice.spread(values) * there).sum())
    assert float((lattice.gather(there) * values).sum()) == pytest.approx(expected, rel=1e-4)


def test_both_sides_pull():
    """A moving point that is nobody's nearest still draws its own nearest fixed point."""
    place = torch.tensor([[0.0, 0.0], [9.0, 0.0]], dtype=torch.float64)
    moving = torch.tensor([[0.1, 0.0], [9.0, 0.0], [0.0, -0.5]], dtype=torch.float64)
    found = pull(place, moving, sigma=0.5, outliers=0.1, neighbors=1)
    assert float(found.shift[0, 1]) < -0.2
    assert float(found.weight[0]) > float(found.weight[1])


@pytest.mark.slow
def test_many_points_on_a_known_warp():
    """Two samples of one tree, no point in both, above the number from which votes are not asked for."""
    generator = torch.Generator().manual_seed(0)
    tree = random_shape("tree", 5_000, 3, generator)
    rows = torch.randint(len(tree), (2, 22_000), generator=generator)
    fixed, other = (tree[part].double() + 0.7 * torch.randn(22_000, 3, generator=generator).double() for part in rows)
    found = quietly(fixed, wave(other), PointsConfig())
    assert mean_error(found.transform(fixed), wave(fixed)) < 0.25 * mean_error(fixed, wave(fixed))

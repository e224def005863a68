from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geogrid.transforms import (
    AffineTransform,
    DisplacementField,
    carry_points,
    compose,
    invert,
    invert_points,
    to_displacement,
)
from tests.spatial.cases import centered, make_grid
from tests.transforms.cases import ANGLES, make_wave, turn

SIZES = {2: (24, 20), 3: (14, 12, 10)}
SPACINGS = {2: (2.0, 3.0), 3: (4.0, 5.0, 6.0)}


class _Squeeze:
    """Along each axis ``x - 0.95 sin(k x) / k``: invertible, with derivatives between 0.05 and 1.95."""

    def __init__(self, dim: int, wavelength: float = 30.0) -> None:
        self.dim, self.k = dim, 2 * torch.pi / wavelength

    def __call__(self, points: Tensor) -> Tensor:
        return points - 0.95 * torch.sin(self.k * points) / self.k


@pytest.mark.parametrize("dim", [2, 3])
def test_a_turn_with_waves_is_inverted_and_the_residual_is_the_truth(dim: int):
    domain = centered(make_grid(SIZES[dim], SPACINGS[dim], ANGLES[dim]))
    transform = compose(make_wave(dim, 3.0, 60.0), turn(dim, 40.0))
    grid = centered(make_grid(SIZES[dim], SPACINGS[dim]))
    inverse, residual = invert(transform, grid, domain)
    points = grid.points()
    landed = transform(points + inverse.displacement.reshape(-1, dim))
    again = (landed - points).norm(dim=1).reshape(grid.shape)
    known = ~residual.isnan()
    assert 0.2 < known.float().mean() < 0.95
    assert residual[known].max() <= 1e-3
    torch.testing.assert_close(residual[known], again[known], atol=1e-5, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_the_residual_is_unknown_exactly_where_the_inverse_leaves_the_domain(dim: int):
    domain = make_grid((6, 5, 4)[:dim], (2.0,) * dim)
    grid = make_grid((12, 12, 12)[:dim], (1.5,) * dim, None, (-3.1,) * dim)
    transform = turn(dim, 30.0)
    _, residual = invert(transform, grid, domain)
    index = domain.world_to_index(transform.inverse()(grid.points()))
    outside = ((index < -0.5) | (index > torch.tensor(domain.shape) - 0.5)).any(1).reshape(grid.shape)
    assert 0 < outside.sum() < outside.numel()
    assert torch.equal(residual.isnan(), outside)


@pytest.mark.parametrize("dim", [2, 3])
def test_an_affine_map_has_its_exact_inverse(dim: int):
    grid = make_grid(SIZES[dim], SPACINGS[dim], ANGLES[dim])
    inverse, _ = invert(turn(dim), grid, grid)
    torch.testing.assert_close(inverse(grid.points()), turn(dim).inverse()(grid.points()), atol=2e-3, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_strong_compression_is_inverted(dim: int, generator: torch.Generator):
    wanted = 60 * torch.rand(2000, dim, generator=generator, dtype=torch.float64) - 30
    found = invert_points(_Squeeze(dim), _Squeeze(dim)(wanted), AffineTransform.identity(dim), tolerance=1e-4)
    assert found.residual.max() <= 1e-4
    assert (found.points - wanted).abs().max() <= 1e-4 / 0.05 * 1.1


class _Fold:
    """``(|x|, y)``: nothing lands left of zero."""

    dim = 2

    def __call__(self, points: Tensor) -> Tensor:
        return torch.stack([points[:, 0].abs(), points[:, 1]], 1)


def test_where_nothing_lands_the_residual_says_how_far_off_it_is():
    points = torch.tensor([[4.0, 1.0], [-3.0, 2.0]])
    found = invert_points(_Fold(), points, AffineTransform.identity(2))
    assert found.residual[0] <= 1e-3
    assert 3 <= found.residual[1] <= 3.5
    torch.testing.assert_close(found.residual, (_Fold()(found.points) - points).norm(dim=1))


def test_one_slice_can_be_inverted():
    grid = make_grid((16, 14, 1), (2, 2, 8))
    shift = AffineTransform(torch.tensor([[1.0, 0, 0, 3], [0, 1, 0, -2], [0, 0, 1, 0], [0, 0, 0, 1]]))
    inverse, _ = invert(to_displacement(shift, grid), grid, grid)
    torch.testing.assert_close(inverse.displacement[5, 5, 0], torch.tensor([-3.0, 2.0, 0.0]), atol=2e-3, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_points_are_carried_there_and_back(dim: int, generator: torch.Generator):
    grid = make_grid(SIZES[dim], SPACINGS[dim], ANGLES[dim])
    field = to_displacement(compose(make_wave(dim, 3.0, 60.0), turn(dim, 20.0)), grid)
    index = 2 + torch.rand(40, dim, generator=generator) * (torch.tensor(grid.shape) - 5)
    points = grid.index_to_world(index)
    there = carry_points(field, points)
    assert torch.equal(there.points, field(points))
    back = carry_points(field, there.points, inverse=True)
    assert (there.num_outside, back.num_outside) == (0, 0)
    torch.testing.assert_close(back.points, points, atol=5e-3, rtol=0)


def test_points_outside_stay_and_are_counted():
    grid = make_grid((10, 10), (1, 1))
    field = DisplacementField(torch.full((10, 10, 2), 3.0), grid)
    points = torch.tensor([[5.0, 5.0], [50.0, 5.0], [1.0, 1.0]])
    there = carry_points(field, points)
    assert there.points.tolist() == [[8, 8], [50, 5], [4, 4]]
    assert there.num_outside == 1
    back = carry_points(field, points, inverse=True)
    torch.testing.assert_close(back.points, torch.tensor([[2.0, 2.0], [50.0, 5.0], [1.0, 1.0]]), atol=1e-3, rtol=0)
    assert back.num_outside == 2

from __future__ import annotations

import math

import pytest
import torch

from geogrid.transforms import AffineTransform, fit_affine
from tests.spatial.cases import make_grid, refused
from tests.transforms.cases import ANGLES, SHAPES, SPACINGS, make_wave, stretch


def test_a_turn_and_a_shift_by_hand():
    quarter = AffineTransform(torch.tensor([[0.0, -1.0, 10.0], [1.0, 0.0, 20.0], [0.0, 0.0, 1.0]]))
    assert quarter(torch.tensor([[0.0, 0.0], [1.0, 2.0]])).tolist() == [[10, 20], [8, 21]]
    assert quarter.linear.tolist() == [[0, -1], [1, 0]]


@pytest.mark.parametrize("dim", [2, 3])
def test_inverse_both_ways(dim: int, generator: torch.Generator):
    points = 100 * torch.randn(20, dim, generator=generator, dtype=torch.float64)
    forward, backward = stretch(dim), stretch(dim).inverse()
    torch.testing.assert_close(backward(forward(points)), points, atol=1e-10, rtol=0)
    torch.testing.assert_close(forward(backward(points)), points, atol=1e-10, rtol=0)
    assert AffineTransform.identity(dim)(points).equal(points)


def test_points_keep_their_dtype():
    assert stretch(2)(torch.zeros(3, 2)).dtype == torch.float32
    assert stretch(2)(torch.zeros(3, 2, dtype=torch.float64)).dtype == torch.float64


def test_a_transform_does_not_share_its_matrix():
    matrix = torch.eye(3, dtype=torch.float64)
    transform = AffineTransform(matrix)
    matrix[0, -1] = 9
    assert transform(torch.zeros(1, 2)).tolist() == [[0, 0]]


def test_refuses():
    with refused("3x3 or 4x4", "(2, 2)"):
        AffineTransform(torch.eye(2))
    with refused("3x3 or 4x4", "(3, 4)"):
        AffineTransform(torch.zeros(3, 4))
    with refused("singular"):
        AffineTransform(torch.diag(torch.tensor([1.0, 0.0, 1.0])))
    with refused("non-finite"):
        AffineTransform(torch.diag(torch.tensor([1.0, math.inf, 1.0])))


@pytest.mark.parametrize("shape", [(9, 8), (40, 2), (7, 6, 8), (30, 3, 2)])
def test_fitting_an_affine_map_finds_it(shape: tuple[int, ...]):
    dim = len(shape)
    grid = make_grid(shape, SPACINGS[dim], ANGLES[dim], (50.0, -30.0, 20.0)[:dim])
    fitted = fit_affine(stretch(dim), grid)
    torch.testing.assert_close(fitted.matrix, stretch(dim).matrix, atol=2e-4, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_the_fit_is_the_least_squares_one(dim: int):
    grid = make_grid(SHAPES[dim], SPACINGS[dim], ANGLES[dim])
    wave, points = make_wave(dim, 2.0, 20.0), grid.points().double()
    miss = wave(points) - fit_affine(wave, grid)(points)
    assert miss.norm(dim=1).max() > 0.5
    assert miss.mean(0).abs().max() < 1e-4
    assert ((points - grid.center).T @ miss / len(points)).abs().max() < 1e-3


def test_one_slice_leaves_a_direction_open_and_that_stays():
    grid = make_grid((8, 7, 1), (2, 2, 5))
    fitted = fit_affine(AffineTransform(torch.diag(torch.tensor([1.2, 0.8, 1.0, 1.0]))), grid)
    torch.testing.assert_close(
        fitted.matrix, torch.diag(torch.tensor([1.2, 0.8, 1.0, 1.0], dtype=torch.float64)), atol=1e-5, rtol=0
    )

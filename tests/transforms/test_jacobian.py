from __future__ import annotations

import pytest
import torch
from hypothesis import given

from geogrid.spatial import Grid
from geogrid.transforms import AffineTransform, DisplacementField, jacobian_determinant, to_displacement
from tests.spatial.cases import flipped, grids, homogeneous, make_grid, permuted, rotation
from tests.transforms.cases import ANGLES, make_wave, stretch


def _double(transform, grid: Grid) -> DisplacementField:
    points = grid.index_to_world(grid.indices().double())
    return DisplacementField((transform(points) - points).reshape(*grid.shape, grid.dim), grid)


@given(grids(max_size=4).filter(lambda g: min(g.shape) > 1))
def test_affine_maps_have_their_determinant_everywhere(grid: Grid):
    expected = torch.linalg.det(stretch(grid.dim).linear)
    jacobian = jacobian_determinant(_double(stretch(grid.dim), grid))
    torch.testing.assert_close(jacobian, expected.expand(grid.shape), atol=1e-8, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_wave_has_its_formula_and_the_error_falls_with_the_square_of_the_spacing(dim: int):
    wave, errors = make_wave(dim, 2.0, 40.0), []
    for size, spacing in ((7, 4.0), (13, 2.0), (25, 1.0)):
        grid = make_grid((size,) * dim, (spacing,) * dim, ANGLES[dim])
        points = grid.index_to_world(grid.indices().double())
        expected = torch.linalg.det(wave.derivative(points)).reshape(grid.shape)
        inner = (slice(1, -1),) * dim
        errors.append(float((jacobian_determinant(_double(wave, grid)) - expected)[inner].abs().max()))
    assert errors[2] < 0.02
    assert 3 < errors[0] / errors[1] < 5
    assert 3 < errors[1] / errors[2] < 5


@pytest.mark.parametrize("dim", [2, 3])
def test_storage_changes_nothing(dim: int):
    wave, grid = make_wave(dim, 3.0, 20.0), make_grid((6, 5, 4)[:dim], (2, 3, 4)[:dim], ANGLES[dim])
    plain = jacobian_determinant(_double(wave, grid))
    for axis in range(dim):
        again = jacobian_determinant(_double(wave, flipped(grid, axis)))
        torch.testing.assert_close(again.flip(axis), plain)
    order = tuple(range(dim))[::-1]
    torch.testing.assert_close(jacobian_determinant(_double(wave, permuted(grid, order))), plain.permute(order))


def test_turning_the_world_changes_nothing():
    grid = make_grid((6, 5, 4), (2, 3, 4))
    wave = make_wave(3, 3.0, 20.0)
    motion = AffineTransform(homogeneous(rotation((50, 20, -70)), (10, 20, 30)))
    turned = _double(lambda x: motion(wave(motion.inverse()(x))), grid.transformed(motion.matrix))
    torch.testing.assert_close(jacobian_determinant(turned), jacobian_determinant(_double(wave, grid)))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("shrink", "expected"), [(0.4, 0.6), (1.0, 0.0), (1.5, -0.5)])
def test_sign_tells_folds(dim: int, shrink: float, expected: float):
    grid = make_grid((4, 5, 6)[:dim], (1, 2, 3)[:dim], ANGLES[dim])
    displacement = torch.zeros(*grid.shape, dim, dtype=torch.float64)
    displacement += -shrink * (grid.points().double() @ grid.frame[:, :1] * grid.frame[:, 0]).reshape(displacement.shape)
    jacobian = jacobian_determinant(DisplacementField(displacement, grid))
    torch.testing.assert_close(jacobian, torch.full(grid.shape, expected, dtype=torch.float64), atol=1e-5, rtol=0)


def test_an_axis_with_one_point_does_not_stretch():
    grid = make_grid((5, 4, 1), (1, 2, 3))
    scale = AffineTransform(torch.diag(torch.tensor([1.5, 2.0, 9.0, 1.0])))
    torch.testing.assert_close(jacobian_determinant(to_displacement(scale, grid)), torch.full((5, 4, 1), 3.0))


def test_no_motion_is_exactly_one():
    assert (jacobian_determinant(DisplacementField(torch.zeros(3, 4, 5, 3), make_grid((3, 4, 5), (1, 2, 3)))) == 1).all()

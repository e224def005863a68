"""Affine plus Gaussian kernels: values, symmetries, inverse."""

from __future__ import annotations

import math

import pytest
import torch

from geogrid.errors import GeogridError
from geogrid.transforms import AffineTransform, KernelTransform
from tests.spatial.cases import homogeneous, rotation

ANGLES = {2: (25.0,), 3: (25.0, -10.0, 40.0)}


def bumps(dim: int, size: float = 2.0) -> KernelTransform:
    draw = torch.Generator().manual_seed(dim)
    matrix = torch.eye(dim + 1, dtype=torch.float64)
    matrix[:-1, :-1] += 0.1 * torch.randn(dim, dim, generator=draw, dtype=torch.float64)
    matrix[:-1, -1] = 5.0
    centers = 40 * torch.rand(20, dim, generator=draw, dtype=torch.float64)
    coefficients = size * torch.randn(20, dim, generator=draw, dtype=torch.float64)
    return KernelTransform(AffineTransform(matrix), centers, coefficients, (8.0, 20.0), (0.5, 0.3))


def places(dim: int, count: int = 50) -> torch.Tensor:
    return 60 * torch.rand(count, dim, generator=torch.Generator().manual_seed(9), dtype=torch.float64) - 10


@pytest.mark.parametrize("dim", [2, 3])
def test_values_are_the_formula_written_out(dim: int) -> None:
    transform, points = bumps(dim), places(dim, 3)
    for point, found in zip(points, transform(points), strict=True):
        expected = transform.affine(point[None])[0]
        for center, alpha in zip(transform.centers, transform.coefficients, strict=True):
            squared = float((point - center).square().sum())
            expected = expected + (0.5 * math.exp(-squared / 128) + 0.3 * math.exp(-squared / 800)) * alpha
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dim", [2, 3])
def test_far_away_only_the_affine_part_is_left(dim: int) -> None:
    transform, far = bumps(dim), places(dim) + 1000
    torch.testing.assert_close(transform(far), transform.affine(far))


@pytest.mark.parametrize("dim", [2, 3])
def test_the_inverse_brings_points_back(dim: int) -> None:
    transform, points = bumps(dim, size=1.0), places(dim)
    found = transform.inverse_of(transform(points))
    assert float((found.points - points).norm(dim=1).max()) < 0.01
    assert float(found.residual.max()) < 1e-3


def test_the_inverse_is_as_good_in_metres() -> None:
    transform, points = bumps(3, size=1.0).scaled(1e-3), places(3) * 1e-3
    found = transform.inverse_of(transform(points))
    assert float((found.points - points).norm(dim=1).max()) < 1e-5


@pytest.mark.parametrize("dim", [2, 3])
def test_other_units_and_a_shifted_world_change_only_the_frame(dim: int) -> None:
    transform, points, offset = bumps(dim), places(dim), torch.arange(1.0, dim + 1)
    torch.testing.assert_close(transform.scaled(10.0)(10 * points), 10 * transform(points))
    torch.testing.assert_close(transform.shifted(offset)(points + offset), transform(points) + offset)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_turned_world_turns_centers_and_coefficients(dim: int) -> None:
    transform, points = bumps(dim), places(dim)
    turn = AffineTransform(homogeneous(rotation(ANGLES[dim]), (0.0,) * dim))
    affine = AffineTransform(turn.matrix @ transform.affine.matrix @ turn.inverse().matrix)
    turned = KernelTransform(affine, turn(transform.centers), turn(transform.coefficients), (8.0, 20.0), (0.5, 0.3))
    torch.testing.assert_close(turned(turn(points)), turn(transform(points)))


def test_type_follows_the_points_and_none_are_fine() -> None:
    assert bumps(2)(places(2).float()).dtype == torch.float32
    assert bumps(2)(torch.zeros(0, 2)).shape == (0, 2)


def test_many_points_in_chunks_are_the_same_points(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bumps(3)(places(3))
    monkeypatch.setattr("geogrid.transforms.kernel.CHUNK_ENTRIES", 60)
    torch.testing.assert_close(bumps(3)(places(3)), whole)


def test_parts_that_do_not_fit_are_refused() -> None:
    good = bumps(2)
    with pytest.raises(GeogridError, match="centers and coefficients"):
        KernelTransform(good.affine, good.centers, good.coefficients[:3], (1.0,), (1.0,))
    with pytest.raises(GeogridError, match="positive widths"):
        KernelTransform(good.affine, good.centers, good.coefficients, (1.0, 0.0), (1.0, 1.0))
    with pytest.raises(GeogridError, match="as many amplitudes"):
        KernelTransform(good.affine, good.centers, good.coefficients, (1.0, 2.0), (1.0,))

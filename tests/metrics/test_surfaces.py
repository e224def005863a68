"""Surface distances of shapes whose distance is known."""

from __future__ import annotations

import importlib
import math

import pytest
import torch

from geogrid.errors import GeogridError
from geogrid.metrics import SurfaceDistances, surface_distances


def _slab(shape: tuple[int, ...], first: int, last: int) -> torch.Tensor:
    labels = torch.zeros(shape, dtype=torch.int64)
    labels[first:last] = 3
    return labels


def _ball(radius: float) -> torch.Tensor:
    axes = torch.meshgrid(*[torch.arange(41.0)] * 3, indexing="ij")
    return (sum((a - 20) ** 2 for a in axes) <= radius**2).long()


def test_concentric_balls_are_their_radii_apart():
    found = surface_distances(_ball(9.2), _ball(14.2), (1, 1, 1), 1)
    assert found.hd95_mm == pytest.approx(5, abs=0.6)
    assert found.average_mm == pytest.approx(5, abs=0.3)


def test_scales_with_isotropic_spacing():
    one, three = (surface_distances(_ball(9), _ball(12), [s] * 3, 1) for s in (1.0, 3.0))
    assert three.hd95_mm == pytest.approx(3 * one.hd95_mm)
    assert three.average_mm == pytest.approx(3 * one.average_mm)


@pytest.mark.parametrize("axis", [0, 1])
def test_one_pixel_moves_by_its_spacing_in_2d(axis: int):
    fixed, warped = torch.zeros(2, 30, 30, dtype=torch.int64)
    fixed[15, 15] = 1
    warped[(17, 15) if axis == 0 else (15, 17)] = 1
    expected = 2 * (0.5, 4.0)[axis]
    assert surface_distances(fixed, warped, (0.5, 4.0), 1) == SurfaceDistances(expected, expected)


def test_spacing_may_be_a_tensor_and_order_does_not_matter():
    fixed, warped = _slab((20, 8, 6), 4, 10), _slab((20, 8, 6), 6, 13)
    found = surface_distances(fixed, warped, torch.tensor([2.0, 1.0, 1.0]), 3)
    assert found == surface_distances(warped, fixed, (2, 1, 1), 3)
    assert 0 < found.average_mm < found.hd95_mm == pytest.approx(6)


def test_equal_maps_and_other_labels():
    labels = _slab((12, 9), 2, 7)
    assert surface_distances(labels, labels, (1, 1), 3) == SurfaceDistances(0, 0)
    other = labels.clone()
    other[9:] = 5
    assert surface_distances(labels, other, (1, 1), 3) == SurfaceDistances(0, 0)
    assert surface_distances(labels, other, (1, 1), 5) == SurfaceDistances(math.inf, math.inf)


def test_refuses():
    labels = _slab((12, 9), 2, 7)
    with pytest.raises(GeogridError, match="label 8 is in neither"):
        surface_distances(labels, labels, (1, 1), 8)
    with pytest.raises(GeogridError, match="a spacing per axis"):
        surface_distances(labels, labels, (1, 1, 1), 3)
    with pytest.raises(GeogridError, match="warp the moving labels"):
        surface_distances(labels, labels[1:], (1, 1), 3)


def test_says_how_to_get_monai(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(GeogridError, match=r"pip install 'geogrid\[metrics\]'"):
        surface_distances(_slab((6, 6), 1, 3), _slab((6, 6), 1, 3), (1, 1), 3)

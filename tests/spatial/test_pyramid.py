"""Physical scales: which axes are pooled, and where the cells are."""

from __future__ import annotations

import pytest
import torch

from geogrid.spatial import Image, finest_scale, pool_image
from geogrid.spatial.pyramid import pool_factors, pool_values
from tests.spatial.cases import make_grid

ANGLES = {2: (25.0,), 3: (25.0, -10.0, 40.0)}


def test_only_axes_finer_than_the_scale_are_pooled():
    grid = make_grid((64, 64, 16), (1, 1, 4))
    spacings = [grid.pool(pool_factors(grid, scale)).spacing.tolist() for scale in (1, 2, 4, 8)]
    assert spacings == [[1, 1, 4], [2, 2, 4], [4, 4, 4], [8, 8, 8]]


def test_level_by_level_is_the_same_as_at_once():
    grid = make_grid((64, 48, 16), (1, 1, 4), ANGLES[3])
    image = Image(torch.rand(grid.shape, generator=torch.Generator().manual_seed(0)), grid)
    at_once = pool_image(image, 8.0)
    stepwise = pool_image(pool_image(pool_image(image, 2.0), 4.0), 8.0)
    torch.testing.assert_close(stepwise.data, at_once.data)
    assert stepwise.grid.same_space(at_once.grid)


def test_cells_never_exceed_the_axis():
    assert pool_factors(make_grid((3, 100), (1, 1)), 8.0) == (3, 8)
    assert pool_factors(make_grid((3, 100), (10, 0.6)), 1.0) == (1, 2)


@pytest.mark.parametrize(
    ("fixed", "moving", "expected"),
    [
        ((1, 1, 4), (1, 1, 1), 1.0),
        ((1, 1, 4), (2, 7, 2), 2.0),
        ((4, 0.9, 0.8), (0.5, 0.5, 0.5), 0.9),
        ((1, 3), (2, 1), 3.0),
    ],
)
def test_finest_scale_is_the_coarser_in_plane_spacing(fixed: tuple[float, ...], moving: tuple[float, ...], expected: float):
    shape = (4,) * len(fixed)
    assert finest_scale(make_grid(shape, fixed), make_grid(shape, moving)) == pytest.approx(expected)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_ramp_stays_a_ramp_in_full_cells(dim: int):
    grid = make_grid((11, 9, 5)[:dim], (1, 1.5, 3)[:dim], ANGLES[dim], (40, 7, -60)[:dim])
    slope = torch.tensor([0.3, -1.2, 0.7])[:dim]
    pooled = pool_image(Image((grid.points() @ slope).reshape(grid.shape), grid), 3.0)
    assert pooled.grid.shape == (4, 5, 5)[:dim]
    full = (slice(3), slice(4), slice(5))[:dim]
    expected = (pooled.grid.points() @ slope).reshape(pooled.grid.shape)
    torch.testing.assert_close(pooled.data[full], expected[full], atol=1e-3, rtol=0)


def test_cells_by_hand():
    values = torch.arange(15.0).reshape(3, 5)
    assert pool_values(values, (2, 2)).tolist() == [[3, 5, 6.5], [10.5, 12.5, 14]]
    assert pool_values(values, (1, 1)) is values


def test_an_image_on_its_scale_is_left_alone():
    image = Image(torch.rand(4, 5), make_grid((4, 5), (2, 2)))
    assert pool_image(image, 2.0).data is image.data
    assert pool_image(image, 2.9).grid.same_space(image.grid)

"""Thick slices split, and images seen through thick slices."""

from __future__ import annotations

import pytest
import torch

from geogrid.spatial import Grid, Image
from geogrid.spatial.pyramid import pool_values
from geogrid.spatial.slices import see_through, slice_parts, split_slices, split_weight
from tests.spatial.cases import make_grid

ANGLES = (20.0, -30.0, 50.0)


def _image(shape: tuple[int, ...], spacing: tuple[float, ...], seed: int = 0) -> Image:
    grid = make_grid(shape, spacing, ANGLES[: 1 if len(shape) == 2 else 3])
    return Image(torch.rand(shape, generator=torch.Generator().manual_seed(seed)), grid)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((6, 5, 4), (1.0, 1.0, 1.0)), ((6, 5, 4), (1.0, 1.2, 1.4)), ((6, 5, 4), (0.5, 1.0, 1.0)), ((8, 6), (1.0, 4.0))],
)
def test_nothing_is_split_where_no_slices_are_thick(shape: tuple[int, ...], spacing: tuple[float, ...]):
    image = _image(shape, spacing)
    assert split_slices(image, 0.5) is image
    assert see_through(image, image.grid, image.grid.spacing, 0.5) is image


def test_a_coarse_scale_splits_less():
    grid = make_grid((6, 5, 4), (1.0, 8.0, 1.0), ANGLES)
    assert [slice_parts(grid, scale) for scale in (0.5, 1.0, 2.0, 8.0)] == [(1, 8, 1), (1, 8, 1), (1, 4, 1), (1, 1, 1)]


def test_a_single_slice_stays_one():
    image = _image((6, 5, 1), (1.0, 1.0, 5.0))
    assert split_slices(image, 1.0) is image


def test_the_field_of_view_stays():
    image = _image((6, 5, 4), (1.0, 1.0, 4.0))
    split = split_slices(image, 1.0)
    assert split.grid.pool((1, 1, 4)).same_space(image.grid)


@pytest.mark.parametrize("parts", [2, 3, 4, 7])
def test_quadratic_profiles_are_read_exactly_inside(parts: int):
    grid = Grid((3, 3, 9), torch.diag(torch.tensor([1.0, 1.0, float(parts), 1.0])))
    height = lambda g: ((g.points()[:, 2] + 20).square() / 100 + g.points()[:, 0]).view(g.shape)  # noqa: E731
    split = split_slices(Image(height(grid), grid), 1.0)
    inner = slice(2 * parts, -2 * parts)
    torch.testing.assert_close(split.data[..., inner], height(split.grid)[..., inner], atol=1e-4, rtol=1e-4)


def test_values_keep_their_range_and_constants_stay():
    image = _image((6, 5, 4), (1.0, 1.0, 4.0))
    split = split_slices(image, 1.0)
    assert split.data.min() >= image.data.min()
    assert split.data.max() <= image.data.max()
    torch.testing.assert_close(
        split_slices(Image(torch.full((6, 5, 4), 3.0), image.grid), 1.0).data, torch.full((6, 5, 16), 3.0)
    )


def test_a_weight_is_split_with_its_image():
    weight = _image((6, 5, 4), (1.0, 1.0, 4.0))
    split = split_weight(weight, 1.0)
    assert split.grid == split_slices(weight, 1.0).grid
    torch.testing.assert_close(pool_values(split.data, (1, 1, 4)), weight.data)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_seen_through_slices_is_a_running_mean(factor: int):
    image = _image((6, 5, 12), (1.0, 1.0, 1.0))
    seen = see_through(image, image.grid.pool((1, 1, factor)), image.grid.spacing, 1.0)
    reach = factor // 2
    weight = torch.ones(2 * reach + 1)
    if factor % 2 == 0:
        weight[[0, -1]] = 0.5
    expected = (image.data.unfold(-1, 2 * reach + 1, 1) * weight).sum(-1) / factor
    torch.testing.assert_close(seen.data[..., reach : 12 - reach], expected, atol=1e-5, rtol=1e-5)


def test_slices_as_thick_as_what_is_seen_change_nothing():
    image = _image((6, 5, 12), (1.0, 1.0, 1.0))
    thick = image.grid.pool((1, 1, 4))
    assert see_through(image, thick, thick.spacing, 1.0) is image
    assert see_through(image, thick, image.grid.spacing, 1.0) is not image


def test_the_world_may_be_stored_in_another_order():
    image = _image((6, 5, 12), (1.0, 1.0, 1.0))
    slices = image.grid.pool((1, 1, 4))
    turned = Grid((12, 6, 5), slices.affine[:, [2, 0, 1, 3]])
    seen = [see_through(image, grid, image.grid.spacing, 1.0).data for grid in (slices, turned)]
    torch.testing.assert_close(*seen, atol=1e-5, rtol=1e-5)


def test_linear_images_look_the_same_through_slices():
    grid = make_grid((8, 9, 20), (1.0, 1.0, 1.0), ANGLES)
    image = Image((grid.points() @ torch.tensor([0.3, -0.2, 0.5])).view(grid.shape), grid)
    seen = see_through(image, make_grid((8, 9, 5), (1.0, 1.0, 4.0), ANGLES), grid.spacing, 1.0)
    torch.testing.assert_close(seen.data[..., 2:-2], image.data[..., 2:-2], atol=1e-4, rtol=1e-4)

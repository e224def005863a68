"""Which images show a part of something larger, and what is known beyond their borders."""

from __future__ import annotations

import pytest
import torch

from geogrid.spatial import Image
from geogrid.spatial.cut import background_of, is_cut, known_beyond
from tests.spatial.cases import centered, make_grid

DIMS = pytest.mark.parametrize("dim", [2, 3])
SHAPE = (18, 20, 16)


def _ball(dim: int, radius: float) -> Image:
    grid = centered(make_grid(SHAPE[:dim], (1.0, 1.2, 2.0)[:dim]))
    points = grid.index_to_world(grid.indices().double())
    return Image((points.norm(dim=1) < radius).float().reshape(grid.shape), grid)


@DIMS
def test_a_body_in_the_air_is_whole_and_one_that_fills_the_picture_is_cut(dim: int):
    assert not is_cut(_ball(dim, 7.0))
    assert is_cut(_ball(dim, 40.0))


@DIMS
def test_one_face_makes_no_cut(dim: int):
    image = _ball(dim, 7.0)
    image.data.select(0, 0).fill_(1)
    assert not is_cut(image)


@DIMS
def test_the_order_of_the_axes_does_not_matter(dim: int):
    for radius in (7.0, 10.0, 12.0, 40.0):
        image = _ball(dim, radius)
        axes = tuple(reversed(range(dim)))
        turned = centered(make_grid([image.grid.shape[a] for a in axes], (1.0,) * dim))
        assert is_cut(Image(image.data.permute(axes).flip(0), turned)) == is_cut(image)


def test_faint_noise_is_no_tissue():
    grid = make_grid((12, 14), (1.0, 1.0))
    noise = 0.09 * torch.rand(12, 14, generator=torch.Generator().manual_seed(0))
    assert not is_cut(Image(noise, grid))
    assert background_of(Image(noise, grid)).all()


def test_an_axis_of_one_slice_has_no_faces():
    values = torch.zeros(1, 9, 9)
    values[:, 3:6, 3:6] = 1
    assert not is_cut(Image(values, make_grid((1, 9, 9), (5.0, 1.0, 1.0))))
    assert not is_cut(Image(torch.ones(1, 1), make_grid((1, 1), (1.0, 1.0))))


def test_beyond_the_border_only_background_is_known():
    background = torch.ones(5, 5)
    background[:, -1] = 0
    position = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.4, 0.0], [-1.4, 0.0], [0.0, 3.0], [1.4, 3.0]])
    assert known_beyond(background, position).tolist() == [1, 1, 0, 1, 1, 0]

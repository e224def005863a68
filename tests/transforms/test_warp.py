from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geogrid.spatial import Grid, Image, sample_lattice
from geogrid.transforms import AffineTransform, compose, warp_image, warp_labels
from tests.spatial.cases import centered, flipped, homogeneous, make_grid
from tests.transforms.cases import make_wave, turn

SHAPES = {2: (13, 11), 3: (9, 8, 7)}


def _pair(dim: int) -> tuple[Grid, Grid]:
    """A fixed and a moving grid that overlap in part, differently spaced, turned and shaped."""
    turns = dim * (dim - 1) // 2
    fixed = make_grid((12, 14, 10)[:dim], (2.0, 1.5, 2.5)[:dim], [15.0] * turns)
    return centered(fixed), centered(make_grid(SHAPES[dim], (2.5, 2.0, 3.0)[:dim], [-25.0] * turns))


def _map(dim: int):
    return compose(make_wave(dim, 1.5, 30.0), turn(dim, 10.0))


def _inside(index: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return ((index >= -0.5) & (index < np.array(shape) - 0.5)).all(1)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("interpolation", "order"), [("linear", 1), ("nearest", 0)])
def test_equals_scipy(dim: int, interpolation: str, order: int):
    fixed, grid = _pair(dim)
    data = torch.rand(grid.shape, generator=torch.Generator().manual_seed(dim), dtype=torch.float64)
    points = fixed.index_to_world(fixed.indices().double())
    index = grid.world_to_index(_map(dim)(points)).numpy()
    expected = ndimage.map_coordinates(data.numpy(), index.T, order=order, mode="nearest")
    expected = np.where(_inside(index, grid.shape), expected, -7.0)
    warped = warp_image(Image(data, grid), _map(dim), fixed, interpolation, fill=-7.0)
    assert 0.1 < (expected == -7).mean() < 0.9
    np.testing.assert_allclose(warped.data.numpy().ravel(), expected, atol=2e-5)
    assert warped.grid is fixed


@pytest.mark.parametrize("dim", [2, 3])
def test_the_identity_changes_nothing(dim: int):
    grid = make_grid(SHAPES[dim], (2.0, 1.0, 3.0)[:dim], [30.0] * (dim * (dim - 1) // 2))
    image = Image(torch.rand(grid.shape, generator=torch.Generator().manual_seed(0)), grid)
    warped = warp_image(image, AffineTransform.identity(dim), grid)
    torch.testing.assert_close(warped.data, image.data, atol=2e-5, rtol=0)


def test_a_whole_voxel_shift_pulls_back():
    grid = make_grid((4, 3), (2, 2))
    image = Image(torch.arange(12).reshape(4, 3), grid)
    shift = AffineTransform(homogeneous(torch.eye(2, dtype=torch.float64), (2.0, 0.0)))
    warped = warp_image(image, shift, grid)
    assert warped.data.tolist() == [[3, 4, 5], [6, 7, 8], [9, 10, 11], [0, 0, 0]]
    assert warped.data.dtype == image.data.dtype


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_storage_of_the_moving_image_does_not_matter(axis: int):
    fixed, grid = _pair(3)
    data = torch.rand(grid.shape, generator=torch.Generator().manual_seed(4))
    plain = warp_image(Image(data, grid), _map(3), fixed).data
    other = warp_image(Image(data.flip(axis), flipped(grid, axis)), _map(3), fixed).data
    torch.testing.assert_close(plain, other, atol=2e-5, rtol=0)


def _one_hot_argmax(labels: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    values = labels.unique()
    shares = sample_lattice(torch.stack([(labels == v).double() for v in values]), index)
    return values[shares.argmax(0)]


@given(st.sampled_from([2, 3]), st.integers(0, 1000), st.sampled_from([torch.uint8, torch.int16, torch.int32, torch.int64]))
def test_labels_are_the_largest_linear_share(dim: int, seed: int, dtype: torch.dtype):
    fixed, grid = _pair(dim)
    labels = torch.randint(0, 4, grid.shape, generator=torch.Generator().manual_seed(seed)).to(dtype) * 50
    index = grid.world_to_index(_map(dim)(fixed.points()))
    inside = torch.from_numpy(_inside(index.numpy(), grid.shape))
    expected = torch.where(inside, _one_hot_argmax(labels, index.double()), 0).reshape(fixed.shape)
    warped = warp_labels(Image(labels, grid), _map(dim), fixed).data
    assert warped.dtype == dtype
    assert (warped != expected).sum() <= 1


def test_ties_go_to_the_smaller_label_whatever_the_storage():
    grid, shift = make_grid((2, 2), (2, 2)), AffineTransform(homogeneous(torch.eye(2, dtype=torch.float64), (1.0, 0.0)))
    for labels in ([[5, 9], [7, 3]], [[7, 3], [5, 9]]):
        warped = warp_labels(Image(torch.tensor(labels), grid), shift, make_grid((1, 2), (2, 2)))
        assert warped.data.tolist() == [[5, 3]]


def test_two_small_shares_of_one_label_beat_a_larger_one():
    labels = Image(torch.tensor([[1, 2], [2, 3]]), make_grid((2, 2), (1, 1)))
    place = AffineTransform(homogeneous(torch.eye(2, dtype=torch.float64), (0.4, 0.4)))
    assert warp_labels(labels, place, make_grid((1, 1), (1, 1))).data.tolist() == [[2]]


def test_labels_outside_are_zero():
    grid = make_grid((3, 3), (1, 1))
    far = AffineTransform(homogeneous(torch.eye(2, dtype=torch.float64), (2.6, 0.0)))
    assert warp_labels(Image(torch.full((3, 3), 4), grid), far, grid).data.abs().max() == 0

"""Reading between lattice points, against SciPy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geogrid.spatial import inside_lattice, sample_lattice
from geogrid.spatial.sampling import lattice_corners, normalization, sample_normalized

SHAPES = [(7, 5), (1, 6), (6, 1), (1, 1), (4, 5, 6), (1, 5, 6), (5, 1, 1), (4, 3, 1), (1, 1, 1)]


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def _values_and_index(shape: tuple[int, ...], count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    values = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
    reach = torch.tensor(shape) + 3.0
    return values, torch.rand(count, len(shape), generator=generator, dtype=torch.float64) * reach - 2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("interpolation", "order"), [("linear", 1), ("nearest", 0)])
def test_equals_scipy(shape: tuple[int, ...], interpolation: str, order: int):
    values, index = _values_and_index(shape)
    expected = [ndimage.map_coordinates(v, index.numpy().T, order=order, mode="nearest") for v in values.numpy()]
    read = sample_lattice(values, index, interpolation).numpy()
    np.testing.assert_allclose(read, np.stack(expected), atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_lattice_points_are_read_exactly(shape: tuple[int, ...]):
    values, _ = _values_and_index(shape)
    index = torch.cartesian_prod(*[torch.arange(n, dtype=torch.float64) for n in shape])
    torch.testing.assert_close(sample_lattice(values, index), values.flatten(1), atol=1e-12, rtol=0)


@pytest.mark.parametrize("shape", [(7, 5), (4, 5, 6)])
@pytest.mark.parametrize("count", [4097, 4098, 5000])
@pytest.mark.usefixtures("three_threads")
def test_points_dealt_out_over_threads_change_nothing(shape: tuple[int, ...], count: int):
    values, index = _values_and_index(shape, count)
    whole = sample_lattice(values, index)
    parts = torch.cat([sample_lattice(values, part) for part in index.split(1000)], 1)
    assert torch.equal(whole, parts)


@pytest.mark.usefixtures("three_threads")
def test_gradients_do_not_depend_on_threads():
    values, index = _values_and_index((4, 5, 6), 4099)
    grads = []
    for size in (1000, 4099):
        v, i = values.clone().requires_grad_(), index.clone().requires_grad_()
        torch.cat([sample_lattice(v, part) for part in i.split(size)], 1).square().sum().backward()
        grads.append((v.grad, i.grad))
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize("shape", [(4, 3), (3, 4, 3), (3, 1, 4)])
def test_gradients(shape: tuple[int, ...]):
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(2, *shape, generator=generator, dtype=torch.float64, requires_grad=True)
    inner = torch.rand(6, len(shape), generator=generator, dtype=torch.float64) * 0.8 + 0.1
    index = (inner + torch.randint(0, 2, inner.shape, generator=generator)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, i: sample_lattice(v, i), (values, index))


def test_no_points_is_no_values():
    assert sample_lattice(torch.rand(2, 4, 5, 6), torch.zeros(0, 3)).shape == (2, 0)


def test_normalised_positions_are_corner_aligned_and_reversed():
    scale, shift = normalization((5, 1))
    assert (scale * torch.tensor([[0.0, 0.0], [4.0, 0.0]]) + shift).tolist() == [[-1, 0], [1, 0]]
    values = torch.arange(6.0).reshape(1, 2, 3)
    assert sample_normalized(values, torch.tensor([[1.0, -1.0], [-1.0, 1.0]])).tolist() == [[2, 3]]


def test_inside_is_half_a_voxel_beyond_the_points():
    index = torch.tensor([[-0.5, 0.0], [-0.51, 0.0], [2.49, 0.0], [2.5, 0.0], [1.0, 0.49], [1.0, 0.5], [1.0, -0.6]])
    assert inside_lattice(index, (3, 1)).tolist() == [True, False, True, False, True, False, False]


@given(st.sampled_from(SHAPES), st.integers(0, 1000))
def test_corners_and_weights_are_linear_interpolation(shape: tuple[int, ...], seed: int):
    values, _ = _values_and_index(shape)
    generator = torch.Generator().manual_seed(seed)
    index = torch.rand(30, len(shape), generator=generator, dtype=torch.float64) * (torch.tensor(shape) + 2.0) - 1.5
    corners, weight = lattice_corners(index, shape)
    assert weight.min() >= 0
    torch.testing.assert_close(weight.sum(1), torch.ones(30, dtype=torch.float64))
    read = (values.flatten(1)[:, corners] * weight).sum(-1)
    torch.testing.assert_close(read, sample_lattice(values, index), atol=1e-12, rtol=0)

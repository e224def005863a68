from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geogrid.io import Storage
from tests.io.cases import affines, make_affine, orientations, refused, restore, values_of

SHAPE = {2: (4, 6), 3: (4, 6, 5)}


@pytest.mark.parametrize("dim", [2, 3])
@given(data=st.data())
def test_round_trip_is_bit_identical(dim: int, data: st.DataObject) -> None:
    storage = Storage(SHAPE[dim], torch.from_numpy(data.draw(affines(dim))))
    array = values_of(SHAPE[dim])
    np.testing.assert_array_equal(storage.from_canonical(storage.to_canonical(array)), array)


@pytest.mark.parametrize("dim", [2, 3])
@given(data=st.data())
def test_voxels_keep_their_place_in_the_world(dim: int, data: st.DataObject) -> None:
    affine = data.draw(affines(dim))
    storage = Storage(SHAPE[dim], torch.from_numpy(affine))
    index = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE[dim]], indexing="ij"), -1)
    world = index @ affine[:dim, :dim].T + affine[:dim, dim]
    grid = storage.grid()
    expected = grid.index_to_world(grid.indices().double()).reshape(*grid.shape, dim)
    np.testing.assert_allclose(storage.to_canonical(world), expected, atol=1e-9)


@pytest.mark.parametrize("dim", [2, 3])
@given(data=st.data())
def test_flips_and_permutations_have_one_canonical_image(dim: int, data: st.DataObject) -> None:
    array, affine = values_of(SHAPE[dim]), data.draw(affines(dim))
    other_array, other_affine = restore(array, affine, *data.draw(st.sampled_from(orientations(dim))))
    one = Storage(array.shape, torch.from_numpy(affine))
    other = Storage(other_array.shape, torch.from_numpy(other_affine))
    assert one.grid().same_space(other.grid(), tolerance=1e-6)
    np.testing.assert_array_equal(one.to_canonical(array), other.to_canonical(other_array))


@pytest.mark.parametrize(("axes", "flips"), orientations(3))
def test_agrees_with_nibabel_on_slightly_oblique_volumes(axes: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    array, affine = restore(values_of((4, 6, 5)), make_affine((12, -8, 5), (1, 2, 3), (5, -7, 9)), axes, flips)
    storage = Storage(array.shape, torch.from_numpy(affine))
    expected = nib.as_closest_canonical(nib.Nifti1Image(array, affine))
    np.testing.assert_array_equal(storage.to_canonical(array), np.asarray(expected.dataobj))
    np.testing.assert_allclose(storage.grid().affine, expected.affine, atol=1e-9)


def test_tensors_and_components_move_as_arrays_do() -> None:
    storage = Storage((4, 6, 5), torch.from_numpy(restore(values_of((5, 4, 6)), np.eye(4), (1, 2, 0), (True, False, True))[1]))
    array = values_of((4, 6, 5, 3))
    tensor = storage.to_canonical(torch.from_numpy(array))
    assert tuple(tensor.shape) == (5, 4, 6, 3)
    np.testing.assert_array_equal(tensor, storage.to_canonical(array))
    np.testing.assert_array_equal(tensor[..., 1], storage.to_canonical(array[..., 1]))
    assert torch.equal(storage.from_canonical(tensor), torch.from_numpy(array))


def test_known_orientation() -> None:
    affine = torch.tensor([[0.0, 0.0, 1.0, 3.0], [-2.0, 0.0, 0.0, 10.0], [0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    storage = Storage((6, 4, 5), affine)
    assert (storage.axes, storage.flips) == ((2, 0, 1), (False, True, False))
    assert storage.grid().shape == (5, 6, 4)
    assert storage.grid().affine.tolist() == [[1, 0, 0, 3], [0, 2, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1]]


def test_refuses_arrays_of_another_shape() -> None:
    storage = Storage((4, 6), torch.eye(3))
    with refused("array", "(4, 6)", "(6, 4)"):
        storage.to_canonical(np.zeros((6, 4)))

"""Slices lie where they should, the right way up."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from geogrid.report.planes import middle_planes
from geogrid.spatial import Grid, Image


def _speck(shape: tuple[int, ...], at: tuple[int, ...], affine: torch.Tensor) -> Image:
    data = torch.zeros(shape)
    data[at] = 1
    return Image(data, Grid(shape, affine))


def test_planes_of_a_volume_pass_through_its_content():
    image = _speck((12, 14, 9), (3, 8, 6), torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0])))
    axial, coronal, sagittal = middle_planes(image)
    assert [p.title for p in (axial, coronal, sagittal)] == [
        "axial, slice 7 of 9",
        "coronal, slice 9 of 14",
        "sagittal, slice 4 of 12",
    ]
    assert [p.letters for p in (axial, coronal, sagittal)] == [
        ("L", "R", "P", "A"),
        ("L", "R", "I", "S"),
        ("P", "A", "I", "S"),
    ]
    assert [tuple(np.argwhere(p.take(image.data))[0]) for p in (axial, coronal, sagittal)] == [(8, 3), (6, 3), (6, 8)]


def test_sizes_are_in_mm():
    image = _speck((12, 14, 9), (3, 8, 6), torch.diag(torch.tensor([1.0, 0.5, 4.0, 1.0])))
    assert [p.size for p in middle_planes(image)] == [(12, 7), (12, 36), (7, 36)]
    assert middle_planes(image)[1].extent == (-0.5, 11.5, -2.0, 34.0)


def test_storage_order_changes_neither_planes_nor_pixels():
    image = _speck((12, 14, 9), (3, 8, 6), torch.eye(4))
    order = torch.tensor([2, 0, 1, 3])
    stored = Image(image.data.permute(2, 0, 1), Grid((9, 12, 14), image.grid.affine[:, order]))
    for plane, other in zip(middle_planes(image), middle_planes(stored), strict=True):
        assert plane.letters == other.letters
        assert plane.title == other.title
        np.testing.assert_array_equal(plane.take(image.data), other.take(stored.data))


def test_a_flipped_axis_swaps_the_letters():
    grid = Grid((6, 7, 8), torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0])))
    assert middle_planes(Image(torch.rand(6, 7, 8), grid))[0].letters == ("R", "L", "P", "A")


def test_a_slice_is_shown_whole():
    plane = middle_planes(_speck((5, 8), (1, 6), torch.diag(torch.tensor([2.0, 3.0, 1.0]))))[0]
    assert (plane.size, plane.cut, plane.letters) == ((10, 24), None, ("\N{MINUS SIGN}x", "+x", "\N{MINUS SIGN}y", "+y"))
    assert plane.take(torch.arange(40.0).reshape(5, 8))[6, 1] == 14


@pytest.mark.parametrize("value", [0.0, 3.0, math.nan])
def test_without_content_the_middle_is_shown(value: float):
    image = Image(torch.full((6, 8, 4), value), Grid((6, 8, 4), torch.eye(4)))
    assert [p.cut for p in middle_planes(image)] == [(2, 2), (1, 4), (0, 3)]

"""Random affine copies against known motions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from geogrid.data import random_affine
from tests.io.cases import refused

STILL = {"rotation_degrees": 0.0, "scale": 1.0, "shear": 0.0, "shift": 0.0}


def _blob(long: float = 4.0, short: float = 2.0, size: int = 41) -> Tensor:
    """A Gaussian in the middle, its long axis along x."""
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return torch.exp(-((axis / long) ** 2)[:, None] / 2 - ((axis / short) ** 2)[None] / 2)


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Centre from the middle ``(n, 2)`` and covariance ``(n, 2, 2)`` in pixels."""
    size = images.shape[1]
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    places = torch.cartesian_prod(axis, axis)
    weight = images.flatten(1) / images.flatten(1).sum(1, keepdim=True)
    center = weight @ places
    apart = places - center[:, None]
    return center, torch.einsum("np,npa,npb->nab", weight, apart, apart)


def _copies(count: int = 200, **ranges: float) -> Tensor:
    return random_affine(_blob().expand(count, 41, 41), torch.Generator().manual_seed(0), **{**STILL, **ranges})


def test_without_ranges_nothing_happens():
    images = torch.rand(3, 9, 7, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(random_affine(images, torch.Generator(), **STILL), images, atol=1e-6)


def test_shifts_fill_their_range():
    center, covariance = _moments(_copies(shift=3.0))
    assert center.abs().max() < 3.01
    assert center.amax(0).min() > 2.8
    assert center.amin(0).max() < -2.8
    torch.testing.assert_close(covariance, covariance[:1].expand_as(covariance), atol=0.3, rtol=0)


def test_turns_fill_their_range_about_the_middle():
    center, covariance = _moments(_copies(rotation_degrees=30.0))
    assert center.abs().max() < 1e-6
    angle = torch.rad2deg(torch.atan2(2 * covariance[:, 0, 1], covariance[:, 0, 0] - covariance[:, 1, 1]) / 2)
    assert 29 < angle.max() < 30.2
    assert -30.2 < angle.min() < -29


def test_scalings_of_the_axes_are_apart_and_even_on_a_logarithmic_scale():
    _, covariance = _moments(_copies(scale=1.5))
    enlarged = (covariance.diagonal(dim1=1, dim2=2).sqrt() / torch.tensor([4.0, 2.0])).log() / math.log(1.5)
    assert 0.95 < enlarged.max() < 1.06
    assert -1.02 < enlarged.min() < -0.9
    assert enlarged.mean().abs() < 0.15
    assert torch.corrcoef(enlarged.T)[0, 1].abs() < 0.2


def test_shears_keep_the_area():
    _, covariance = _moments(_copies(shear=0.4))
    assert torch.linalg.det(covariance).sqrt().sub(8).abs().max() < 0.5
    slant = -covariance[:, 0, 1] / covariance[:, 1, 1]
    assert 0.37 < slant.max() < 0.41
    assert -0.41 < slant.min() < -0.37


def test_outside_is_zero():
    bright = random_affine(torch.ones(50, 8, 8), torch.Generator().manual_seed(0), **{**STILL, "shift": 6.0})
    assert (bright.amin((1, 2)) == 0).sum() > 25
    assert bright.max() <= 1 + 1e-6


def test_each_copy_is_that_of_its_draws_and_of_the_generator():
    images = torch.rand(4, 12, 10, generator=torch.Generator().manual_seed(3))
    first, again = (random_affine(images, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, random_affine(images, torch.Generator().manual_seed(2)))
    assert random_affine(images[:0], torch.Generator()).shape == (0, 12, 10)


@pytest.mark.parametrize("ranges", [{"scale": 0.9}, {"shift": -1.0}, {"rotation_degrees": -5.0}])
def test_ranges_below_their_least_value(ranges: dict[str, float]):
    with refused("ranges: expected"):
        random_affine(torch.rand(1, 4, 4), torch.Generator(), **ranges)


def test_volumes_are_refused():
    with refused("images: expected (num_images, width, height)"):
        random_affine(torch.rand(1, 4, 4, 4), torch.Generator())

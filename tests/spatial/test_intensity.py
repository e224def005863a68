"""Intensity scaling and the content's box, by hand."""

from __future__ import annotations

import pytest
import torch

from geogrid.spatial import Image, scale_intensities
from geogrid.spatial.intensity import content_box, edge_strength, grow_box, on_dark_background
from tests.spatial.cases import make_grid


def _image(data: torch.Tensor) -> Image:
    return Image(data, make_grid(data.shape, (1.0,) * data.dim()))


def test_percentiles_become_zero_and_one():
    data = torch.arange(1.0, 1001.0)[torch.randperm(1000, generator=torch.Generator().manual_seed(0))].reshape(40, 25)
    scaled = scale_intensities(_image(data)).data
    expected = ((data - 5) / (995 - 5)).clamp(0, 1.2)
    torch.testing.assert_close(scaled, expected)


@pytest.mark.parametrize(("gain", "offset"), [(3.0, 0.0), (0.01, -4.0), (1.0, 1000.0)])
def test_gain_and_offset_do_not_matter(gain: float, offset: float):
    data = torch.rand(20, 30, generator=torch.Generator().manual_seed(1))
    plain, changed = (scale_intensities(_image(d)).data for d in (data, gain * data + offset))
    torch.testing.assert_close(plain, changed, atol=1e-3, rtol=0)


def test_outliers_are_clamped_and_integers_are_taken():
    data = torch.arange(1000).reshape(40, 25)
    data[0, 0], data[0, 1] = 10_000, -10_000
    scaled = scale_intensities(_image(data)).data
    assert scaled.dtype == torch.float32
    assert scaled[0, 0] == pytest.approx(1.2)
    assert scaled[0, 1] == 0


def test_what_is_not_valid_counts_for_nothing_and_becomes_zero():
    data = torch.arange(1.0, 1001.0).reshape(40, 25)
    valid = torch.ones(40, 25, dtype=torch.bool)
    valid[20:] = False
    spoilt = data.clone()
    spoilt[20:] = 1e6
    plain = scale_intensities(Image(data[:20], make_grid((20, 25), (1, 1)))).data
    scaled = scale_intensities(_image(spoilt), valid).data
    assert torch.equal(scaled[:20], plain)
    assert scaled[20:].abs().max() == 0


def test_a_speck_is_scaled_by_minimum_and_maximum():
    data = torch.full((50, 50), 2.0)
    data[7, 9] = 6.0
    scaled = scale_intensities(_image(data)).data
    assert scaled.sum() == 1
    assert scaled[7, 9] == 1


def test_a_constant_image_becomes_zero():
    assert scale_intensities(_image(torch.full((4, 5), 7.0))).data.abs().max() == 0


@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 7)])
def test_the_box_around_the_content(shape: tuple[int, ...]):
    data = torch.zeros(shape)
    first, last = (2, 1, 3)[: len(shape)], (5, 6, 3)[: len(shape)]
    data[first], data[last], data[(0,) * len(shape)] = 0.06, 1.0, 0.05
    assert content_box(_image(data)) == (first, tuple(b - a + 1 for a, b in zip(first, last, strict=True)))
    assert content_box(_image(torch.zeros(shape))) == ((0,) * len(shape), shape)


def test_a_box_grows_as_far_as_the_grid():
    assert grow_box((2, 1), (3, 4), (1, 2), make_grid((9, 6), (1, 1))) == ((1, 0), (5, 6))
    assert grow_box((2, 1), (3, 4), (0, 0), make_grid((9, 6), (1, 1))) == ((2, 1), (3, 4))


@pytest.mark.parametrize("shape", [(9, 8), (6, 7, 5)])
def test_a_bright_border_makes_a_negative(shape: tuple[int, ...]):
    dark = torch.zeros(shape)
    dark[(slice(2, -2),) * len(shape)] = 0.9
    assert on_dark_background(_image(dark)).data is dark
    torch.testing.assert_close(on_dark_background(_image(1 - dark)).data, dark)
    mask = torch.ones(shape)
    mask[0] = 0
    seen = on_dark_background(_image(1 - dark), _image(mask)).data
    torch.testing.assert_close(seen, dark * mask)
    assert on_dark_background(_image(1 - dark), _image(torch.zeros(shape))).data.max() == 1


@pytest.mark.parametrize("shape", [(30, 28), (14, 12, 10)])
def test_edges_do_not_know_the_sign_or_the_unit_of_a_contrast(shape: tuple[int, ...]):
    image = _image(torch.rand(shape, generator=torch.Generator().manual_seed(0)))
    edges = edge_strength(image).data
    for changed in (1.1 - image.data, 700 * image.data + 3):
        torch.testing.assert_close(edge_strength(_image(changed)).data, edges, atol=1e-4, rtol=1e-3)
    assert 0.98 < float((edges < 1).float().mean()) + 0.005 < 1.0
    assert edges.min() >= 0


def test_edges_are_as_steep_along_every_axis_in_mm():
    x, y = torch.meshgrid(torch.arange(60.0), 3 * torch.arange(20.0), indexing="ij")
    hill = torch.exp(-((x - 30).square() + (y - 30).square()) / 400)
    edges = edge_strength(Image(hill, make_grid((60, 20), (1.0, 3.0)))).data
    torch.testing.assert_close(edges[45, 10], edges[30, 15], rtol=0.02, atol=0)
    torch.testing.assert_close(edges[15, 10], edges[45, 10])


def test_a_flat_image_has_no_edges():
    assert edge_strength(_image(torch.full((4, 5), 7.0))).data.abs().max() == 0
    assert edge_strength(_image(torch.ones(1, 1))).data.abs().max() == 0

"""Self-similarity against a reference written with loops, and the laws it obeys."""

from __future__ import annotations

import math
from itertools import combinations, product

import pytest
import torch
from torch import Tensor

from geogrid.losses import SelfSimilarity
from geogrid.losses.mind import Descriptor

SHAPES = [(6, 5), (4, 3, 3), (4, 1, 5)]
STRIDES = pytest.mark.parametrize("stride", [1, 2])


def _images(shape: tuple[int, ...], count: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _smooth(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in shape], indexing="ij")
    frequencies = 0.25 + 0.3 * torch.rand(len(shape), 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 0.5 + sum(torch.sin(f * x + k) for x, row in zip(axes, frequencies, strict=True) for k, f in enumerate(row)) / 30


def _read(image: Tensor, *places: tuple[int, ...]) -> Tensor:
    """Beyond the border the border value goes on."""
    total = tuple(sum(parts) for parts in zip(*places, strict=True))
    return image[tuple(min(max(t, 0), n - 1) for t, n in zip(total, image.shape, strict=True))]


def _slow(image: Tensor, center: tuple[int, ...], offset: int, patch: dict[int, float], floor: float) -> list[Tensor]:
    """The descriptor from its definition; ``patch`` holds the weights of the points along an axis."""
    dim = image.dim()
    neighbors = [tuple(sign * offset * (a == axis) for a in range(dim)) for axis in range(dim) for sign in (1, -1)]
    found = []
    for a, b in combinations(neighbors, 2):
        if [x != 0 for x in a] != [x != 0 for x in b]:
            parts = []
            for p in product(patch, repeat=dim):
                place = tuple(c + q for c, q in zip(center, p, strict=True))
                weight = math.prod(patch[q] for q in p) / sum(patch.values()) ** dim
                parts.append(weight * (_read(image, place, a) - _read(image, place, b)) ** 2)
            found.append(torch.stack(parts).sum())
    distance = torch.stack(found) - min(found)
    return list(torch.exp(-distance / (distance.mean() + floor**2)))


@pytest.mark.parametrize(("shape", "count"), [((14, 12), 4), ((10, 10, 10), 12)])
@pytest.mark.parametrize(("offset", "stride"), [(1, 1), (2, 1), (2, 2), (1, 2)])
def test_equals_the_definition(shape: tuple[int, ...], count: int, offset: int, stride: int):
    """12 distances in 3-D and 4 in 2-D, at a point whose patches lie inside.

    Every second descriptor stands between two points; its patch is as wide, and takes pairs of points by their share.
    """
    image, dim = _images(shape, 1)[0], len(shape)
    found = Descriptor(shape, (1.0,) * dim, offset, 1.0, 0.1, stride)(image)
    patch = dict.fromkeys((-1, 0, 1), 1.0) if stride == 1 else {-2: 0.25, -1: 0.25, 0: 1.0, 1: 1.0, 2: 0.25, 3: 0.25}
    place = tuple(n // 2 // 2 for n in shape)
    expected = _slow(image, tuple(2 * n for n in place), offset, patch, 0.1)
    assert len(found) == len(expected) == count
    at_place = found[(slice(None), *(n if stride == 2 else 2 * n for n in place))]
    torch.testing.assert_close(at_place.sort().values, torch.stack(expected).sort().values)
    assert at_place.max() == 1


def test_the_order_of_the_distances_is_the_same_everywhere():
    """A value that is one neighbour's alone tells which distances it is part of: three along each axis and way in 3-D."""
    image = torch.zeros(11, 11, 11, dtype=torch.float64)
    image[5, 5, 5] = 1
    descriptor = Descriptor(image.shape, (1.0,) * 3, 2.0, 0.0, 1e-3, 1)
    for moved in ((3, 5, 5), (7, 5, 5), (5, 3, 5), (5, 7, 5), (5, 5, 3), (5, 5, 7)):
        assert int((descriptor(image)[(slice(None), *moved)] < 0.99).sum()) == 4
    patterns = {
        tuple((descriptor(image)[(slice(None), *m)] < 0.99).tolist()) for m in ((3, 5, 5), (7, 5, 5), (5, 3, 5), (5, 5, 3))
    }
    assert len(patterns) == 4


@pytest.mark.parametrize("shape", SHAPES)
@STRIDES
def test_gradcheck(shape: tuple[int, ...], stride: int):
    fixed, moving, weight = _images(shape, 3)
    loss = SelfSimilarity(fixed, (1.0,) * len(shape), 2.0, 1.0, weight, floor=0.2, stride=stride)
    assert torch.autograd.gradcheck(lambda m: loss(m, weight), (moving.requires_grad_(),))
    (grad,) = torch.autograd.grad(loss(moving), moving)
    assert grad.abs().max() > 1e-4


@pytest.mark.parametrize("shape", [(9, 8), (6, 7, 5)])
@pytest.mark.parametrize(("gain", "offset"), [(3.0, 0.0), (0.2, -5.0), (-2.0, 1.0), (-1.0, 1.0)])
@STRIDES
def test_gain_and_offset_change_nothing(shape: tuple[int, ...], gain: float, offset: float, stride: int):
    """Of either image, inverted ones included, and each with its own."""
    fixed, moving = _images(shape)
    spacing = (1.0,) * len(shape)
    value = SelfSimilarity(fixed, spacing, 2.0, 1.0, floor=1e-7, stride=stride)(moving)
    other = SelfSimilarity(gain * fixed + offset, spacing, 2.0, 1.0, floor=1e-7, stride=stride)
    torch.testing.assert_close(other(-3 * moving), value, atol=1e-6, rtol=0)
    assert other(fixed) < 1e-6
    assert value > 0.05


@pytest.mark.parametrize("shape", [(24, 22), (14, 13, 12)])
def test_a_curve_of_intensities_matters_little_where_a_motion_matters_much(shape: tuple[int, ...]):
    image = _smooth(shape)
    loss = SelfSimilarity(image, (1.0,) * len(shape), 2.0, 1.0, floor=1e-4)
    moved = float(loss(image.roll(3, 0)))
    for changed in (image**3, 1 / (0.5 + image), -image.exp()):
        assert loss(changed) < 0.1 * moved


@STRIDES
def test_bounds_symmetry_and_optimum(stride: int):
    fixed, moving = _images((9, 8, 7))
    settings = ((1.0,) * 3, 2.0, 1.0)
    loss = SelfSimilarity(fixed, *settings, stride=stride)
    torch.testing.assert_close(loss(moving), SelfSimilarity(moving, *settings, stride=stride)(fixed))
    assert 0 < loss(moving) < 1
    same = fixed.clone().requires_grad_()
    value = loss(same)
    (grad,) = torch.autograd.grad(value, same)
    assert value == 0
    assert (grad == 0).all()


def test_flat_in_both_is_a_match_flat_in_one_is_none():
    (image,) = _images((10, 10), 1)
    flat = torch.full_like(image, 0.7)
    settings = ((1.0, 1.0), 2.0, 1.0, None, 1e-3)
    assert SelfSimilarity(flat, *settings)(3 * flat) == 0
    assert SelfSimilarity(image, *settings)(flat) > 0.1
    assert SelfSimilarity(flat, *settings)(image) > 0.1


def test_without_two_axes_nothing_is_compared():
    fixed, moving = _images((9, 1))
    assert SelfSimilarity(fixed, (1.0, 1.0), 2.0, 1.0)(moving) == 0


def test_weight_zero_everywhere_is_zero_and_its_scale_does_not_matter():
    fixed, moving, weight = _images((8, 7), 3)
    settings = ((1.0, 1.0), 2.0, 1.0)
    assert SelfSimilarity(fixed, *settings, torch.zeros(8, 7))(moving) == 0
    light = SelfSimilarity(fixed, *settings, 0.1 * weight)
    torch.testing.assert_close(light(moving), SelfSimilarity(fixed, *settings, weight)(moving))
    both = SelfSimilarity(fixed, *settings, weight)(moving, weight)
    torch.testing.assert_close(both, SelfSimilarity(fixed, *settings, weight**2)(moving))


def test_only_points_with_weight_pass_gradients():
    """A descriptor looks as far as a neighbour and its patch reach."""
    fixed, moving, weight = _images((20, 8), 3)
    weight[10:] = 0
    SelfSimilarity(fixed, (1.0, 1.0), 2.0, 1.0, weight)(moving.requires_grad_()).backward()
    assert moving.grad is not None
    assert (moving.grad[9 + 2 + 1 + 1 :] == 0).all()
    assert (moving.grad[:11] != 0).any(1).all()


@pytest.mark.parametrize(
    ("shape", "spacing", "offset", "stride", "reach"),
    [
        ((9, 9, 9), (1.0, 1.0, 1.0), 2.0, 1, (2, 2, 2)),
        ((9, 9, 9), (1.0, 1.0, 4.0), 2.0, 1, (2, 2, 1)),
        ((9, 9, 9), (1.0, 1.0, 4.0), 8.0, 1, (8, 8, 2)),
        ((9, 3, 1), (1.0, 1.0, 1.0), 4.0, 1, (4, 2, 0)),
        ((9, 9), (1.4, 0.8), 3.0, 1, (2, 4)),
        ((9, 9, 9), (0.7, 1.3, 2.0), 2.0, 2, (3, 2, 1)),
    ],
)
def test_neighbours_are_physical(
    shape: tuple[int, ...], spacing: tuple[float, ...], offset: float, stride: int, reach: tuple[int, ...]
):
    """In thick slices the neighbour is the next slice."""
    assert Descriptor(shape, spacing, offset, 1.0, 0.01, stride).reach == reach


@STRIDES
def test_the_unit_of_length_does_not_matter(stride: int):
    fixed, moving = _images((9, 8, 6))
    values = [SelfSimilarity(fixed, (u, u, 2.5 * u), 2 * u, u, stride=stride)(moving) for u in (1.0, 0.03, 700.0)]
    assert values[0] == values[1] == values[2]

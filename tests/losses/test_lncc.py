"""Local correlation against a reference written with loops, and the laws it obeys."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from geogrid.losses import LocalCorrelation
from geogrid.losses.windows import window_radii

SHAPES = [(7, 6), (9, 1), (4, 5, 3), (5, 1, 4)]


def _images(shape: tuple[int, ...], count: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _slow(fixed: Tensor, moving: Tensor, weight: Tensor, radii: tuple[int, ...], floor: float) -> Tensor:
    total = torch.zeros((), dtype=fixed.dtype)
    for center in product(*map(range, fixed.shape)):
        box = tuple(slice(max(0, c - r), c + r + 1) for c, r in zip(center, radii, strict=True))
        f, m = fixed[box].flatten(), moving[box].flatten()
        f, m = f - f.mean(), m - m.mean()
        correlation = ((f * m).mean() + floor**2) ** 2 / ((f * f).mean() + floor**2) / ((m * m).mean() + floor**2)
        total = total - weight[center] * correlation
    return total / weight.sum()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [1.0, 2.0, 6.0])
def test_equals_the_definition(shape: tuple[int, ...], radius: float):
    fixed, moving, weight = _images(shape, 3)
    radii = tuple(min(n - 1, int(radius)) for n in shape)
    loss = LocalCorrelation(fixed, (1.0,) * len(shape), radius, weight, floor=0.1)
    torch.testing.assert_close(loss(moving), _slow(fixed, moving, weight, radii, 0.1), atol=1e-12, rtol=0)
    torch.testing.assert_close(loss(moving, weight), _slow(fixed, moving, weight**2, radii, 0.1), atol=1e-12, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_is_the_one_of_the_definition(shape: tuple[int, ...]):
    fixed, moving, weight, other = _images(shape, 4)
    moving.requires_grad_()
    loss = LocalCorrelation(fixed, (1.0,) * len(shape), 2.0, weight, floor=0.2)
    radii = tuple(min(n - 1, 2) for n in shape)
    (fast,) = torch.autograd.grad(3 * loss(moving, other), moving)
    (slow,) = torch.autograd.grad(3 * _slow(fixed, moving, weight * other, radii, 0.2), moving)
    torch.testing.assert_close(fast, slow, atol=1e-10, rtol=1e-8)
    assert slow.abs().max() > 1e-4


@pytest.mark.parametrize("shape", [(5, 4), (4, 3, 3)])
@pytest.mark.parametrize("stride", [1, 2])
def test_gradcheck(shape: tuple[int, ...], stride: int):
    fixed, moving, weight = _images(shape, 3)
    loss = LocalCorrelation(fixed, (1.0,) * len(shape), stride, weight, floor=0.2, stride=stride)
    assert torch.autograd.gradcheck(loss, (moving.requires_grad_(),))


def test_every_second_window_scores_as_all_of_them():
    """Where neighbouring windows differ little, leaving out every second one along each axis changes little."""
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in (31, 28, 30)], indexing="ij")
    fixed, moving = sum(torch.sin(0.3 * x) for x in axes), sum(torch.sin(0.27 * x + 0.4) for x in axes)
    every, second = (LocalCorrelation(fixed, (1.0,) * 3, 2.0, stride=stride)(moving) for stride in (1, 2))
    assert second == pytest.approx(float(every), abs=0.01)
    assert -0.95 < every < -0.2


@pytest.mark.parametrize("shape", [(9, 8), (6, 7, 5)])
@pytest.mark.parametrize(("gain", "offset"), [(3.0, 0.0), (0.2, -5.0), (-2.0, 1.0)])
def test_gain_and_offset_change_neither_value_nor_direction(shape: tuple[int, ...], gain: float, offset: float):
    fixed, moving = _images(shape)
    other = (gain * moving + offset).requires_grad_()
    loss = LocalCorrelation(fixed, (1.0,) * len(shape), 2.0, floor=1e-6)
    value, changed = loss(moving.requires_grad_()), loss(other)
    torch.testing.assert_close(value, changed, atol=1e-6, rtol=0)
    (plain,), (grad,) = torch.autograd.grad(value, moving), torch.autograd.grad(changed, other)
    torch.testing.assert_close(gain * grad, plain, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_bounds_and_symmetry(shape: tuple[int, ...]):
    fixed, moving = _images(shape)
    spacing = (1.0,) * len(shape)
    loss = LocalCorrelation(fixed, spacing, 2.0)
    torch.testing.assert_close(loss(moving), LocalCorrelation(moving, spacing, 2.0)(fixed))
    assert loss(fixed) == pytest.approx(-1)
    assert -1 < loss(moving) < 0
    sharp = LocalCorrelation(fixed, spacing, 2.0, floor=1e-6)
    torch.testing.assert_close(sharp(moving), sharp(-moving), atol=1e-6, rtol=0)


def test_flat_in_both_is_a_match_flat_in_one_is_none():
    fixed, moving = _images((8, 8))
    flat = torch.full_like(moving, 0.7)
    assert LocalCorrelation(flat, (1.0, 1.0), 2.0)(3 * flat) == pytest.approx(-1)
    assert LocalCorrelation(fixed, (1.0, 1.0), 2.0, floor=1e-4)(flat) == pytest.approx(0, abs=1e-5)
    assert LocalCorrelation(flat, (1.0, 1.0), 2.0, floor=1e-4)(moving) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("shape", [(9, 8), (6, 7, 5)])
def test_equal_images_are_a_stationary_point(shape: tuple[int, ...]):
    (fixed,) = _images(shape, 1)
    moving = fixed.clone().requires_grad_()
    loss = LocalCorrelation(fixed, (1.0,) * len(shape), 2.0, floor=0.3)
    (grad,) = torch.autograd.grad(loss(moving), moving)
    assert grad.abs().max() < 1e-10


def test_weight_zero_everywhere_is_zero_and_its_scale_does_not_matter():
    fixed, moving, weight = _images((6, 5), 3)
    assert LocalCorrelation(fixed, (1.0, 1.0), 2.0, torch.zeros(6, 5))(moving) == 0
    light = LocalCorrelation(fixed, (1.0, 1.0), 2.0, 0.1 * weight)
    torch.testing.assert_close(light(moving), LocalCorrelation(fixed, (1.0, 1.0), 2.0, weight)(moving))


def test_only_windows_with_weight_pass_gradients():
    fixed, moving, weight = _images((20, 4), 3)
    weight[10:] = 0
    LocalCorrelation(fixed, (1.0, 1.0), 3.0, weight)(moving.requires_grad_()).backward()
    assert moving.grad is not None
    assert (moving.grad[13:] == 0).all()
    assert (moving.grad[12] != 0).all()


@pytest.mark.parametrize(
    ("shape", "spacing", "radius", "radii"),
    [
        ((9, 9, 9), (1.0, 1.0, 4.0), 4.0, (4, 4, 1)),
        ((9, 9, 9), (1.0, 1.0, 4.0), 8.0, (8, 8, 2)),
        ((9, 3, 1), (1.0, 1.0, 1.0), 4.0, (4, 2, 0)),
        ((9, 9), (5.0, 2.0), 1.0, (1, 1)),
        ((9, 9), (1.3, 0.5), 2.0, (1, 4)),
    ],
)
def test_windows_are_physical(shape: tuple[int, ...], spacing: tuple[float, ...], radius: float, radii: tuple[int, ...]):
    assert window_radii(shape, spacing, radius) == radii

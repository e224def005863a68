"""Normalised mutual information against its definition, and the laws it obeys."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from geogrid.losses import MutualInformation


def _images(shape: tuple[int, ...], count: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _window(values: Tensor, bins: int, width: float) -> Tensor:
    """What each value puts into each bin, ``(num_values, bins)``: a hat, then a Gaussian over whole bins."""
    places = values.flatten().clamp(0, 1) * (bins - 1)
    hat = (1 - (places[:, None] - torch.arange(bins, dtype=torch.float64)).abs()).clamp_min(0)
    apart = torch.arange(bins)[:, None] - torch.arange(bins)
    spread = torch.exp(-(apart.double() ** 2) / (2 * width**2))
    return hat @ (spread / spread.sum(0)).T


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum()


def _slow(fixed: Tensor, moving: Tensor, weight: Tensor, bins: int, width: float = 1.0) -> Tensor:
    joint = _window(fixed, bins, width).T @ (weight.flatten()[:, None] * _window(moving, bins, width)) / weight.sum()
    return 1 - (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / _entropy(joint)


@pytest.mark.parametrize("shape", [(20,), (7, 6), (4, 5, 3)])
@pytest.mark.parametrize("bins", [3, 5, 32])
def test_equals_the_definition_with_its_gradient(shape: tuple[int, ...], bins: int):
    fixed, moving, weight, other = _images(shape, 4)
    moving.requires_grad_()
    fast, slow = MutualInformation(fixed, weight, bins)(moving, other), _slow(fixed, moving, weight * other, bins)
    torch.testing.assert_close(fast, slow)
    grads = [torch.autograd.grad(3 * value, moving)[0] for value in (fast, slow)]
    torch.testing.assert_close(grads[0], grads[1], atol=1e-10, rtol=1e-6)
    assert grads[1].abs().max() > 1e-4


@pytest.mark.parametrize("shape", [(7, 6), (4, 5, 3)])
def test_gradcheck(shape: tuple[int, ...]):
    """Beyond 0 and 1 nothing changes, so nothing is passed on."""
    fixed, moving, weight = _images(shape, 3)
    moving = (1.4 * moving - 0.2).requires_grad_()
    loss = MutualInformation(fixed, weight, bins=7)
    assert torch.autograd.gradcheck(loss, (moving,))
    (grad,) = torch.autograd.grad(loss(moving), moving)
    outside = ((moving < 0) | (moving > 1)).detach()
    assert outside.any()
    assert (grad[outside] == 0).all()


def test_inversion_changes_nothing():
    fixed, moving = _images((30, 20))
    value = MutualInformation(fixed)(moving)
    torch.testing.assert_close(MutualInformation(fixed)(1 - moving), value)
    torch.testing.assert_close(MutualInformation(1 - fixed)(moving), value)
    torch.testing.assert_close(MutualInformation(moving)(fixed), value)


@pytest.mark.parametrize("seed", range(3))
def test_new_names_for_the_tissues_change_nothing(seed: int):
    """Eight intensities, four bins apart, so that the window of one does not reach the next."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 8, (40, 30), generator=generator)
    one, other, moved = (
        (4 * n.double() + 1) / 31 for n in (labels, torch.randperm(8, generator=generator)[labels], labels.roll(1, 0))
    )
    loss = MutualInformation(one, width=0.4)
    assert loss(other) == pytest.approx(float(loss(one)), abs=1e-3)
    assert loss(one) < -0.6
    assert loss(moved) > -0.05


def test_bounds():
    fixed, moving = _images((60, 50))
    sharp = MutualInformation(fixed, width=0.0, bins=8)
    whole = (fixed * 7).round() / 7
    assert MutualInformation(whole, width=0.0, bins=8)(1 - whole) == pytest.approx(-1)
    assert -0.05 < sharp(moving) < 0
    assert sharp(torch.full_like(moving, 0.3)) == pytest.approx(0, abs=1e-12)


def test_weight_zero_is_left_out():
    fixed, moving, weight = _images((8, 7), 3)
    weight[4:] = 0
    other = moving.clone()
    other[4:] = 0.5
    loss = MutualInformation(fixed, weight)
    assert loss(other) == loss(moving)
    moving.requires_grad_()
    (grad,) = torch.autograd.grad(loss(moving), moving)
    assert (grad[4:] == 0).all()
    assert (grad[:4] != 0).any()
    torch.testing.assert_close(MutualInformation(fixed, 0.1 * weight)(moving), loss(moving))
    assert MutualInformation(fixed, torch.zeros(8, 7).double())(moving) == 0


def test_single_precision_counts_a_large_background_exactly():
    """Half a million equal voxels lose nothing, which sums in single precision would."""
    fixed, moving = _images((80, 80, 80))
    fixed[:50], moving[:50] = 0.013, 0.017
    single = MutualInformation(fixed.float())(moving.float())
    torch.testing.assert_close(single.double(), MutualInformation(fixed)(moving), atol=1e-6, rtol=0)
    assert not math.isclose(float(single), 0, abs_tol=0.01)

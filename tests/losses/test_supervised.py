"""Losses with a known truth: by hand, entry by entry, and their gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geogrid.losses import dice_loss, displacement_loss, landmark_loss
from tests.spatial.cases import refused, rotation


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_displacement_error_by_hand():
    error, truth = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]]), torch.ones(3, 2)
    measure = torch.tensor([1.0, 1.0, 2.0])
    value = displacement_loss(truth + error, truth, measure, 2.0, smoothing=1e-4)
    assert value == pytest.approx((2.5 + 0 + 2 * 0.5) / 4, abs=2e-4)
    entries = displacement_loss(truth + error, truth, measure, 2.0, torch.tensor([0, 0, 2]), smoothing=1e-4)
    assert entries == pytest.approx((2.5 / 2 + 0.5) / 2, abs=2e-4)
    scales = torch.tensor([5.0, 1.0, 0.5])
    assert displacement_loss(truth + error, truth, measure, scales, smoothing=1e-4) == pytest.approx((1 + 2 * 2) / 4, abs=2e-4)


@given(st.integers(0, 50), st.floats(0.1, 50))
def test_displacement_error_has_no_unit_and_no_axes(seed: int, unit: float):
    u, truth, measure = _random(8, 3, seed=seed), _random(8, 3, seed=seed + 1), _random(8, seed=seed)
    turn = rotation([30.0, -50.0, 10.0])
    value = displacement_loss(u, truth, measure, 1.5)
    turned = displacement_loss(unit * u @ turn.T, unit * truth @ turn.T, measure, unit * 1.5)
    torch.testing.assert_close(turned, value)


@pytest.mark.parametrize("dim", [2, 3])
def test_displacement_error_is_smooth_and_zero_at_the_truth(dim: int):
    truth = _random(6, dim)
    same = truth.clone().requires_grad_()
    value = displacement_loss(same, truth, torch.ones(6), 2.0)
    value.backward()
    assert value == 0
    assert same.grad is not None
    assert (same.grad == 0).all()
    other, measure = _random(6, dim, seed=1).requires_grad_(), _random(6)
    assert torch.autograd.gradcheck(lambda u: displacement_loss(u, truth, measure, 2.0), (other,))


def test_displacements_without_measure_do_not_matter():
    u, truth, measure = _random(5, 2), _random(5, 2, seed=1), torch.tensor([1.0, 0.0, 2.0, 1.0, 1.0])
    other = u.clone()
    other[1] = 1e4
    assert displacement_loss(other, truth, measure, 1.0) == displacement_loss(u, truth, measure, 1.0)
    assert displacement_loss(u, truth, 0 * measure, 1.0) == 0


def test_landmarks():
    points, targets = _random(5, 3), _random(5, 3, seed=1)
    expected = (points - targets).norm(dim=1).mean() / 4
    assert landmark_loss(points, targets, 4.0, smoothing=1e-5) == pytest.approx(float(expected), abs=1e-4)
    assert landmark_loss(points[:0], targets[:0], 4.0) == 0
    assert torch.autograd.gradcheck(lambda p: landmark_loss(p, targets, 4.0), (points.requires_grad_(),))


def test_dice_by_hand():
    """Entry 0: labels 0 and 1 present; entry 1: label 2; entry 2: none, although something was warped there."""
    fixed = torch.eye(4)[[0, 0, 1, 2, 2, 3]][:, :3]
    warped = torch.eye(4)[[0, 1, 1, 2, 0, 1]][:, :3]
    batch, measure = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([1.0, 3.0, 2.0, 1.0, 1.0, 1.0])
    first = (1 - 2 * 1 / (4 + 1) + 1 - 2 * 2 / (2 + 5)) / 2
    second = 1 - 2 * 1 / (2 + 1)
    assert dice_loss(fixed, warped, measure, batch) == pytest.approx((first + second) / 2)
    assert dice_loss(fixed[5:], warped[5:], measure[5:], batch[5:] - 2) == 0


def test_soft_dice_is_best_for_equal_shares():
    shares, batch = _random(9, 3), torch.tensor([0] * 4 + [2] * 5)
    measure, other = _random(9, seed=2), _random(9, 3, seed=1)
    assert dice_loss(shares, shares, measure, batch) == pytest.approx(0, abs=1e-12)
    assert dice_loss(shares, other, measure, batch) > 0.05
    singles = [dice_loss(shares[part], other[part], measure[part], 0 * batch[part]) for part in (batch == 0, batch == 2)]
    torch.testing.assert_close(dice_loss(shares, other, measure, batch), torch.stack(singles).mean())
    assert torch.autograd.gradcheck(lambda w: dice_loss(shares, w, measure, batch), (other.requires_grad_(),))


def test_labels_without_measure_do_not_matter():
    shares, other, measure = _random(6, 2), _random(6, 2, seed=1), torch.tensor([1.0, 1.0, 0.0, 1.0, 2.0, 1.0])
    changed, batch = other.clone(), torch.zeros(6, dtype=torch.int64)
    changed[2] = 9.0
    assert dice_loss(shares, changed, measure, batch) == dice_loss(shares, other, measure, batch)


def test_refusals():
    rows = _random(4, 2)
    with refused("displacement, truth", "(4, 2)", "(4, 1)"):
        displacement_loss(rows, rows[:, :1], torch.ones(4), 1.0)
    with refused("scale", "positive", "0.0"):
        landmark_loss(rows, rows, 0.0)
    with refused("measure, batch", "(3,)"):
        dice_loss(rows, rows, torch.ones(3), torch.zeros(4, dtype=torch.int64))

"""Scores of stacks against the scores of single images."""

from __future__ import annotations

import pytest
import torch

from geogrid.metrics import dice, foreground_dice, image_spread
from tests.spatial.cases import refused


@pytest.mark.parametrize("shape", [(9, 8), (5, 6, 4)])
def test_dice_of_a_stack_is_that_of_its_label_maps(shape: tuple[int, ...]):
    fixed, warped = torch.rand(2, 4, *shape, generator=torch.Generator().manual_seed(0))
    for score, one, other in zip(foreground_dice(fixed, warped, 0.7), fixed, warped, strict=True):
        assert float(score) == pytest.approx(dice((one > 0.7).int(), (other > 0.7).int())[1], abs=1e-12)


def test_defined_answers_at_the_ends():
    full, empty = torch.ones(1, 3, 3), torch.zeros(1, 3, 3)
    assert foreground_dice(full, full).tolist() == [1]
    assert foreground_dice(full, empty).tolist() == [0]
    assert foreground_dice(empty, empty).isnan().tolist() == [True]
    assert foreground_dice(full / 2, full).tolist() == [0], "the threshold itself is not above the threshold"


def test_spread_of_known_stacks():
    image = torch.rand(4, 5)
    assert image_spread(image.expand(6, 4, 5)) == pytest.approx(0, abs=1e-7)
    assert image_spread(torch.stack([image - 0.3, image + 0.3])) == pytest.approx(0.3)
    half = torch.zeros(2, 4, 4)
    half[0, :2] = 2
    assert image_spread(half) == pytest.approx(0.5**0.5)


def test_refusals():
    with refused("images: expected two stacks of the same shape"):
        foreground_dice(torch.zeros(2, 3, 3), torch.zeros(1, 3, 3))
    with refused("images: expected one at least"):
        image_spread(torch.zeros(0, 3, 3))

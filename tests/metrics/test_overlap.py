"""Dice against hand counts and its laws."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geogrid.errors import GeogridError
from geogrid.metrics import dice, mean_dice


def _ball(center: float, radius: float = 10.0, size: int = 40) -> torch.Tensor:
    axes = torch.meshgrid(*[torch.arange(size, dtype=torch.float32)] * 3, indexing="ij")
    offset = [axes[0] - center, axes[1] - 19.5, axes[2] - 19.5]
    return (sum(o * o for o in offset) <= radius**2).long()


def test_counts_by_hand():
    fixed = torch.tensor([[0, 1, 1, 2], [0, 1, 3, 3]])
    warped = torch.tensor([[1, 1, 1, 2], [0, 0, 3, 0]])
    assert dice(fixed, warped) == pytest.approx({1: 2 * 2 / 6, 2: 1.0, 3: 2 / 3})
    assert mean_dice(fixed, warped) == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)


def test_two_balls_overlap_as_their_volumes_say():
    # Two balls of radius r at distance d share a lens of volume pi (4 r + d) (2 r - d)^2 / 12.
    radius, distance = 10.0, 6.0
    lens = torch.pi * (4 * radius + distance) * (2 * radius - distance) ** 2 / 12
    ball = 4 / 3 * torch.pi * radius**3
    assert dice(_ball(16.5), _ball(22.5))[1] == pytest.approx(lens / ball, abs=0.01)


def test_absent_labels():
    fixed, warped = torch.tensor([0, 1, 1, 4]), torch.tensor([0, 1, 1, 5])
    assert dice(fixed, warped) == {1: 1.0, 4: 0.0, 5: 0.0}
    assert dice(fixed, warped, labels=[7, 4, 1]) == {4: 0.0, 1: 1.0}
    assert list(dice(fixed, warped, labels=[4, 1])) == [4, 1]
    assert dice(fixed, warped, labels=[0]) == {0: 1.0}


@pytest.mark.parametrize("shift", [-20, 0, 3, 10**6, 614_454_277])
def test_label_values_are_only_names(shift: int):
    generator = torch.Generator().manual_seed(3)
    fixed, warped = torch.randint(1, 6, (2, 9, 8, 7), generator=generator)
    names = torch.tensor([0, 4, 2, 5, 1, 3]) * 2 + 11 + shift
    renamed = dice(names[fixed], names[warped])
    assert renamed == {
        int(names[label]): score for label, score in sorted(dice(fixed, warped).items(), key=lambda i: names[i[0]])
    }


def test_far_apart_labels():
    fixed = torch.tensor([0, 3, 614_454_277, 614_454_277])
    warped = torch.tensor([0, 3, 614_454_277, 0])
    assert dice(fixed, warped) == {3: 1.0, 614_454_277: pytest.approx(2 / 3)}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_symmetric_bounded_and_blind_to_order(pairs: list[tuple[int, int]]):
    fixed, warped = torch.tensor(pairs).T
    scores = dice(fixed, warped)
    assert scores == dice(warped, fixed) == dice(fixed.flip(0), warped.flip(0))
    assert all(0 <= score <= 1 for score in scores.values())
    assert dice(fixed, fixed) == {int(label): 1.0 for label in fixed.unique() if label != 0}


def test_kinds_of_numbers():
    fixed = torch.tensor([[0, 1], [1, 2]])
    expected = dice(fixed, fixed.flip(0))
    for dtype in (torch.uint8, torch.int16, torch.int32, torch.float32):
        assert dice(fixed.to(dtype), fixed.flip(0).to(dtype)) == expected


def test_refuses():
    with pytest.raises(GeogridError, match="same shape"):
        dice(torch.zeros(3, 4), torch.zeros(4, 3))
    with pytest.raises(GeogridError, match="whole numbers"):
        dice(torch.tensor([0.5]), torch.tensor([1.0]))
    with pytest.raises(GeogridError, match="neither map"):
        mean_dice(torch.zeros(4), torch.zeros(4))

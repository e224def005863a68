"""Box means: by hand, of constants, and the adjoint."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geogrid.losses.windows import Windows

SHAPES = [(7, 6), (9, 1), (4, 5, 3), (5, 1, 4)]


def random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.sampled_from(SHAPES), st.integers(0, 3), st.sampled_from([1, 2]), st.integers(0, 100))
def test_adjoint(shape: tuple[int, ...], radius: int, stride: int, seed: int) -> None:
    windows = Windows(shape, tuple(min(radius, n - 1) for n in shape), stride)
    x = random((1, *shape), seed)
    mean = windows.mean(x)
    y = random(tuple(mean.shape), seed + 1)
    torch.testing.assert_close((mean * y).sum(), (x * windows.adjoint(y)).sum(), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_constants_stay(shape: tuple[int, ...], stride: int) -> None:
    windows = Windows(shape, tuple(min(2, n - 1) for n in shape), stride)
    mean = windows.mean(torch.full((2, *shape), 3.0))
    torch.testing.assert_close(mean, torch.full_like(mean, 3.0))
    torch.testing.assert_close(windows.weigh(torch.full(shape, 0.25)), torch.full(mean.shape[1:], 0.25))


def test_single_points_by_hand() -> None:
    means = Windows((1, 4), (0, 1)).mean(torch.tensor([[[1.0, 2.0, 6.0, 3.0]]]))
    assert means.flatten().tolist() == pytest.approx([1.5, 3, 11 / 3, 4.5])


def test_blocks_by_hand() -> None:
    """Width 5 around the middle of two points: two on either side count, the outer ones by half (and cut at the border)."""
    values = torch.tensor([[[1.0], [2.0], [6.0], [3.0], [5.0]]])
    means = Windows((5, 1), (2, 0), stride=2).mean(values).flatten().tolist()
    first = (1 + 2 + 0.75 * (6 + 3)) / 3.5
    middle = (0.75 * (1 + 2) + 6 + 3 + 5) / 4.5
    last = (0.0 * (1 + 2) + 6 + 3 + 5) / 3
    assert means == pytest.approx([first, middle, last])

"""What ContinuousConv refuses, and that it says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from geogrid.errors import GeogridError
from geogrid.nn import ContinuousConv
from geogrid.spatial import Grid
from tests.nn.clouds import everyone, layer


@pytest.mark.parametrize(
    ("conv", "word"),
    [
        (nn.Conv3d(2, 2, 5, padding=1), "kernel_size"),
        (nn.Conv2d(2, 2, (3, 1), padding=1), "kernel_size"),
        (nn.Conv3d(2, 2, 3, padding=1, stride=2), "stride"),
        (nn.Conv3d(2, 2, 3, padding=1, dilation=2), "dilation"),
        (nn.Conv3d(2, 2, 3), "padding"),
        (nn.Conv3d(2, 2, 3, padding=1, groups=2), "groups"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), "padding_mode"),
        (nn.Linear(2, 2), "Linear"),
    ],
)
def test_from_conv_refuses_what_does_not_fit(conv: Any, word: str):
    with pytest.raises(GeogridError, match=f"(?s)from_conv: expected .*{word}"):
        ContinuousConv.from_conv(conv)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"x": torch.zeros(4, 3)}, r"x: expected \(num_points, 2\) features, got \(4, 3\)"),
    (
        {"x": torch.zeros(4, 2, dtype=torch.float64)},
        r"x: expected the layer's dtype torch.float32, got torch.float64",
    ),
    ({"x": torch.zeros(4, 2, device="meta")}, r"x: expected values on the layer's device cpu, got meta"),
    ({"pos": torch.zeros(4, 2)}, r"pos_context: expected \(num_points, 3\) positions in mm, got \(4, 2\); the layer has dim=3"),
    ({"pos": (torch.zeros(4, 3), torch.zeros(3, 2))}, r"pos_query: expected \(num_points, 3\)"),
    ({"pos": torch.zeros(5, 3)}, r"pos_context: expected 4 positions, one per feature, got 5"),
    ({"pos": torch.zeros(4, 3, dtype=torch.int64)}, r"pos_context: expected float32 or float64 positions, got torch.int64"),
    ({"pos": (torch.zeros(4, 3), torch.zeros(3, 3).double())}, r"expected context and query of one type"),
    (
        {"near": everyone(3, 4)},
        r"neighborhood: expected 4 context and 3 query points, got 3 and 4; are .* swapped",
    ),
    (
        {"near": torch.tensor([[0, 1], [2, 3]])},
        r"expected row 1 within 0 to 2, got 2 to 3; row 0 is the context",
    ),
    ({"near": torch.zeros(3, 2, dtype=torch.int64)}, r"edge_index: expected a \(2, num_edges\) int64 tensor, got \(3, 2\)"),
    ({"near": torch.zeros(2, 2)}, r"edge_index: expected a \(2, num_edges\) int64 tensor, got \(2, 2\) torch.float32"),
    ({"scale": 0.0}, r"scale: expected a positive number of mm, got 0"),
    ({"scale": float("nan")}, r"scale: expected a positive number"),
    ({"spacing": (1.0, 2.0)}, r"spacing: expected shape .*, got \(2,\)"),
    ({"spacing": -1.0}, r"spacing: expected positive finite values"),
    ({"measure": torch.ones(3)}, r"measure: expected shape \(4,\), got \(3,\)"),
    ({"measure": torch.zeros(4)}, r"measure: expected positive finite values"),
    ({"regular": torch.ones(4)}, r"regular: expected True, False, \(3,\) or \(4, 3\) bool, got \(4,\) torch.float32"),
    ({"regular": [True, False]}, r"regular: expected True, False, \(3,\) or \(4, 3\) bool, got \(2,\)"),
    ({"frame": torch.eye(2)}, r"frame: expected shape \(3, 3\) or \(3, 3, 3\), got \(2, 2\)"),
    ({"frame": 2 * torch.eye(3)}, r"frame: expected orthonormal columns, got ones off by 3; use Grid.frame"),
]


@pytest.mark.parametrize(("wrong", "message"), REFUSED)
def test_refusals_of_points(wrong: dict[str, Any], message: str):
    given = {
        "x": torch.zeros(4, 2),
        "pos": (torch.zeros(4, 3), torch.zeros(3, 3)),
        "near": everyone(4, 3),
        "scale": 1.0,
    } | wrong
    with pytest.raises(GeogridError, match=message) as refused:
        layer(3, dtype=torch.float32)(given.pop("x"), given.pop("pos"), given.pop("near"), **given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("x", "spacing", "message"),
    [
        (torch.zeros(2, 4, 4, 4), 1.0, r"x: expected \(batch, 2, i, j, k\) of a 3-D layer, got \(2, 4, 4, 4\)"),
        (torch.zeros(1, 3, 4, 4, 4), 1.0, r"x: expected \(batch, 2, i, j, k\)"),
        (torch.zeros(1, 2, 4, 4, 4).double(), 1.0, r"x: expected the layer's dtype torch.float32"),
        (torch.zeros(1, 2, 4, 4, 4), (1.0, 1.0), r"spacing: expected shape"),
        (torch.zeros(1, 2, 4, 4, 4), (1.0, 1.0, 0.0), r"spacing: expected positive finite values"),
        (
            torch.zeros(1, 2, 4, 4, 4),
            Grid((4, 4, 5), torch.eye(4)),
            r"grid: expected the shape \(4, 4, 4\) of x, got \(4, 4, 5\)",
        ),
    ],
)
def test_refusals_of_lattices(x: Tensor, spacing: Any, message: str):
    with pytest.raises(GeogridError, match=message):
        layer(3, dtype=torch.float32).on_grid(x, spacing, scale=1.0)


def test_refuses_other_dimensions():
    with pytest.raises(GeogridError, match="dim: expected 2 or 3, got 4"):
        ContinuousConv(1, 1, 4)

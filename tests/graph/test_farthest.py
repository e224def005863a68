from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from geogrid import GeogridError
from geogrid.graph import compiled, farthest_points
from tests.graph.clouds import lattice


def slow(points: Tensor, num: int) -> list[int]:
    """By the definition, in plain Python."""
    taken = [0]
    rows = points.double().tolist()
    while len(taken) < num:
        gaps = [-1.0 if i in taken else min(sum((a - b) ** 2 for a, b in zip(p, rows[j], strict=True)) for j in taken)
                for i, p in enumerate(rows)]  # fmt: skip
        taken.append(gaps.index(max(gaps)))
    return taken


def test_known_answer_with_ties_and_duplicates() -> None:
    square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    assert farthest_points(square, 5).tolist() == [0, 3, 1, 2, 4]


@pytest.mark.parametrize("there", [True, False], ids=["compiled", "plain"])
@pytest.mark.parametrize("dim", [2, 3])
def test_equals_the_definition(dim: int, there: bool, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    there = there and compiled.available()
    monkeypatch.setattr(compiled, "available", lambda: there)
    for points in (torch.randn(40, dim, generator=generator), lattice((3,) * dim, (1.0,) * dim)):
        num = min(20, len(points))
        assert farthest_points(points, num).tolist() == slow(points, num)


def test_batches_equal_singles(generator: torch.Generator) -> None:
    sizes = torch.tensor([9, 0, 4, 20])
    points = torch.randn(33, 3, generator=generator)
    taken = farthest_points(points, 6, batch=torch.arange(4).repeat_interleave(sizes))
    first = sizes.cumsum(0) - sizes
    singles = [farthest_points(p, 6) + f for p, f in zip(points.split(sizes.tolist()), first, strict=True)]
    assert torch.equal(taken, torch.cat(singles))
    assert len(taken) == 6 + 0 + 4 + 6


@pytest.mark.parametrize(("ratio", "num"), [(1.0, 10), (0.3, 3), (0.31, 4), (0.01, 1)])
def test_ratio_is_rounded_up(ratio: float, num: int, generator: torch.Generator) -> None:
    points = torch.randn(10, 2, generator=generator)
    assert torch.equal(farthest_points(points, ratio=ratio), farthest_points(points, num))


def test_start_is_drawn_only_when_asked(generator: torch.Generator) -> None:
    points = torch.randn(50, 2, generator=generator)
    assert farthest_points(points, 3)[0] == 0
    starts = {int(farthest_points(points, 1, generator=generator)) for _ in range(30)}
    assert len(starts) > 5


def test_scaled_metric() -> None:
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    assert farthest_points(points, 2).tolist() == [0, 1]
    assert farthest_points(points, 2, metric_scale=(3.0, 1.0)).tolist() == [0, 2]


def test_nothing_from_nothing() -> None:
    assert farthest_points(torch.zeros(0, 3), 4).tolist() == []


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "expected one of num and ratio, got num=None and ratio=None"),
    ({"num": 2, "ratio": 0.5}, "expected one of num and ratio"),
    ({"num": 0}, "num: expected a whole number from 1 up"),
    ({"ratio": 0.0}, "ratio: expected a fraction above 0 and up to 1, got 0.0"),
    ({"ratio": 1.5}, "ratio: expected a fraction"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GeogridError, match=message):
        farthest_points(torch.zeros(3, 2), **options)

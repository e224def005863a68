"""What knn and radius promise beside agreeing with the reference, which is itself checked here by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from geogrid import GeogridError
from geogrid.graph import available_implementations, implementation_status, knn, radius

POINTS = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0], [2.0, 0.0]])
QUERY = torch.tensor([[1.0, 0.0], [0.0, 2.0]])


@pytest.mark.parametrize("implementation", ["reference", "auto"])
def test_known_answers(implementation: Any) -> None:
    table = knn(POINTS, QUERY, 3, implementation=implementation)
    assert table.index.tolist() == [[0, 1, 3], [2, 0, 1]]
    near = radius(POINTS, QUERY, 2.0, implementation=implementation)
    assert near.edge_index.tolist() == [[0, 1, 3, 2, 0], [0, 0, 0, 1, 1]]
    assert radius(POINTS, QUERY, 1.9, implementation=implementation).mask.sum(1).tolist() == [3, 1]
    between = torch.tensor([[1.5, 2.0]])
    assert knn(POINTS, between, 1, implementation=implementation).index.tolist() == [[2]]
    assert knn(POINTS, between, 1, metric_scale=(1.0, 10.0), implementation=implementation).index.tolist() == [[1]]


@pytest.mark.parametrize("implementation", ["reference", "auto"])
def test_batches_do_not_mix(implementation: Any) -> None:
    batch_context, batch_query = torch.tensor([0, 0, 0, 5]), torch.tensor([0, 3])
    table = knn(POINTS, QUERY, 4, batch_context=batch_context, batch_query=batch_query, implementation=implementation)
    assert table.index.tolist() == [[0, 1, 2, 0], [0, 0, 0, 0]]
    assert table.mask.sum(1).tolist() == [3, 0]


@pytest.mark.parametrize(("num_context", "num_query"), [(0, 2), (4, 0), (0, 0)])
def test_empty_clouds(num_context: int, num_query: int) -> None:
    table = knn(POINTS[:num_context], QUERY[:num_query], 3)
    assert table.index.shape == (num_query, 3)
    assert not table.mask.any() or num_context
    near = radius(POINTS[:num_context], QUERY[:num_query], 1.0)
    assert near.num_query == num_query
    assert radius(POINTS[:num_context], QUERY[:num_query], 1.0, max_neighbors=2).k == 2


def test_a_batch_equals_its_clouds(generator: torch.Generator) -> None:
    sizes = [30, 0, 50]
    context = [torch.randn(n, 3, generator=generator) for n in sizes]
    query = [torch.randn(n, 3, generator=generator) for n in (7, 9, 11)]
    entry = torch.arange(3)
    table = knn(
        torch.cat(context), torch.cat(query), 8,
        batch_context=entry.repeat_interleave(torch.tensor(sizes)),
        batch_query=entry.repeat_interleave(torch.tensor([7, 9, 11])),
    )  # fmt: skip
    singles = [knn(c, q, 8) for c, q in zip(context, query, strict=True)]
    first = torch.tensor([0, 30, 30]).repeat_interleave(torch.tensor([7, 9, 11]))
    assert torch.equal(table.mask, torch.cat([s.mask for s in singles]))
    index = torch.cat([s.index for s in singles]) + first[:, None]
    assert torch.equal(table.index, index.masked_fill(~table.mask, 0))


def test_a_cap_keeps_the_nearest_or_raises() -> None:
    line = torch.stack([torch.arange(9.0, 0, -1), torch.zeros(9)], 1)
    origin = torch.zeros(1, 2)
    assert radius(line, origin, 4.5, max_neighbors=2).index.tolist() == [[8, 7]]
    assert radius(line, origin, 4.5, max_neighbors=4, on_overflow="raise").mask.sum() == 4
    with pytest.raises(GeogridError, match="at most max_neighbors=3 context points in each ball, got more around query 0"):
        radius(line, origin, 4.5, max_neighbors=3, on_overflow="raise")


def test_permutation_of_the_points(generator: torch.Generator) -> None:
    context, query = torch.randn(60, 2, generator=generator), torch.randn(20, 2, generator=generator)
    order, turn = torch.randperm(60, generator=generator), torch.randperm(20, generator=generator)
    table, shuffled = knn(context, query, 5), knn(context[order], query[turn], 5)
    assert torch.equal(order[shuffled.index], table.index[turn])


def test_gradients_do_not_pass() -> None:
    moving = QUERY.clone().requires_grad_()
    assert not knn(POINTS, moving, 1).index.requires_grad


def test_small_memory_gives_the_same(generator: torch.Generator) -> None:
    points = torch.randn(200, 3, generator=generator)
    for name in ("scipy", "torch"):
        few = radius(points, points, 0.8, implementation=name, max_bytes=1)  # type: ignore[arg-type]
        assert torch.equal(few.index, radius(points, points, 0.8).index)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"context": POINTS[:, :1]}, r"context: expected positions of shape \(num_points, 2 or 3\), got \(4, 1\)"),
    ({"query": torch.zeros(2, 3)}, "query: expected 2-D positions like the context, got 3-D"),
    ({"query": QUERY.long()}, "query: expected float32 or float64 positions in mm, got torch.int64"),
    ({"context": POINTS * torch.nan}, "context: expected finite positions"),
    ({"k": 0}, "k: expected a whole number from 1 up, got 0"),
    ({"k": 2.0}, "k: expected a whole number from 1 up, got 2.0"),
    ({"batch_context": torch.zeros(4, dtype=torch.int64)}, "batch_query: expected both batch vectors or none, got one"),
    ({"batch_context": torch.tensor([0, 1, 0, 1]), "batch_query": torch.tensor([0, 0])}, "batch_context: expected sorted"),
    ({"batch_context": torch.tensor([-1, 0, 0, 1]), "batch_query": torch.tensor([0, 0])}, "got unsorted or negative"),
    ({"batch_context": torch.zeros(3, dtype=torch.int64), "batch_query": torch.tensor([0, 0])}, "expected 4 int64 values"),
    ({"metric_scale": (1.0, 2.0, 3.0)}, "metric_scale: expected one number or 2, one per axis, got shape"),
    ({"metric_scale": 0.0}, "metric_scale: expected positive numbers"),
    ({"implementation": "faiss"}, "implementation: expected one of auto, reference, scipy, torch"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_refusals(change: dict[str, Any], message: str) -> None:
    with pytest.raises(GeogridError, match=message):
        knn(**{"context": POINTS, "query": QUERY, "k": 1, **change})


@pytest.mark.parametrize("bad", [0, -1.0, float("nan"), float("inf")])
def test_radius_must_be_positive(bad: float) -> None:
    with pytest.raises(GeogridError, match="radius: expected a positive number of mm"):
        radius(POINTS, QUERY, bad)


def test_overflow_policies_are_checked() -> None:
    with pytest.raises(GeogridError, match="on_overflow: expected nearest or raise, got first"):
        radius(POINTS, QUERY, 1.0, max_neighbors=1, on_overflow="first")  # type: ignore[arg-type]


def test_missing_implementations_say_how_to_get_them() -> None:
    status = implementation_status()
    assert {n for n, reason in status.items() if reason is None} == set(available_implementations())
    assert {"reference", "scipy", "torch"} <= set(available_implementations())
    for name, reason in status.items():
        if reason is not None:
            assert "pip install" in reason
            with pytest.raises(GeogridError, match=f"implementation {name}: expected it to be installed"):
                knn(POINTS, QUERY, 1, implementation=name)  # type: ignore[arg-type]


@pytest.mark.gpu
def test_clouds_on_two_devices() -> None:
    with pytest.raises(GeogridError, match="query: expected positions on cpu like the context, got cuda"):
        knn(POINTS, QUERY.cuda(), 1)
    with pytest.raises(GeogridError, match="implementation scipy: expected points on the cpu"):
        knn(POINTS.cuda(), QUERY.cuda(), 1, implementation="scipy")

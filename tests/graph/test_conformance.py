"""Every implementation gives the table of the slow reference, bit by bit.

``GEOGRID_REQUIRE_IMPLEMENTATION`` (names, separated by commas) turns the skip of a missing one into a failure.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geogrid.graph import Neighborhood, implementation_status, knn, radius
from geogrid.graph.backends import MODULES
from geogrid.graph.backends.searcher import Searcher
from geogrid.graph.ranking import ExactSearch
from tests.graph.clouds import REQUIRED, Clouds, clouds, lattice, usable

pytestmark = pytest.mark.backend
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
SCALES = st.sampled_from([None, 2.0, (1.0, 3.0, 0.5)])


@pytest.fixture(params=list(MODULES), scope="module")
def implementation(request: pytest.FixtureRequest) -> str:
    return usable(request.param)


@pytest.fixture(params=DEVICES, scope="module")
def device(request: pytest.FixtureRequest, implementation: str) -> str:
    if implementation == "scipy" and request.param == "cuda":
        pytest.skip("SciPy's tree is for the CPU")
    return str(request.param)


def assert_same(fast: Neighborhood, slow: Neighborhood) -> None:
    assert torch.equal(fast.mask.cpu(), slow.mask)
    assert torch.equal(fast.index.cpu(), slow.index)
    assert fast.num_context == slow.num_context


def with_axes(scale: Any, dim: int) -> Any:
    return scale[:dim] if isinstance(scale, tuple) else scale


def test_required_implementations_are_known() -> None:
    assert set(REQUIRED) <= set(implementation_status())


@given(case=clouds(), k=st.integers(1, 12), scale=SCALES)
def test_knn(case: Clouds, k: int, scale: Any, implementation: str, device: str) -> None:
    options = {"k": k, "metric_scale": with_axes(scale, case.context.shape[1])}
    there = case.to(device)
    fast = knn(there.context, there.query, **options, **there.batches, implementation=implementation)  # type: ignore[arg-type]
    assert_same(fast, knn(case.context, case.query, **options, **case.batches, implementation="reference"))
    assert fast.index.shape == (len(case.query), k)


@given(case=clouds(), limit=st.sampled_from([0.1, 1.0, 2.0, 50.0]), scale=SCALES, cap=st.sampled_from([None, 1, 4]))
def test_radius(case: Clouds, limit: float, scale: Any, cap: int | None, implementation: str, device: str) -> None:
    options = {"radius": limit, "max_neighbors": cap, "metric_scale": with_axes(scale, case.context.shape[1])}
    there = case.to(device)
    fast = radius(there.context, there.query, **options, **there.batches, implementation=implementation)  # type: ignore[arg-type]
    assert_same(fast, radius(case.context, case.query, **options, **case.batches, implementation="reference"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ties_at_the_rim_of_a_lattice(dtype: torch.dtype, implementation: str, device: str) -> None:
    points = lattice((5, 4, 4), (1.0, 1.0, 1.0)).to(device, dtype)
    for k in (1, 4, 16, 27):
        slow = knn(points.cpu(), points.cpu(), k, implementation="reference")
        assert_same(knn(points, points, k, implementation=implementation), slow)  # type: ignore[arg-type]


def test_distances_that_float32_cannot_tell_apart(implementation: str, device: str) -> None:
    """Neighbours 1e-9 mm apart in distance, 1000 mm from the origin."""
    angle = torch.arange(40, dtype=torch.float64) * 0.7
    length = 5 - 1e-9 * torch.arange(40, dtype=torch.float64)
    ring = torch.stack([1000 + length * angle.cos(), 1000 + length * angle.sin()], 1).to(device)
    center = torch.tensor([[1000.0, 1000.0]], dtype=torch.float64, device=device)
    found = knn(ring, center, 6, implementation=implementation)  # type: ignore[arg-type]
    assert found.index.tolist() == [[39, 38, 37, 36, 35, 34]]


def test_many_duplicates(implementation: str, device: str) -> None:
    points = torch.zeros(300, 3, device=device)
    found = knn(points, points[:2], 5, implementation=implementation)  # type: ignore[arg-type]
    assert found.index.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert radius(points, points[:2], 1.0, implementation=implementation).index.tolist() == [list(range(300))] * 2  # type: ignore[arg-type]


def test_scattered_points_as_the_tree_finds_them(generator: torch.Generator, implementation: str, device: str) -> None:
    context, query = torch.rand(3000, 3, generator=generator), torch.rand(500, 3, generator=generator) * 1.4
    slow = knn(context, query, 16, implementation="scipy")
    found = knn(context.to(device), query.to(device), 16, implementation=implementation, max_bytes=2**18)  # type: ignore[arg-type]
    assert_same(found, slow)


def test_translation_by_whole_numbers_changes_nothing(generator: torch.Generator, implementation: str) -> None:
    points = torch.randint(-9, 9, (200, 3), generator=generator).double()
    here = knn(points, points, 9, implementation=implementation)  # type: ignore[arg-type]
    assert_same(knn(points + 4096, points + 4096, 9, implementation=implementation), here)  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [1, 3])
def test_a_limited_back_end_is_relieved(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As CUDA kernels with k <= 100: queries that need more go to the search in torch."""
    points = lattice((6, 6), (1.0, 1.0))
    search = ExactSearch("scipy", points, points, 2**20)
    limited = Searcher(search.searcher.nearest, search.searcher.error, max_k=5)
    monkeypatch.setattr(search, "searcher", limited)
    assert torch.equal(search.knn(k)[0], knn(points, points, k, implementation="reference").index)

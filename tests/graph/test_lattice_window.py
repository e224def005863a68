"""Index arithmetic against the reference search, wherever the query is and however the lattice lies."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geogrid import GeogridError
from geogrid.graph import compiled, lattice_window, radius
from geogrid.graph.lattice import lattice_positions, window_offsets
from geogrid.spatial import Grid
from tests.graph.clouds import rotation


def grid_of(shape: tuple[int, ...], spacing: tuple[float, ...], turn: Tensor | None = None, start: float = -3.0) -> Grid:
    dim = len(shape)
    affine = torch.eye(dim + 1, dtype=torch.float64)
    affine[:-1, :-1] = (torch.eye(dim, dtype=torch.float64) if turn is None else turn) * torch.tensor(spacing)
    affine[:-1, -1] = start
    return Grid(shape, affine)


def edges(grid: Grid, query: Tensor, limit: float, **options: Any) -> set[tuple[int, int]]:
    pairs = lattice_window(grid, query, limit, **options).edge_index.T.tolist()
    assert len({tuple(p) for p in pairs}) == len(pairs)
    return {(j, i) for j, i in pairs}


def expected(grid: Grid, query: Tensor, limit: float, scale: Any = None) -> set[tuple[int, int]]:
    context = lattice_positions(grid, grid.indices())
    table = radius(context, query.double(), limit, metric_scale=scale, implementation="reference")
    return {(j, i) for j, i in table.edge_index.T.tolist()}


@st.composite
def problems(draw: st.DrawFn) -> tuple[Grid, Tensor, float, Any]:
    """Small grids, oblique ones too, and queries inside, on points, half-way between them, at the border and far outside."""
    dim = draw(st.sampled_from([2, 3]))
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=dim, max_size=dim)))
    spacing = tuple(draw(st.lists(st.sampled_from([0.5, 1.0, 1.3, 2.5]), min_size=dim, max_size=dim)))
    turn = draw(st.sampled_from([None, rotation(dim, 1), rotation(dim, 2)]))
    grid = grid_of(shape, spacing, turn)
    place = st.one_of(st.integers(-12, 24).map(lambda n: n / 4), st.floats(-4, 8, allow_nan=False))
    index = torch.tensor(draw(st.lists(st.lists(place, min_size=dim, max_size=dim), min_size=1, max_size=6))).double()
    query = lattice_positions(grid, index)
    if draw(st.booleans()):
        query = query.float()
    limit = draw(st.sampled_from([0.4, 0.5, 1.0, 1.3, 1.49, math.sqrt(2), 2.0, 3.1]))
    return grid, query, limit, draw(st.sampled_from([None, 1.7, (1.0, 2.0, 0.5)[:dim]]))


@given(problem=problems())
def test_exactly_the_points_inside(problem: tuple[Grid, Tensor, float, Any]) -> None:
    grid, query, limit, scale = problem
    assert edges(grid, query, limit, metric_scale=scale) == expected(grid, query, limit, scale)


@given(problem=problems())
def test_without_compiled_loops_the_tables_are_the_same(problem: tuple[Grid, Tensor, float, Any]) -> None:
    grid, query, limit, scale = problem
    here = lattice_window(grid, query, limit, metric_scale=scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "available", lambda: False)
        there = lattice_window(grid, query, limit, metric_scale=scale)
        packed = there.compact()
    assert torch.equal(here.index, there.index)
    assert torch.equal(here.mask, there.mask)
    assert torch.equal(here.compact().index, packed.index)
    assert torch.equal(here.compact().mask, packed.mask)


def test_without_compiled_loops_the_neighbours_are_exact_too(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    monkeypatch.setattr(compiled, "available", lambda: False)
    grid = grid_of((7, 6, 5), (1.0, 1.6, 0.7), rotation(3))
    query = grid.index_to_world(torch.rand(60, 3, generator=generator) * 11 - 3)
    assert edges(grid, query, 2.2, max_bytes=2**12) == expected(grid, query, 2.2)


@pytest.mark.parametrize("shape", [(9, 8), (7, 6, 5)])
@pytest.mark.parametrize("turned", [False, True])
def test_many_shifted_queries(shape: tuple[int, ...], turned: bool, generator: torch.Generator) -> None:
    dim = len(shape)
    grid = grid_of(shape, (1.0, 1.6, 0.7)[:dim], rotation(dim) if turned else None)
    index = torch.rand(60, dim, generator=generator) * (torch.tensor(shape) + 6) - 3
    query = grid.index_to_world(index)
    for limit in (0.8, 2.2):
        assert edges(grid, query, limit, max_bytes=2**12) == expected(grid, query, limit)


def test_flat_index_is_that_of_the_grid() -> None:
    grid = grid_of((3, 4, 5), (1.0, 2.0, 3.0))
    table = lattice_window(grid, grid.points(), 0.1)
    assert table.k == 1
    assert torch.equal(table.index[:, 0], torch.arange(60))
    assert table.num_context == 60


@pytest.mark.parametrize(
    ("dim", "limit", "width"),
    [(3, 0.49, 1), (3, 0.5, 7), (3, 0.71, 19), (3, 0.87, 27), (3, 1.49, 27), (3, 1.5, 33), (2, 1.49, 9)],
)
def test_no_offset_too_many(dim: int, limit: float, width: int) -> None:
    """An offset is in the window when some query of the middle cell can reach its point, and only then."""
    grid = grid_of((4,) * dim, (1.0,) * dim)
    offsets = window_offsets(grid, limit, torch.ones(dim, dtype=torch.float64))
    assert len(offsets) == width


def test_outside_there_is_nobody() -> None:
    grid = grid_of((4, 4), (1.0, 1.0))
    far = torch.tensor([[1e30, 0.0], [0.0, -1e6], [-3.0, -4.5], [0.5, 3.2]])
    table = lattice_window(grid, far, 1.0)
    assert table.mask.sum(1).tolist() == [0, 0, 0, 0]
    assert table.index.max() == 0
    assert lattice_window(grid, far[:0], 1.0).num_query == 0


def test_columns_rise_in_context_index(generator: torch.Generator) -> None:
    grid = grid_of((6, 5, 4), (1.0, 1.0, 1.0))
    context, query = lattice_window(grid, grid.points(), 1.8).edge_index
    assert bool(((context[1:] > context[:-1]) | (query[1:] > query[:-1])).all())


@pytest.mark.parametrize(
    ("query", "limit", "message"),
    [
        (torch.zeros(2, 3), 1.0, "query: expected 2-D positions like the grid, got 3-D"),
        (torch.zeros(2), 1.0, "query: expected positions of shape"),
        (torch.full((1, 2), torch.nan), 1.0, "query: expected finite positions"),
        (torch.zeros(2, 2), 0.0, "radius: expected a positive number of mm, got 0.0"),
    ],
)
def test_refusals(query: Tensor, limit: float, message: str) -> None:
    with pytest.raises(GeogridError, match=message):
        lattice_window(grid_of((3, 3), (1.0, 1.0)), query, limit)


@pytest.mark.gpu
def test_on_cuda(generator: torch.Generator) -> None:
    grid = grid_of((7, 6, 5), (1.0, 1.6, 0.7), rotation(3))
    query = grid.index_to_world(torch.rand(50, 3, generator=generator) * 9 - 1)
    there = lattice_window(grid, query.cuda(), 2.0)
    here = lattice_window(grid, query, 2.0)
    assert torch.equal(there.index.cpu(), here.index)
    assert torch.equal(there.mask.cpu(), here.mask)

"""Displacements are continuous: a point that moves a little changes no output by more than a bound, wherever it is."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from geogrid.graph import Neighborhood, lattice_window
from geogrid.nn import AttentionOutput, NeighborAttention
from geogrid.spatial import Grid
from tests.nn.cases import make_layer
from tests.spatial.cases import make_grid

SCALE = 2.0
STEP = 1e-4
"""Of a move, in scales."""
PARTS = ("update", "offset", "cost")
NUM_TRIALS = 3000
RIM = 2.0
"""Radius of the taper in scales."""
PLACES = ["inside", "sparse", "rim", "edge", "alone"]
BOUNDS = {"update": 20.0, "offset": 20.0, "cost": 15.0}
"""Change of any number in the output (offsets in scales) per scale that one point moves; see `steepest` for what moves.

Largest of three seeds: update 13.4, offset 12.7, cost 9.9 in 2-D; 10.7, 9.7 and 7.9 in 3-D. Without the taper 30 000."""


def draw(*shape: int, generator: torch.Generator) -> Tensor:
    return 2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1


def directions(*shape: int, generator: torch.Generator) -> Tensor:
    return normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def context_points(place: str, dim: int, generator: torch.Generator) -> Tensor:
    """``(num_trials, num_points, dim)`` around queries at zero, in scales."""
    if place == "inside":
        return draw(NUM_TRIALS, 40, dim, generator=generator) * RIM
    if place == "sparse":
        return draw(NUM_TRIALS, 6, dim, generator=generator) * RIM * 1.5
    if place == "rim":
        share = torch.tensor([0.5, 0.7, 0.71, 0.9, 0.99999, 1.0], dtype=torch.float64)
        chosen = share[torch.randint(6, (NUM_TRIALS, 1, 1), generator=generator)]
        return directions(NUM_TRIALS, 4, dim, generator=generator) * RIM * chosen
    if place == "alone":
        return draw(NUM_TRIALS, 1, dim, generator=generator) * RIM
    points = draw(NUM_TRIALS, 30, dim, generator=generator) * RIM
    points[..., 0] = points[..., 0].abs() + draw(NUM_TRIALS, 1, generator=generator) * 2
    return points


def attend(
    layer: NeighborAttention, x: tuple[Tensor, Tensor], context: Tensor, query: Tensor, measure: Tensor, reach: float
) -> AttentionOutput:
    """All trials at once, each with its own context; the neighbourhood is made anew."""
    num_trials, count, _ = context.shape
    near = (context - query[:, None]).norm(dim=-1) <= reach
    table = Neighborhood(torch.arange(num_trials * count).unflatten(0, (num_trials, count)), near, num_trials * count)
    return run(layer, x, (context.flatten(0, 1) * SCALE, query * SCALE), table, measure)


def run(
    layer: NeighborAttention, x: tuple[Tensor, Tensor], pos: tuple[Tensor, Tensor], near: Neighborhood, measure: Tensor | None
) -> AttentionOutput:
    with torch.no_grad():
        return layer(x, pos, near, measure, scale=SCALE, return_offset=True, return_cost=True)


def slopes(before: AttentionOutput, after: AttentionOutput) -> dict[str, float]:
    """The largest change of a number in each output over the length of the move."""
    units = {"update": 1.0, "offset": SCALE, "cost": 1.0}
    return {p: float((getattr(after, p) - getattr(before, p)).abs().max()) / (STEP * units[p]) for p in PARTS}


def steepest(layer: NeighborAttention, place: str, reach: float = 4.5, seed: int = 0) -> dict[str, float]:
    """Over moves of a query or of one of its context points, with features in [-1, 1] and measures in e^[-.5, .5]."""
    generator = torch.Generator().manual_seed(seed)
    context = context_points(place, layer.dim, generator)
    num_trials, count, dim = context.shape
    x = (draw(num_trials * count, 6, generator=generator), draw(num_trials, 5, generator=generator))
    query, measure = torch.zeros(num_trials, dim, dtype=torch.float64), draw(num_trials * count, generator=generator) / 2
    outwards = STEP * normalize(context[:, 0], dim=-1)
    before = attend(layer, x, context, query, measure, reach)
    found = []
    for move in (STEP * directions(num_trials, dim, generator=generator), outwards, -outwards):
        moved = torch.cat([context[:, :1] + move[:, None], context[:, 1:]], 1)
        found += [slopes(before, attend(layer, x, moved, query, measure, reach))]
        found += [slopes(before, attend(layer, x, context, query + move, measure, reach))]
    return largest(found)


def largest(found: list[dict[str, float]]) -> dict[str, float]:
    return {part: max(one[part] for one in found) for part in PARTS}


@pytest.mark.parametrize("dim", [2, 3])
def test_scattered_points_that_move_a_little_change_little(dim: int) -> None:
    layer = make_layer("taper", dim, torch.float64)
    found = largest([steepest(layer, place) for place in PLACES])
    for part, bound in BOUNDS.items():
        assert bound / 3 < found[part] < bound, part


@pytest.mark.parametrize("dim", [2, 3])
def test_without_the_taper_the_answer_jumps(dim: int) -> None:
    found = steepest(make_layer("taper", dim, torch.float64, radius=None), "rim", reach=RIM)
    assert min(found["update"], found["offset"]) > 100 * BOUNDS["update"]


def lattice_queries(grid: Grid, where: str, generator: torch.Generator) -> Tensor:
    """``(num_queries, dim)`` indices: where rounding changes, on the outermost points, or beyond them until none is near."""
    count, dim = 300, grid.dim
    last = torch.tensor(grid.shape, dtype=torch.float64) - 1
    index = torch.rand(count, dim, generator=generator, dtype=torch.float64) * last
    axis = torch.arange(count) % dim
    rows = torch.arange(count)
    high = torch.rand(count, generator=generator) < 0.5
    border = torch.where(high, last[axis], 0.0)
    if where == "rounding":
        index[rows, axis] = index[rows, axis].floor() + 0.5 - 1e-9
    else:
        beyond = torch.rand(count, generator=generator, dtype=torch.float64) * 4 if where == "beyond" else torch.zeros(count)
        index[rows, axis] = border + torch.where(high, beyond, -beyond)
    return index


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("where", ["rounding", "border", "beyond"])
def test_a_query_that_moves_through_a_lattice_moves_the_answer_little(dim: int, where: str, generator: torch.Generator) -> None:
    layer = make_layer("taper", dim, torch.float64)
    grid = make_grid((6, 5, 4)[:dim], (2.0, 3.0, 1.5)[:dim], [20.0, 5.0, -8.0][: 2 * dim - 3])
    points = grid.index_to_world(grid.indices().double())
    query = grid.index_to_world(lattice_queries(grid, where, generator))
    x = (draw(grid.num_points, 6, generator=generator), draw(len(query), 5, generator=generator))
    measure = torch.full((grid.num_points,), grid.voxel_volume / SCALE**dim, dtype=torch.float64).log()

    def answer(pos: Tensor) -> AttentionOutput:
        return run(layer, x, (points, pos), lattice_window(grid, pos, 4.5 * SCALE), measure)

    before, found = answer(query), []
    if where == "beyond":
        assert (before.coverage == 0).any()
    for axis, sign in itertools.product(range(dim), (-1, 1)):
        found.append(slopes(before, answer(query + sign * STEP * SCALE * grid.frame[:, axis])))
    for part, bound in BOUNDS.items():
        assert 0.1 < largest(found)[part] < bound, part


def test_rounding_boundaries_are_crossed(generator: torch.Generator) -> None:
    """Otherwise the test above would see nothing."""
    grid = make_grid((6, 5), (2.0, 3.0), [20.0])
    index = lattice_queries(grid, "rounding", generator)
    for axis in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[axis] = STEP * SCALE / grid.spacing[axis]
        crossed = (index.round() != (index + step).round()).any(1)
        assert crossed[torch.arange(len(index)) % 2 == axis].all()

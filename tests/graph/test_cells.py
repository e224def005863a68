from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geogrid import GeogridError
from geogrid.graph import cell_pool
from geogrid.spatial import Grid


def test_known_answer() -> None:
    points = torch.tensor([[5.0, 1.0], [4.0, 1.0], [5.9, 3.5], [4.5, 3.0]])
    cells = cell_pool(points, 2.0)
    assert cells.cluster.tolist() == [0, 0, 1, 1]
    assert cells.batch.tolist() == [0, 0]
    assert cell_pool(points, (1.0, 5.0)).cluster.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("start", [0.0, 1000.1, -77.7])
def test_on_a_lattice_the_cells_are_those_of_the_grid(factor: int, start: float) -> None:
    """Although float32 positions near 1000 mm with a spacing of 0.7 are rounded by 1e-4 of a cell."""
    affine = torch.diag(torch.tensor([0.7, 0.7, 0.7, 1.0]))
    affine[:3, 3] = start
    grid = Grid((7, 6, 5), affine)
    cells = cell_pool(grid.points(), 0.7 * factor)
    coarse = grid.pool((factor,) * 3)
    assert cells.num_clusters == coarse.num_points
    place = (grid.indices() // factor).long()
    flat = (place[:, 0] * coarse.shape[1] + place[:, 1]) * coarse.shape[2] + place[:, 2]
    assert torch.equal(cells.cluster, flat)


@given(shift=st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), seed=st.integers(0, 100))
def test_translation_changes_nothing(shift: list[float], seed: int) -> None:
    """Exactly, for sums that float64 can hold; points within rounding of a border may go either way."""
    generator = torch.Generator().manual_seed(seed)
    points = (torch.randn(80, 3, generator=generator) * 8).half().double()
    moved = points + torch.tensor(shift).half().double()
    cells, others = cell_pool(points, 2.0), cell_pool(moved, 2.0)
    assert torch.equal(cells.cluster, others.cluster)
    weight = torch.rand(80, generator=generator, dtype=torch.float64)
    gap = others.mean(moved, weight) - cells.mean(points, weight)
    torch.testing.assert_close(gap, torch.tensor(shift).half().double().expand_as(gap))


def test_permutation_of_the_points(generator: torch.Generator) -> None:
    points, order = torch.randn(100, 2, generator=generator), torch.randperm(100, generator=generator)
    cells, shuffled = cell_pool(points, 0.5), cell_pool(points[order], 0.5)
    assert torch.equal(shuffled.cluster, cells.cluster[order])
    weight = torch.rand(100, generator=generator)
    torch.testing.assert_close(shuffled.mean(points[order], weight[order]), cells.mean(points, weight))


def test_a_batch_equals_its_clouds(generator: torch.Generator) -> None:
    sizes = torch.tensor([20, 0, 30])
    points = torch.randn(50, 3, generator=generator) + torch.tensor([5.0, 0, 0])
    cells = cell_pool(points, 1.0, torch.arange(3).repeat_interleave(sizes))
    first, second = cell_pool(points[:20], 1.0), cell_pool(points[20:], 1.0)
    assert torch.equal(cells.cluster, torch.cat([first.cluster, second.cluster + first.num_clusters]))
    assert cells.batch.tolist() == [0] * first.num_clusters + [2] * second.num_clusters


def test_sums_and_weighted_means(generator: torch.Generator) -> None:
    points, weight = torch.randn(60, 2, generator=generator), torch.rand(60, generator=generator)
    cells = cell_pool(points, 1.0)
    for number in range(cells.num_clusters):
        members = cells.cluster == number
        torch.testing.assert_close(cells.sum(weight)[number], weight[members].sum())
        mean = (weight[members, None] * points[members]).sum(0) / weight[members].sum()
        torch.testing.assert_close(cells.mean(points, weight)[number], mean)
        torch.testing.assert_close(cells.mean(points)[number], points[members].mean(0))


def test_members_without_measure_count_the_same() -> None:
    cells = cell_pool(torch.tensor([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0], [8.5, 0.0]]), 4.0)
    mean = cells.mean(torch.tensor([1.0, 3.0, 5.0, 9.0]), torch.tensor([0.0, 0.0, 1.0, 3.0]))
    assert mean.tolist() == [2.0, 8.0]


def test_gradients(generator: torch.Generator) -> None:
    points = torch.randn(12, 2, generator=generator, dtype=torch.float64)
    cells = cell_pool(points, 1.5)
    weight = torch.rand(12, generator=generator, dtype=torch.float64) + 0.1
    values = points.clone().requires_grad_()
    assert torch.autograd.gradcheck(cells.mean, (values, weight.requires_grad_()))


def test_far_from_the_origin_float32_means_lose_nothing() -> None:
    points = torch.tensor([[4096.25, 0.0], [4096.5, 0.0], [4096.75, 0.0]]).repeat(1000, 1)
    assert cell_pool(points, 2.0).mean(points).tolist() == [[4096.5, 0.0]]


def test_nothing() -> None:
    cells = cell_pool(torch.zeros(0, 3), 1.0)
    assert cells.num_clusters == 0
    assert cells.mean(torch.zeros(0, 5)).shape == (0, 5)


def test_refusals() -> None:
    points = torch.tensor([[0.0, 0.0], [1e9, 1e9]], dtype=torch.float64)
    with pytest.raises(GeogridError, match="cell: expected positive numbers"):
        cell_pool(points, -1.0)
    with pytest.raises(GeogridError, match="cell: expected one number or 2, one per axis"):
        cell_pool(points, (1.0, 2.0, 3.0))
    with pytest.raises(GeogridError, match="cell: expected cells large enough"):
        cell_pool(points, 1e-3)
    cells = cell_pool(points, 1e9)
    with pytest.raises(GeogridError, match="values: expected 2 rows of floating point numbers"):
        cells.sum(torch.zeros(3))
    with pytest.raises(GeogridError, match="measure: expected one number per point, not negative"):
        cells.mean(points, torch.tensor([1.0, -1.0]))

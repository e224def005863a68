"""Scattered samples on a lattice: what is reproduced, what is least, what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial import Grid, grid_samples, lattice_of_samples, sample_spacing
from geogrid.spatial.gridding import FINENESS, _laplacian
from geogrid.spatial.sampling import sample_lattice


def places(dim: int, count: int, size: float = 40.0, seed: int = 0) -> Tensor:
    return size * torch.rand(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("dim", [2, 3])
def test_spacing_of_a_lattice_whole_and_thinned(dim: int) -> None:
    points = torch.cartesian_prod(*[torch.arange(24.0, dtype=torch.float64) * 2.5] * dim)
    assert sample_spacing(points) == pytest.approx(2.5, rel=0.06)
    kept = torch.rand(len(points), generator=torch.Generator().manual_seed(1)) < 1 / FINENESS[dim]
    grid = lattice_of_samples(points[kept])
    torch.testing.assert_close(grid.spacing, torch.full((dim,), 2.5, dtype=torch.float64), rtol=0.06, atol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_spacing_does_not_count_what_has_no_samples(dim: int) -> None:
    points = places(dim, 12_000)
    middle = (points - 20).norm(dim=1)
    ring = points[(middle < 20) & (middle > 10)]
    assert sample_spacing(ring) == pytest.approx(sample_spacing(points), rel=0.2)


@pytest.mark.parametrize("dim", [2, 3])
def test_the_lattice_covers_the_samples_and_moves_with_them(dim: int) -> None:
    points = places(dim, 300)
    grid = lattice_of_samples(points)
    index = grid.world_to_index(points)
    assert float(index.min()) >= 0
    assert bool((index <= torch.tensor(grid.shape) - 1).all())
    shifted = lattice_of_samples(points + 1000)
    assert shifted.shape == grid.shape
    torch.testing.assert_close(shifted.affine[:-1, -1], grid.affine[:-1, -1] + 1000)


@pytest.mark.parametrize("dim", [2, 3])
def test_constants_are_kept_exactly_and_linear_fields_nearly(dim: int) -> None:
    points = places(dim, 500)
    grid = lattice_of_samples(points)
    constant, seen, support = grid_samples(points, torch.full((500,), 7.0), grid)
    assert bool((constant.data == 7).all())
    assert bool(((support > 0) <= seen).all())
    assert float(support.sum()) == pytest.approx(500, rel=0.2)
    linear, *_ = grid_samples(points, points[:, 0] - 2 * points[:, -1], grid)
    at = grid.points()
    error = linear.data.flatten() - (at[:, 0] - 2 * at[:, -1])
    assert float(error[seen.flatten()].abs().mean()) < 0.01 * float(linear.data.std())


@pytest.mark.parametrize("dim", [2, 3])
def test_samples_on_lattice_points_are_given_back(dim: int) -> None:
    grid = Grid((9, 8, 7)[:dim], torch.eye(dim + 1))
    values = torch.rand(grid.num_points, generator=torch.Generator().manual_seed(0))
    found, seen, _ = grid_samples(grid.points(), values, grid, stiffness=1e-6)
    torch.testing.assert_close(found.data.flatten(), values, atol=2e-3, rtol=0)
    assert bool(seen.all())


def test_what_is_found_is_the_least() -> None:
    points, grid = places(2, 60, 8.0), Grid((9, 9), torch.eye(3))
    values = torch.sin(points[:, 0]) + points[:, 1] / 4
    found = grid_samples(points, values, grid, stiffness=0.1)[0].data.double()

    def energy(u: Tensor) -> float:
        rest = sample_lattice(u[None], points)[0] - values
        return float(rest.square().sum() + 0.1 * _laplacian(u).square().sum())

    best = energy(found)
    for seed in range(5):
        other = torch.randn(9, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        for size in (0.03, -0.03, 0.3):
            assert energy(found + size * other) > best - 1e-4


def test_neither_order_nor_place_nor_unit_of_intensity_matters() -> None:
    points = places(2, 400)
    values = torch.sin(points[:, 0] / 4)
    grid = lattice_of_samples(points)
    found, seen, _ = grid_samples(points, values, grid)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(2))
    again, seen_again, _ = grid_samples(points[order] + 64, 100 * values[order] + 5, lattice_of_samples(points + 64))
    torch.testing.assert_close(again.data, 100 * found.data + 5, atol=0.05, rtol=0)
    assert torch.equal(seen, seen_again)


def test_gaps_between_samples_are_seen_and_what_lies_beyond_is_not() -> None:
    points = places(2, 2000, 60.0)
    points = points[(points[:, 0] < 20) | (points[:, 0] > 45)]
    grid = lattice_of_samples(points)
    _, seen, _ = grid_samples(points, points[:, 0], grid)
    at = grid.points()[:, 0].view(grid.shape)
    assert float(seen[(at > 2) & (at < 18)].float().mean()) > 0.97
    assert not bool(seen[(at > 28) & (at < 37)].any())


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (torch.rand(50, 3) * torch.tensor([1.0, 1.0, 0.0]), "a volume"),
        (torch.rand(50, 1).expand(50, 2), "an area"),
        (torch.zeros(50, 3), "a volume"),
        (torch.rand(3, 3), "a volume"),
        (torch.cat([torch.rand(500, 2), torch.tensor([[1e4, 1e4]])]), "stray"),
    ],
)
def test_positions_that_show_no_image_are_refused(points: Tensor, words: str) -> None:
    with pytest.raises(GeogridError, match=words) as error:
        lattice_of_samples(points.double())
    assert "\n" not in str(error.value)

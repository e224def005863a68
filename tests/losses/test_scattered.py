"""Smoothness of displacements of scattered points, where the answer is known and beside that of lattices."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geogrid.graph import random_subset
from geogrid.losses import diffusion_loss, folding_loss, scattered_smoothness_loss
from geogrid.spatial import PointCloud
from tests.spatial.cases import field_on, make_grid, rotation
from tests.transforms.cases import ANGLES, make_wave

DIMS = pytest.mark.parametrize("dim", [2, 3])
COUNT = {2: 300, 3: 600}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _cloud(dim: int, seed: int = 0, size: float = 30.0, counts: tuple[int, ...] = ()) -> PointCloud:
    sizes = counts or (COUNT[dim],)
    pos = size * torch.rand(sum(sizes), dim, generator=_generator(seed), dtype=torch.float64)
    measure = 0.5 + torch.rand(len(pos), generator=_generator(seed + 1), dtype=torch.float64)
    return PointCloud.from_points(pos, measure, batch=torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)))


def _terms(displacement: Tensor, points: PointCloud, margin: float = 1.5) -> Tensor:
    weights = ((1.0, 0.0), (0.0, 1.0))
    return torch.stack([scattered_smoothness_loss(displacement, points, *pair, margin) for pair in weights])


@given(st.sampled_from([2, 3]), st.integers(0, 50))
def test_affine_displacements(dim: int, seed: int):
    points = _cloud(dim, seed)
    matrix = torch.randn(dim, dim, generator=_generator(seed), dtype=torch.float64)
    volume = torch.linalg.det(torch.eye(dim, dtype=torch.float64) + matrix)
    expected = torch.stack([matrix.square().sum(), (1.5 - volume).clamp_min(0).square()])
    torch.testing.assert_close(_terms(points.pos @ matrix.T + 5, points), expected, rtol=1e-3, atol=1e-3)


@DIMS
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_smooth_waves_measure_as_on_their_lattice(dim: int, share: float):
    wave = make_wave(dim, 4.0, 40.0)
    grid = make_grid((41, 41) if dim == 2 else (21, 21, 21), (1.0, 1.5, 1.0)[:dim], ANGLES[dim])
    on_lattice = field_on(grid, wave.displacement)
    expected = torch.stack([diffusion_loss(on_lattice, grid), folding_loss(on_lattice, grid, 1.0)]).float()
    points = random_subset(PointCloud.on_lattices([grid]), share, _generator())
    found = _terms(wave.displacement(points.pos.double()).float(), points, margin=1.0)
    assert bool((expected > 1e-3).all())
    torch.testing.assert_close(found, expected, rtol=0.15, atol=0)


@DIMS
def test_what_changes_from_point_to_point_counts(dim: int):
    points = _cloud(dim)
    noise = torch.randn(points.num_points, dim, generator=_generator(7), dtype=torch.float64)
    smooth = make_wave(dim, 1.0, 30.0).displacement(points.pos)
    spacing = float(points.spacing.mean())
    assert _terms(noise, points)[0] > dim * 0.5 / spacing**2
    assert _terms(smooth, points)[0] < 0.05 * _terms(noise, points)[0]


@DIMS
def test_neighbours_that_change_places_fold(dim: int):
    points = _cloud(dim)
    middle = points.pos.mean(0)
    near = (points.pos - middle).norm(dim=1) < 12
    turned_out = -2.0 * (points.pos - middle) * torch.tensor([1.0] + [0.0] * (dim - 1)) * near[:, None]
    assert _terms(turned_out, points, margin=0.3)[1] > 0.1 * float(near.double().mean())
    assert _terms(0.5 * (points.pos - middle), points, margin=0.3)[1] == 0


@DIMS
def test_turning_and_shifting_the_world_changes_nothing(dim: int):
    points, turn = _cloud(dim), rotation(ANGLES[dim])
    u = make_wave(dim, 3.0, 15.0).displacement(points.pos)
    turned = PointCloud.from_points(points.pos @ turn.T + 100, points.measure, frame=turn[None])
    torch.testing.assert_close(_terms(u @ turn.T, turned), _terms(u, points), rtol=1e-5, atol=1e-8)


@DIMS
def test_the_unit_of_length_does_not_matter(dim: int):
    points, u = _cloud(dim), make_wave(dim, 3.0, 15.0).displacement(_cloud(dim).pos)
    large = PointCloud.from_points(1000 * points.pos, 1000**dim * points.measure)
    torch.testing.assert_close(_terms(1000 * u, large), _terms(u, points), rtol=1e-5, atol=1e-8)


@DIMS
def test_a_batch_is_the_mean_of_its_entries(dim: int):
    points = _cloud(dim, counts=(120, 200, 90))
    u = make_wave(dim, 3.0, 15.0).displacement(points.pos)
    alone = [_terms(part, points.entry(n)) for n, part in enumerate(u.split([120, 200, 90]))]
    torch.testing.assert_close(_terms(u, points), torch.stack(alone).mean(0), rtol=1e-8, atol=1e-10)


@DIMS
def test_the_order_of_the_points_does_not_matter(dim: int):
    points, order = _cloud(dim), torch.randperm(COUNT[dim], generator=_generator(3))
    u = make_wave(dim, 3.0, 15.0).displacement(points.pos)
    shuffled = PointCloud.from_points(points.pos[order], points.measure[order])
    torch.testing.assert_close(_terms(u[order], shuffled), _terms(u, points), rtol=1e-8, atol=1e-10)


def test_slices_far_apart_have_slopes_across():
    grid = make_grid((12, 12, 6), (1.0, 1.0, 8.0), ANGLES[3])
    points = random_subset(PointCloud.on_lattices([grid]), 0.7, _generator())
    across = grid.frame[:, 2]
    u = 0.3 * (points.pos.double() @ across)[:, None] * across
    torch.testing.assert_close(_terms(u.float(), points), torch.tensor([0.09, (1.5 - 1.3) ** 2]), rtol=0.02, atol=0)


@DIMS
@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_points_and_repeated_ones(dim: int, count: int):
    points = _cloud(dim, counts=(count,))
    assert bool(_terms(torch.ones(count, dim, dtype=torch.float64), points, margin=0.3).abs().max() < 1e-12)
    twice = PointCloud.from_points(points.pos.repeat(2, 1), points.measure.repeat(2))
    assert bool(_terms(twice.pos, twice).isfinite().all())


@DIMS
def test_gradients(dim: int):
    points = _cloud(dim, counts=(9, 8))
    u = 0.8 * torch.randn(points.num_points, dim, generator=_generator(2), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: _terms(v, points), u.requires_grad_())

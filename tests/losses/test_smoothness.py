"""Diffusion, bending and folding where the answer is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geogrid.losses import bending_loss, diffusion_loss, folding_loss
from geogrid.spatial import Grid
from tests.spatial.cases import field_on, flipped, grids, homogeneous, make_grid, permuted, rotation
from tests.transforms.cases import ANGLES, make_wave

LOSSES: list[Callable[[Tensor, Grid], Tensor]] = [diffusion_loss, bending_loss, lambda u, grid: folding_loss(u, grid, 1.5)]
NAMES = ["diffusion", "bending", "folding"]


def _matrix(dim: int, seed: int, size: float = 1.0) -> Tensor:
    return size * torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(grids(max_size=5).filter(lambda g: min(g.shape) > 2), st.integers(0, 100))
def test_affine_displacements(grid: Grid, seed: int):
    matrix = _matrix(grid.dim, seed)
    u = field_on(grid, lambda x: x @ matrix.T + 5)
    torch.testing.assert_close(diffusion_loss(u, grid), matrix.square().sum(), atol=1e-8, rtol=1e-8)
    assert bending_loss(u, grid) < 1e-12
    volume = torch.linalg.det(torch.eye(grid.dim, dtype=torch.float64) + matrix)
    expected = (0.3 - volume).clamp_min(0).square()
    torch.testing.assert_close(folding_loss(u, grid, 0.3), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_uniform_stretch_by_hand(dim: int):
    grid = make_grid((4, 5, 6)[:dim], (1, 2, 3)[:dim], ANGLES[dim])
    u = field_on(grid, lambda x: 0.1 * x)
    assert diffusion_loss(u, grid) == pytest.approx(0.01 * dim)
    assert folding_loss(u, grid) == 0
    assert folding_loss(field_on(grid, lambda x: -0.9 * x), grid, 0.3) == pytest.approx((0.3 - 0.1**dim) ** 2)


@pytest.mark.parametrize("dim", [2, 3])
def test_bending_of_a_quadratic_field_is_its_squared_hessian(dim: int):
    grid = make_grid((5, 4, 6)[:dim], (1.5, 2, 3)[:dim], ANGLES[dim], (30, -20, 10)[:dim])
    hessians = [(m + m.T) / 2 for m in (_matrix(dim, seed) for seed in range(dim))]
    u = field_on(grid, lambda x: torch.stack([((x @ h) * x).sum(1) / 2 for h in hessians], 1))
    torch.testing.assert_close(bending_loss(u, grid), torch.stack(hessians).square().sum(), atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_the_value_belongs_to_the_field_and_not_to_the_spacing(loss: Callable[[Tensor, Grid], Tensor], dim: int):
    wave = make_wave(dim, 4.0, 40.0)
    fine = make_grid((41,) * dim, (1.0,) * dim, ANGLES[dim])
    reference = loss(field_on(fine, wave.displacement), fine)
    assert reference > 1e-4
    for spacing in ((4.0, 2.0, 4.0), (2.0, 2.0, 1.0)):
        grid = make_grid([int(40 / s) + 1 for s in spacing[:dim]], spacing[:dim], ANGLES[dim])
        assert loss(field_on(grid, wave.displacement), grid) == pytest.approx(float(reference), rel=0.15)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_turning_the_world_changes_nothing(loss: Callable[[Tensor, Grid], Tensor], dim: int):
    wave, grid = make_wave(dim, 4.0, 20.0), make_grid((6, 5, 4)[:dim], (2, 3, 4)[:dim])
    turn = rotation([50.0, 20.0, -70.0][: dim * (dim - 1) // 2])
    moved = grid.transformed(homogeneous(turn, [0.0] * dim))
    u = field_on(moved, lambda x: wave.displacement(x @ turn) @ turn.T)
    torch.testing.assert_close(loss(u, moved), loss(field_on(grid, wave.displacement), grid))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("loss", LOSSES[:2], ids=NAMES[:2])
def test_storage_changes_nothing(loss: Callable[[Tensor, Grid], Tensor], dim: int):
    wave, grid = make_wave(dim, 4.0, 20.0), make_grid((6, 5, 4)[:dim], (2, 3, 4)[:dim], ANGLES[dim])
    plain = loss(field_on(grid, wave.displacement), grid)
    for other in (flipped(grid, 0), flipped(grid, dim - 1), permuted(grid, range(dim)[::-1])):
        torch.testing.assert_close(loss(field_on(other, wave.displacement), other), plain)


@pytest.mark.parametrize("dim", [2, 3])
def test_folding_knows_mirrored_and_permuted_storage(dim: int):
    wave, grid = make_wave(dim, 4.0, 20.0), make_grid((6, 5, 4)[:dim], (2, 3, 4)[:dim], ANGLES[dim])
    plain = folding_loss(field_on(grid, wave.displacement), grid)
    for axis in range(dim):
        assert torch.linalg.det(flipped(grid, axis).frame) < 0
        gentle = field_on(flipped(grid, axis), lambda x: 0.05 * wave.displacement(x))
        assert folding_loss(gentle, flipped(grid, axis)) == 0
    swapped = permuted(grid, range(dim)[::-1])
    torch.testing.assert_close(folding_loss(field_on(swapped, wave.displacement), swapped), plain)
    both = flipped(flipped(grid, 0), 1) if dim == 2 else flipped(flipped(flipped(grid, 0), 1), 2)
    torch.testing.assert_close(folding_loss(field_on(both, wave.displacement), both), plain)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_one_fold_is_seen_and_its_gradient_opens_it(dim: int, mirrored: bool):
    grid = make_grid((8, 4, 3)[:dim], (2.0, 3.0, 4.0)[:dim], ANGLES[dim])
    grid = flipped(grid, 1) if mirrored else grid
    along = grid.frame[:, 0].reshape(-1, *[1] * dim)
    u = torch.zeros(dim, *grid.shape, dtype=torch.float64)
    u[:, 3] += 2.8 * along[:, 0]
    assert folding_loss(torch.zeros_like(u), grid) == 0
    value = folding_loss(u.requires_grad_(), grid)
    assert value.item() == pytest.approx((0.3 - (1 - 2.8 / 2)) ** 2 / 7)
    value.backward()
    assert u.grad is not None
    slope = (u.grad * along).sum(0)
    assert (slope[3] > -1e-15).all()
    assert slope[3].sum() > 0 > slope[4].sum()


@pytest.mark.parametrize("shape", [(4, 3), (3, 4, 3)])
@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_gradcheck(loss: Callable[[Tensor, Grid], Tensor], shape: tuple[int, ...]):
    grid = make_grid(shape, (1.0, 2.0, 1.5)[: len(shape)], ANGLES[len(shape)])
    u = field_on(grid, make_wave(len(shape), 1.5, 9.0).displacement).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: loss(v, grid), (u,))


def test_thin_grids_have_defined_values():
    line = make_grid((5, 1), (2, 2))
    u = field_on(line, lambda x: x.square())
    assert diffusion_loss(u, line) == pytest.approx((2**2 + 6**2 + 10**2 + 14**2) / 4)
    assert bending_loss(u, line) == pytest.approx(4)
    assert folding_loss(u, line) == 0
    speck = make_grid((1, 1, 1), (1, 1, 1))
    assert sum(loss(torch.ones(3, 1, 1, 1), speck) for loss in LOSSES) == 0


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("lead", [(3,), (2, 2), (1,)])
@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_a_batch_is_the_mean_of_its_entries(loss: Callable[[Tensor, Grid], Tensor], lead: tuple[int, ...], dim: int):
    """Values and gradients; the sparse backward pass of the folding loss included."""
    grid = flipped(make_grid((6, 5, 4)[:dim], (2, 3, 4)[:dim], ANGLES[dim]), 1)
    waves = [make_wave(dim, 4.0, 20.0, seed=seed).displacement for seed in range(torch.Size(lead).numel())]
    u = torch.stack([field_on(grid, wave) for wave in waves]).requires_grad_()
    value, singles = loss(u.reshape(*lead, *u.shape[1:]), grid), [loss(one, grid) for one in u]
    assert min(singles) > 0
    torch.testing.assert_close(value, torch.stack(singles).mean())
    (grad,), (expected,) = torch.autograd.grad(value, u), torch.autograd.grad(torch.stack(singles).mean(), u)
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4, 3)])
@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_gradcheck_of_a_batch(loss: Callable[[Tensor, Grid], Tensor], shape: tuple[int, ...]):
    grid = make_grid(shape, (1.0, 2.0, 1.5)[: len(shape)], ANGLES[len(shape)])
    fields = [field_on(grid, make_wave(len(shape), 1.5, 9.0, seed=seed).displacement) for seed in (0, 1)]
    assert torch.autograd.gradcheck(lambda v: loss(v, grid), (torch.stack(fields).requires_grad_(),), fast_mode=True)


def test_an_unfolded_batch_passes_no_gradient():
    grid = make_grid((4, 5), (1, 1))
    u = torch.zeros(2, 2, 4, 5, requires_grad=True)
    folding_loss(u, grid).backward()
    assert u.grad is not None
    assert (u.grad == 0).all()

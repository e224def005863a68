"""What must not change a convolution, and how little a small change may."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geogrid.graph import Neighborhood
from geogrid.spatial import Grid
from tests.nn.clouds import cloud, everyone, features, layer, within
from tests.spatial.cases import flipped, make_grid, permuted, rotation

STEEPEST = 25.0
"""Change of an output per move of a point, in units of the largest feature, the sum of absolute weights, and 1 / scale."""


def _orthonormal(dim: int) -> Tensor:
    return rotation([25.0] if dim == 2 else [25.0, -40.0, 60.0])


@pytest.fixture(params=["table", "edges"])
def door(request: pytest.FixtureRequest):
    return (lambda near: near) if request.param == "table" else (lambda near: near.edge_index)


@pytest.mark.parametrize("dim", [2, 3])
def test_moving_the_whole_scene_changes_nothing(dim: int, door):
    made, pos, x = layer(dim), cloud(dim, 40, 5.0), features(40)
    spacing, regular = torch.tensor([0.8, 1.4, 2.0], dtype=torch.float64)[:dim], [False, True, True][:dim]
    frame, turn = _orthonormal(dim).mT.contiguous(), _orthonormal(dim)
    sampling = {"scale": 1.0, "spacing": spacing, "regular": regular}
    before = made(x, pos, door(everyone(40, 40)), frame=frame, **sampling)
    for moved, own in ((pos + 1000, frame), (pos @ turn.T - 70, turn @ frame)):
        after = made(x, moved, door(everyone(40, 40)), frame=own, **sampling)
        torch.testing.assert_close(after, before, atol=1e-9, rtol=0)
    assert (made(x, pos @ turn.T, door(everyone(40, 40)), frame=frame, **sampling) - before).abs().max() > 1e-2


@pytest.mark.parametrize("dim", [2, 3])
def test_a_shift_of_a_metre_in_float32(dim: int, door):
    made, x = layer(dim, dtype=torch.float32), features(60, dtype=torch.float32)
    pos = (cloud(dim, 60, 4.0) * 64).round().float() / 64
    near = door(everyone(60, 60))
    torch.testing.assert_close(made(x, pos + 1024, near, scale=1.0), made(x, pos, near, scale=1.0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_order_of_points_and_edges_changes_nothing(dim: int, door):
    made, pos, query, x = layer(dim), cloud(dim, 30, 4.0), cloud(dim, 9, 4.0, 3), features(30)
    spacing = 0.5 + cloud(dim, 30, 1.5, 5)
    chance = torch.Generator().manual_seed(0)
    context, asked = torch.randperm(30, generator=chance), torch.randperm(9, generator=chance)
    before = made(x, (pos, query), door(everyone(30, 9)), scale=1.0, spacing=spacing)
    after = made(x[context], (pos[context], query[asked]), door(everyone(30, 9)), scale=1.0, spacing=spacing[context])
    torch.testing.assert_close(after, before[asked], atol=1e-10, rtol=0)
    edges = everyone(30, 9).edge_index[:, torch.randperm(270, generator=chance)]
    torch.testing.assert_close(made(x, (pos, query), edges, scale=1.0, spacing=spacing), before, atol=1e-10, rtol=0)


def test_a_batch_equals_its_elements(door):
    made, sizes = layer(3), (20, 1, 33)
    clouds = [cloud(3, n, 4.0, n) for n in sizes]
    frames = [_orthonormal(3), torch.eye(3, dtype=torch.float64), _orthonormal(3).mT]
    values = [features(n, seed=n) for n in sizes]
    singles = [
        made(x, p, door(everyone(n, n)), scale=1.0, frame=f) for x, p, n, f in zip(values, clouds, sizes, frames, strict=True)
    ]
    starts = [0, *torch.tensor(sizes).cumsum(0).tolist()]
    edges = torch.cat([everyone(n, n).edge_index + start for n, start in zip(sizes, starts, strict=False)], 1)
    near = Neighborhood.from_edge_index(edges, sum(sizes), sum(sizes))
    frame = torch.cat([f.expand(n, 3, 3) for f, n in zip(frames, sizes, strict=True)])
    together = made(torch.cat(values), torch.cat(clouds), door(near), scale=1.0, frame=frame)
    torch.testing.assert_close(together, torch.cat(singles), atol=1e-10, rtol=0)


def test_a_batch_of_lattices_equals_its_elements():
    made = layer(3)
    x = torch.randn(3, 2, 5, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = made.on_grid(x, (1.0, 0.7, 3.0), scale=1.0)
    singles = [made.on_grid(one[None], (1.0, 0.7, 3.0), scale=1.0) for one in x]
    torch.testing.assert_close(together, torch.cat(singles), atol=1e-10, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("factor", [0.25, 8.0])
def test_another_unit_changes_nothing(dim: int, factor: float, door):
    made, pos, x = layer(dim, dtype=torch.float32), cloud(dim, 30, 4.0).float(), features(30, dtype=torch.float32)
    measure = 0.5 + cloud(dim, 30, 1.0, 2)[:, 0].float()
    near, image = door(everyone(30, 30)), torch.randn(1, 2, *[5] * dim, generator=torch.Generator().manual_seed(0))
    for spacing in (1.5, [0.5, 1.0, 3.0][:dim]):
        steps = torch.tensor(spacing)
        before = made(x, pos, near, scale=1.0, spacing=steps, measure=measure, regular=True)
        measures = measure * factor**dim
        after = made(x, pos * factor, near, scale=factor, spacing=steps * factor, measure=measures, regular=True)
        assert torch.equal(before, after)
        assert torch.equal(made.on_grid(image, steps, scale=1.0), made.on_grid(image, steps * factor, scale=factor))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("regular", [False, True])
def test_only_points_within_reach_matter(dim: int, regular: bool, door):
    made, pos, x = layer(dim), cloud(dim, 200, 12.0), features(200)
    spacing, frame = [0.7, 1.5, 2.0][:dim], _orthonormal(dim)
    query = cloud(dim, 20, 12.0, 3)
    near = within(pos, query, made.reach(1.0, spacing, regular), frame)
    assert not near.mask.all()
    assert int(near.mask.sum()) < 0.7 * 200 * 20
    sampling = {"scale": 1.0, "spacing": spacing, "frame": frame, "regular": regular}
    everything = made(x, (pos, query), door(everyone(200, 20)), **sampling)
    torch.testing.assert_close(made(x, (pos, query), door(near), **sampling), everything)


@pytest.mark.parametrize("dim", [2, 3])
def test_entries_that_are_masked_do_not_matter(dim: int):
    made, pos, x = layer(dim), cloud(dim, 30, 4.0), features(30)
    near = within(pos, pos, torch.tensor([1.0] * dim))
    moved = Neighborhood(torch.where(near.mask, near.index, 17), near.mask, 30)
    torch.testing.assert_close(made(x, pos, moved, scale=1.0), made(x, pos, near, scale=1.0))


def _oriented(grid: Grid, code: str) -> tuple[Grid, list[int], list[int]]:
    """The grid in another storage, with the order and the flipped axes that lead there from RAS."""
    letters = {"R": (0, 0), "L": (0, 1), "A": (1, 0), "P": (1, 1), "S": (2, 0), "I": (2, 1)}
    order = [letters[c][0] for c in code]
    flips = [axis for axis, c in enumerate(code) if letters[c][1]]
    stored = permuted(grid, order)
    for axis in flips:
        stored = flipped(stored, axis)
    return stored, order, flips


@pytest.mark.parametrize("code", ["RAS", "LPS", "PSR", "LIA"])
@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (12.0, -7.0, 20.0)])
def test_storage_changes_nothing(code: str, angles: tuple[float, ...]):
    made = layer(3)
    grid = make_grid((5, 4, 6), (1.0, 0.8, 2.5), angles, (3.0, -50.0, 7.0))
    x = torch.randn(1, 2, *grid.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stored, order, flips = _oriented(grid, code)
    as_stored = x.permute(0, 1, *[2 + a for a in order]).flip([2 + a for a in flips])
    torch.testing.assert_close(
        stored.points()[0], grid.points().reshape(*grid.shape, 3).permute(*order, 3).flip(flips).reshape(-1, 3)[0]
    )
    out = made.on_grid(as_stored, stored, scale=1.0)
    back = out.flip([2 + a for a in flips]).permute(0, 1, *[2 + order.index(a) for a in range(3)])
    torch.testing.assert_close(back, made.on_grid(x, grid.spacing, scale=1.0), atol=1e-10, rtol=0)
    index = grid.indices().double()
    pos = grid.index_to_world(index)
    near = within(pos, pos, made.reach(1.0, grid.spacing, True), grid.frame)
    points = made(x[0].flatten(1).T, pos, near, scale=1.0, spacing=grid.spacing, frame=grid.frame, regular=True)
    torch.testing.assert_close(points.T.reshape(back.shape[1:]), back[0], atol=1e-9, rtol=0)


@pytest.mark.parametrize("axis", [0, 1])
def test_storage_changes_nothing_in_the_plane(axis: int):
    made, grid = layer(2), make_grid((6, 5), (1.0, 2.0), (10.0,))
    x = torch.randn(1, 2, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = made.on_grid(x.flip(2 + axis), flipped(grid, axis), scale=1.0).flip(2 + axis)
    torch.testing.assert_close(out, made.on_grid(x, grid, scale=1.0), atol=1e-10, rtol=0)


def _scenes(dim: int, seed: int) -> list[Tensor]:
    """A lattice with its borders, the same jittered, and clouds, dense and sparse."""
    grid = torch.cartesian_prod(*[torch.arange(4.0, dtype=torch.float64)] * dim)
    return [grid, grid + 0.05 * cloud(dim, 4**dim, 1.0, seed), cloud(dim, 40, 4.0, seed), cloud(dim, 8, 4.0, seed)]


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("spacing", [1.0, 1.2])
def test_one_point_moving_a_little_changes_little(dim: int, spacing: float):
    """Hats, and along all axes cubic kernels 1.2 scales wide."""
    made = layer(dim, (1, 1), bias=False).requires_grad_(False)
    chance = torch.Generator().manual_seed(1)
    unit = 1e-4 * float(made.weight.abs().sum())
    for seed in range(12):
        for pos in _scenes(dim, seed):
            x, near = features(len(pos), 1, seed), everyone(len(pos), len(pos))
            x = x / x.abs().max()
            before = made(x, pos, near, scale=1.0, spacing=spacing, regular=True)
            for _ in range(3):
                step, moved = torch.randn(dim, generator=chance, dtype=torch.float64), pos.clone()
                moved[int(torch.randint(len(pos), (1,), generator=chance))] += 1e-4 * step / step.norm()
                after = made(x, moved, near, scale=1.0, spacing=spacing, regular=True)
                assert float((after - before).abs().max()) <= STEEPEST * unit


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("others", [0, 5, 25])
@pytest.mark.parametrize("regular", [False, True])
def test_nothing_jumps_as_a_query_crosses_the_cloud(dim: int, others: int, regular: bool):
    """From far outside, across rims and borders, in steps of 1e-3 of the scale; the neighbourhood is made anew at each."""
    made = layer(dim, (1, 1), bias=False).requires_grad_(False)
    pos = torch.cat([torch.full((1, dim), 2.0, dtype=torch.float64), cloud(dim, others, 4.0)])
    x = features(len(pos), 1)
    along = torch.linspace(-3, 7, 10_001, dtype=torch.float64)
    query = torch.stack([along, *[torch.full_like(along, 1.3 + 0.4 * a) for a in range(dim - 1)]], 1)
    near = within(pos, query, made.reach(1.0, 1.2, regular))
    out = made(x, (pos, query), near, scale=1.0, spacing=1.2, regular=regular)[:, 0]
    assert out[0] == out[-1] == 0
    assert out.abs().max() > 0.05
    assert out.diff().abs().max() <= STEEPEST * 1e-3 * float(made.weight.abs().sum() * x.abs().max())

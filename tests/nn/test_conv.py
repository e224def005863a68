"""ContinuousConv against known answers: torch's convolutions, the formula written with loops, and itself by other doors."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from geogrid.graph import Neighborhood
from geogrid.nn import ContinuousConv
from geogrid.nn.knot_matrix import KnotMatrix
from geogrid.nn.knots import FLAT_AXIS, FLAT_PLANE, MAX_CORRECTION
from geogrid.nn.stencil import Stencil
from geogrid.spatial import Grid
from tests.nn.clouds import cloud, everyone, features, layer, within
from tests.spatial.cases import refused

SHAPES = {2: (6, 7), 3: (5, 4, 6)}
SPACINGS = {
    2: [(1.0, 1.0), (1.0, 3.0), (0.5, 0.7), (4.0, 0.9)],
    3: [(1.0, 1.0, 1.0), (1.0, 1.0, 4.0), (1.0, 2.0, 3.0), (0.6, 1.0, 1.7), (0.5, 0.5, 0.5)],
}
CASES = [(dim, spacing) for dim in (2, 3) for spacing in SPACINGS[dim]]


def _lattice(dim: int, spacing: tuple[float, ...]) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(n, dtype=torch.float64) * h for n, h in zip(SHAPES[dim], spacing, strict=True)])


def _image(x: Tensor, dim: int) -> Tensor:
    return x.T.reshape(1, -1, *SHAPES[dim])


def _hat(t: float) -> float:
    return max(0.0, 1 - abs(t))


def _keys(t: float) -> float:
    t = abs(t)
    return 1.5 * t**3 - 2.5 * t**2 + 1 if t < 1 else max(0.0, 2 - t) ** 2 * (1 - t) / 2


def _slow(
    made: ContinuousConv, x: Tensor, pos: Tensor, query: Tensor, scale: float, spacing: Tensor, measure: Tensor, regular: Tensor
) -> Tensor:
    """The formula, one query and knot at a time; spacing and regular (num_context, dim), measure (num_context,)."""
    dim = pos.shape[1]
    width, share = (spacing / scale).clamp_min(1), measure / spacing.clamp_min(scale).prod(1)
    out = made.bias.detach().repeat(len(query), 1)  # type: ignore[union-attr]
    for i, (index, knot) in product(range(len(query)), enumerate(product((-1, 0, 1), repeat=dim))):
        rel = (pos - query[i]) / scale
        distance = (rel - torch.tensor(knot)) / width
        w = torch.stack([share[j] * _product(_hat(float(t)) for t in distance[j]) for j in range(len(x))])
        if w.sum() == 0:
            continue
        cubic = regular & (width > 1)
        u = [
            _product((_keys if c else _hat)(float(t)) for t, c in zip(*row, strict=True))
            for row in zip(distance, cubic, strict=True)
        ]
        delta = (share * torch.tensor(u, dtype=share.dtype) - w) * min(1.0, 1 / float(w.sum()))
        p = w / w.sum()
        mean, wide = p @ rel, (p @ width**2)
        covariance = (rel - mean).T @ (p[:, None] * (rel - mean))
        spread_out = covariance + torch.diag((FLAT_AXIS * wide - covariance.diagonal()).clamp_min(0))
        spread = spread_out.diagonal().sqrt()
        heavier = (FLAT_PLANE - torch.linalg.det(spread_out / spread / spread[:, None])).clamp_min(0)
        offset = mean - torch.tensor(knot)
        target = offset - delta.sum() * offset + delta @ (rel - torch.tensor(knot))
        g = torch.linalg.solve(spread_out + heavier * torch.diag(spread**2), target)
        g = g * min(1.0, MAX_CORRECTION / max(float(g @ target), 1e-9))
        kappa = max(2.0, _product(1 + min(1.0, 3 * abs(float(m)) / float(s) ** 0.5) for m, s in zip(offset, wide, strict=True)))
        value = min(1.0, kappa * float(w.sum())) * (p * (1 - delta.sum() - (rel - mean) @ g) + delta) @ x
        out[i] += made.weight.detach().flatten(2)[:, :, index] @ value
    return out


def _product(factors: Any) -> Any:
    total = 1.0
    for factor in factors:
        total = total * factor
    return total


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("count", [1, 6, 40])
@pytest.mark.parametrize("sliced", [False, True])
def test_equals_the_formula(dim: int, count: int, sliced: bool):
    made, pos, query, x = layer(dim), cloud(dim, count, 3.0), cloud(dim, 4, 4.0, 7) - 0.5, features(count)
    spacing = 0.5 + 2 * cloud(dim, count, 1.0, 3)
    measure = 0.5 + cloud(dim, count, 1.0, 4)[:, 0]
    table = everyone(count, 4)
    regular = (cloud(dim, count, 1.0, 5) < 0.5) & sliced
    out = made(x, (pos, query), table, scale=1.25, spacing=spacing, measure=measure, regular=regular)
    torch.testing.assert_close(out, _slow(made, x, pos, query, 1.25, spacing, measure, regular), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_is_torch_convolution_on_a_lattice_of_the_scale(dim: int, bias: bool):
    conv = (nn.Conv2d if dim == 2 else nn.Conv3d)(2, 3, 3, padding=1, bias=bias)
    made = ContinuousConv.from_conv(conv)
    x = torch.randn(2, 2, *SHAPES[dim], generator=torch.Generator().manual_seed(0))
    expected = conv(x)
    torch.testing.assert_close(made.on_grid(x, 2.0, scale=2.0), expected, atol=1e-5, rtol=0)
    grid = Grid(SHAPES[dim], torch.diag(torch.tensor([2.0] * dim + [1.0])))
    near = within(grid.points(), grid.points(), made.reach(2.0))
    for k in range(2):
        by_points = made(x[k].flatten(1).T, grid.points(), near, scale=2.0)
        torch.testing.assert_close(by_points.T.reshape(expected[k].shape), expected[k], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("dim", "spacing"), CASES)
def test_every_door_gives_the_same_values_and_gradients(dim: int, spacing: tuple[float, ...]):
    made, pos = layer(dim), _lattice(dim, spacing)
    near = within(pos, pos, made.reach(1.0, spacing, True))
    up = features(len(pos), 3, 9)
    results = []
    for door in (near, near.edge_index, None):
        x = features(len(pos)).requires_grad_()
        if door is None:
            out = made.on_grid(_image(x, dim), spacing, scale=1.0)[0].flatten(1).T
        else:
            out = made(x, pos, door, scale=1.0, spacing=spacing, regular=True)
        results.append([out, *torch.autograd.grad((out * up).sum(), [x, *made.parameters()])])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize(("dim", "spacing"), CASES)
def test_point_and_grid_doors_agree_in_float32_far_from_the_origin(dim: int, spacing: tuple[float, ...]):
    made = layer(dim, dtype=torch.float32)
    pos = (_lattice(dim, spacing) + 64.0).float()
    x = features(len(pos), dtype=torch.float32)
    near = within(pos, pos, made.reach(1.0, spacing, True))
    out = made(x, pos, near, scale=1.0, spacing=spacing, regular=True)
    grid = made.on_grid(_image(x, dim), spacing, scale=1.0)[0].flatten(1).T
    torch.testing.assert_close(out, grid, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dim", [2, 3])
@settings(max_examples=8)
@given(seed=st.integers(0, 1000), count=st.integers(0, 30))
def test_table_and_edges_agree_on_clouds(dim: int, seed: int, count: int):
    made, pos, query = (
        layer(dim, chunk_bytes=20_000),
        cloud(dim, count, 4.0, seed),
        cloud(dim, 5, 4.0, seed + 1).requires_grad_(),
    )
    spacing, regular = 0.5 + cloud(dim, count, 2.0, seed), cloud(dim, count, 1.0, seed + 2) < 0.5
    pos.requires_grad_()
    near = within(pos, query, made.reach(1.0, spacing, regular) if count else made.reach(1.0))
    x = features(count).requires_grad_()
    results = []
    for door in (near, near.edge_index.flip(1)):
        out = made(x, (pos, query), door, scale=1.0, spacing=spacing, regular=regular)
        results.append([out, *torch.autograd.grad(out.square().sum(), [x, pos, query, *made.parameters()])])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize("regular", [False, True])
def test_gradcheck(dim: int, edges: bool, regular: bool):
    made, pos, query = layer(dim, (1, 2)), cloud(dim, 7, 2.5), cloud(dim, 2, 2.5, 5)
    table: Neighborhood | Tensor = everyone(7, 2).edge_index if edges else everyone(7, 2)

    def run(x: Tensor, pos: Tensor, query: Tensor, weight: Tensor) -> Tensor:
        arguments = {"scale": 1.0, "spacing": 1.3, "regular": regular}
        return torch.func.functional_call(made, {"weight": weight, "bias": made.bias}, (x, (pos, query), table), arguments)

    inputs = (features(7, 1), pos, query, made.weight.detach().clone())
    assert torch.autograd.gradcheck(run, tuple(v.requires_grad_() for v in inputs), atol=1e-6, fast_mode=dim == 3)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("regular", [False, True])
def test_constants_and_linear_fields_survive_inside(dim: int, regular: bool):
    """Weights on one knot read the field there: exactly, wherever the cloud surrounds the knot well enough."""
    pos = cloud(dim, 150 * dim**2, 6.0 if dim == 2 else 5.0)
    query = 1.5 + cloud(dim, 20, 2.0, 3)
    slope = torch.tensor([0.7, -1.1, 0.4], dtype=torch.float64)[:dim]
    for knot in ([0] * dim, [1] * dim, [2, 1, 0][:dim]):
        made = ContinuousConv(1, 1, dim, bias=False).double()
        with torch.no_grad():
            made.weight.zero_()[(0, 0, *knot)] = 1
        x = (pos @ slope + 3)[:, None]
        spacing = [0.6, 1.2] if dim == 2 else [1.0, 1.0, 1.2]
        out = made(x, (pos, query), everyone(len(pos), 20), scale=1.0, spacing=spacing, regular=regular)
        place = query + torch.tensor(knot, dtype=torch.float64) - 1
        torch.testing.assert_close(out[:, 0], place @ slope + 3, atol=1e-9, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("h", [0.25, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("regular", [False, True])
def test_a_constant_ends_at_the_border_on_every_sampling(dim: int, h: float, regular: bool):
    """A knot on the outermost points keeps its value at faces, edges and corners; one a width beyond, and further, has none."""
    axis = torch.arange(0, 4 + 1e-6, h, dtype=torch.float64)
    pos = torch.cartesian_prod(*[axis] * dim)
    made = ContinuousConv(1, 1, dim, bias=False).double()
    with torch.no_grad():
        made.weight.zero_()[(0, 0, *[1] * dim)] = 1
    query = torch.cartesian_prod(*[torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64)] * dim)
    beyond = query.clone()
    beyond[:, 0] = 4 + max(1.0, h) * torch.linspace(1, 2.5, len(beyond), dtype=torch.float64)
    table, ones = everyone(len(pos), len(query)), torch.ones(len(pos), 1, dtype=torch.float64)
    inside = made(ones, (pos, query), table, scale=1.0, spacing=h, regular=regular)
    torch.testing.assert_close(inside, torch.ones_like(inside), atol=1e-9, rtol=0)
    assert made(ones, (pos, beyond), table, scale=1.0, spacing=h, regular=regular).abs().max() < 1e-9


def _across_slices(field: Tensor, h: float, offset: int) -> Tensor:
    """What a knot ``offset`` mm along the last axis reads on slices ``h`` mm apart, ``(num_rows, num_slices)``."""
    made = ContinuousConv(1, 1, 2, bias=False).double()
    with torch.no_grad():
        made.weight.zero_()[0, 0, 1, 1 + offset] = 1
    return made.on_grid(field[None, None], (1.0, h), scale=1.0)[0, 0].detach()


@pytest.mark.parametrize("h", [1.5, 2.0, 4.0])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_between_slices_it_is_cubic_convolution(h: float, offset: int):
    """Inside, Keys' formula; between the last two slices, linear fields; beyond them the fade of a constant."""
    field = features(6, 9)
    found, t = _across_slices(field, h, offset), offset / h
    expected = sum(_keys(k - t) * field[:, 2 + k : 7 + k] for k in (-2, -1, 0, 1, 2))
    torch.testing.assert_close(found[:, 2:7], expected, atol=1e-12, rtol=0)
    linear = 3 - 0.7 * h * torch.arange(9.0, dtype=torch.float64).expand(6, -1)
    rows = slice(0, 8) if offset > 0 else slice(1, 9) if offset < 0 else slice(0, 9)
    torch.testing.assert_close(_across_slices(linear, h, offset)[:, rows], (linear - 0.7 * offset)[:, rows])
    assert float(_across_slices(torch.ones_like(field), h, offset).min()) >= min(1, 2 * (1 - abs(t))) - 1e-12


def test_fields_of_second_degree_survive_between_slices():
    place = 3.0 * torch.arange(9.0, dtype=torch.float64)
    found = _across_slices((place**2).expand(4, -1), 3.0, 1)
    torch.testing.assert_close(found[:, 1:7], ((place + 1) ** 2)[1:7].expand(4, -1))


def test_measure_gives_the_spacing():
    made, pos, x = layer(3), cloud(3, 30, 4.0), features(30)
    measure = 1 + cloud(3, 30, 3.0, 2)[:, 0]
    table = everyone(30, 30)
    by_measure = made(x, pos, table, scale=1.0, measure=measure)
    spacing = measure.pow(1 / 3)[:, None].expand(-1, 3)
    torch.testing.assert_close(by_measure, made(x, pos, table, scale=1.0, spacing=spacing, measure=measure))
    torch.testing.assert_close(by_measure, made(x, pos, table, scale=1.0, spacing=spacing))


def test_reach_in_mm():
    made = ContinuousConv(1, 1, 3)
    assert made.reach(2.0).tolist() == [4, 4, 4]
    assert made.reach(2.0, (1.0, 2.0, 5.0)).tolist() == [4, 4, 7]
    apart = torch.tensor([[1.0, 3.0, 2.0], [2.5, 1.0, 8.0]])
    assert made.reach(2.0, apart).tolist() == [4.5, 5, 10]
    assert made.reach(2.0, apart, True).tolist() == [7, 8, 18]
    assert made.reach(2.0, apart, [True, False, False]).tolist() == [7, 5, 10]
    assert made.reach(2.0, apart, torch.tensor([[True] * 3, [False] * 3])).tolist() == [4.5, 8, 10]


@pytest.mark.parametrize("edges", [False, True])
def test_nothing_of_size_edges_times_channels_is_kept(edges: bool):
    made, pos = layer(3, (16, 16)), cloud(3, 400, 6.0)
    near = within(pos, pos, made.reach(1.0))
    num_edges = int(near.mask.sum())
    kept: list[int] = []

    def pack(saved: Tensor) -> Tensor:
        kept.append(saved.numel() * saved.is_floating_point())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        x = features(400, 16).requires_grad_()
        made(x, pos, near.edge_index if edges else near, scale=1.0).sum()
    assert num_edges * 16 > 10 * 400 * 16
    assert max(kept, default=0) <= max(27 * num_edges if edges else 0, 27 * 16 * 16, 400 * 16)


def test_chunks_do_not_change_the_result():
    pos, x = cloud(3, 100, 4.0), features(100)
    table = everyone(100, 100)
    outs = [layer(3, chunk_bytes=size)(x, pos, table, scale=1.0) for size in (1, 10**5, 10**8)]
    for other in outs[1:]:
        torch.testing.assert_close(outs[0], other, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
@settings(max_examples=8)
@given(seed=st.integers(0, 1000), count=st.integers(0, 30))
def test_kept_weights_and_the_table_agree_on_clouds(dim: int, seed: int, count: int):
    made, pos, query = layer(dim), cloud(dim, count, 4.0, seed), cloud(dim, 5, 4.0, seed + 1)
    sampling = {"spacing": 0.5 + cloud(dim, count, 2.0, seed), "regular": cloud(dim, count, 1.0, seed + 2) < 0.5}
    near = within(pos, query, made.reach(1.0, **sampling) if count else made.reach(1.0))  # type: ignore[arg-type]
    x = features(count).requires_grad_()
    stencil = Stencil.of(pos, query, 1.0, **sampling)  # type: ignore[arg-type]
    outs = [made(x, (pos, query), near, scale=1.0, **sampling)]  # type: ignore[arg-type]
    outs += [made.on_knots(x, KnotMatrix.of(stencil, near, chunk_bytes=size)) for size in (1, 10**6)]
    results = [[out, *torch.autograd.grad(out.square().sum(), [x, *made.parameters()])] for out in outs]
    for found in results[1:]:
        for a, b in zip(found, results[0], strict=True):
            torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-8)


def test_gradcheck_of_kept_weights():
    made, pos = layer(2, (1, 2)), cloud(2, 7, 2.5)
    knots = KnotMatrix.of(Stencil.of(pos, pos, 1.0), everyone(7, 7))
    x = features(7, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda *_: made.on_knots(x, knots), (x, *made.parameters()))
    assert torch.autograd.gradgradcheck(lambda *_: made.on_knots(x, knots), (x, *made.parameters()))


def test_kept_weights_of_other_points_are_refused():
    pos = cloud(2, 7, 2.5)
    knots = KnotMatrix.of(Stencil.of(pos, pos, 1.0), everyone(7, 7))
    with refused("knots", "8 points"):
        layer(2).on_knots(features(8), knots)
    with refused("knots", "learned"):
        KnotMatrix.of(Stencil.of(pos, pos.clone().requires_grad_(), 1.0), everyone(7, 7))
    with refused("knots", "3-D"):
        layer(3).on_knots(features(7), knots)


def test_autocast_keeps_the_geometry_exact():
    made, pos, x = layer(3, dtype=torch.float32), cloud(3, 50, 3.0).float() + 100, features(50, dtype=torch.float32)
    full = made(x, pos, everyone(50, 50), scale=1.0)
    knots = KnotMatrix.of(Stencil.of(pos, pos, 1.0), everyone(50, 50))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halves = made(x, pos, everyone(50, 50), scale=1.0), made.on_knots(x, knots)
    for half in halves:
        assert (half.float() - full).abs().max() < 0.02 * full.abs().max()


def test_no_neighbours_gives_the_bias():
    made = layer(2)
    empty = Neighborhood(torch.zeros(3, 0, dtype=torch.int64), torch.zeros(3, 0, dtype=torch.bool), 4)
    for door in (empty, empty.edge_index):
        out = made(features(4), (cloud(2, 4, 1.0), cloud(2, 3, 1.0)), door, scale=1.0)
        torch.testing.assert_close(out, made.bias.expand(3, -1))  # type: ignore[union-attr]
    nobody = Neighborhood(torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, 2, dtype=torch.bool), 4)
    assert made(features(4), (cloud(2, 4, 1.0), cloud(2, 0, 1.0)), nobody, scale=1.0).shape == (0, 3)


def test_from_conv_copies():
    conv = nn.Conv3d(2, 4, 3, padding="same", dtype=torch.float64)
    made = ContinuousConv.from_conv(conv)
    assert made.weight.dtype == torch.float64
    torch.testing.assert_close(made.weight, conv.weight)
    with torch.no_grad():
        conv.weight.zero_()
    assert made.weight.abs().max() > 0
    assert repr(made) == "ContinuousConv(2, 4, dim=3, bias=True)"

"""The fused operation: registration, compilation, memory, determinism, and its products over edges."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from geogrid import GeogridError
from geogrid.graph import Neighborhood
from geogrid.nn import NeighborAttention, functional, neighbor_attention
from geogrid.nn.ops import attention_tables, edges
from geogrid.nn.ops.neighbor_attention import neighbor_attention_backward_op, neighbor_attention_op
from tests.nn.cases import LAYERS, gradients, make_layer, make_scene, relative, total


def arguments(dim: int = 3, heads: int = 2, dtype: torch.dtype = torch.float64, grad: bool = True) -> list[Any]:
    """Of the operation: 9 context points, 6 queries of which one has no neighbour, k = 4."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=generator, dtype=dtype) - 1).requires_grad_(grad)

    mask = torch.rand(6, 4, generator=generator) > 0.2
    mask[2] = False
    return [
        draw(6, heads, 3), draw(6, heads, 3), draw(9, heads, 3), draw(9, heads, 2), draw(6, 4), draw(9, 4), draw(heads, 3, 4),
        draw(heads, 4, 2), draw(6, dim), draw(9, dim), draw(9), torch.randint(9, (6, 4), generator=generator), mask,
        2.0, [1.0, 1.5, 1.0][:dim], 1 << 20, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("changes", [{}, {10: None, 13: 0.0, 14: [], 16: False, 17: False}])
def test_opcheck(dtype: torch.dtype, changes: dict[int, Any]) -> None:
    given = arguments(dtype=dtype)
    for place, value in changes.items():
        given[place] = value
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static")
    torch.library.opcheck(neighbor_attention_op, tuple(given), test_utils=tests)


@pytest.mark.parametrize("dim", [2, 3])
def test_gradcheck_of_every_float_input(dim: int) -> None:
    given = arguments(dim, heads=1)
    floats = [tensor for tensor in given if isinstance(tensor, Tensor) and tensor.requires_grad]
    assert len(floats) == 11
    assert torch.autograd.gradcheck(lambda *leaves: neighbor_attention_op(*leaves, *given[11:]), floats)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_without_graph_breaks(backend: str) -> None:
    layer = make_layer("cosine", 3)
    scene = make_scene(layer).to(torch.float32).differentiable()

    def step(x: Tensor, y: Tensor, p: Tensor, q: Tensor, m: Tensor) -> Any:
        return layer((x, y), (p, q), scene.table, m, True, scale=2.0, return_offset=True, return_cost=True)

    found = torch.compile(step, fullgraph=True, backend=backend)(*scene.leaves())
    expected = step(*scene.leaves())
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    ours, theirs = (gradients(total(output), scene, layer) for output in (found, expected))
    assert max(relative(ours[name], theirs[name]) for name in ours) < 1e-5


def test_another_scale_breaks_no_graph() -> None:
    layer = make_layer("cosine", 3)
    scene = make_scene(layer).to(torch.float32)

    def step(scale: float) -> Tensor:
        return layer(scene.x, scene.pos, scene.table, scale=scale)

    compiled = torch.compile(step, fullgraph=True, backend="eager")
    for scale in (1.0, 2.0, 3.5):
        torch.testing.assert_close(compiled(scale), step(scale))


@pytest.mark.parametrize("memory", [1, 10_000, 100_000])
def test_small_chunks_give_the_same(memory: int) -> None:
    layer = make_layer("taper", 3, torch.float64)
    scene = make_scene(layer, 60, 50).differentiable()
    whole = scene.run(layer)
    expected = gradients(total(whole), scene, layer)
    layer.memory = memory
    parts = scene.run(layer)
    found = gradients(total(parts), scene, layer)
    for ours, theirs in zip(parts, whole, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-13, rtol=1e-12)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-11, rtol=1e-9)


def test_memory_bounds_the_chunks() -> None:
    given = arguments()
    for memory, count in ((1, 6), (1 << 30, 1)):
        given[15] = memory
        assert len(list(attention_tables.Inputs(*given).chunks())) == count


def test_nothing_over_edges_is_kept_for_the_backward_pass() -> None:
    layer = make_layer("heads", 3)
    scene = make_scene(layer, 600, 64, k=500).to(torch.float32).differentiable()
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel() if tensor.is_floating_point() else 0)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(scene.x, scene.pos, scene.table, scale=2.0)
    assert len(kept) > 10
    assert max(kept) < 64 * 500 * 0.9


def test_gradients_are_the_same_bits_every_time() -> None:
    layer = make_layer("cosine", 3)
    scene = make_scene(layer, 40, 3000, k=30).to(torch.float32).differentiable()
    first, second = (gradients(total(scene.run(layer)), scene, layer) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("dim", [2, 3])
def test_features_and_weights_have_the_same_gradients_whether_positions_have_some(kind: str, dim: int) -> None:
    layer = make_layer(kind, dim, torch.float64)
    scene = make_scene(layer).differentiable()
    expected = gradients(total(scene.run(layer)), scene, layer)
    fixed = replace(scene, pos=tuple(p.detach() for p in scene.pos), log_measure=scene.log_measure.detach())
    found = torch.autograd.grad(total(fixed.run(layer)), [*fixed.x, *layer.parameters()])
    names = ["x_context", "x_query", *dict(layer.named_parameters())]
    for name, gradient in zip(names, found, strict=True):
        torch.testing.assert_close(gradient, expected[name], atol=1e-12, rtol=1e-10, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("place", range(5))
def test_any_one_position_or_the_measure_alone_has_its_gradient(place: int) -> None:
    layer = make_layer("cosine", 3, torch.float64)
    scene = make_scene(layer).differentiable()
    leaves = scene.leaves()
    expected = torch.autograd.grad(total(scene.run(layer)), leaves[place])[0]
    x, y, p, q, m = (leaf if number == place else leaf.detach() for number, leaf in enumerate(leaves))
    found = torch.autograd.grad(total(replace(scene, x=(x, y), pos=(p, q), log_measure=m).run(layer)), leaves[place])[0]
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-10)


def test_positions_that_are_not_asked_for_get_zeros() -> None:
    given = arguments()
    names = [*attention_tables.FLOATS, "log_measure"]
    outputs = [
        torch.ones_like(part) for part in neighbor_attention_op(*(g.detach() if isinstance(g, Tensor) else g for g in given))
    ]
    with torch.no_grad():
        whole, part = (neighbor_attention_backward_op(*given, asked, *outputs) for asked in (True, False))
    for name, ours, theirs in zip(names, part, whole, strict=True):
        if name.startswith(("wave", "place", "log")):
            assert (bool(ours.any()), bool(theirs.any())) == (False, True), name
        else:
            torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)


def test_gathered_products_equal_those_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make_layer("cosine", 3, torch.float64)
    scene = make_scene(layer).differentiable()
    expected = gradients(total(scene.run(layer)), scene, layer)
    monkeypatch.setattr(edges, "gathers_nothing", lambda like: False)
    monkeypatch.setattr(attention_tables, "gathers_nothing", lambda like: False)
    found = gradients(total(scene.run(layer)), scene, layer)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-11, rtol=1e-9)


@pytest.mark.parametrize("num_context", [3, 5, 6, 40])
def test_products_against_dense_ones(num_context: int, generator: torch.Generator) -> None:
    index = torch.randint(num_context, (30, 5), generator=generator)
    products = [(torch.rand(30, c, generator=generator), torch.rand(num_context, c, generator=generator)) for c in (3, 8)]
    expected = sum((query @ key.T).gather(1, index) for query, key in products)
    torch.testing.assert_close(edges.edge_dot(products, index), expected)


def test_transposed_sums_against_dense_products(generator: torch.Generator) -> None:
    index = torch.randint(7, (50, 6), generator=generator)
    mask = torch.rand(50, 6, generator=generator) > 0.4
    mask &= index != 4
    weights, rows = torch.rand(50, 6, generator=generator), torch.rand(50, 3, generator=generator)
    values = torch.rand(50, 6, 2, generator=generator)
    dense = torch.zeros(50, 6, 7).scatter_(2, index[..., None], mask[..., None].float())
    transpose = edges.Transpose(index, mask, 7)
    first, second = torch.ones(7, 3), torch.zeros(7, 2)
    transpose.add(first, transpose.outer(weights, rows))
    transpose.add(second, transpose.edges(values))
    torch.testing.assert_close(first, 1 + torch.einsum("nkm,nk,nc->mc", dense, weights, rows))
    torch.testing.assert_close(second, torch.einsum("nkm,nkc->mc", dense, values))
    assert transpose.rows.tolist() == [0, 1, 2, 3, 5, 6]


def test_an_entry_outside_the_context_is_refused() -> None:
    layer = NeighborAttention(2, 2, dim=2)
    table = Neighborhood(torch.tensor([[0, 3]]), torch.ones(1, 2, dtype=torch.bool), num_context=3)
    with pytest.raises(GeogridError, match="expected rows of the context, 0 to 2, got 0 to 3"):
        layer((torch.rand(3, 2), torch.rand(1, 2)), (torch.rand(3, 2), torch.rand(1, 2)), table)


def test_a_radius_must_be_positive() -> None:
    given = arguments(grad=False)
    table = Neighborhood(given[11], given[12], 9)
    pairs = ((given[0], given[1]), given[2], given[3], (given[5], given[4]), (given[6], given[7]), (given[9], given[8]))
    with pytest.raises(GeogridError, match="radius: expected a positive"):
        neighbor_attention(*pairs, table, radius=-1.0)


def test_memory_is_by_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert functional.working_memory(torch.zeros(1)) == functional.MEMORY
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=16 * 2**30))
    assert functional.working_memory(cast(torch.Tensor, SimpleNamespace(device=torch.device("cuda")))) == 2**30


@pytest.mark.gpu
def test_cuda_equals_cpu_and_is_deterministic() -> None:
    layer = make_layer("cosine", 3)
    scene = make_scene(layer, 200, 300, k=20).to(torch.float32).differentiable()
    expected = gradients(total(scene.run(layer)), scene, layer)
    cuda = torch.device("cuda")
    moved = layer.to(cuda)
    x, y, p, q, m = (leaf.detach().to(cuda).requires_grad_() for leaf in scene.leaves())
    table = scene.table.to(cuda)
    torch.use_deterministic_algorithms(True)
    try:
        found = []
        for _ in range(2):
            output = moved((x, y), (p, q), table, m, True, return_offset=True, return_cost=True, **scene.options)
            parts = type(output)(*(part.cpu() for part in output))
            found.append(torch.autograd.grad(total(parts), [x, y, p, q, m]))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    for ours, theirs in zip(found[0], list(expected.values())[:5], strict=True):
        assert relative(ours.cpu(), theirs) < 1e-4

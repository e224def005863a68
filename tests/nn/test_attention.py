"""The layer against the formula as it is written: values and gradients, on both of its ways."""

from __future__ import annotations

import pytest
import torch

from geogrid.graph import Neighborhood
from geogrid.nn import AttentionOutput, NeighborAttention, neighbor_attention_reference
from tests.nn.cases import LAYERS, Scene, gradients, make_layer, make_scene, relative, total

WAYS = ["table", "edges"]
KINDS = [(kind, dim) for kind in LAYERS for dim in (2, 3)]


def run(layer: NeighborAttention, scene: Scene, way: str) -> AttentionOutput:
    """Everything the layer gives; weights of edges are put back into the table."""
    if way == "table":
        return scene.run(layer)
    found = scene.run(layer, scene.table.edge_index)
    weights = torch.zeros(*scene.table.mask.shape, layer.heads, dtype=found.weights.dtype)
    weights[scene.table.mask] = found.weights
    return found._replace(weights=weights)


def reference(layer: NeighborAttention, scene: Scene) -> AttentionOutput:
    return neighbor_attention_reference(layer, scene.x, scene.pos, scene.table, scene.log_measure, **scene.options)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "dim"), KINDS)
def test_values_and_gradients_in_float32(kind: str, dim: int, way: str) -> None:
    layer = make_layer(kind, dim)
    scene = make_scene(layer, 200, 120, k=9).to(torch.float32).differentiable()
    found, expected = run(layer, scene, way), reference(layer, scene)
    for name, ours, theirs in zip(found._fields, found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5, msg=lambda m, name=name: f"{name}: {m}")
    ours, theirs = (gradients(total(output), scene, layer) for output in (found, expected))
    assert {name: e for name, g in ours.items() if (e := relative(g, theirs[name])) > 1e-4} == {}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "dim"), KINDS)
def test_values_and_gradients_in_float64(kind: str, dim: int, way: str) -> None:
    layer = make_layer(kind, dim, torch.float64)
    scene = make_scene(layer).differentiable()
    found, expected = run(layer, scene, way), reference(layer, scene)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)
    ours, theirs = (gradients(total(output), scene, layer) for output in (found, expected))
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], atol=1e-10, rtol=1e-8, msg=lambda m, name=name: f"{name}: {m}")
    assert min(theirs[name].norm() for name in ("x_context", "x_query", "pos_context", "pos_query", "log_measure")) > 1e-2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "dim"), [("cosine", 2), ("taper", 3)])
def test_gradcheck(kind: str, dim: int, way: str) -> None:
    layer = make_layer(kind, dim, torch.float64, num_frequencies=2)
    scene = make_scene(layer, 6, 5, k=4).differentiable()
    edges = scene.table if way == "table" else scene.table.edge_index

    def function(*leaves: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, y, p, q, m = leaves
        return tuple(layer((x, y), (p, q), edges, m, True, return_offset=True, return_cost=True, **scene.options))

    assert torch.autograd.gradcheck(function, tuple(scene.leaves()))


@pytest.mark.parametrize("way", WAYS)
def test_the_plain_call_gives_a_tensor_equal_to_the_update(way: str) -> None:
    layer = make_layer("taper", 3)
    scene = make_scene(layer).to(torch.float32)
    edges = scene.table if way == "table" else scene.table.edge_index
    update = layer(scene.x, scene.pos, edges, scene.log_measure, scale=2.0)
    assert isinstance(update, torch.Tensor)
    torch.testing.assert_close(update, run(layer, scene, way).update)
    only = layer(scene.x, scene.pos, edges, return_attention=True)
    assert (only.offset, only.cost) == (None, None)


@pytest.mark.parametrize("way", WAYS)
def test_a_query_without_neighbours_gets_zeros_and_passes_none(way: str) -> None:
    layer = make_layer("cosine", 3)
    scene = make_scene(layer).to(torch.float32).differentiable()
    found = run(layer, scene, way)
    assert all((part[3] == 0).all() for part in found)
    assert found.update[4].abs().min() > 0
    grads = gradients(total(found), scene, layer)
    assert all(torch.isfinite(g).all() for g in grads.values())
    assert grads["x_query"][3].abs().max() == 0
    assert grads["pos_query"][3].abs().max() == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("num_context", "num_query", "k"), [(0, 3, 2), (0, 3, 0), (4, 0, 2), (4, 3, 0), (0, 0, 0)])
def test_empty_sides(way: str, num_context: int, num_query: int, k: int) -> None:
    layer = make_layer("taper", 2)
    x = (torch.rand(num_context, 6, requires_grad=True), torch.rand(num_query, 5, requires_grad=True))
    pos = (torch.rand(num_context, 2), torch.rand(num_query, 2))
    shape = (num_query, k)
    table = Neighborhood(torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.bool), num_context)
    found = layer(x, pos, table if way == "table" else table.edge_index, None, True, return_offset=True, return_cost=True)
    assert [tuple(part.shape) for part in (found.update, found.offset, found.cost)] == [
        (num_query, 8), (num_query, 2, 2), (num_query, 2, 9),
    ]  # fmt: skip
    assert all((part == 0).all() for part in found)
    found.update.sum().backward()
    assert x[0].grad is None or x[0].grad.abs().sum() == 0


def test_one_neighbour_by_hand() -> None:
    layer = NeighborAttention(2, 2, dim=2, num_frequencies=1)
    table = Neighborhood(torch.tensor([[0]]), torch.tensor([[True]]), num_context=1)
    x, context, query = torch.tensor([[1.0, 2.0]]), torch.tensor([[14.0, 9.0]]), torch.tensor([[10.0, 10.0]])
    found = layer((x, x), (context, query), table, None, True, scale=2.0, return_offset=True, return_cost=True)
    rel = torch.tensor([2.0, -0.5])
    phase = rel @ layer.frequencies
    gamma = torch.cat([phase.sin(), phase.cos()])
    torch.testing.assert_close(found.update[0], layer.lin_value(x)[0] + gamma @ layer.position_value[0])
    torch.testing.assert_close(found.offset[0, 0], torch.tensor([4.0, -1.0]))
    assert found.weights.flatten().tolist() == [1.0]
    assert found.cost.abs().sum() == 0


def test_cost_at_the_knots_of_a_lattice_is_the_logit_there() -> None:
    layer = make_layer("cosine", 2, in_channels=6, radius=None)
    generator = torch.Generator().manual_seed(0)
    knots = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 2)
    x, query = torch.rand(9, 6, generator=generator), torch.rand(1, 6, generator=generator)
    table = Neighborhood(torch.randperm(9, generator=generator)[None], torch.ones(1, 9, dtype=torch.bool), 9)
    cost = layer((x, query), (3 * knots, torch.zeros(1, 2)), table, scale=3.0, return_cost=True).cost
    gamma = torch.cat([(knots @ layer.frequencies).sin(), (knots @ layer.frequencies).cos()], 1)
    raw = layer.lin_query(query).view(2, 4)
    unit = torch.nn.functional.normalize
    content = torch.einsum("hd,nhd->hn", unit(raw, dim=1), unit(layer.lin_key(x).view(9, 2, 4), dim=2))
    position = torch.einsum("hd,hdm,nm->hn", raw, layer.position_key, gamma) / 2
    torch.testing.assert_close(cost[0], layer.log_temperature.exp()[:, None] * content + position, atol=1e-5, rtol=1e-5)


def test_tied_start_is_a_matcher() -> None:
    layer = NeighborAttention(8, 8, dim=2, tied=True, cosine=True, generator=torch.Generator().manual_seed(0))
    layer.position_key.data.zero_()
    torch.testing.assert_close(layer.lin_query.weight, layer.lin_key.weight)
    torch.testing.assert_close(layer.lin_key.weight @ layer.lin_key.weight.T, torch.eye(8))
    x = torch.randn(20, 8, generator=torch.Generator().manual_seed(1))
    table = Neighborhood(torch.arange(20).expand(20, 20), torch.ones(20, 20, dtype=torch.bool), 20)
    weights = layer(x, torch.zeros(20, 2), table, return_attention=True).weights[..., 0]
    assert weights.argmax(1).tolist() == list(range(20))
    assert weights.diagonal().min() > 0.9


def test_frequencies_are_a_buffer_drawn_from_the_generator() -> None:
    first, again, other = (NeighborAttention(4, 4, dim=3, generator=torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert "frequencies" in dict(first.named_buffers())
    assert torch.equal(first.frequencies, again.frequencies)
    assert not torch.equal(first.frequencies, other.frequencies)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    wide = NeighborAttention(4, 4, dim=3, num_frequencies=4000, frequency_scale=3.0, generator=torch.Generator().manual_seed(0))
    assert float(wide.frequencies.std()) == pytest.approx(3.0, rel=0.03)


def test_weights_travel_by_state_dict() -> None:
    layer = make_layer("cosine", 3)
    other = make_layer("cosine", 3)
    other.reset_parameters(torch.Generator().manual_seed(9))
    scene = make_scene(layer).to(torch.float32)
    assert not torch.equal(scene.run(layer).update, scene.run(other).update)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(scene.run(layer).update, scene.run(other).update)


@pytest.mark.parametrize("way", WAYS)
def test_half_precision_features_are_summed_in_float32(way: str) -> None:
    layer = make_layer("taper", 3)
    scene = make_scene(layer).to(torch.float32)
    expected = run(layer, scene, way).update
    with torch.autocast("cpu", torch.bfloat16):
        found = run(layer, scene, way)
    assert (found.weights.dtype, found.cost.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(found.weights.sum(1)[4], torch.ones(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.update, expected, atol=0.05, rtol=0.05)
    low = layer.to(torch.bfloat16)
    x = tuple(t.bfloat16() for t in scene.x)
    assert low(x, scene.pos, scene.table, scale=2.0).dtype == torch.bfloat16

"""What must not change the answer, what must change it only a little, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from geogrid import GeogridError
from geogrid.graph import Neighborhood
from geogrid.nn import NeighborAttention
from tests.nn.cases import LAYERS, WANTED, Scene, make_layer, make_scene, per_edge
from tests.spatial.cases import rotation

DIMS = [2, 3]


def close(found: Any, expected: Any, atol: float = 1e-11) -> None:
    for name, ours, theirs in zip(found._fields, found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=atol, rtol=atol, msg=lambda m, name=name: f"{name}: {m}")


@settings(max_examples=10)
@given(st.sampled_from(sorted(LAYERS)), st.sampled_from(DIMS), st.integers(0, 100))
def test_permuting_points_permutes_the_answer(kind: str, dim: int, seed: int) -> None:
    layer = make_layer(kind, dim, torch.float64)
    scene = make_scene(layer, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    context, query = torch.randperm(30, generator=generator), torch.randperm(20, generator=generator)
    place = context.argsort()
    table = Neighborhood(place[scene.table.index[query]], scene.table.mask[query], 30)
    x, pos = (scene.x[0][context], scene.x[1][query]), (scene.pos[0][context], scene.pos[1][query])
    moved = replace(scene, x=x, pos=pos, table=table, log_measure=scene.log_measure[context])
    close(moved.run(layer), type(scene.run(layer))(*(part[query] for part in scene.run(layer))))


@pytest.mark.parametrize("dim", DIMS)
def test_permuting_edges_permutes_their_weights(dim: int, generator: torch.Generator) -> None:
    layer = make_layer("taper", dim, torch.float64)
    scene = make_scene(layer)
    edges = scene.table.edge_index
    order = torch.randperm(edges.shape[1], generator=generator)
    found, plain = scene.run(layer, edges[:, order]), scene.run(layer, edges)
    close(found, plain._replace(weights=plain.weights[order]))
    again = scene.run(layer, Neighborhood.from_edge_index(edges[:, order], 30, 20))
    close(again._replace(weights=None), plain._replace(weights=None))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("dim", DIMS)
def test_translation_by_a_metre_in_float32(kind: str, dim: int) -> None:
    layer = make_layer(kind, dim)
    scene = make_scene(layer).to(torch.float32)
    exact = tuple((p * 1024).round() / 1024 for p in scene.pos)
    scene = replace(scene, pos=exact)
    moved = replace(scene, pos=tuple(p + 1000 for p in exact))
    assert torch.equal(moved.pos[0] - 1000, exact[0])
    close(moved.run(layer), scene.run(layer), atol=1e-5)


@pytest.mark.parametrize("dim", DIMS)
def test_rigid_motion_of_the_scene_and_its_frame_turns_only_the_offset(dim: int) -> None:
    layer = make_layer("cosine", dim, torch.float64)
    scene = make_scene(layer)
    scene = replace(scene, frame=rotation([20.0, 5.0, -40.0][: 2 * dim - 3]))
    turn = rotation([-70.0, 30.0, 10.0][: 2 * dim - 3])
    moved = replace(scene, frame=turn @ scene.frame, pos=tuple(p @ turn.T + 50 for p in scene.pos))
    found, plain = moved.run(layer), scene.run(layer)
    close(found, plain._replace(offset=plain.offset @ turn.T))
    other = replace(moved, frame=scene.frame).run(layer)
    assert (other.update - plain.update).abs().max() > 1e-3


@pytest.mark.parametrize("dim", DIMS)
def test_a_unit_twice_as_small_changes_only_the_offset(dim: int) -> None:
    layer = make_layer("cosine", dim)
    scene = make_scene(layer).to(torch.float32)
    spacing = tuple(4 * s for s in scene.spacing or ())
    other = replace(scene, pos=tuple(4 * p for p in scene.pos), scale=4 * scene.scale, spacing=spacing)
    found, plain = other.run(layer), scene.run(layer)
    expected = plain._replace(offset=4 * plain.offset)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("dim", DIMS)
def test_a_batch_equals_its_elements(dim: int) -> None:
    layer = make_layer("taper", dim, torch.float64)
    scenes = [make_scene(layer, m, n, seed=s) for m, n, s in ((30, 20, 0), (12, 9, 1))]
    first, second = scenes
    index = torch.cat([first.table.index, second.table.index + 30])
    both = Scene(
        tuple(torch.cat(pair) for pair in zip(first.x, second.x, strict=True)),
        tuple(torch.cat(pair) for pair in zip(first.pos, second.pos, strict=True)),
        Neighborhood(index, torch.cat([first.table.mask, second.table.mask]), 42),
        torch.cat([first.log_measure, second.log_measure]),
        spacing=first.spacing,
    )
    singles = [scene.run(layer) for scene in scenes]
    close(both.run(layer), type(singles[0])(*(torch.cat(parts) for parts in zip(*singles, strict=True))))


@pytest.mark.parametrize("kind", LAYERS)
def test_weights_sum_to_one_and_masked_entries_have_none(kind: str) -> None:
    layer = make_layer(kind, 3)
    scene = make_scene(layer).to(torch.float32)
    found = scene.run(layer)
    sums = found.weights.sum(1)
    near = found.coverage > 0
    torch.testing.assert_close(sums, near[:, None].float().expand_as(sums), atol=1e-6, rtol=0)
    assert (found.weights[~scene.table.mask] == 0).all()
    torch.testing.assert_close(per_edge(found, scene.table), scene.run(layer, scene.table.edge_index).weights)


def test_equal_logits_give_the_measure() -> None:
    layer = NeighborAttention(2, 2, dim=2)
    for weight in (layer.lin_query.weight, layer.position_key):
        weight.data.zero_()
    table = Neighborhood(torch.tensor([[0, 1, 2]]), torch.ones(1, 3, dtype=torch.bool), 3)
    measure = torch.tensor([1.0, 2.0, 5.0])
    found = layer((torch.rand(3, 2), torch.rand(1, 2)), (torch.rand(3, 2), torch.rand(1, 2)), table, measure.log(), True)
    torch.testing.assert_close(found.weights[0, :, 0], measure / 8)


@pytest.mark.parametrize("dim", DIMS)
def test_splitting_a_point_into_two_of_half_the_measure_changes_nothing(dim: int) -> None:
    layer = make_layer("cosine", dim, torch.float64)
    scene = make_scene(layer)
    halves = scene.log_measure.clone() - torch.tensor(2.0, dtype=torch.float64).log()
    x, pos = (torch.cat([scene.x[0]] * 2), scene.x[1]), (torch.cat([scene.pos[0]] * 2), scene.pos[1])
    table = Neighborhood(torch.cat([scene.table.index, scene.table.index + 30], 1), torch.cat([scene.table.mask] * 2, 1), 60)
    split = replace(scene, x=x, pos=pos, table=table, log_measure=torch.cat([halves] * 2))
    plain = scene.run(layer)
    near = plain.coverage == 1
    assert near.sum() > 10
    for found, expected in zip(split.run(layer)._replace(weights=None), plain._replace(weights=None), strict=True):
        if found is not None:
            torch.testing.assert_close(found[near], expected[near], atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("way", ["table", "edges"])
def test_support_is_local(way: str) -> None:
    layer = make_layer("taper", 3, torch.float64)
    scene = replace(make_scene(layer, spread=8.0), spacing=None).differentiable()
    edges = scene.table if way == "table" else scene.table.edge_index
    update = scene.run(layer, edges).update
    grads = torch.autograd.grad(update[5].sum(), scene.leaves())
    rows = scene.table.index[5][scene.table.mask[5]]
    reach = (scene.pos[0][rows] - scene.pos[1][5]).norm(dim=1) < layer.radius * scene.scale
    served = set(rows[reach].tolist())
    assert 0 < len(served) < len(rows)
    assert set(grads[0].abs().sum(1).nonzero().flatten().tolist()) == served
    assert set(grads[1].abs().sum(1).nonzero().flatten().tolist()) == {5}


def test_the_last_neighbour_leaves_without_a_jump() -> None:
    layer = make_layer("taper", 2, torch.float64)
    scene = make_scene(layer, 1, 1, k=1)
    table = Neighborhood(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool), 1)
    sizes = []
    for share in torch.linspace(0.5, 1.1, 241, dtype=torch.float64):
        context = torch.tensor([[float(share) * layer.radius * scene.scale, 0.0]], dtype=torch.float64)
        moved = replace(scene, pos=(context, torch.zeros(1, 2, dtype=torch.float64)), table=table, spacing=None)
        sizes.append(moved.run(layer).update)
    path = torch.cat(sizes).detach()
    assert path[0].norm() > 0.1
    assert (path[-30:] == 0).all()
    assert (path[1:] - path[:-1]).abs().max() < 0.1 * path.abs().max()


@pytest.mark.parametrize("dim", DIMS)
def test_cost_of_a_knot_without_points_fades_to_zero(dim: int) -> None:
    layer = make_layer("plain", dim, torch.float64, radius=None)
    scene = make_scene(layer, 1, 1, k=1)
    table = Neighborhood(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool), 1)
    costs = []
    for share in torch.linspace(0, 2.5, 251, dtype=torch.float64):
        context = torch.zeros(1, dim, dtype=torch.float64)
        context[0, 0] = float(share) * scene.scale
        moved = replace(scene, pos=(context, torch.zeros(1, dim, dtype=torch.float64)), table=table, spacing=None)
        costs.append(moved.run(layer).cost[0, 0])
    path = torch.stack(costs).detach()
    assert path[0].abs().max() > 0.01
    assert (path[201:] == 0).all()
    assert (path[1:] - path[:-1]).abs().max() < 0.1 * path.abs().max()


def valid() -> dict[str, Any]:
    table = Neighborhood(torch.zeros(3, 2, dtype=torch.int64), torch.ones(3, 2, dtype=torch.bool), 5)
    return {
        "x": (torch.rand(5, 6), torch.rand(3, 5)),
        "pos": (torch.rand(5, 3), torch.rand(3, 3)),
        "neighborhood_or_edge_index": table,
    }


X, Y, P, Q = torch.rand(5, 6), torch.rand(3, 5), torch.rand(5, 3), torch.rand(3, 3)
TABLE = Neighborhood(torch.zeros(5, 2, dtype=torch.int64), torch.ones(5, 2, dtype=torch.bool), 3)


EDGES = "neighborhood_or_edge_index"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": (X[:, :4], Y)}, r"x_context: expected \(num_points, 6\) features, got \(5, 4\)"),
        ({"x": (X, Y[0])}, r"x_query: expected \(num_points, 5\)"),
        ({"x": (X.long(), Y)}, "x_context: expected floating-point"),
        ({"x": (X.double(), Y)}, "x_context: expected the layer's dtype torch.float32, got torch.float64"),
        ({"x": (X.to("meta"), Y)}, "x_context: expected values on the layer's device cpu, got meta"),
        ({"pos": (P[:, :2], Q[:, :2])}, r"pos_context: expected \(num_points, 3\) positions in mm, got \(5, 2\); .* dim=3"),
        ({"pos": (P, Q[:2])}, "pos_query: expected 3 positions, one per feature, got 2"),
        ({"pos": (P.half(), Q)}, "pos_context: expected float32 or float64"),
        ({"pos": (P.to("meta"), Q)}, "pos_context: expected positions on cpu"),
        ({EDGES: TABLE}, "expected 5 context and 3 query points, got 3 and 5; are context and query swapped"),
        ({EDGES: torch.tensor([[0, 2], [4, 1]])}, "expected row 1 within 0 to 2, got 1 to 4; row 0 is the context"),
        ({EDGES: torch.tensor([[0, 5], [1, 1]])}, "expected row 0 within 0 to 4, got 0 to 5; row 0 is the context"),
        ({EDGES: torch.tensor([[0, -1], [1, 1]])}, "expected row 0 within 0 to 4, got -1 to 0"),
        ({EDGES: torch.zeros(4, 2).long()}, r"expected a \(2, num_edges\) int64 tensor, got \(4, 2\)"),
        ({EDGES: torch.zeros(2, 2)}, "expected a .* int64 tensor, got .* torch.float32"),
        ({EDGES: torch.zeros(2, 2, dtype=torch.int64, device="meta")}, "edge_index: expected a tensor on cpu"),
        ({EDGES: valid()[EDGES].to("meta")}, "neighborhood: expected a table on cpu"),
        ({"log_measure": torch.rand(3)}, r"log_measure: expected \(5,\) floats on cpu, one per context point, got \(3,\)"),
        ({"scale": 0.0}, "scale: expected a positive number of mm, got 0.0"),
        ({"frame": torch.eye(2)}, r"frame: expected shape \(3, 3\), got \(2, 2\)"),
        ({"spacing": (1.0, 1.0), "return_cost": True}, "spacing: expected 3 positive numbers of mm, got"),
    ],
)  # fmt: skip
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    layer = make_layer("plain", 3)
    layer(**valid())
    with pytest.raises(GeogridError, match=message):
        layer(**(valid() | changes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 4}, "dim: expected 2 or 3, got 4"),
        ({"heads": 3}, "out_channels: expected a multiple of heads=3, got 8"),
        ({"heads": 2, "key_channels": 5}, "key_channels: expected a multiple of heads=2, got 5"),
        ({"radius": 0.0}, "radius: expected a positive number of scales or None"),
        ({"in_channels": (3, 4), "tied": True}, r"tied: expected equal in_channels .* got \(3, 4\)"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GeogridError, match=message):
        NeighborAttention(**({"in_channels": 4, "out_channels": 8, "dim": 3} | options))


def test_one_tensor_serves_both_sides(generator: torch.Generator) -> None:
    layer = make_layer("tied", 2)
    x, pos = torch.rand(6, 6, generator=generator), torch.rand(6, 2, generator=generator)
    edges = torch.cartesian_prod(torch.arange(6), torch.arange(6)).T
    assert torch.equal(layer(x, pos, edges), layer((x, x), (pos, pos), edges))
    assert set(WANTED) == {"return_attention", "return_offset", "return_cost"}
    assert isinstance(layer(x, pos, edges), Tensor)

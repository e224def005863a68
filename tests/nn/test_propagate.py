"""PyG's generic way equals the fused operation; run again where torch_scatter is installed."""

from __future__ import annotations

import os

import pytest
import torch
import torch_geometric.typing

from tests.nn.cases import LAYERS, gradients, make_layer, make_scene, relative, total

pytestmark = pytest.mark.backend

SCATTER = [False, True] if torch_geometric.typing.WITH_TORCH_SCATTER else [False]


def test_torch_scatter_is_there_where_it_is_required() -> None:
    required = "torch_cluster" in os.environ.get("GEOGRID_REQUIRE_IMPLEMENTATION", "")
    assert torch_geometric.typing.WITH_TORCH_SCATTER or not required


@pytest.mark.parametrize("with_scatter", SCATTER)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("dim", [2, 3])
def test_propagate_equals_the_fused_operation(kind: str, dim: int, with_scatter: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_geometric.typing, "WITH_TORCH_SCATTER", with_scatter)
    layer = make_layer(kind, dim)
    scene = make_scene(layer, 60, 40).to(torch.float32).differentiable()
    fused, generic = scene.run(layer), scene.run(layer, scene.table.edge_index)
    for name in ("update", "coverage", "offset", "cost"):
        torch.testing.assert_close(getattr(generic, name), getattr(fused, name), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(generic.weights, fused.weights[scene.table.mask], atol=1e-6, rtol=1e-5)
    ours, theirs = (gradients(total(found._replace(weights=None)), scene, layer) for found in (generic, fused))
    assert max(relative(ours[name], theirs[name]) for name in ours) < 1e-4


def test_propagate_is_generated_from_the_annotations() -> None:
    layer = make_layer("plain", 3)
    assert type(layer).propagate.__module__ != "torch_geometric.nn.conv.message_passing"

"""Scenes of context and query points, and layers of every kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from geogrid.graph import Neighborhood
from geogrid.nn import AttentionOutput, NeighborAttention

LAYERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "heads": {"heads": 4},
    "taper": {"heads": 2, "radius": 2.0},
    "cosine": {"heads": 2, "cosine": True, "temperature": 5.0, "radius": 2.5},
    "tied": {"in_channels": 6, "tied": True, "cosine": True, "temperature": 3.0},
    "narrow": {"heads": 2, "key_channels": 4, "num_frequencies": 3, "bias": False},
}
WANTED = {"return_attention": True, "return_offset": True, "return_cost": True}


@dataclass(frozen=True)
class Scene:
    x: tuple[Tensor, Tensor]
    pos: tuple[Tensor, Tensor]
    table: Neighborhood
    log_measure: Tensor
    scale: float = 2.0
    spacing: tuple[float, ...] | None = None
    frame: Tensor | None = None

    @property
    def options(self) -> dict[str, Any]:
        return {"scale": self.scale, "spacing": self.spacing, "frame": self.frame}

    def leaves(self) -> list[Tensor]:
        return [*self.x, *self.pos, self.log_measure]

    def differentiable(self) -> Scene:
        x, y, p, q, m = (t.clone().requires_grad_() for t in self.leaves())
        return replace(self, x=(x, y), pos=(p, q), log_measure=m)

    def to(self, dtype: torch.dtype) -> Scene:
        x, y, p, q, m = (t.to(dtype) for t in self.leaves())
        return replace(self, x=(x, y), pos=(p, q), log_measure=m)

    def run(self, layer: NeighborAttention, edges: Neighborhood | Tensor | None = None, **wanted: bool) -> Any:
        given = self.table if edges is None else edges
        return layer(self.x, self.pos, given, self.log_measure, **self.options, **(wanted or WANTED))


def make_layer(kind: str, dim: int, dtype: torch.dtype = torch.float32, **more: Any) -> NeighborAttention:
    """A layer of a kind above, from 6 (context) and 6 or 5 (query) channels to 8."""
    options = {"in_channels": (6, 5), "out_channels": 8, "num_frequencies": 4} | LAYERS[kind] | more
    return NeighborAttention(dim=dim, generator=torch.Generator().manual_seed(1), **options).to(dtype)


def make_scene(
    layer: NeighborAttention, num_context: int = 30, num_query: int = 20, k: int = 7, seed: int = 0, spread: float = 4.0
) -> Scene:
    """Random points and features in float64; query 3 has no neighbour, and of the others' entries a fifth is masked."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    x = (2 * draw(num_context, layer.in_channels[0]) - 1, 2 * draw(num_query, layer.in_channels[1]) - 1)
    pos = (spread * draw(num_context, layer.dim) + 10, spread * draw(num_query, layer.dim) + 10)
    index = torch.randint(num_context, (num_query, k), generator=generator)
    mask = draw(num_query, k) > 0.2
    mask[3:4] = False
    spacing = (1.5, 3.0, 2.0)[: layer.dim]
    return Scene(x, pos, Neighborhood(index, mask, num_context), draw(num_context) - 0.5, spacing=spacing)


def per_edge(output: AttentionOutput, table: Neighborhood) -> Tensor:
    """The weights of a table in the order of its edges."""
    assert output.weights is not None
    return output.weights[table.mask]


def total(output: AttentionOutput, seed: int = 5) -> Tensor:
    """A number that depends on all parts of the output, each with random weights of its own."""
    generator = torch.Generator().manual_seed(seed)
    parts = [part for part in output if part is not None]
    return sum((part * torch.rand(part.shape, generator=generator, dtype=torch.float64)).sum() for part in parts)


def gradients(value: Tensor, scene: Scene, layer: NeighborAttention) -> dict[str, Tensor]:
    """Of the features, both positions, the measure and all weights."""
    names = ["x_context", "x_query", "pos_context", "pos_query", "log_measure", *dict(layer.named_parameters())]
    found = torch.autograd.grad(value, [*scene.leaves(), *layer.parameters()], materialize_grads=True)
    return dict(zip(names, found, strict=True))


def relative(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    return float((found - expected).norm() / expected.norm().clamp_min(1e-12))

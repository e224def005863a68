"""The experiment of law (b): two layers with one set of weights look at one field, sampled in several ways."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from geogrid.graph import Neighborhood
from geogrid.nn import ContinuousConv

SLICES = (2, 3, 4)
SHARES = (0.5, 0.25, 0.1)
SIZE = 33
MARGIN = 5
WAVELENGTH = 14.0
CHANNELS = 8


@dataclass(frozen=True)
class Scene:
    """A sum of plane waves, and two layers with random weights."""

    waves: Tensor
    phases: Tensor
    amplitudes: Tensor
    first: ContinuousConv
    second: ContinuousConv
    chance: torch.Generator

    @classmethod
    def draw(cls, seed: int, num_waves: int = 24) -> Scene:
        """Wave-vector components have a standard deviation of 2 pi / 14 per mm."""
        chance = torch.Generator().manual_seed(seed)
        waves = torch.randn(num_waves, 3, generator=chance) * 2 * math.pi / WAVELENGTH
        phases = torch.rand(num_waves, generator=chance) * 2 * math.pi
        amplitudes = torch.randn(num_waves, generator=chance) / 5
        layers = [ContinuousConv(c, CHANNELS, 3, bias=False).requires_grad_(False) for c in (1, CHANNELS)]
        for layer in layers:
            drawn = torch.randn(27, layer.in_channels, CHANNELS, generator=chance) * math.sqrt(2 / (27 * layer.in_channels))
            layer.weight.copy_(drawn.permute(2, 1, 0).unflatten(2, (3, 3, 3)))
        return cls(waves, phases, amplitudes, *layers, chance)

    def field(self, points: Tensor) -> Tensor:
        """``(num_points, 1)``."""
        return (torch.cos(points @ self.waves.T + self.phases) * self.amplitudes).sum(-1, keepdim=True)

    def on_lattice(self, spacing: tuple[float, ...], voxels: bool = False) -> Tensor:
        """Features ``(channels, *shape)`` on a lattice; ``voxels`` takes the spacing to be 1 mm, as voxel convolutions do."""
        axes = [torch.arange(0, SIZE - 1 + 1e-3, h) for h in spacing]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        x = self.field(points.reshape(-1, 3)).reshape(1, 1, *points.shape[:3])
        steps = (1.0, 1.0, 1.0) if voxels else spacing
        return self.second.on_grid(self.first.on_grid(x, steps, scale=1.0).relu(), steps, scale=1.0)[0]

    def on_subset(self, share: float) -> tuple[Tensor, Tensor]:
        """Features ``(num_points, channels)`` at the inner points of a random share of the lattice, and which these are."""
        chosen = (torch.rand(SIZE**3, generator=self.chance) < share).nonzero()[:, 0]
        points = lattice()[chosen]
        inner = ((points >= MARGIN) & (points < SIZE - MARGIN)).all(-1)
        spacing = (1 / share) ** (1 / 3)
        near = box_neighborhood(points, float(self.first.reach(1.0, spacing)[0]))
        hidden = self.first(self.field(points), points, near, scale=1.0, spacing=spacing).relu()
        near = Neighborhood(near.index[inner], near.mask[inner], near.num_context)
        return self.second(hidden, (points, points[inner]), near, scale=1.0, spacing=spacing), chosen[inner]


def lattice() -> Tensor:
    """The points of the 1 mm lattice."""
    return torch.cartesian_prod(*[torch.arange(float(SIZE))] * 3)


def box_neighborhood(points: Tensor, reach: float) -> Neighborhood:
    """All points within ``reach`` along every axis."""
    pairs = cKDTree(points.numpy()).query_pairs(reach, p=float("inf"), output_type="ndarray")
    both = torch.from_numpy(pairs).long()
    own = torch.arange(len(points))
    edges = torch.cat([both.T, both.flip(1).T, torch.stack([own, own])], 1)
    return Neighborhood.from_edge_index(edges, len(points), len(points))


def correlation(a: Tensor, b: Tensor) -> float:
    """Of all entries."""
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def correlations(seed: int) -> dict[str, float]:
    """Correlation with the features of the 1 mm lattice, away from the borders, for each sampling."""
    scene = Scene.draw(seed)
    reference = scene.on_lattice((1.0, 1.0, 1.0))
    inside = slice(MARGIN, SIZE - MARGIN)
    found = {}
    for h in SLICES:
        rows = [z for z in range(0, SIZE, h) if MARGIN <= z < SIZE - MARGIN]
        truth = reference[:, inside, inside, rows]
        for name, voxels in (("slices", False), ("voxels", True)):
            features = scene.on_lattice((1.0, 1.0, float(h)), voxels)
            found[f"{name} {h}"] = correlation(features[:, inside, inside, [z // h for z in rows]], truth)
    flat = reference.flatten(1).T
    for share in SHARES:
        features, chosen = scene.on_subset(share)
        found[f"random {share:.0%}"] = correlation(features, flat[chosen])
    return found

"""Draws docs/images/same_weights.png: one convolution, three samplings, next to a voxel convolution's answers.

python docs/plots/laws.py
"""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import torch
from matplotlib import pyplot as plt
from torch import Tensor

from geogrid.graph import Neighborhood
from geogrid.nn import ContinuousConv

SIZE = 40.0
LEVELS = {"vmin": -1.2, "vmax": 1.2, "cmap": "RdBu_r"}


def field(points: Tensor) -> Tensor:
    """A few plane waves, ``(num_points, 1)``."""
    chance = torch.Generator().manual_seed(3)
    waves = torch.randn(8, 2, generator=chance) * 2 * math.pi / 20
    return torch.cos(points @ waves.T + 6 * torch.rand(8, generator=chance)).mean(1, keepdim=True)


def lattice(spacing: tuple[float, float]) -> Tensor:
    """``(n, m, 2)`` positions in mm."""
    return torch.stack(torch.meshgrid(*[torch.arange(0, SIZE + 1e-3, h) for h in spacing], indexing="ij"), -1)


def main() -> None:
    """Draws the picture."""
    layer = ContinuousConv(1, 1, dim=2, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])[None, None])
    figure, axes = plt.subplots(2, 3, figsize=(9, 6), sharex=True, sharey=True, layout="constrained")
    for row, voxels in enumerate((False, True)):
        for ax, spacing in zip(axes[row], ((1.0, 1.0), (1.0, 3.0)), strict=False):
            points = lattice(spacing)
            x = field(points.reshape(-1, 2)).reshape(1, 1, *points.shape[:2])
            out = layer.on_grid(x, 1.0 if voxels else spacing, scale=1.0)[0, 0]
            half = [h / 2 for h in spacing]
            ax.imshow(
                out.T, origin="lower", extent=(-half[0], SIZE + half[0], -half[1], SIZE + half[1]), aspect="auto", **LEVELS
            )
            ax.set_title(f"{'voxel' if voxels else 'continuous'}, {spacing[0]:g} x {spacing[1]:g} mm")
    points = lattice((1.0, 1.0)).reshape(-1, 2)
    points = points[torch.rand(len(points), generator=torch.Generator().manual_seed(0)) < 0.25]
    rel = (points - points[:, None]).abs() <= layer.reach(1.0, 2.0).to(points)
    query, context = rel.all(-1).nonzero(as_tuple=True)
    near = Neighborhood.from_edge_index(torch.stack([context, query]), len(points), len(points))
    out = layer(field(points), points, near, scale=1.0, spacing=2.0)[:, 0]
    axes[0, 2].scatter(*points.T, c=out, s=22, **LEVELS)
    axes[0, 2].set_title("continuous, a random 25 %")
    axes[1, 2].axis("off")
    figure.supxlabel("mm")
    figure.supylabel("mm")
    figure.savefig(Path(__file__).parent.parent / "images" / "same_weights.png", dpi=80)


if __name__ == "__main__":
    main()

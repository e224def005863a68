"""Draws the pictures of docs/concepts/laws.md into docs/images.

python docs/plots/laws.py
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from geogrid.graph import Neighborhood, radius
from geogrid.nn import ContinuousConv, NeighborAttention, taper
from geogrid.nn.hat import hat
from geogrid.spatial.keys import keys

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.nn.density import MEASURES, RATIO, RIMS, SPARSE, compare, medians  # noqa: E402

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


def same_weights() -> Figure:
    """One convolution, three samplings, next to a voxel convolution's answers."""
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
    near = radius(points, points, float(layer.reach(1.0, 2.0).norm()))
    out = layer(field(points), points, near, scale=1.0, spacing=2.0)[:, 0]
    axes[0, 2].scatter(*points.T, c=out, s=22, **LEVELS)
    axes[0, 2].set_title("continuous, a random 25 %")
    axes[1, 2].axis("off")
    figure.supxlabel("mm")
    figure.supylabel("mm")
    return figure


def knot_kernels() -> Figure:
    """How a neighbour's value is shared among the three knots of an axis."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), sharey=True, layout="constrained")
    place = torch.linspace(-4, 4, 801)
    kinds = (hat, 1.0, "points 1 mm apart or closer"), (keys, 3.0, "slices 3 mm apart")
    for ax, (kernel, width, title) in zip(axes, kinds, strict=True):
        for knot in (-1, 0, 1):
            (line,) = ax.plot(place, kernel((place - knot) / width), label=f"{knot} mm")
            ax.plot(knot, 0, "o", color=line.get_color(), clip_on=False, zorder=3)
        ax.set(title=title, xlabel="position of the neighbour from the query, mm", ylim=(-0.1, 1.05))
    axes[0].set_ylabel("share, before it is normalised")
    axes[0].legend(loc="upper left", fontsize=8, title="knot at")
    return figure


def taper_and_coverage() -> Figure:
    """The weight of a neighbour against its distance, and the answer as the last neighbour leaves."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
    radius, share = 2.0, torch.linspace(0, 1.2, 481)
    tapers = taper.inside((share * radius).square(), radius).square()
    axes[0].plot(share, tapers, label="taper of one neighbour")
    axes[0].plot(share, taper.coverage(tapers), "--", label="coverage of a lone one")
    axes[0].set(xlabel="distance / radius", ylabel="factor")
    axes[0].legend(loc="lower left", fontsize=8)
    path = {"with taper": leaving(radius, share * radius, taper_radius=radius), "hard rim": leaving(radius, share * radius)}
    for (name, values), style in zip(path.items(), ("-", ":"), strict=True):
        axes[1].plot(share, values, style, label=name)
    axes[1].set(xlabel="distance of the last neighbour / radius", ylabel="one channel of the update")
    axes[1].legend()
    return figure


def leaving(reach: float, distances: Tensor, taper_radius: float | None = None) -> Tensor:
    """The update of queries that have one neighbour each, at these distances."""
    chance = torch.Generator().manual_seed(1)
    layer = NeighborAttention(1, 1, dim=2, radius=taper_radius, generator=chance).requires_grad_(False)
    query = torch.stack([distances, torch.zeros_like(distances)], 1)
    near = Neighborhood(torch.zeros(len(query), 1, dtype=torch.int64), (distances <= reach)[:, None], 1)
    return layer((torch.ones(1, 1), torch.ones(len(query), 1)), (torch.zeros(1, 2), query), near, scale=1.0)[:, 0]


def density() -> Figure:
    """The errors of tests/nn/density.py, medians over five seeds, in 2-D."""
    found = medians([compare(seed, dim=2) for seed in range(5)])
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
    for ax, sparse in zip(axes, SPARSE, strict=True):
        for k, rim in enumerate(RIMS):
            errors = [found[sparse, rim, measure][1] for measure in MEASURES]
            bars = ax.bar([m + 0.4 * k for m in range(len(MEASURES))], errors, width=0.38, label=rim)
            ax.bar_label(bars, fmt="%.3f", fontsize=8)
        ax.set_xticks([m + 0.2 for m in range(len(MEASURES))], MEASURES)
        ax.set_title(f"{sparse} to {RATIO * sparse:.0f} points within the radius")
        ax.margins(y=0.1)
    axes[0].set_ylabel("relative error of the update")
    axes[0].legend()
    return figure


def main() -> None:
    """Draws all."""
    for draw in (same_weights, knot_kernels, taper_and_coverage, density):
        draw().savefig(ROOT / "docs" / "images" / f"{draw.__name__}.png", dpi=80)


if __name__ == "__main__":
    main()

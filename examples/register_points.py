"""Registers two cortical surfaces as clouds of points, without correspondences, and says how far apart they are.

The fixed points are the left half of the fsaverage5 cortex, the moving ones either the right half, mirrored (two real shapes
of which no true partners are known), or the left half after a known deformation, of which each side keeps a random part.

    python examples/register_points.py --out points
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from geogrid.cloud_registration import CloudRegistration, register_clouds
from geogrid.data import fsaverage5
from geogrid.metrics import endpoint_error
from geogrid.transforms import AffineTransform, KernelTransform

MIRROR = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)


def main() -> None:
    """Runs both registrations."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("points"), help="folder for the results")
    options.add_argument("--keep", type=int, default=3000, help="points that each side keeps")
    options.add_argument("--seed", type=int, default=0, help="of the deformation and of the points that are kept")
    chosen = options.parse_args()
    console, generator = Console(), torch.Generator().manual_seed(chosen.seed)
    left, right = fsaverage5("left"), fsaverage5("right")

    known = deformation(left, generator)
    fixed, moving = subset(left, chosen.keep, generator), known(subset(left, chosen.keep, generator))
    moved = register_clouds(fixed, moving)
    moved.save(chosen.out / "deformed", overwrite=True)
    table = rows("left half and its deformed copy", moved)
    errors = [float(endpoint_error(t, known, left).mean()) for t in (AffineTransform.identity(3), moved.transform)]
    table.add_row("endpoint error", *(f"{error:.2f} mm" for error in errors))
    console.print(table)

    mirrored = register_clouds(subset(left, chosen.keep, generator), subset(right, chosen.keep, generator) * MIRROR)
    mirrored.save(chosen.out / "mirrored", overwrite=True)
    console.print(rows("left half and mirrored right half", mirrored))
    console.print(f"look at {chosen.out / 'deformed' / 'report.html'}", soft_wrap=True)


def deformation(points: Tensor, generator: torch.Generator) -> KernelTransform:
    """A turn of 6 degrees, a shift of 8 mm, and 20 bumps of some millimetres and 25 mm width."""
    angle = torch.tensor(6.0).deg2rad().double()
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:2, :2] = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    matrix[:3, 3] = torch.tensor([4.0, -6.0, 3.0])
    centers = subset(points, 20, generator)
    push = 2.5 * torch.randn(centers.shape, generator=generator, dtype=torch.float64)
    return KernelTransform(AffineTransform(matrix), centers, push, (25.0,), (1.0,))


def subset(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """That many of the points, in random order."""
    return points[torch.randperm(len(points), generator=generator)[:count]]


def rows(title: str, found: CloudRegistration) -> Table:
    """What was wrong before, and what is left of it."""
    table = Table(title, "before", "after", box=None)
    for name, stem in (("Chamfer distance", "chamfer"), ("Hausdorff distance, 95 %", "hd95")):
        table.add_row(name, *(f"{found.metrics[f'{stem}_{moment}_mm']:.2f} mm" for moment in ("before", "after")))
    table.add_row("match support", "", f"{found.metrics['match_support']:.2f}")
    table.add_row("time", "", f"{found.metrics['seconds']:.1f} s")
    return table


if __name__ == "__main__":
    main()

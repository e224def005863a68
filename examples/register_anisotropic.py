"""Registers one brain in four samplings, and says how far off each result is.

The moving image is the MNI152 template. The fixed image is a scan of it after a known deformation and motion: once in cubic
voxels, once in thick slices, and once as a random quarter of its voxels, positions with intensities and nothing else. Last,
the quarter is the moving side. The truth is the same, so the errors compare.

    python examples/register_anisotropic.py --out anisotropic
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import geogrid
from geogrid.data import Scan, mni152, mni152_tissues, simulate_scan
from geogrid.io import PointTable
from geogrid.metrics import content_mask, endpoint_error
from geogrid.spatial import Image
from geogrid.transforms import AffineTransform, Transform


def main() -> None:
    """Runs the registrations."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("anisotropic"), help="folder for the results")
    options.add_argument("--resolution", type=int, default=2, help="voxel size in mm")
    options.add_argument("--slices", type=int, default=4, help="slice thickness in voxels")
    options.add_argument("--keep", type=float, default=0.25, help="share of the voxels that the samples keep")
    options.add_argument("--seed", type=int, default=0, help="of the deformation, the noise and the samples")
    chosen = options.parse_args()
    console, size = Console(), float(chosen.resolution)
    template, tissues = mni152(chosen.resolution), mni152_tissues(chosen.resolution)
    whole, thick = (
        simulate_scan(template.image, tissues.image, spacing=(size, size, depth), seed=chosen.seed)
        for depth in (size, chosen.slices * size)
    )
    some = samples(whole.image, chosen.keep, chosen.seed)
    pairs: dict[str, tuple[Any, Any]] = {
        "voxels": (whole.image, template),
        "slices": (thick.image, template),
        "samples": (some, template),
        "moving_samples": (whole.image, samples(template.image, chosen.keep, chosen.seed)),
    }
    table = Table("fixed, moving", "before", "after", "folding", "time", box=None)
    for name, (fixed, moving) in pairs.items():
        found = geogrid.register(fixed, moving)
        found.save(chosen.out / name, overwrite=True)
        before, after = (f"{mean_error(whole, t):.2f} mm" for t in (AffineTransform.identity(3), found.transform))
        metrics = found.metrics
        table.add_row(
            f"{described(fixed)}, {described(moving)}", before, after, f"{metrics['folding_percent']:.3f} %",
            f"{metrics['seconds']:.1f} s",
        )  # fmt: skip
    console.print(table)
    console.print(f"look at {chosen.out / 'samples' / 'report.html'}", soft_wrap=True)


def samples(image: Image, share: float, seed: int) -> PointTable:
    """A random part of the voxels of an image: where they are, and their intensities."""
    kept = torch.rand(image.grid.num_points, generator=torch.Generator().manual_seed(seed)) < share
    intensities = image.data.flatten()[kept].double()[:, None]
    return PointTable(image.grid.points()[kept].double(), features=intensities, feature_names=("intensity",))


def mean_error(scan: Scan, transform: Transform) -> float:
    """Mean distance in mm, inside the head, between where a transform sends the scan's points and where they belong."""
    points = scan.image.grid.points()[content_mask(scan.image).flatten()]
    return float(endpoint_error(transform, scan.to_original, points).mean())


def described(side: Any) -> str:
    """A word about how an image is sampled."""
    if isinstance(side, PointTable):
        return f"{len(side.points):,} samples"
    grid = side.grid if isinstance(side, Image) else side.image.grid
    return " x ".join(f"{step:g}" for step in grid.spacing.tolist()) + " mm"


if __name__ == "__main__":
    main()

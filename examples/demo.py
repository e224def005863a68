"""Registers a real brain to a simulated scan of itself, and says how far off it is.

The MNI152 template is the moving image. The fixed image is a copy of it as a scanner would give it: smoothly deformed, laid
obliquely into the scanner, in slices 4 mm thick, with a bias field, noise and another intensity scale. The truth is known.

    python examples/demo.py --out demo
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import geogrid
from geogrid.data import Scan, mni152, mni152_tissues, simulate_scan
from geogrid.metrics import content_mask, endpoint_error
from geogrid.transforms import AffineTransform, Transform

TISSUES = {1: "grey matter", 2: "white matter"}


def main() -> None:
    """Runs the demo."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    options.add_argument("--resolution", type=int, default=1, help="voxel size of the template in mm (1; 3 for a quick look)")
    options.add_argument("--seed", type=int, default=0, help="of the simulated scan")
    chosen = options.parse_args()
    console = Console()
    began = time.perf_counter()
    with Progress(TextColumn("{task.description:<24}"), BarColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("simulating the scan", total=1.0)
        template, tissues = mni152(chosen.resolution), mni152_tissues(chosen.resolution)
        spacing = (1.0 * chosen.resolution, 1.0 * chosen.resolution, 4.0 * chosen.resolution)
        scan = simulate_scan(template.image, tissues.image, spacing=spacing, seed=chosen.seed)
        result = geogrid.register(
            scan.image,
            template,
            fixed_labels=scan.labels,
            moving_labels=tissues,
            progress=lambda message, fraction: bar.update(task, description=message, completed=0.95 * fraction),
        )
        bar.update(task, description="writing the report")
        result.save(chosen.out, overwrite=True)
        result.write_pictures(chosen.out)
        bar.update(task, description="done", completed=1.0)
    console.print(summary(result, scan))
    console.print(f"{time.perf_counter() - began:.0f} s in all; look at {chosen.out / 'report.html'}", soft_wrap=True)


def summary(result: geogrid.Registration, scan: Scan) -> Table:
    """What was wrong before, and what is left of it."""
    metrics = result.metrics
    table = Table("", "before", "after", box=None)
    before, after = (f"{mean_error(scan, t):.2f} mm" for t in (AffineTransform.identity(scan.image.dim), result.transform))
    table.add_row("endpoint error", before, after)
    for label, name in TISSUES.items():
        shares = (metrics[f"dice_per_label_{moment}"][str(label)] for moment in ("before", "after"))
        table.add_row(f"Dice, {name}", *(f"{share:.3f}" for share in shares))
    table.add_row("folding", "", f"{metrics['folding_percent']:.3f} %")
    table.add_row("time", "", f"{metrics['seconds']:.1f} s")
    table.add_row("peak memory", "", f"{metrics['peak_memory_mb']} MB")
    return table


def mean_error(scan: Scan, transform: Transform) -> float:
    """Mean distance in mm, inside the head, between where a transform sends the scan's points and where they belong."""
    points = scan.image.grid.points()[content_mask(scan.image).flatten()]
    with torch.no_grad():
        return float(endpoint_error(transform, scan.to_original, points).mean())


if __name__ == "__main__":
    main()

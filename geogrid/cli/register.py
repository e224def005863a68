"""``geogrid register``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from geogrid.cli.options import COORDINATES, IMAGE, NAN_OUTSIDE, OVERWRITE


@click.command()
@click.argument("fixed", type=IMAGE)
@click.argument("moving", type=IMAGE)
@click.option("--out", type=IMAGE, required=True, help="Folder for the results; made when missing.")
@click.option("--fixed-labels", type=IMAGE, help="Integer labels on FIXED, for Dice.")
@click.option("--moving-labels", type=IMAGE, help="Integer labels on MOVING; written as warped_labels.nii.gz.")
@click.option("--fixed-landmarks", type=IMAGE, help="CSV of points in FIXED, for the target registration error.")
@click.option("--moving-landmarks", type=IMAGE, help="CSV of the same points in MOVING, in the same order.")
@COORDINATES
@click.option("--feature", "features", multiple=True, help="Column of POINTS that partners share; may be given again.")
@click.option("--intensity", metavar="COLUMN", help="POINTS are samples of an image, and this column holds its intensities.")
@click.option("--correspondences", type=IMAGE, help="CSV of fixed row, moving row (from 0) of POINTS that are partners.")
@click.option("--fixed-mask", type=IMAGE, help="Where FIXED counts (not 0).")
@click.option("--moving-mask", type=IMAGE, help="Where MOVING counts (not 0).")
@click.option(
    "--affine", type=click.Choice(["auto", "rigid", "affine", "none"]), default="auto", show_default=True,
    help="Classical start; none trusts the headers.",
)  # fmt: skip
@click.option(
    "--similarity", type=click.Choice(["lncc", "nmi", "mind", "edges"]), default="lncc", show_default=True,
    help="lncc for images of the same contrast; nmi, edges or mind for images of different contrast.",
)  # fmt: skip
@click.option(
    "--model", default="auto", show_default=True, metavar="auto|NAME|FILE|none",
    help="Trained model that gives one more start; for images auto asks it where the classical starts disagree.",
)  # fmt: skip
@click.option("--optimize/--no-optimize", default=True, help="Without: the model's answer alone; fast and less exact.")
@click.option("--resolution", type=float, metavar="MM", help="Finest scale; default the coarser of the in-plane spacings.")
@click.option(
    "--effort",
    type=float,
    default=1.0,
    show_default=True,
    help="Times the iterations; 4: over twice the time, more exact.",
)
@click.option("--smoothness", type=float, default=1.0, show_default=True, help="Times the stiffness of the deformation.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Recorded; nothing random happens yet.")
@NAN_OUTSIDE
@click.option("--quiet", is_flag=True, help="Print nothing but warnings and errors.")
@OVERWRITE
def register(fixed: Path, moving: Path, out: Path, quiet: bool, overwrite: bool, **options: Any) -> None:
    """Register MOVING to FIXED, images or points, and write results, transforms, metrics and a report into a folder.

    Points are files of type .csv, .gii, .ply, .vtk, .vtp or .vtu. Beside an image, or with --intensity, they are samples of an
    image: positions with intensities.
    """
    from geogrid.io import atomic_directory
    from geogrid.registration import register
    from geogrid.results import ALL_OUTPUTS

    with atomic_directory(out, overwrite, ALL_OUTPUTS) as folder, _progress(quiet) as progress:
        result = register(fixed, moving, progress=progress, **options)
        progress("writing results", 1.0)
        result.write(folder)
    if not quiet:
        _print_summary(result.metrics, out)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<16}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        task = bar.add_task("reading", total=1.0)
        yield lambda message, fraction: bar.update(task, description=message, completed=fraction)


def _print_summary(metrics: dict[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "before", "after", box=None)
    for name, stem, unit in (
        ("Dice", "dice_{}", ""), ("landmark error", "tre_{}_mm", " mm"), ("HD95", "hd95_{}_mm", " mm"),
        ("local correlation", "lncc_{}", ""), ("mutual information", "nmi_{}", ""), ("MIND difference", "mind_{}", ""),
        ("Chamfer distance", "chamfer_{}_mm", " mm"),
    ):  # fmt: skip
        if stem.format("after") in metrics:
            table.add_row(name, *(f"{metrics[stem.format(moment)]:.3f}{unit}" for moment in ("before", "after")))
    if "folding_percent" in metrics:
        table.add_row("folding", "", f"{metrics['folding_percent']:.3f} %")
    if "match_support" in metrics:
        table.add_row("match support", "", f"{metrics['match_support']:.2f}")
    table.add_row("time", "", f"{metrics['seconds']:.1f} s")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"report: {out / 'report.html'}", soft_wrap=True)

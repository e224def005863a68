"""The command line: ``geogrid register | apply | apply-points | synth | train | info | doctor``."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from geogrid.errors import GeogridError

IMAGE = click.Path(path_type=Path)
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace existing results.")
COORDINATES = click.option(
    "--coordinates", type=click.Choice(["ras", "lps"]), default="ras", show_default=True,
    help="Convention of points in CSV, PLY and VTK files, world mm: ras (NIfTI, nibabel) or lps (ITK, ANTs, DICOM).",
)  # fmt: skip
NAN_OUTSIDE = click.option("--nan-outside", is_flag=True, help="Treat NaN voxels as outside the image (SPM backgrounds).")
CLEAN_STOPS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(BaseException):
    """The process was asked to end; raised so that unfinished files are removed on the way out.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}, invoke_without_command=True)
@click.version_option(package_name="geogrid")
@click.pass_context
def app(context: click.Context) -> None:
    """Deformable registration of medical images, in millimetres."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@app.command()
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
    from geogrid.registration import ALL_OUTPUTS, register

    with atomic_directory(out, overwrite, ALL_OUTPUTS) as folder, _progress(quiet) as progress:
        result = register(fixed, moving, progress=progress, **options)
        progress("writing results", 1.0)
        result.write(folder)
    if not quiet:
        _print_summary(result.metrics, out)


@app.command()
@click.argument("displacement", type=IMAGE)
@click.argument("image", type=IMAGE)
@click.option("--reference", type=IMAGE, required=True, help="Image whose grid the result gets, usually FIXED.")
@click.option("--out", type=IMAGE, required=True, help="File to write, .nii.gz or .nii.")
@click.option(
    "--interpolation", type=click.Choice(["linear", "nearest", "label"]), default="linear", show_default=True,
    help="label: integer labels, each point takes the one with the largest linear share.",
)  # fmt: skip
@NAN_OUTSIDE
@OVERWRITE
def apply(
    displacement: Path, image: Path, reference: Path, out: Path, interpolation: str, nan_outside: bool, overwrite: bool
) -> None:
    """Warp IMAGE onto the grid of a reference by a DISPLACEMENT file.

    displacement.nii.gz brings moving images to the fixed grid, inverse_displacement.nii.gz fixed images to the moving grid.
    Outside its grid a displacement is zero, as in ITK; what lands outside IMAGE is 0.
    """
    from geogrid.io import as_image_file, atomic_file, read_labels, read_storage, write_image
    from geogrid.transforms import read_transform, warp_image, warp_labels

    with atomic_file(_nifti_name(out), overwrite) as path:
        field = read_transform(displacement)
        labels = interpolation == "label"
        file = read_labels(image, name="image") if labels else as_image_file(image, name="image", nan_outside=nan_outside)
        target = read_storage(reference, name="reference")
        for what, dim in ((f"image {image}", file.image.dim), (f"reference {reference}", target.dim)):
            if dim != field.dim:
                raise GeogridError(f"{what} is {dim}-D, {displacement} {field.dim}-D; expected files of the same dimension")
        if labels:
            warped = warp_labels(file.image, field, target.grid())
        else:
            warped = warp_image(file.image, field, target.grid(), interpolation)  # type: ignore[arg-type]
        write_image(path, warped, target)


@app.command("apply-points")
@click.argument("displacement", type=IMAGE)
@click.argument("points", type=IMAGE)
@click.option("--out", type=IMAGE, required=True, help="CSV to write; other columns are kept. GIFTI points also as .gii.")
@COORDINATES
@click.option("--inverse", is_flag=True, help="Carry points the other way, by inverting DISPLACEMENT at each of them.")
@OVERWRITE
def apply_points(displacement: Path, points: Path, out: Path, coordinates: str, inverse: bool, overwrite: bool) -> None:
    """Carry POINTS (CSV with columns x, y, z in world mm; GIFTI, PLY, VTK) by a DISPLACEMENT file or a transform.json.

    A transform.json carries FIXED points to moving space, and MOVING points to fixed space with --inverse, wherever they lie.
    displacement.nii.gz carries FIXED landmarks to the moving image, and inverse_displacement.nii.gz (or displacement.nii.gz
    with --inverse) carries MOVING landmarks to the fixed image. Points outside the displacement's grid stay where they are,
    as in ITK, and are counted on standard error.
    """
    from geogrid.io import atomic_file, read_points, write_points
    from geogrid.transforms import DisplacementField, carry_points, read_transform

    with atomic_file(out, overwrite) as path:
        transform = read_transform(displacement)
        table = read_points(points, coordinates=coordinates, dim=transform.dim)  # type: ignore[arg-type]
        carried = carry_points(transform, table.points, inverse=inverse)
        write_points(path, table.with_points(carried.points), coordinates)  # type: ignore[arg-type]
    if carried.num_outside:
        dense = isinstance(transform, DisplacementField)
        why = "lie outside the displacement's grid" if dense else "are not reached by the transform"
        click.echo(f"{carried.num_outside} of {len(table.points)} points {why} and stayed", err=True)


@app.command()
@click.option("--out", type=IMAGE, required=True, help="Folder for the pairs; made when missing.")
@click.option("--number", type=click.IntRange(1, 10000), default=1, show_default=True, help="How many pairs.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same pairs.")
@click.option("--dim", type=click.Choice(["2", "3"]), default="3", show_default=True, help="Slices or volumes.")
@click.option("--size", default="64", show_default=True, metavar="N[,N..]", help="Voxels, of all axes or of each.")
@click.option("--spacing", default="2", show_default=True, metavar="MM[,MM..]", help="Voxel size, of all axes or of each.")
@click.option("--oblique", type=float, default=0.0, show_default=True, help="Largest turn of the images' axes, degrees.")
@click.option(
    "--world", "worlds", type=click.Choice(["blobs", "sheets", "ellipsoids"]), multiple=True,
    help="What there is to see: regions, a head with a folded cortex, organs; may be repeated; default all.",
)  # fmt: skip
@click.option("--labels", type=IMAGE, help="Label map, or a folder of them, to take the anatomy from instead.")
@click.option(
    "--deformation", type=click.Choice(["affine", "smooth", "brownian", "sliding", "mixed"]), default="smooth",
    show_default=True, help="What the true map is like.",
)  # fmt: skip
@click.option("--size-mm", type=float, default=5.0, show_default=True, help="Of the deformation: RMS, or shift, or slip.")
@click.option(
    "--contrast", type=click.Choice(["same", "inverted", "random"]), default="random", show_default=True,
    help="Of the moving image, compared with the fixed one.",
)  # fmt: skip
@click.option("--quiet", is_flag=True, help="Print nothing but warnings and errors.")
@OVERWRITE
def synth(out: Path, number: int, quiet: bool, overwrite: bool, **options: Any) -> None:
    """Make pairs of synthetic images whose true correspondence is known.

    Of each pair: images, labels, the displacement that brings the moving image to the fixed one (geogrid apply takes it), and
    landmarks.
    """
    from geogrid.data.synthetic.files import PAIR_FILES
    from geogrid.data.synthetic.folder import write_pairs
    from geogrid.io import atomic_directory

    prefixes = [f"pair{index:03d}_" for index in range(number)]
    with atomic_directory(out, overwrite, [prefix + name for prefix in prefixes for name in PAIR_FILES]) as folder:
        for line in write_pairs(folder, prefixes, **options):
            if not quiet:
                click.echo(line)


@app.command()
@click.option("--config", required=True, metavar="FILE|PRESET", help="Settings, YAML or TOML; or the name of a preset.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replaces a setting: optimizer.rate=1e-3.")
@click.option("--out", type=IMAGE, required=True, help="Folder for checkpoints, logs and weights; made when missing.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out, if there is one.")
@click.option("--quiet", is_flag=True, help="Without a progress bar.")
def train(config: str, overrides: tuple[str, ...], out: Path, resume: bool, quiet: bool) -> None:
    """Train a model and write its weights into a folder."""
    from geogrid.training import is_first_process, read_config, train

    recipe = shlex.join(["geogrid", "train", "--config", config, *(f"--set={override}" for override in overrides)])
    settings = read_config(config, overrides)
    with _resumable():
        weights = train(settings, out, resume=resume, recipe=recipe, quiet=quiet)
    if is_first_process():
        click.echo(f"weights: {weights}")


@app.command()
@click.argument("file", type=IMAGE)
def info(file: Path) -> None:
    """Tell what FILE is and what geogrid will do with it."""
    from geogrid.description import describe

    _print_table(describe(file))


@app.command()
def doctor() -> None:
    """Tell what is installed: versions, devices, and which implementations of neighbour search are there."""
    from geogrid.doctor import examine

    _print_table(examine())


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; bad input ends in one line on standard error and exit status 2."""
    with warnings.catch_warnings(), _stopping_cleanly():
        warnings.showwarning = _show_warning
        try:
            status = app.main(arguments, prog_name="geogrid", standalone_mode=False)
        except click.UsageError as error:
            _fail(f"{error.format_message()} (see geogrid {_command(error)}--help)", 2)
        except click.ClickException as error:
            _fail(error.format_message(), 2)
        except GeogridError as error:
            _fail(str(error), 2)
        except (KeyboardInterrupt, click.Abort):
            _fail("interrupted; nothing was written", 130)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            _fail("out of memory; use a coarser --resolution", 2)
        except Stopped as stopped:
            _fail(f"stopped by {signal.Signals(stopped.number).name}; nothing was written", 128 + stopped.number)
    sys.exit(status if isinstance(status, int) else 0)


@contextmanager
def _stopping_cleanly() -> Iterator[None]:
    """Turns signals that end the process into :class:`Stopped`; those that the caller ignores (nohup) stay ignored."""

    def stop(number: int, _: object) -> None:
        raise Stopped(number)

    in_main = threading.current_thread() is threading.main_thread()
    replaced = [number for number in CLEAN_STOPS if in_main and signal.getsignal(number) == signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _resumable() -> Iterator[None]:
    """Ends a training that is stopped with what to do next; Lightning turns Ctrl-C into an exit."""
    try:
        yield
    except Stopped as stopped:
        _fail(f"stopped by {signal.Signals(stopped.number).name}; go on with --resume", 128 + stopped.number)
    except SystemExit:
        _fail("interrupted; go on with --resume", 130)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "allocate memory" in str(error) or type(error).__name__ == "OutOfMemoryError"


def _fail(message: str, status: int) -> None:
    click.echo(f"geogrid: error: {' '.join(message.split())}", err=True)
    sys.exit(status)


def _command(error: click.UsageError) -> str:
    return f"{error.ctx.info_name} " if error.ctx is not None and error.ctx.info_name != "geogrid" else ""


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"geogrid: warning: {' '.join(str(message).split())}", err=True)


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


def _print_table(lines: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        click.echo(f"{name:<{width}}  {value}")


def _nifti_name(out: Path) -> Path:
    if not out.name.endswith((".nii", ".nii.gz")):
        raise GeogridError(f"--out: expected a name that ends in .nii.gz or .nii, got {out}")
    return out

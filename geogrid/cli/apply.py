"""``geogrid apply`` and ``geogrid apply-points``."""

from __future__ import annotations

from pathlib import Path

import click

from geogrid.cli.options import COORDINATES, IMAGE, NAN_OUTSIDE, OVERWRITE
from geogrid.errors import GeogridError


@click.command()
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


@click.command("apply-points")
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


def _nifti_name(out: Path) -> Path:
    if not out.name.endswith((".nii", ".nii.gz")):
        raise GeogridError(f"--out: expected a name that ends in .nii.gz or .nii, got {out}")
    return out

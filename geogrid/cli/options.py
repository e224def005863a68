"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

IMAGE = click.Path(path_type=Path)
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace existing results.")
COORDINATES = click.option(
    "--coordinates", type=click.Choice(["ras", "lps"]), default="ras", show_default=True,
    help="Convention of points in CSV, PLY and VTK files, world mm: ras (NIfTI, nibabel) or lps (ITK, ANTs, DICOM).",
)  # fmt: skip
NAN_OUTSIDE = click.option("--nan-outside", is_flag=True, help="Treat NaN voxels as outside the image (SPM backgrounds).")

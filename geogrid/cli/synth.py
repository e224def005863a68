"""``geogrid synth``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geogrid.cli.options import IMAGE, OVERWRITE


@click.command()
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

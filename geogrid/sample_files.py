"""What is written of scattered samples beside the results of an image."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from geogrid.data import Pair
from geogrid.io import SampledImage, with_column, write_points
from geogrid.spatial import Image, inside_lattice, sample_lattice
from geogrid.transforms import Transform

SAMPLE_OUTPUTS = ("warped.csv", "fixed_in_moving.csv", "warped_samples.csv")
"""Of moving samples the first, of fixed samples the others (:func:`write_sample_files`)."""

WARPED = "warped"


def write_sample_files(folder: Path, pair: Pair, transform: Transform, inverse: Transform) -> None:
    """Writes tables of the sides that are scattered samples, in the layout they were read in.

    - ``warped.csv``: the moving samples in fixed space.
    - ``fixed_in_moving.csv``: the fixed samples in moving space.
    - ``warped_samples.csv``: the fixed samples, and in a further column what the moving image shows there; 0 outside of it.

    Args:
        folder: where to.
        pair: what was registered.
        transform: fixed points to moving space.
        inverse: moving points to fixed space.
    """
    fixed, moving = pair.fixed, pair.moving
    if isinstance(moving, SampledImage):
        table = moving.samples
        write_points(folder / "warped.csv", table.with_points(inverse(table.points)), moving.coordinates)
    if isinstance(fixed, SampledImage):
        table = fixed.samples
        there = transform(table.points)
        write_points(folder / "fixed_in_moving.csv", table.with_points(there), fixed.coordinates)
        shown = with_column(table, WARPED, _read(moving.image, there))
        write_points(folder / "warped_samples.csv", shown, fixed.coordinates)


def _read(image: Image, points: Tensor) -> Tensor:
    index = image.grid.world_to_index(points)
    values = sample_lattice(image.data[None].float(), index.float())[0]
    return torch.where(inside_lattice(index, image.grid.shape), values, 0.0)

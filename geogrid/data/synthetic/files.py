"""Synthetic pairs as files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from geogrid.data.synthetic.pair import SyntheticPair
from geogrid.errors import GeogridError
from geogrid.io import PointTable, Storage, write_displacement, write_image, write_points
from geogrid.spatial import Grid, Image, inside_lattice

PAIR_FILES = (
    *("fixed.nii.gz", "moving.nii.gz", "fixed_labels.nii.gz", "moving_labels.nii.gz", "displacement.nii.gz"),
    *("fixed_landmarks.csv", "moving_landmarks.csv"),
)
"""What :func:`write_pair` writes, each name after the prefix."""

_NUM_LANDMARKS = 50


def write_pair(folder: str | Path, pair: SyntheticPair, prefix: str = "") -> None:
    """Writes images, labels, the true displacement and landmarks, as ``geogrid register`` and ``geogrid apply`` read them.

    ``displacement.nii.gz`` maps the fixed grid to moving space. The landmarks are 50 fixed voxels inside the body that the
    moving image shows too, or as many as there are, and where they truly are in the moving image, in world mm (RAS+).

    Args:
        folder: which exists.
        pair: to write.
        prefix: of all names.

    Raises:
        GeogridError: when a file cannot be written, no voxel of the body is in both images, or the pair is of two people.
    """
    if pair.people != 1:
        raise GeogridError("pair: of two people nobody knows the displacement to write; take WorldConfig(people=1)")
    folder, fixed, moving = Path(folder), pair.fixed.grid, pair.moving.grid
    for name in ("fixed", "moving", "fixed_labels", "moving_labels"):
        image: Image = getattr(pair, name)
        storage = _storage(image.grid)
        data = storage.to_canonical(image.data.cpu())
        write_image(folder / f"{prefix}{name}.nii.gz", Image(data.contiguous(), storage.grid()), storage)
    storage = _storage(fixed)
    field = pair.displacement.cpu().reshape(*fixed.shape, fixed.dim)
    write_displacement(folder / f"{prefix}displacement.nii.gz", storage.to_canonical(field), storage)
    for name, points in zip(("fixed", "moving"), _landmarks(pair, moving), strict=True):
        write_points(folder / f"{prefix}{name}_landmarks.csv", PointTable(points))


def _storage(grid: Grid) -> Storage:
    return Storage(grid.shape, grid.affine)


def _landmarks(pair: SyntheticPair, moving: Grid) -> tuple[Tensor, Tensor]:
    """Fixed and moving landmarks, ``(num_landmarks, dim)`` float64 each, spread evenly over the voxels that qualify."""
    points = pair.fixed.grid.points().double()
    moved = points + pair.displacement.cpu().double()
    shown = inside_lattice(moving.world_to_index(moved), moving.shape) & (pair.fixed_labels.data.reshape(-1).cpu() > 0)
    where = shown.nonzero()[:, 0]
    if len(where) == 0:
        raise GeogridError("pair: no voxel of the body is in both images, so there are no landmarks; take smaller deformations")
    chosen = where[torch.linspace(0, len(where) - 1, min(_NUM_LANDMARKS, len(where))).round().long()]
    return points[chosen], moved[chosen]

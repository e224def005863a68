"""What ``geogrid info`` tells about a file."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from geogrid.errors import GeogridError
from geogrid.graph import knn
from geogrid.io import ImageFile, as_image_file, is_point_source, read_displacement, read_points
from geogrid.spatial import Grid, finest_scale
from geogrid.spatial.pyramid import pool_factors


def describe(path: Path) -> list[tuple[str, str]]:
    """Names and values: shape, spacing, orientation, obliqueness, intensities, and what registration will do.

    Raises:
        GeogridError: when the file is neither an image, a displacement nor a set of points.
    """
    if is_point_source(path):
        return describe_points(path)
    try:
        file = as_image_file(path, nan_outside=True)
    except GeogridError as error:
        return [("file", str(path)), *_displacement_lines(path, error)]
    stored = file.storage.affine
    return [
        ("file", str(path)),
        ("shape", " x ".join(map(str, file.storage.shape))),
        ("spacing", " x ".join(f"{s:.4g}" for s in stored[:-1, :-1].norm(dim=0).tolist()) + " mm"),
        ("orientation", f"{orientation(stored)} (stored), {orientation(file.image.grid.affine)} (in memory)"),
        ("obliqueness", f"{obliqueness_degrees(file.image.grid):.1f} degrees"),
        ("intensities", _intensities(file)),
        ("registration", _plan(file.image.grid)),
    ]


def describe_points(path: Path) -> list[tuple[str, str]]:
    """Names and values: how many points, where they lie, how far apart, and what else is known of each."""
    table = read_points(path)
    points = table.points
    low, high = points.min(0).values.tolist(), points.max(0).values.tolist()
    distinct = points.unique(dim=0)
    lines = [
        ("file", str(path)),
        ("kind", f"{len(points)} points, {points.shape[1]}-D"),
        *((f"range of {axis}", f"{a:.4g} to {b:.4g} mm") for axis, a, b in zip("xyz", low, high, strict=False)),
        ("features", ", ".join(table.feature_names) or "none"),
        ("duplicates", str(len(points) - len(distinct))),
    ]
    if len(distinct) > 1:
        gaps = (distinct[knn(distinct, distinct, 2).index[:, 1]] - distinct).norm(dim=1)
        lines.append(("spacing", f"{float(gaps.median()):.4g} mm to the nearest neighbour, median"))
    return lines


def orientation(affine: torch.Tensor) -> str:
    """The world direction in which each index axis runs, for instance RAS or LPS; the nearest one for oblique axes."""
    linear = affine[:-1, :-1] / affine[:-1, :-1].norm(dim=0)
    letters = []
    for column in linear.T:
        axis = int(column.abs().argmax())
        letters.append(("RAS" if column[axis] > 0 else "LPI")[axis])
    return "".join(letters)


def obliqueness_degrees(grid: Grid) -> float:
    """The largest angle between an index axis and its nearest world axis, in degrees."""
    nearest = grid.frame.abs().max(0).values.clamp(max=1)
    return math.degrees(math.acos(float(nearest.min())))


def _displacement_lines(path: Path, not_an_image: GeogridError) -> list[tuple[str, str]]:
    try:
        displacement, grid = read_displacement(path)
    except GeogridError:
        raise not_an_image from None
    length = displacement.norm(dim=-1)
    return [
        ("kind", f"displacement field, {grid.dim}-D, LPS mm in the file"),
        ("shape", " x ".join(map(str, grid.shape))),
        ("spacing", " x ".join(f"{s:.4g}" for s in grid.spacing.tolist()) + " mm"),
        ("length", f"mean {float(length.mean()):.2f} mm, largest {float(length.max()):.2f} mm"),
    ]


def _intensities(file: ImageFile) -> str:
    data = file.image.data if file.valid is None else file.image.data[file.valid]
    text = f"{float(data.min()):g} to {float(data.max()):g}"
    missing = 0 if file.valid is None else int((~file.valid).sum())
    return text + (f"; {missing} voxels are NaN (register with --nan-outside)" if missing else "")


def _plan(grid: Grid) -> str:
    scale = finest_scale(grid, grid)
    pooled = grid.pool(pool_factors(grid, scale))
    text = f"finest scale {scale:.3g} mm by default (with a coarser partner: the partner's)"
    return text + (f"; pooled to {' x '.join(map(str, pooled.shape))} first" if pooled.shape != grid.shape else "")

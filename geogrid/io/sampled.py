"""Scattered samples of an image: positions with intensities, and the image that they give on a lattice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from os import PathLike

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.io.checks import MIN_VOXELS, naming
from geogrid.io.clouds import PointSource, as_points
from geogrid.io.images import ImageFile
from geogrid.io.points import Coordinates, PointTable
from geogrid.io.storage import Storage
from geogrid.spatial import grid_samples, lattice_of_samples

INTENSITY = "intensity"


@dataclass(frozen=True, eq=False)
class SampledImage(ImageFile):
    """An image made of scattered samples, and the samples themselves.

    Args:
        image: the values on a lattice along the world's axes (mm, RAS+).
        storage: of that lattice.
        name: what messages call it.
        valid: ``(*image.grid.shape)`` bool, what lies among the samples.
        support: ``(*image.grid.shape)`` in [0, 1], how much each voxel is known.
        samples: positions and all that their table says.
        intensity: name of the feature that was taken for the intensity.
        coordinates: convention in which files are written.
    """

    support: Tensor = field(kw_only=True)
    samples: PointTable = field(kw_only=True)
    intensity: str = field(kw_only=True)
    coordinates: Coordinates = field(default="ras", kw_only=True)


def as_sampled_image(
    source: PointSource, *, name: str = "samples", intensity: str | None = None, coordinates: Coordinates = "ras"
) -> SampledImage:
    """Positions with intensities as an image on a lattice (:func:`geogrid.spatial.grid_samples`).

    Args:
        source: a path (CSV, PLY, VTK), a table, a ``PointCloud``, a PyG ``Data`` or a PyTorch3D ``Pointclouds``; mm.
        name: what messages call it.
        intensity: name of the column (or array, or ``feature_0``) of intensities; default ``intensity``, or the only one.
        coordinates: convention of files and arrays, ``ras`` or ``lps``.

    Raises:
        GeogridError: when there are no such intensities, and for positions that do not fill the space or intensities that show
            nothing.

    Example:
        >>> import torch
        >>> from geogrid.spatial import PointCloud
        >>> places = 20 * torch.rand(800, 2, generator=torch.Generator().manual_seed(0))
        >>> found = as_sampled_image(PointCloud.from_points(places, torch.ones(800), places[:, :1]))
        >>> found.intensity, found.image.dim
        ('feature_0', 2)
    """
    name = f"{name} {source}" if isinstance(source, str | PathLike) else name
    table = as_points(source, name=name, coordinates=coordinates)
    column = _column(table, intensity, name)
    assert table.features is not None
    values = table.features[:, table.feature_names.index(column)]
    if len(values) < MIN_VOXELS ** table.points.shape[1]:
        least = MIN_VOXELS ** table.points.shape[1]
        raise GeogridError(f"{name}: expected at least {least} samples, got {len(values)}, which show nothing to be matched")
    if float(values.min()) == float(values.max()):
        raise GeogridError(f"{name}: every {column} is {float(values[0]):g}, which shows nothing that could be matched")
    with naming(name):
        grid = lattice_of_samples(table.points)
        found = grid_samples(table.points, values, grid)
    storage = Storage(grid.shape, grid.affine)
    return SampledImage(
        found.image, storage, name, found.seen, support=found.support, samples=table, intensity=column, coordinates=coordinates
    )


def with_column(table: PointTable, name: str, values: Tensor) -> PointTable:
    """The table with one more column, ``(num_points,)``; tables that were text stay text."""
    if not table.rows:
        known = values.new_zeros(len(values), 0) if table.features is None else table.features
        features = torch.cat([known.double(), values.double()[:, None]], 1)
        return replace(table, features=features, feature_names=(*table.feature_names, name))
    rows = tuple((*row, repr(value)) for row, value in zip(table.rows, values.tolist(), strict=True))
    return replace(table, header=None if table.header is None else (*table.header, name), rows=rows)


def _column(table: PointTable, wanted: str | None, name: str) -> str:
    names = table.feature_names
    there = ", ".join(names) or "none"
    if wanted is not None:
        if wanted not in names:
            raise GeogridError(f"{name}: expected a column {wanted} with a finite number for every point, got {there}")
        return wanted
    if INTENSITY in names or len(names) == 1:
        return INTENSITY if INTENSITY in names else names[0]
    raise GeogridError(
        f"{name}: expected a column {INTENSITY} with a finite number for every point, got {there}; name one with --intensity "
        "(intensity= in Python), or give two sets of points"
    )

"""Anything that is a set of points, as a table of points."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.io.checks import suffix
from geogrid.io.exchange import checked_positions
from geogrid.io.points import POINT_SUFFIXES, Coordinates, PointTable, read_points, signed
from geogrid.spatial import PointCloud

PointSource = str | PathLike[str] | Tensor | NDArray[Any] | PointTable | PointCloud
"""A path, an array, a table, a :class:`~geogrid.spatial.PointCloud`, a PyG ``Data`` or a PyTorch3D ``Pointclouds``."""


def is_point_source(source: Any) -> bool:
    """Whether something is a set of points: a file of points by its name, an array of 2 or 3 columns, a cloud, a graph.

    Example:
        >>> is_point_source("lung.vtk"), is_point_source(torch.rand(5, 3)), is_point_source("brain.nii.gz")
        (True, True, False)
    """
    if isinstance(source, str | PathLike):
        return suffix(Path(source)) in POINT_SUFFIXES
    if isinstance(source, Tensor | np.ndarray):
        return source.ndim == 2 and source.shape[1] in (2, 3)
    return isinstance(source, PointTable | PointCloud) or hasattr(source, "points_list") or _is_graph(source)


def as_points(
    source: PointSource, *, name: str = "points", coordinates: Coordinates = "ras", dim: int | None = None
) -> PointTable:
    """Points of a file, an array, a table, a ``PointCloud``, a PyG ``Data`` or a PyTorch3D ``Pointclouds``, in world mm, RAS+.

    Args:
        source: where the points are; batches of one entry only.
        name: what messages call it.
        coordinates: convention of files and arrays; tables, clouds and graphs are RAS+.
        dim: 2 or 3; default as the source has it.

    Raises:
        GeogridError: when the points are not there, not finite, or of another dimension.

    Example:
        >>> as_points(torch.tensor([[1.0, 2.0, 3.0]]), coordinates="lps").points
        tensor([[-1., -2.,  3.]], dtype=torch.float64)
    """
    if isinstance(source, str | PathLike):
        return read_points(Path(source), coordinates=coordinates, dim=dim)
    table = source if isinstance(source, PointTable) else _table(source, name, coordinates)
    if dim is not None and table.points.shape[1] != dim:
        raise GeogridError(f"{name}: expected {dim}-D points, got shape {tuple(table.points.shape)}")
    return table


def _table(source: Any, name: str, coordinates: Coordinates) -> PointTable:
    if hasattr(source, "points_list"):
        return _from_lists(source.points_list(), source.features_list() or [], name)
    if isinstance(source, PointCloud) or _is_graph(source):
        batch = source.batch
        _check_single(source.num_entries if isinstance(source, PointCloud) else _entries(batch), name)
        return _made(source.pos, source.x, name)
    points = checked_positions(source, name).detach().to("cpu", torch.float64)
    return PointTable(signed(points, coordinates))


def _from_lists(points: list[Tensor], features: list[Tensor], name: str) -> PointTable:
    _check_single(len(points), name)
    return _made(points[0], features[0] if features else None, name)


def _made(pos: Any, x: Tensor | None, name: str) -> PointTable:
    points = checked_positions(pos, name).detach().to("cpu", torch.float64)
    if x is None:
        return PointTable(points)
    features = x.detach().to("cpu", torch.float64).reshape(len(x), -1)
    return PointTable(points, features=features, feature_names=tuple(f"feature_{n}" for n in range(features.shape[1])))


def _entries(batch: Tensor | None) -> int:
    return 1 if batch is None or not len(batch) else int(batch.max()) + 1


def _check_single(entries: int, name: str) -> None:
    if entries != 1:
        raise GeogridError(f"{name}: expected a single set of points, got a batch of {entries}; pass its entries one by one")


def _is_graph(source: Any) -> bool:
    return hasattr(source, "pos") and hasattr(source, "edge_index")

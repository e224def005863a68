"""Point clouds from and to arrays, PyG's ``Data`` and PyTorch3D's ``Pointclouds``."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import point_volumes
from geogrid.spatial import PointCloud

Numbers = NDArray[Any] | Tensor


def from_arrays(points: Numbers, features: Numbers | None = None) -> PointCloud:
    """A cloud of one entry from arrays; the measure of each point is estimated.

    Args:
        points: ``(num_points, dim)`` positions in mm, RAS+, dim 2 or 3.
        features: ``(num_points, channels)`` or ``(num_points,)``, or None.

    Raises:
        GeogridError: for arrays of another shape, no points, or numbers that are not finite.

    Example:
        >>> cloud = from_arrays(np.random.rand(50, 3), np.random.rand(50))
        >>> cloud.num_points, cloud.x.shape
        (50, torch.Size([50, 1]))
    """
    pos = checked_positions(points, "points").float()
    return PointCloud.from_points(pos, point_volumes(pos).measure, _rows(features))


def to_arrays(cloud: PointCloud) -> list[tuple[NDArray[Any], NDArray[Any] | None]]:
    """Positions ``(num_points, dim)`` and features ``(num_points, channels)``, or None, of each entry.

    Example:
        >>> [(positions, features)] = to_arrays(from_arrays(np.eye(3), np.arange(3)))
        >>> positions.shape, features.shape
        ((3, 3), (3, 1))
    """
    entries = (cloud.entry(number) for number in range(cloud.num_entries))
    return [(_numpy(entry.pos), None if entry.x is None else _numpy(entry.x)) for entry in entries]


def from_pyg(data: Any) -> PointCloud:
    """A cloud from a ``torch_geometric.data.Data`` or ``Batch`` with ``pos`` and, if there are any, ``x`` and ``batch``.

    ``measure``, ``frame`` and ``spacing``, as :func:`to_pyg` writes them, are taken; where they are missing they are estimated.

    Raises:
        GeogridError: without positions, or for parts that do not fit each other.

    Example:
        >>> from torch_geometric.data import Data
        >>> from_pyg(Data(pos=torch.rand(20, 2), x=torch.rand(20, 5))).dim
        2
    """
    pos = checked_positions(getattr(data, "pos", None), "pos")
    batch = getattr(data, "batch", None)
    measure = getattr(data, "measure", None)
    if measure is None:
        measure = point_volumes(pos, batch=batch).measure
    frame, spacing = getattr(data, "frame", None), getattr(data, "spacing", None)
    entries = None if frame is None else len(frame)
    return PointCloud.from_points(pos, measure, _rows(data.x), batch, frame, spacing, entries)


def to_pyg(cloud: PointCloud) -> Any:
    """A ``torch_geometric.data.Data`` with ``pos``, ``x``, ``batch``, ``measure``, ``frame`` and ``spacing``.

    Lattices are not kept: the points are those of the image, but how they were stored is forgotten.

    Example:
        >>> from_pyg(to_pyg(from_arrays(np.eye(3)))).pos
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]])
    """
    data = importlib.import_module("torch_geometric.data")
    return data.Data(
        x=cloud.x, pos=cloud.pos, batch=cloud.batch, measure=cloud.measure, frame=cloud.frame, spacing=cloud.spacing
    )


def from_pytorch3d(clouds: Any) -> PointCloud:
    """A cloud from a ``pytorch3d.structures.Pointclouds``, one entry per cloud; normals are left out.

    Raises:
        GeogridError: when there are no points, or some are not finite.
    """
    points, features = clouds.points_list(), clouds.features_list()
    pos = checked_positions(torch.cat(points) if points else None, "Pointclouds")
    batch = torch.arange(len(points)).repeat_interleave(torch.tensor([len(part) for part in points])).to(pos.device)
    x = None if features is None else torch.cat(features)
    return PointCloud.from_points(pos, point_volumes(pos, batch=batch).measure, x, batch, num_entries=len(points))


def to_pytorch3d(cloud: PointCloud) -> Any:
    """A ``pytorch3d.structures.Pointclouds`` with one cloud per entry.

    Raises:
        GeogridError: without PyTorch3D, or for 2-D clouds.
    """
    if cloud.dim != 3:
        raise GeogridError(
            f"to_pytorch3d: expected a 3-D cloud, got a {cloud.dim}-D one; PyTorch3D knows only three dimensions"
        )
    try:
        structures = importlib.import_module("pytorch3d.structures")
    except ImportError as error:
        raise GeogridError("to_pytorch3d: needs PyTorch3D, which is not installed; pip install 'geogrid[pytorch3d]'") from error
    entries = [cloud.entry(number) for number in range(cloud.num_entries)]
    features = None if cloud.x is None else [entry.x for entry in entries]
    return structures.Pointclouds(points=[entry.pos for entry in entries], features=features)


def checked_positions(points: Any, name: str) -> Tensor:
    """``(num_points, dim)`` finite positions, dim 2 or 3, at least one; in float64 unless they are of floating type already.

    Raises:
        GeogridError: for anything else, naming the first row that is wrong.
    """
    try:
        pos = torch.as_tensor(points)
    except (TypeError, ValueError, RuntimeError):
        raise GeogridError(f"{name}: expected positions of shape (num_points, 2 or 3), got {type(points).__name__}") from None
    if pos.dim() != 2 or pos.shape[1] not in (2, 3):
        raise GeogridError(f"{name}: expected positions of shape (num_points, 2 or 3), got {tuple(pos.shape)}")
    if not len(pos):
        raise GeogridError(f"{name}: no points in it; expected at least one")
    wrong = (~pos.isfinite().all(1)).nonzero()[:, 0]
    if len(wrong):
        raise GeogridError(
            f"{name}, row {int(wrong[0])} (from 0): expected finite numbers, got {pos[wrong[0]].tolist()}; remove the point or "
            "mend it"
        )
    return pos if pos.is_floating_point() else pos.double()


def _rows(features: Numbers | None) -> Tensor | None:
    if features is None:
        return None
    values = torch.as_tensor(features)
    return (values if values.is_floating_point() else values.float()).reshape(len(values), -1)


def _numpy(values: Tensor) -> NDArray[Any]:
    return np.asarray(values.detach().cpu())

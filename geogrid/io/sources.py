"""From anything that can be an image to an array in its own storage."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray
from torch import Tensor

from geogrid.errors import GeogridError, GeogridWarning
from geogrid.io.checks import check_number_type, check_readable, check_shape, naming, suffix
from geogrid.io.itk import ITK_SUFFIXES, luminance, read_itk
from geogrid.io.nifti import NIFTI_SUFFIXES, forms, open_nifti, stored_affine, stored_values
from geogrid.io.storage import Storage
from geogrid.spatial import Image

ArrayAndAffine = tuple[NDArray[Any] | Tensor, NDArray[Any] | Tensor]
Source = str | Path | SpatialImage | Image | ArrayAndAffine


@dataclass(frozen=True, eq=False)
class Stored:
    """Numbers in the storage they came in.

    Args:
        values: ``(*storage.shape)``.
        storage: their layout.
        name: what messages call them.
    """

    values: NDArray[Any]
    storage: Storage
    name: str


def load(source: Source, name: str | None = None) -> Stored:
    """Reads a path, a nibabel image, an (array, affine) pair or an :class:`~geogrid.spatial.Image`.

    Raises:
        GeogridError: for whatever is not a 2-D or 3-D image of real numbers with at least ``MIN_VOXELS`` along each axis.
    """
    if isinstance(source, str | Path):
        return _load_path(Path(source), f"{name} {source}" if name else str(source))
    name = name or "image"
    if isinstance(source, SpatialImage):
        return _load_nibabel(source, name)
    if isinstance(source, Image):
        return _stored(_numpy(source.data), _numpy(source.grid.affine), None, name)
    if isinstance(source, tuple) and len(source) == 2:
        return _stored(_numpy(source[0]), _numpy(source[1]), None, name)
    raise GeogridError(f"{name}: expected a path, a nibabel image or (array, affine), got {type(source).__name__}")


def read_storage(source: Source, *, name: str | None = None) -> Storage:
    """Where the voxels of an image lie and how they are stored, whatever its values: constant or NaN will do.

    Raises:
        GeogridError: as :func:`geogrid.io.read_image` does for shape and affine.
    """
    return load(source, name).storage


def spatial_affine(affine: NDArray[Any], dim: int, name: str) -> NDArray[np.float64]:
    """The ``(dim + 1, dim + 1)`` affine of an image that may come with a ``(4, 4)`` one.

    Of a slice ITK keeps the x and y part of each axis' *direction*, and its voxel size; so do we, with a warning when that
    loses a tilt. A slice across x and y (coronal, sagittal) has no place in the x-y plane: ITK refuses it, and so do we.

    Raises:
        GeogridError: for an affine of another size, and for coronal or sagittal 2-D slices.
    """
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape == (dim + 1, dim + 1):
        return affine
    if dim != 2 or affine.shape != (4, 4):
        raise GeogridError(f"{name}: expected a {dim + 1}x{dim + 1} affine, got shape {affine.shape}")
    spacing = np.linalg.norm(affine[:3, :2], axis=0)
    in_plane = np.linalg.norm(affine[:2, :2], axis=0)
    share = float((in_plane / np.maximum(spacing, 1e-12)).min())
    if spacing.min() > 0 and share < 1e-3:
        raise GeogridError(
            f"{name}: a 2-D slice that is not in the x-y plane (coronal or sagittal), which ITK-based programs cannot read; "
            "set its sform to diag(dx, dy, 1) with the voxel sizes in mm"
        )
    if spacing.min() > 0 and share < 0.9999:
        warnings.warn(
            f"{name}: the 2-D slice is tilted by {np.degrees(np.arccos(share)):.0f} degrees out of the x-y plane; the tilt is "
            "dropped, as ITK does",
            GeogridWarning,
            stacklevel=2,
        )
    flat = np.eye(3)
    flat[:2, :2] = affine[:2, :2] * spacing / np.maximum(in_plane, 1e-12)
    flat[:2, 2] = affine[:2, 3]
    return flat


def _load_path(path: Path, name: str) -> Stored:
    check_readable(path, name)
    kind = suffix(path)
    if kind in NIFTI_SUFFIXES:
        return _load_nibabel(open_nifti(path, name), name)
    if kind in ITK_SUFFIXES:
        return _load_itk(path, name)
    raise GeogridError(f"{name}: not an image file; expected one of {' '.join((*NIFTI_SUFFIXES, *ITK_SUFFIXES))}")


def _load_nibabel(image: SpatialImage, name: str) -> Stored:
    _check_frames(tuple(image.shape), name)
    return _stored(stored_values(image, name), stored_affine(image, name), forms(image), name)


def _load_itk(path: Path, name: str) -> Stored:
    read = read_itk(path, name)
    values, affine = read.values, read.affine
    if read.num_components in (3, 4) and values.dtype.kind == "u":
        values = luminance(values)
    elif read.num_components > 1:
        raise GeogridError(f"{name}: {read.num_components} numbers per voxel, expected one; extract one component first")
    if values.ndim > 3:
        keep = [0, 1, 2, -1]
        affine = affine[np.ix_(keep, keep)]
    return _stored(values, affine, None, name)


def _stored(values: NDArray[Any], affine: NDArray[Any], header: Nifti1Header | None, name: str) -> Stored:
    check_number_type(values.dtype, name)
    _check_frames(values.shape, name)
    values = values.reshape(_space_shape(values.shape))
    check_shape(values.shape, name)
    with naming(name):
        storage = Storage(values.shape, torch.from_numpy(spatial_affine(affine, values.ndim, name)), header)
    return Stored(values, storage, name)


def _space_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _check_frames(shape: tuple[int, ...], name: str) -> None:
    space = _space_shape(shape)
    if len(space) < 2:
        raise GeogridError(f"{name}: expected a 2-D or 3-D image, got shape {shape}")
    if len(space) == 4:
        raise GeogridError(f"{name}: a 4-D series of {space[3]} frames, expected one image; extract one frame first")
    if len(space) > 4:
        raise GeogridError(f"{name}: {space[-1]} numbers per voxel (shape {shape}), expected one; is it a displacement file?")


def _numpy(array: NDArray[Any] | Tensor) -> NDArray[Any]:
    return array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)

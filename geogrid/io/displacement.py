"""Displacement files, as ITK and ANTs read and write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.io.checks import check_readable, naming, suffix
from geogrid.io.images import nifti_with_affine, save_nifti
from geogrid.io.itk import ITK_SUFFIXES, lps_signs, read_itk
from geogrid.io.nifti import NIFTI_SUFFIXES, forms, open_nifti, stored_affine, stored_values
from geogrid.io.sources import spatial_affine
from geogrid.io.storage import Storage
from geogrid.spatial import Grid

_INTENT_RAS, _INTENT_LPS = 1006, 1007


def write_displacement(path: str | Path, displacement: Tensor, storage: Storage) -> None:
    """Writes a displacement as a 5-D NIfTI with intent *vector*, components in LPS mm, float32.

    SimpleITK reads it into a ``DisplacementFieldTransform``, ANTs takes it as it is. The array is ``(X, Y, Z, 1, 3)``, or
    ``(X, Y, 1, 1, 2)`` in 2-D, in the storage order of the file; sform and qform are both the affine that geogrid used, with
    the file's codes where it had some and 1 otherwise. Outside this grid ITK and ANTs apply the identity, and so does geogrid.

    Args:
        path: a name that ends in ``.nii`` or ``.nii.gz``.
        displacement: ``(*storage.grid().shape, dim)`` in mm along the world axes (RAS+), canonical storage.
        storage: layout of the result, usually the fixed file's.

    Raises:
        GeogridError: for a displacement of another shape, another suffix, or when the file cannot be written.
    """
    expected = (*storage.grid().shape, storage.dim)
    if tuple(displacement.shape) != expected:
        raise GeogridError(f"displacement: expected shape {expected}, got {tuple(displacement.shape)}")
    values = displacement.detach().cpu().numpy().astype(np.float32) * lps_signs(storage.dim)
    values = np.ascontiguousarray(storage.from_canonical(values))
    values = values.reshape(*storage.shape, *(1,) * (4 - storage.dim), storage.dim)
    nifti = nifti_with_affine(values, storage, _code(storage, "sform_code"), _code(storage, "qform_code"))
    nifti.header.set_intent("vector")
    save_nifti(nifti, path)


def read_displacement(path: str | Path) -> tuple[Tensor, Grid]:
    """Reads a displacement file: the NIfTI that geogrid, ANTs or ITK writes, or a ``.mha``/``.nrrd`` vector image.

    A NIfTI of intent *vector* (1007) holds LPS components, one of intent *displacement vector* (1006) RAS ones, as ITK has it.

    Returns:
        The displacement, ``(*grid.shape, dim)`` float32 in mm along the world axes (RAS+), and its grid, canonical.

    Raises:
        GeogridError: when the file cannot be read, or does not hold a finite displacement.
    """
    path, name = Path(path), str(path)
    check_readable(path, name)
    if suffix(path) in NIFTI_SUFFIXES:
        values, affine = _read_nifti(path, name)
    elif suffix(path) in ITK_SUFFIXES:
        values, affine = _read_itk(path, name)
    else:
        expected = " ".join((*NIFTI_SUFFIXES, *ITK_SUFFIXES))
        raise GeogridError(f"{name}: not a displacement image; expected one of {expected}")
    missing = int((~np.isfinite(values)).sum())
    if missing:
        raise GeogridError(f"{name}: {missing} of {values.size} displacement components are NaN or infinite")
    with naming(name):
        storage = Storage(values.shape[:-1], torch.from_numpy(affine))
    return torch.from_numpy(np.array(storage.to_canonical(values), dtype=np.float32, order="C")), storage.grid()


def _read_nifti(path: Path, name: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    image = open_nifti(path, name)
    shape, header = tuple(image.shape), forms(image)
    dim = shape[-1]
    if len(shape) != 5 or shape[3] != 1 or dim not in (2, 3) or (dim == 2 and shape[2] != 1):
        raise _not_a_displacement(name, f"shape {shape}")
    intent = 0 if header is None else int(header["intent_code"])
    if intent not in (_INTENT_RAS, _INTENT_LPS):
        raise _not_a_displacement(name, f"intent code {intent}")
    values = stored_values(image, name).reshape(*shape[:dim], dim)
    if intent == _INTENT_LPS:
        values = values * lps_signs(dim)
    return values, spatial_affine(stored_affine(image, name), dim, name)


def _read_itk(path: Path, name: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    read = read_itk(path, name)
    dim = len(read.affine) - 1
    if dim not in (2, 3) or read.num_components != dim or read.values.dtype.kind != "f":
        raise _not_a_displacement(name, f"{dim} axes and {read.num_components} numbers per voxel, {read.values.dtype}")
    return read.values * lps_signs(dim), read.affine


def _not_a_displacement(name: str, got: str) -> GeogridError:
    return GeogridError(
        f"{name}: not a displacement file, expected a NIfTI of shape (X, Y, Z, 1, 3) or (X, Y, 1, 1, 2) with intent vector, or "
        f"a vector image in .mha or .nrrd, got {got}"
    )


def _code(storage: Storage, field: str) -> int:
    return 1 if storage.header is None else int(storage.header[field]) or 1

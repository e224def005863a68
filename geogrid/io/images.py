"""Images, label maps and masks: in from anything, out to NIfTI on the file's own grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from nibabel.nifti1 import Nifti1Header
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.io.checks import check_finite, check_varies, suffix
from geogrid.io.sources import Source, Stored, load
from geogrid.io.storage import Storage
from geogrid.spatial import Image

GEOMETRY_FIELDS = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z", "xyzt_units"),
)


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image in canonical storage, and how to give results back the way it came.

    Args:
        image: the values on their canonical grid (mm, RAS+).
        storage: layout of the file or array it came from.
        name: what messages call it: the path, or a description.
        valid: ``(*image.grid.shape)`` bool, where the file had a finite value; None when it had one everywhere.
    """

    image: Image
    storage: Storage
    name: str
    valid: Tensor | None = None


def read_image(path: str | Path, *, nan_outside: bool = False, name: str | None = None) -> ImageFile:
    """Reads an image file: NIfTI, or through SimpleITK ``.mha .mhd .nrrd .png .jpg .tif``.

    Scaling by the header's slope is applied, a single frame of a 4-D file is squeezed, colour pictures become luminance. A PNG
    states no voxel size: it gets 1 mm.

    Args:
        path: the file.
        nan_outside: treat NaN as outside the image (0 there, and False in ``valid``) instead of refusing it.
        name: what the image is (``fixed image``), put before the path in messages.

    Returns:
        float32 values in canonical storage.

    Raises:
        GeogridError: for anything that cannot be registered; the message names the file and says why and what to do.
    """
    return _as_float(load(path, name), nan_outside)


def as_image_file(source: Source | ImageFile, *, name: str | None = None, nan_outside: bool = False) -> ImageFile:
    """As :func:`read_image`, for a path, a nibabel image, an (array, affine) pair, an ``Image`` or an ``ImageFile``.

    The affine of a pair is the RAS+ index-to-world matrix in mm, ``(dim + 1, dim + 1)``, or ``(4, 4)`` for a slice. An
    ``ImageFile`` is returned as it is.
    """
    return source if isinstance(source, ImageFile) else _as_float(load(source, name), nan_outside)


def read_labels(source: Source | ImageFile, *, name: str | None = None) -> ImageFile:
    """Reads a label map as int32.

    Raises:
        GeogridError: for values that are not integers, with an example of one.
    """
    if isinstance(source, ImageFile):
        source = source.image
    stored = load(source, name)
    values = stored.values
    if values.dtype.kind not in "bui":
        with np.errstate(invalid="ignore"):
            whole = np.abs(values - np.rint(values)) < 1e-4
        if not whole.all():
            raise GeogridError(
                f"{stored.name}: expected integer labels, {int((~whole).sum())} of {values.size} voxels are not (for instance "
                f"{values[~whole][0]:g}); a probability map or a linearly resampled label map cannot be used"
            )
        values = np.rint(values)
    limit = np.iinfo(np.int32)
    if values.min() < limit.min or values.max() > limit.max:
        raise GeogridError(f"{stored.name}: expected labels that fit 32 bits, got values up to {values.max():g}")
    return _image_file(stored, values.astype(np.int32))


def read_mask(source: Source | ImageFile, *, name: str | None = None) -> ImageFile:
    """Reads a mask as bool: True where the value is neither 0 nor NaN.

    Raises:
        GeogridError: when that is nowhere.
    """
    if isinstance(source, ImageFile):
        source = source.image
    stored = load(source, name)
    inside = (stored.values != 0) & (stored.values == stored.values)
    if not inside.any():
        raise GeogridError(f"{stored.name}: an empty mask, every voxel is 0; leave the mask out to use the whole image")
    return _image_file(stored, inside)


def to_nifti(image: Image, storage: Storage, dtype: DTypeLike = None) -> nib.Nifti1Image:
    """The image in the given storage, with that file's sform, qform and codes (both set, code 1, when it had no header).

    Args:
        image: values on the storage's canonical grid.
        storage: layout of the result, usually the fixed file's.
        dtype: number type; by default float32 for floating point, uint8 for masks, otherwise int32 or the values' own.

    Raises:
        GeogridError: when the image is not on the storage's grid.
    """
    if not image.grid.same_space(storage.grid()):
        raise GeogridError("image: expected one on the canonical grid of the storage, got another grid")
    values = _cast(image.data.detach().cpu().numpy(), dtype)
    return nifti_like(np.ascontiguousarray(storage.from_canonical(values)), storage)


def write_image(path: str | Path, image: Image, storage: Storage, dtype: DTypeLike = None) -> None:
    """Writes ``.nii`` or ``.nii.gz`` on the file's own grid; see :func:`to_nifti`.

    Raises:
        GeogridError: for another suffix, or when the file cannot be written.
    """
    save_nifti(to_nifti(image, storage, dtype), path)


def save_nifti(nifti: nib.Nifti1Image, path: str | Path) -> None:
    """Writes a NIfTI image; the same image gives the same bytes."""
    if suffix(Path(path)) not in (".nii", ".nii.gz"):
        raise GeogridError(f"{path}: images are written as NIfTI; expected a name that ends in .nii or .nii.gz")
    try:
        nib.save(nifti, path)
    except OSError as error:
        raise GeogridError(f"{path}: cannot be written ({error.strerror or error})") from None


def nifti_like(values: NDArray[Any], storage: Storage) -> nib.Nifti1Image:
    """Stored values as NIfTI with the geometry of ``storage``: forms and codes verbatim, or both set with code 1."""
    if storage.header is None:
        return nifti_with_affine(values, storage, 1, 1)
    header = Nifti1Header()
    header.set_data_dtype(values.dtype)
    header.set_data_shape(values.shape)
    for field in GEOMETRY_FIELDS:
        header[field] = storage.header[field]
    header["pixdim"][:4] = storage.header["pixdim"][:4]
    return nib.Nifti1Image(values, header.get_best_affine(), header)


def nifti_with_affine(values: NDArray[Any], storage: Storage, sform_code: int, qform_code: int) -> nib.Nifti1Image:
    """Stored values as NIfTI with sform and qform both set to the storage's affine."""
    affine = np.eye(4)
    dim = storage.dim
    affine[:dim, :dim] = storage.affine[:dim, :dim]
    affine[:dim, 3] = storage.affine[:dim, dim]
    nifti = nib.Nifti1Image(values, affine)
    nifti.set_sform(affine, sform_code)
    nifti.set_qform(affine, qform_code)
    nifti.header.set_xyzt_units("mm")
    return nifti


def _as_float(stored: Stored, nan_outside: bool) -> ImageFile:
    with np.errstate(over="ignore"):
        values = stored.values.astype(np.float32)
    valid = check_finite(values, stored.name, nan_outside)
    check_varies(values if valid is None else values[valid], stored.name)
    if valid is None:
        return _image_file(stored, values)
    values[~valid] = 0
    return _image_file(stored, values, valid)


def _image_file(stored: Stored, values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> ImageFile:
    image = Image(_canonical(stored.storage, values), stored.storage.grid())
    return ImageFile(image, stored.storage, stored.name, None if valid is None else _canonical(stored.storage, valid))


def _canonical(storage: Storage, values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(storage.to_canonical(values), order="C"))


def _cast(values: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    target = _default_dtype(values.dtype) if dtype is None else np.dtype(dtype)
    if target.kind in "iu" and values.dtype.kind == "f":
        values = np.rint(values).clip(np.iinfo(target).min, np.iinfo(target).max)
    return values.astype(target)


def _default_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "f":
        return np.dtype(np.float32)
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(np.int32) if dtype == np.int64 else dtype

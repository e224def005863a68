"""NIfTI files (and what else nibabel reads), up to the array as it is stored and its affine."""

from __future__ import annotations

import warnings
import zlib
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError, SpatialImage
from numpy.typing import NDArray

from geogrid.errors import GeogridError, GeogridWarning
from geogrid.io.checks import check_number_type, one_line, suffix

NIFTI_SUFFIXES = (".nii", ".nii.gz", ".img", ".img.gz", ".hdr", ".hdr.gz", ".mgh", ".mgz")
TOLERANCE_MM = 0.1

_BAD_FILE = (ImageFileError, HeaderDataError, OSError, EOFError, zlib.error, ValueError)


def open_nifti(path: Path, name: str) -> SpatialImage:
    """Opens a file without reading its voxels.

    Raises:
        GeogridError: when it is not an image, or its header is damaged.
    """
    try:
        image = nib.load(path)
    except _BAD_FILE as error:
        raise GeogridError(f"{name}: not a readable {suffix(path)} image, or truncated ({one_line(error)})") from None
    if not isinstance(image, SpatialImage):
        raise GeogridError(f"{name}: expected an image, got {type(image).__name__}")
    return image


def stored_values(image: SpatialImage, name: str) -> NDArray[Any]:
    """The voxels as stored, scaled by the header's slope and intercept.

    Raises:
        GeogridError: for RGB and complex images, and for truncated or corrupt files.
    """
    check_number_type(np.dtype(image.get_data_dtype()), name)
    try:
        return np.asanyarray(image.dataobj)
    except _BAD_FILE as error:
        raise GeogridError(f"{name}: truncated or corrupt ({one_line(error)}); copy or export it again") from None


def stored_affine(image: SpatialImage, name: str) -> NDArray[np.float64]:
    """The ``(4, 4)`` affine that nibabel takes: the sform if it has a code, else the qform; warns where that is doubtful."""
    if image.affine is None:
        raise GeogridError(f"{name}: the image has no affine; give one when you create it")
    header = forms(image)
    if header is not None:
        shape = tuple(image.shape[:3]) + (1,) * (3 - len(image.shape[:3]))
        doubt = _doubt(header, shape)
        if doubt:
            warnings.warn(f"{name}: {doubt}", GeogridWarning, stacklevel=2)
    return np.asarray(image.affine, dtype=np.float64)


def forms(image: SpatialImage) -> Nifti1Header | None:
    """The header that holds sform and qform, or None for other formats."""
    return image.header if isinstance(image.header, Nifti1Header) else None


def _doubt(header: Nifti1Header, shape: tuple[int, ...]) -> str | None:
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if sform_code == 0 and qform_code == 0:
        return (
            "has neither sform nor qform, so nobody knows where it lies; nibabel's default is used (x to the left, origin at "
            "the centre), ITK-based programs put the origin at the first voxel; set a form code to settle it"
        )
    if sform_code == 0:
        return None
    if qform_code:
        gap = _form_gap(header, shape)
        if gap > TOLERANCE_MM:
            itk = "" if sform_code == 1 else ", ITK-based programs use the qform"
            return f"sform and qform disagree by up to {gap:.1f} mm; the sform is used, as nibabel does{itk}"
    return _pixdim_doubt(header, shape)


def _form_gap(header: Nifti1Header, shape: tuple[int, ...]) -> float:
    try:
        difference = header.get_sform() - header.get_qform()
    except (ValueError, HeaderDataError):
        return float("inf")
    corners = np.array([(*corner, 1) for corner in product(*[(0, n - 1) for n in shape])])
    return float(np.linalg.norm(corners @ difference[:3].T, axis=1).max())


def _pixdim_doubt(header: Nifti1Header, shape: tuple[int, ...]) -> str | None:
    pixdim = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    spacing = np.linalg.norm(header.get_sform()[:3, :3], axis=0)
    if (np.abs(pixdim - spacing) * (np.array(shape) - 1)).max() <= TOLERANCE_MM:
        return None
    stated, used = (", ".join(f"{s:g}" for s in values) for values in (pixdim, spacing))
    return f"pixdim ({stated}) is not the sform's voxel size ({used}) mm; the sform is used, ITK-based programs use pixdim"

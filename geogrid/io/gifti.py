"""Points of GIFTI surfaces."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.gifti.gifti import GiftiDataArray, GiftiImage
from nibabel.nifti1 import intent_codes
from numpy.typing import NDArray

from geogrid.errors import GeogridError
from geogrid.io.checks import check_readable, one_line

GIFTI_SUFFIXES = (".gii", ".gii.gz")
_POINTS, _TRIANGLES = (intent_codes.code[f"NIFTI_INTENT_{name}"] for name in ("POINTSET", "TRIANGLE"))


def read_gifti(path: Path) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Points of a GIFTI file in mm, RAS+, and its point-wise numbers by name.

    Raises:
        GeogridError: when the file is no GIFTI file, or holds no point set or several.
    """
    arrays = _open(path).darrays
    sets = [np.asarray(array.data, dtype=np.float64) for array in arrays if array.intent == _POINTS]
    if len(sets) != 1:
        raise GeogridError(f"{path}: {len(sets)} point sets in it, expected one; give the surface file (.surf.gii)")
    others = [array for array in arrays if array.intent not in (_POINTS, _TRIANGLES) and len(array.data) == len(sets[0])]
    names = [_name(array, number) for number, array in enumerate(others)]
    return sets[0], {name: np.asarray(array.data, np.float64) for name, array in zip(names, others, strict=True)}


def write_gifti(path: Path, like: Path, points: NDArray[np.float64]) -> None:
    """A copy of the GIFTI file ``like``, triangles and all, with other points.

    Raises:
        GeogridError: when ``like`` cannot be read or ``path`` not written.
    """
    image = _open(like)
    for array in image.darrays:
        if array.intent == _POINTS:
            array.data = points.astype(array.data.dtype)
    try:
        nib.save(image, path)
    except OSError as error:
        raise GeogridError(f"{path}: cannot be written ({error.strerror})") from None


def _open(path: Path) -> GiftiImage:
    check_readable(path, str(path))
    try:
        image = nib.load(path)
    except Exception as error:
        raise GeogridError(f"{path}: not a readable GIFTI file ({one_line(error)}); export it again") from None
    if not isinstance(image, GiftiImage):
        raise GeogridError(f"{path}: expected a GIFTI file, got {type(image).__name__}")
    return image


def _name(array: GiftiDataArray, number: int) -> str:
    kind = str(intent_codes.niistring[array.intent]).removeprefix("NIFTI_INTENT_").lower()
    return str(array.meta.get("Name") or f"{kind}_{number}")

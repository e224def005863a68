"""What an image must be before anything can be done with it. Every message starts with the name of the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geogrid.errors import GeogridError

MIN_VOXELS = 4
"""Fewest voxels along an axis: below, there is no neighbourhood to compare and no derivative to smooth."""


def one_line(error: BaseException) -> str:
    """The message of an exception on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def suffix(path: Path) -> str:
    """The suffix of a file, lower case, with ``.gz`` and what stands before it taken together."""
    parts = [s.lower() for s in path.suffixes]
    return "".join(parts[-2:]) if parts and parts[-1] == ".gz" else "".join(parts[-1:])


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Puts the name of a file in front of any ``GeogridError`` raised inside."""
    try:
        yield
    except GeogridError as error:
        raise GeogridError(f"{name}: {error}") from None


def check_readable(path: Path, name: str) -> None:
    """Raises unless the path is a file with something in it that may be read."""
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise GeogridError(f"{name}: no such file; check the path") from None
    except IsADirectoryError:
        raise GeogridError(f"{name}: expected a file, got a directory; name one file inside it") from None
    except OSError as error:
        raise GeogridError(f"{name}: cannot be read ({error.strerror}); check its permissions") from None
    if empty:
        raise GeogridError(f"{name}: the file is empty (0 bytes); copy or export it again")


def check_shape(shape: tuple[int, ...], name: str) -> None:
    """Raises for images without enough voxels along some axis, and for slices stored as volumes."""
    if prod(shape) == 1:
        raise GeogridError(f"{name}: a single voxel, which shows nothing that could be matched; give a whole image")
    if len(shape) == 3 and 1 in shape:
        raise GeogridError(
            f"{name}: a 3-D file with a single slice (shape {shape}), which has no depth to register; save it as a 2-D file "
            "(NIfTI with dim[0] = 2, or PNG) or give the whole volume"
        )
    if min(shape) < MIN_VOXELS:
        raise GeogridError(
            f"{name}: too thin, expected at least {MIN_VOXELS} voxels along each axis, got shape {shape}; give more slices or "
            "resample that axis"
        )


def check_number_type(dtype: np.dtype[Any], name: str) -> None:
    """Raises for voxels that are not real numbers."""
    if dtype.fields is not None:
        raise GeogridError(f"{name}: an RGB image, expected one number per voxel; convert it to a single channel first")
    if dtype.kind == "c":
        raise GeogridError(f"{name}: a complex image, expected real numbers; take its magnitude first")
    if dtype.kind not in "biuf":
        raise GeogridError(f"{name}: expected numbers, got values of type {dtype}")


def check_finite(values: NDArray[Any], name: str, nan_outside: bool) -> NDArray[np.bool_] | None:
    """Where values are finite, or None when all are.

    Raises:
        GeogridError: for infinite values; for NaN unless ``nan_outside``; when nothing is finite.
    """
    if bool(np.isfinite(values).all()):
        return None
    infinite, nan = int(np.isinf(values).sum()), np.asarray(np.isnan(values), dtype=np.bool_)
    if infinite:
        raise GeogridError(f"{name}: {infinite} of {values.size} voxels are infinite; replace them by finite numbers first")
    if not nan_outside:
        raise GeogridError(
            f"{name}: {int(nan.sum())} of {values.size} voxels are NaN; replace them, or treat them as outside the image with "
            "--nan-outside (nan_outside=True in Python)"
        )
    if bool(nan.all()):
        raise GeogridError(f"{name}: all {values.size} voxels are NaN; there is no image in it")
    return np.logical_not(nan)


def check_varies(values: NDArray[Any], name: str) -> None:
    """Raises for a constant image."""
    low, high = values.min(), values.max()
    if low == high:
        raise GeogridError(f"{name}: every voxel is {low:g}, a constant image shows nothing that could be matched")

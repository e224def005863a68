"""Points of PLY files, read by trimesh."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geogrid.errors import GeogridError
from geogrid.io.checks import check_readable, one_line

PLY_SUFFIXES = (".ply",)
_NOT_READABLE = (ValueError, TypeError, KeyError, IndexError)


def read_ply(path: Path) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Vertices of a PLY file, text or binary, as the file has them, and their other properties by name.

    Raises:
        GeogridError: when trimesh is missing or cannot read the file, or when it has no vertices.
    """
    check_readable(path, str(path))
    reader = _reader(path)
    try:
        with path.open("rb") as file:
            vertices = reader.load_ply(file)["metadata"]["_ply_raw"]["vertex"]
        columns = {name: _numbers(vertices["data"][name]) for name in vertices["properties"] if vertices["length"]}
    except _NOT_READABLE as error:
        raise GeogridError(f"{path}: not a readable .ply file ({one_line(error)}); export it again") from None
    if not {"x", "y", "z"} <= set(columns):
        raise GeogridError(f"{path}: no points in it; expected vertices with properties x, y, z")
    return np.stack([columns.pop(axis) for axis in "xyz"], 1), columns


def _numbers(column: Any) -> NDArray[np.float64]:
    return np.asarray(column, dtype=np.float64).reshape(-1)


def _reader(path: Path) -> Any:
    try:
        return importlib.import_module("trimesh.exchange.ply")
    except ImportError as error:
        raise GeogridError(f"{path}: PLY files need trimesh, which is not installed; pip install 'geogrid[meshes]'") from error

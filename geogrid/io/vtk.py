"""Points of VTK files, read by VTK."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geogrid.errors import GeogridError
from geogrid.io.checks import check_readable

_READERS = {
    ".vtk": ("vtkIOLegacy", "vtkDataSetReader"),
    ".vtp": ("vtkIOXML", "vtkXMLPolyDataReader"),
    ".vtu": ("vtkIOXML", "vtkXMLUnstructuredGridReader"),
}
VTK_SUFFIXES = tuple(_READERS)


def read_vtk(path: Path) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Points of a VTK file (legacy or XML) as the file has them, and its point-wise numbers by name.

    Raises:
        GeogridError: when VTK is missing or cannot read the file, or when it has no points of its own.
    """
    check_readable(path, str(path))
    reader = _reader(path)
    with _messages(path) as said:
        reader.Update()
        data = reader.GetOutput()
    if said or data is None:
        raise GeogridError(
            f"{path}: not a readable {path.suffix} file ({said[0] if said else 'no data in it'}); export it again"
        )
    if not hasattr(data, "GetPoints") or not data.GetNumberOfPoints():
        raise GeogridError(f"{path}: no points in it; expected a mesh or a point cloud")
    found = data.GetPointData()
    arrays = [(found.GetArrayName(number), found.GetArray(number)) for number in range(found.GetNumberOfArrays())]
    features = {str(name or f"array_{n}"): _numbers(array) for n, (name, array) in enumerate(arrays) if array is not None}
    return _numbers(data.GetPoints().GetData()), features


def _reader(path: Path) -> Any:
    """The reader of a file; legacy files go in as text with an end of line, since VTK makes up numbers after a cut one."""
    module, name = _READERS[path.suffix.lower()]
    reader = getattr(_vtk(module, path), name)()
    if module != "vtkIOLegacy":
        reader.SetFileName(str(path))
        return reader
    text = path.read_bytes() + b"\n"
    reader.ReadFromInputStringOn()
    reader.SetBinaryInputString(text, len(text))
    for kind in ("Scalars", "Vectors", "Normals", "Fields"):
        getattr(reader, f"ReadAll{kind}On")()
    return reader


def _numbers(array: Any) -> NDArray[np.float64]:
    support = importlib.import_module("vtkmodules.util.numpy_support")
    return np.array(support.vtk_to_numpy(array), dtype=np.float64)


def _vtk(module: str, path: Path) -> Any:
    try:
        return importlib.import_module(f"vtkmodules.{module}")
    except ImportError as error:
        raise GeogridError(
            f"{path}: {path.suffix} files need VTK, which is not installed; pip install 'geogrid[meshes]'"
        ) from error


@contextmanager
def _messages(path: Path) -> Iterator[list[str]]:
    """Collects what VTK says inside, errors and warnings, instead of having it on standard error."""
    core = _vtk("vtkCommonCore", path)
    logger, said = core.vtkLogger, list[str]()
    verbosity = logger.GetCurrentVerbosityCutoff()
    logger.SetStderrVerbosity(logger.VERBOSITY_OFF)
    window, before = core.vtkStringOutputWindow(), core.vtkOutputWindow.GetInstance()
    core.vtkOutputWindow.SetInstance(window)
    try:
        yield said
    finally:
        core.vtkOutputWindow.SetInstance(before)
        logger.SetStderrVerbosity(verbosity)
        said += [_gist(message) for message in window.GetOutput().split("\n\n") if message.strip()]


def _gist(message: str) -> str:
    """What a message says, without the line of VTK's source that says it."""
    _, _, text = message.strip().partition("\n")
    return (text or message).rpartition("): ")[2].partition("\n")[0].strip(" .")

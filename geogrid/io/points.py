"""Points as tables: landmarks and clouds, from CSV, GIFTI, PLY and VTK files, to CSV."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.io.checks import suffix
from geogrid.io.gifti import GIFTI_SUFFIXES, read_gifti, write_gifti
from geogrid.io.ply import PLY_SUFFIXES, read_ply
from geogrid.io.vtk import VTK_SUFFIXES, read_vtk

TEXT_SUFFIXES = (".csv", ".txt")
POINT_SUFFIXES = (*TEXT_SUFFIXES, *GIFTI_SUFFIXES, *PLY_SUFFIXES, *VTK_SUFFIXES)
"""Names of files that hold points end like this."""

Coordinates = Literal["ras", "lps"]


@dataclass(frozen=True, eq=False)
class PointTable:
    """Points, and whatever else their table says about them.

    Args:
        points: ``(num_points, dim)`` float64, world mm, RAS+.
        header: names of the table's columns; None when it has none.
        rows: the table as text, one row per point; empty for points that did not come from a table.
        columns: which columns hold x, y(, z).
        features: ``(num_points, num_features)`` float64, the other columns that hold a finite number in every row; None when
            there are none.
        feature_names: their names.
        surface: the GIFTI file that the points came from, whose triangles go along when they are written to another.
    """

    points: Tensor
    header: tuple[str, ...] | None = None
    rows: tuple[tuple[str, ...], ...] = ()
    columns: tuple[int, ...] = ()
    features: Tensor | None = None
    feature_names: tuple[str, ...] = ()
    surface: Path | None = None

    def with_points(self, points: Tensor) -> PointTable:
        """The same table with other points, ``(num_points, dim)``; the other columns stay.

        Raises:
            GeogridError: when the number of points or of dimensions differs.
        """
        if points.shape != self.points.shape:
            raise GeogridError(f"points: expected shape {tuple(self.points.shape)}, got {tuple(points.shape)}")
        return replace(self, points=points.detach().to("cpu", torch.float64))


def read_points(path: str | Path, *, coordinates: Coordinates = "ras", dim: int | None = None) -> PointTable:
    """Reads points in world mm from a file.

    - CSV (any name that is not one of those below): with a header the columns called x, y(, z) are taken, wherever they stand
      (ANTs' ``x,y,z,t,label`` is one such); without one, the first columns. Other columns are kept as they are. Empty lines and
      lines that start with # are skipped.
    - GIFTI (``.gii``): the point set; always RAS, as the format says.
    - PLY (``.ply``) and VTK (``.vtk``, ``.vtp``, ``.vtu``): the points of a mesh or a cloud; needs the extra ``meshes``.

    Further numbers of each point become ``features``.

    Args:
        path: the file.
        coordinates: what the numbers in the file are; x and y change sign between ``ras`` and ``lps`` (ITK, ANTs, 3D Slicer).
        dim: 2 or 3; by default 3 where there are at least three columns (with a header: a column z).

    Raises:
        GeogridError: when the file is missing or empty, lacks columns, or has something other than finite numbers in them.
    """
    _check_coordinates(coordinates)
    _check_dim(dim)
    kind = suffix(Path(path))
    for suffixes, read in ((GIFTI_SUFFIXES, read_gifti), (PLY_SUFFIXES, read_ply), (VTK_SUFFIXES, read_vtk)):
        if kind in suffixes:
            stored, features = read(Path(path))
            table = _checked(stored, features, dim, path)
            if read is read_gifti:
                return replace(table, surface=Path(path))
            return replace(table, points=signed(table.points, coordinates))
    return _read_csv(Path(path), coordinates, dim)


def _read_csv(path: Path, coordinates: Coordinates, dim: int | None) -> PointTable:
    lines = _read_lines(path)
    header = lines[0][1] if _is_header(lines[0][1]) else None
    body = lines[1:] if header else lines
    if not body:
        raise GeogridError(f"{path}: a header but no points; expected one point per line")
    columns = _find_columns(header, len(body[0][1]), dim, path)
    width = len(header) if header else len(body[0][1])
    points = torch.tensor([_numbers(row, columns, width, f"{path}, line {line}") for line, row in body], dtype=torch.float64)
    rows = tuple(row for _, row in body)
    features = {
        (header[n] if header else "") or f"column_{n + 1}": numbers
        for n in range(width)
        if n not in columns and (numbers := _finite_column(rows, n)) is not None
    }
    return PointTable(signed(points, coordinates), header, rows, columns, *_columns(features))


def _checked(
    stored: NDArray[np.float64], features: dict[str, NDArray[np.float64]], dim: int | None, path: str | Path
) -> PointTable:
    """Points of a file that is always 3-D."""
    points = torch.from_numpy(stored)
    bad = (~points.isfinite().all(1)).nonzero()[:, 0]
    if not len(points):
        raise GeogridError(f"{path}: no points in it; expected at least one")
    if len(bad):
        row = int(bad[0])
        raise GeogridError(
            f"{path}, point {row} (from 0): expected finite numbers, got {points[row].tolist()}; remove the point or mend it"
        )
    if dim == 2 and bool((points[:, 2] != points[0, 2]).any()):
        raise GeogridError(f"{path}: expected 2-D points (one and the same z), got 3-D ones")
    flat = {
        f"{name}_{n}" if len(block) > 1 else name: column
        for name, values in features.items()
        for block in [values.reshape(len(values), -1).T]
        for n, column in enumerate(block)
        if np.isfinite(column).all()
    }
    return PointTable(points[:, : dim or 3], None, (), (), *_columns(flat))


def _columns(features: dict[str, NDArray[np.float64]]) -> tuple[Tensor | None, tuple[str, ...]]:
    if not features:
        return None, ()
    return torch.from_numpy(np.stack(list(features.values()), 1)), tuple(features)


def _finite_column(rows: tuple[tuple[str, ...], ...], number: int) -> NDArray[np.float64] | None:
    try:
        values = np.array([float(row[number]) for row in rows])
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def write_points(path: str | Path, table: PointTable, coordinates: Coordinates = "ras") -> None:
    """Writes a CSV table in the layout it was read in; points without one get the header x,y(,z) and their features.

    Nothing is rounded. Points that were read from GIFTI can also be written to ``.gii``, with the triangles of that file.

    Raises:
        GeogridError: when the file cannot be written, or its name asks for a format that is not written.
    """
    _check_coordinates(coordinates)
    kind = suffix(Path(path))
    if kind in GIFTI_SUFFIXES and table.surface is not None:
        return write_gifti(Path(path), table.surface, table.points.numpy())
    if kind in POINT_SUFFIXES and kind not in TEXT_SUFFIXES:
        raise GeogridError(
            f"{path}: points are written as .csv, or as .gii where they come from a GIFTI surface, not as {kind}"
        )
    dim = table.points.shape[1]
    further = table.features.tolist() if table.features is not None else [[]] * len(table.points)
    rows = [list(row) for row in table.rows] or [[""] * dim + [repr(value) for value in values] for values in further]
    columns = table.columns or tuple(range(dim))
    for row, point in zip(rows, signed(table.points, coordinates).tolist(), strict=True):
        for column, value in zip(columns, point, strict=True):
            row[column] = repr(value)
    header = table.header if table.rows else (*("x", "y", "z")[:dim], *table.feature_names)
    try:
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([list(header), *rows] if header else rows)
    except OSError as error:
        raise GeogridError(f"{path}: cannot be written ({error.strerror})") from None


def _read_lines(path: Path) -> list[tuple[int, tuple[str, ...]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise GeogridError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise GeogridError(f"{path}: expected a CSV file, got a directory") from None
    except OSError as error:
        raise GeogridError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except UnicodeDecodeError:
        raise GeogridError(f"{path}: not a text file; expected a CSV table with columns x,y,z") from None
    try:
        split = csv.reader(text.splitlines(), skipinitialspace=True)
        rows = [(split.line_num, tuple(cell.strip() for cell in row)) for row in split]
    except csv.Error as error:
        raise GeogridError(f"{path}: not a CSV table ({error})") from None
    rows = [(line, row) for line, row in rows if any(row) and not row[0].startswith("#")]
    if not rows:
        raise GeogridError(f"{path}: no points in it; expected a CSV table with columns x,y,z, one point per line")
    return rows


def _is_header(row: tuple[str, ...]) -> bool:
    return not any(_is_number(cell) for cell in row)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _find_columns(header: tuple[str, ...] | None, width: int, dim: int | None, path: str | Path) -> tuple[int, ...]:
    if header is None:
        dim = dim or min(max(width, 2), 3)
        if width < dim:
            raise GeogridError(f"{path}: expected at least {dim} columns (x,y{',z' * (dim - 2)}), got {width}")
        return tuple(range(dim))
    names = [cell.lower() for cell in header]
    wanted = ("x", "y", "z")[: dim or (3 if "z" in names else 2)]
    if any(names.count(w) != 1 for w in wanted):
        raise GeogridError(f"{path}: expected one column each for {','.join(wanted)}, got the header {','.join(header)}")
    return tuple(names.index(w) for w in wanted)


def _numbers(row: tuple[str, ...], columns: tuple[int, ...], width: int, place: str) -> list[float]:
    if len(row) != width:
        raise GeogridError(f"{place}: expected {width} columns, got {len(row)}")
    try:
        values = [float(row[column]) for column in columns]
    except ValueError:
        wrong = next(row[column] for column in columns if not _is_number(row[column]))
        raise GeogridError(f"{place}: expected a number, got {wrong!r}") from None
    if not all(map(isfinite, values)):
        wrong = next(row[column] for column, value in zip(columns, values, strict=True) if not isfinite(value))
        raise GeogridError(f"{place}: expected a finite number, got {wrong}; remove the point or mend it")
    return values


def _check_coordinates(coordinates: str) -> None:
    if coordinates not in ("ras", "lps"):
        raise GeogridError(f"coordinates: expected ras or lps, got {coordinates!r}")


def _check_dim(dim: int | None) -> None:
    if dim not in (None, 2, 3):
        raise GeogridError(f"dim: expected 2 or 3, got {dim}")


def signed(points: Tensor, coordinates: Coordinates) -> Tensor:
    """Points of a convention as RAS+, or the other way round, ``(num_points, dim)``.

    Raises:
        GeogridError: for another convention than ras or lps.
    """
    _check_coordinates(coordinates)
    if coordinates == "ras":
        return points
    return points * torch.tensor([-1.0, -1.0, 1.0], dtype=points.dtype)[: points.shape[1]]

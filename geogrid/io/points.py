"""Landmarks as CSV tables."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from geogrid.errors import GeogridError

Coordinates = Literal["ras", "lps"]


@dataclass(frozen=True, eq=False)
class PointTable:
    """Points, and whatever else their table says about them.

    Args:
        points: ``(num_points, dim)`` float64, world mm, RAS+.
        header: names of the table's columns; None when it has none.
        rows: the table as text, one row per point; empty for points that did not come from a table.
        columns: which columns hold x, y(, z).
    """

    points: Tensor
    header: tuple[str, ...] | None = None
    rows: tuple[tuple[str, ...], ...] = ()
    columns: tuple[int, ...] = ()

    def with_points(self, points: Tensor) -> PointTable:
        """The same table with other points, ``(num_points, dim)``; the other columns stay.

        Raises:
            GeogridError: when the number of points or of dimensions differs.
        """
        if points.shape != self.points.shape:
            raise GeogridError(f"points: expected shape {tuple(self.points.shape)}, got {tuple(points.shape)}")
        return replace(self, points=points.detach().to("cpu", torch.float64))


def read_points(path: str | Path, *, coordinates: Coordinates = "ras", dim: int | None = None) -> PointTable:
    """Reads a CSV table of points in world mm.

    With a header the columns called x, y(, z) are taken, wherever they stand (ANTs' ``x,y,z,t,label`` is one such); without
    one, the first columns. Other columns are kept as they are. Empty lines and lines that start with # are skipped.

    Args:
        path: the file.
        coordinates: what the numbers in the file are; x and y change sign between ``ras`` and ``lps`` (ITK, ANTs).
        dim: 2 or 3; by default 3 where there are at least three columns (with a header: a column z).

    Raises:
        GeogridError: when the file is missing or empty, lacks columns, or has something other than finite numbers in them.
    """
    _check_coordinates(coordinates)
    lines = _read_lines(Path(path))
    header = lines[0][1] if _is_header(lines[0][1]) else None
    body = lines[1:] if header else lines
    if not body:
        raise GeogridError(f"{path}: a header but no points; expected one point per line")
    columns = _find_columns(header, len(body[0][1]), dim, path)
    width = len(header) if header else len(body[0][1])
    points = torch.tensor([_numbers(row, columns, width, f"{path}, line {line}") for line, row in body], dtype=torch.float64)
    return PointTable(_signed(points, coordinates), header, tuple(row for _, row in body), columns)


def write_points(path: str | Path, table: PointTable, coordinates: Coordinates = "ras") -> None:
    """Writes a table in the layout it was read in; points without a table get the header x,y(,z). Nothing is rounded.

    Raises:
        GeogridError: when the file cannot be written.
    """
    _check_coordinates(coordinates)
    dim = table.points.shape[1]
    rows = [list(row) for row in table.rows] or [[""] * dim for _ in table.points]
    columns = table.columns or tuple(range(dim))
    for row, point in zip(rows, _signed(table.points, coordinates).tolist(), strict=True):
        for column, value in zip(columns, point, strict=True):
            row[column] = repr(value)
    header = table.header if table.rows else ("x", "y", "z")[:dim]
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
    if dim not in (None, 2, 3):
        raise GeogridError(f"dim: expected 2 or 3, got {dim}")
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
    for column in columns:
        if not _is_number(row[column]):
            raise GeogridError(f"{place}: expected a number, got {row[column]!r}")
        if not abs(float(row[column])) < float("inf"):
            raise GeogridError(f"{place}: expected a finite number, got {row[column]}; remove the point or mend it")
    return [float(row[column]) for column in columns]


def _check_coordinates(coordinates: str) -> None:
    if coordinates not in ("ras", "lps"):
        raise GeogridError(f"coordinates: expected ras or lps, got {coordinates!r}")


def _signed(points: Tensor, coordinates: Coordinates) -> Tensor:
    if coordinates == "ras":
        return points
    return points * torch.tensor([-1.0, -1.0, 1.0], dtype=points.dtype)[: points.shape[1]]

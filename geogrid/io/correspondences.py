"""Pairs of rows that are known to be partners."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.io.checks import check_readable

PairSource = str | PathLike[str] | Tensor | NDArray[Any] | Sequence[Sequence[int]]


def as_correspondences(source: PairSource) -> Tensor:
    """Pairs of a fixed and a moving row, counted from 0, from a CSV or an array.

    Args:
        source: ``(num_pairs, 2)`` whole numbers, or the path of a CSV of a fixed and a moving row; header optional.

    Returns:
        ``(num_pairs, 2)`` int64.

    Raises:
        GeogridError: when the file cannot be read or these are no pairs of whole numbers.
    """
    if isinstance(source, str | PathLike):
        return _read(Path(source))
    pairs = torch.as_tensor(source)
    if pairs.dim() != 2 or pairs.shape[1] != 2 or pairs.is_floating_point() or pairs.is_complex():
        kind = str(pairs.dtype).removeprefix("torch.")
        raise GeogridError(f"correspondences: expected whole numbers of shape (num_pairs, 2), got {kind} {tuple(pairs.shape)}")
    return pairs.to("cpu", torch.int64)


def _read(path: Path) -> Tensor:
    check_readable(path, str(path))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        if rows and not rows[0][0].strip().isdigit():
            rows = rows[1:]
        pairs = [[int(cell) for cell in row] for row in rows]
    except (OSError, ValueError, csv.Error):
        pairs = [[]]
    if any(len(pair) != 2 for pair in pairs):
        raise GeogridError(f"{path}: expected two columns of whole numbers, fixed row and moving row, counted from 0")
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)

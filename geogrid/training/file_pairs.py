"""Pairs of files of one folder, in rounds."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from geogrid.errors import GeogridError
from geogrid.training.draws import shuffled_place

Subject = TypeVar("Subject")


class FolderConfig(Protocol):
    """What sources of files have in common."""

    @property
    def folder(self) -> str:
        """Where the files are."""

    @property
    def pattern(self) -> str:
        """Which of them, as in a shell."""

    @property
    def pairs(self) -> str | None:
        """CSV table of pairs, or None for all."""

    @property
    def keep(self) -> int:
        """How many files stay in memory."""


class FilePairs(Generic[Subject]):
    """Every pair once, in random order, before any comes again; files that were read stay in memory.

    Args:
        config: the folder.
        endings: of the files' names.
        what: they are, for errors.
        read: gives what is in the file of a name.
        seed: of the order.

    Raises:
        GeogridError: naming the folder, list or file that cannot be used.
    """

    def __init__(
        self, config: FolderConfig, endings: tuple[str, ...], what: str, read: Callable[[str], Subject], seed: int
    ) -> None:
        self.seed = seed
        self.files = listed_files(Path(config.folder), config.pattern, endings, what)
        self.pairs = list(permutations(self.files, 2)) if config.pairs is None else listed_pairs(config.pairs, self.files)
        self.subject = lru_cache(config.keep)(read)

    def __len__(self) -> int:
        return len(self.pairs)

    def draw(self, number: int) -> tuple[tuple[str, str], Subject, Subject]:
        """Of a number in the stream the names of both files, and what is in them."""
        names = self.pairs[shuffled_place(number, len(self), self.seed)]
        return names, self.subject(names[0]), self.subject(names[1])


def listed_files(folder: Path, pattern: str, endings: tuple[str, ...], what: str) -> dict[str, Path]:
    """Files of a folder by name, two at least.

    Raises:
        GeogridError: when there is no folder, or are not two files.
    """
    if not folder.is_dir():
        raise GeogridError(f"{folder}: expected a folder of {what}, got {'a file' if folder.exists() else 'nothing there'}")
    found = {path.name: path for path in sorted(folder.glob(pattern)) if path.name.lower().endswith(endings)}
    if len(found) < 2:
        raise GeogridError(f"{folder}: expected at least two {what} ({pattern}; {' '.join(endings)}), got {len(found)}")
    return found


def listed_pairs(table: str, files: dict[str, Path]) -> list[tuple[str, str]]:
    """The pairs of a CSV table with the columns fixed and moving.

    Raises:
        GeogridError: naming the line whose file is not there.
    """
    try:
        with Path(table).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError) as error:
        raise GeogridError(f"{table}: cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from None
    if not rows or not {"fixed", "moving"} <= set(rows[0]):
        raise GeogridError(f"{table}: expected a CSV table with the columns fixed,moving and at least one pair")
    for line, row in enumerate(rows, 2):
        for side in ("fixed", "moving"):
            if row[side] not in files:
                raise GeogridError(f"{table}, line {line}: {side}: no file {row[side]} in the folder")
    return [(row["fixed"], row["moving"]) for row in rows]

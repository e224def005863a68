"""Results that appear only when they are complete."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from geogrid.errors import GeogridError

_PREFIX = ".geogrid-"


@contextmanager
def atomic_directory(out: str | Path, overwrite: bool, names: Sequence[str]) -> Iterator[Path]:
    """A hidden folder to write results into; its files move to ``out`` together when the block ends without exception.

    After any exception, Ctrl-C included, the hidden folder and all folders made on the way are gone and ``out`` is as it was.

    Args:
        out: the folder of the results; made when missing, with its parents.
        overwrite: whether files of these names may be replaced; other files in ``out`` always stay.
        names: the files that a result may consist of, to refuse existing ones before the work begins. With ``overwrite`` an old
            one that is not written again is removed, so that a folder never mixes two results.

    Yields:
        The hidden folder, on the file system of ``out``.

    Raises:
        GeogridError: before the work: when ``out`` is a file, cannot be written, or holds one of ``names`` already.
    """
    out = Path(out)
    with _workspace(out, out) as temp:
        _refuse_existing(out, names, overwrite)
        yield temp
        written = sorted(path.name for path in temp.iterdir())
        _refuse_existing(out, written, overwrite)
        _move_all(temp, out, written, [name for name in names if name not in written])


@contextmanager
def atomic_file(path: str | Path, overwrite: bool) -> Iterator[Path]:
    """A hidden path of the same name to write a file to; it moves to ``path`` when the block ends without exception.

    Raises:
        GeogridError: before the work: when ``path`` exists (unless ``overwrite``), is a folder, or cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise GeogridError(f"{path}: expected a file name, got a folder; add a name, e.g. {path / 'warped.nii.gz'}")
    with _workspace(path.parent, path) as temp:
        _refuse_existing(path.parent, [path.name], overwrite)
        yield temp / path.name
        _move_all(temp, path.parent, [path.name])


@contextmanager
def _workspace(folder: Path, asked: Path) -> Iterator[Path]:
    """A hidden folder inside ``folder``, which is made when missing and unmade after an exception."""
    made: list[Path] = []
    try:
        try:
            _make(folder, made)
            temp = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
        except OSError as error:
            reason = "it is not a folder" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
            raise GeogridError(f"{asked}: cannot be written ({reason}); choose another place or mend permissions") from None
        try:
            yield temp
        finally:
            shutil.rmtree(temp, ignore_errors=True)
    except BaseException:
        _unmake(made)
        raise


def _make(folder: Path, made: list[Path]) -> None:
    if not folder.is_dir():
        _make(folder.parent, made) if folder != folder.parent else None
        folder.mkdir()
        made.append(folder)


def _unmake(made: list[Path]) -> None:
    for folder in reversed(made):
        try:
            folder.rmdir()
        except OSError:
            return


def _refuse_existing(folder: Path, names: Sequence[str], overwrite: bool) -> None:
    for name in names:
        path = folder / name
        if path.is_dir():
            raise GeogridError(f"{path}: is a folder, expected to write a file there; choose another place")
        if path.exists() and not overwrite:
            raise GeogridError(f"{path}: exists already and is kept; choose another place, or replace it with --overwrite")


def _move_all(temp: Path, folder: Path, written: Sequence[str], stale: Sequence[str] = ()) -> None:
    """Moves files in and stale ones out; should that be cut short, what was there before comes back."""
    old = Path(tempfile.mkdtemp(prefix="old-", dir=temp))
    try:
        for name in (*stale, *written):
            if (folder / name).exists():
                os.replace(folder / name, old / name)
            if name in written:
                os.replace(temp / name, folder / name)
    except BaseException:
        for name in (*stale, *written):
            if (old / name).exists():
                os.replace(old / name, folder / name)
            elif name in written and not (temp / name).exists():
                (folder / name).unlink(missing_ok=True)
        raise

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from geogrid.io import atomic_directory, atomic_file
from tests.io.cases import ordinary_user, refused

NAMES = ["a.txt", "b.txt"]


def tree(folder: Path) -> dict[str, str]:
    """Every file and folder, hidden ones included."""
    return {str(p.relative_to(folder)): p.read_text() if p.is_file() else "" for p in folder.rglob("*")}


def fill(temp: Path, text: str = "new") -> None:
    for name in NAMES:
        (temp / name).write_text(text)


def test_files_appear_together_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "one"
    with atomic_directory(out, False, NAMES) as temp:
        fill(temp)
        assert not any((out / name).exists() for name in NAMES)
        assert temp.name.startswith(".")
    assert tree(tmp_path) == {"runs": "", "runs/one": "", "runs/one/a.txt": "new", "runs/one/b.txt": "new"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after_an_exception(tmp_path: Path, error: type[BaseException]) -> None:
    def interrupted() -> None:
        with atomic_directory(tmp_path / "runs" / "one", False, NAMES) as temp:
            fill(temp)
            raise error

    with pytest.raises(error):
        interrupted()
    assert tree(tmp_path) == {}


def test_what_was_there_stays_after_an_exception(tmp_path: Path) -> None:
    fill(tmp_path, "old")
    before = tree(tmp_path)

    def interrupted() -> None:
        with atomic_directory(tmp_path, True, NAMES) as temp:
            fill(temp)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("fail_at", range(1, 5))
def test_an_interrupt_while_files_move_undoes_the_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int) -> None:
    (tmp_path / "b.txt").write_text("old")
    (tmp_path / "c.txt").write_text("old")
    before, calls, replace = tree(tmp_path), [], os.replace

    def interrupted(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == fail_at:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), atomic_directory(tmp_path, True, ["a.txt", "b.txt", "c.txt"]) as temp:  # noqa: PT012
        fill(temp)
        (temp / "c.txt").write_text("new")
    assert tree(tmp_path) == before


def test_existing_outputs_are_refused_before_the_work_or_replaced(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("old")
    (tmp_path / "notes").write_text("mine")
    with refused(tmp_path / "b.txt", "exists", "--overwrite"), atomic_directory(tmp_path, False, NAMES):
        pytest.fail("the work began")
    assert tree(tmp_path) == {"b.txt": "old", "notes": "mine"}
    with atomic_directory(tmp_path, True, NAMES) as temp:
        fill(temp)
    assert tree(tmp_path) == {"a.txt": "new", "b.txt": "new", "notes": "mine"}


def test_an_unannounced_file_does_not_replace_one_either(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with refused(tmp_path / "a.txt", "exists"), atomic_directory(tmp_path, False, []) as temp:
        fill(temp)
    assert tree(tmp_path) == {"a.txt": "old"}


def test_unwritable_places_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with refused(out, "not a folder"), atomic_directory(out, True, NAMES):
            pytest.fail("the work began")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    for out in (locked, locked / "deeper"):
        with ordinary_user(), refused(out, "Permission denied"), atomic_directory(out, True, NAMES):
            pytest.fail("the work began")
    assert tree(tmp_path) == {"file": "mine", "locked": ""}


def test_one_file_keeps_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.nii.gz"
    with atomic_file(path, False) as temp:
        assert temp.name == "a.nii.gz"
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4), "f4"), np.eye(4)), temp)
        assert not path.exists()
    assert nib.load(path).shape == (4, 4, 4)
    assert [p.name for p in path.parent.iterdir()] == ["a.nii.gz"]


def test_one_file_is_refused_kept_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with refused(path, "exists", "--overwrite"), atomic_file(path, False):
        pytest.fail("the work began")
    with pytest.raises(KeyboardInterrupt), atomic_file(path, True) as temp:  # noqa: PT012
        temp.write_text("half")
        raise KeyboardInterrupt
    assert tree(tmp_path) == {"a.txt": "old"}
    with atomic_file(path, True) as temp:
        temp.write_text("new")
    assert tree(tmp_path) == {"a.txt": "new"}
    with refused(tmp_path, "folder"), atomic_file(tmp_path, True):
        pytest.fail("the work began")
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "deep" / "er" / "b.txt", True):
        raise RuntimeError
    assert tree(tmp_path) == {"a.txt": "new"}

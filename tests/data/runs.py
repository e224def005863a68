"""The command line, called inside this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from geogrid.cli import main


def run(*arguments: object) -> int:
    """Runs ``geogrid ARGUMENTS`` and returns its exit status."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def tree(folder: Path) -> dict[str, bytes]:
    """Every file and folder below ``folder``, hidden ones included, with contents."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}

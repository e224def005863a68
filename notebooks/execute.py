"""Runs notebooks from a clean start and stores what they show.

    python notebooks/execute.py notebooks/mnist.ipynb

takes as long as the notebook says; with GEOGRID_TOY=1 in the environment less than a minute, for tests.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode


def execute(path: Path, folder: Path, toy: bool = False) -> NotebookNode:
    """The notebook with the outputs of all cells; raises when one fails.

    Args:
        path: of the notebook.
        folder: where its kernel works.
        toy: a few steps instead of the full length.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=None, coalesce_streams=True, record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env={**os.environ, "GEOGRID_TOY": str(int(toy))})
    notebook.metadata["geogrid"] = {"toy": toy, "code": code_of(notebook)}
    return notebook


def code_of(notebook: NotebookNode) -> str:
    """A fingerprint of the code: outputs belong to it as long as it does not change."""
    cells = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(cells.encode()).hexdigest()[:16]


def main() -> None:
    """Runs notebooks in place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", type=Path, nargs="+")
    for path in parser.parse_args().notebooks:
        nbformat.write(execute(path, path.parent, os.environ.get("GEOGRID_TOY") == "1"), path)


if __name__ == "__main__":
    main()

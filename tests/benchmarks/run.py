"""Compares geogrid with greedy and ANTs on the same pairs, in one run, and writes docs/benchmarks.md.

    python tests/benchmarks/run.py [--tables slabs,slices,heads2mm,heads1mm,oct,affine] [--peer-python PYTHON] [--threads 2]

The real scans are found by ``GEOGRID_TEST_DATA``. Every program runs each pair in a process of its own, one at a time; who goes
first changes from pair to pair. The page is written when all tables were asked for, or where ``--out`` says; tables of the same
title are replaced, the others stay.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks import anchors, datasets, oct, page  # noqa: E402
from tests.benchmarks.anchors import ANCHORS, Check, Row  # noqa: E402
from tests.benchmarks.datasets import Problem  # noqa: E402
from tests.benchmarks.scores import Outcome, score_after, score_before  # noqa: E402
from tests.benchmarks.tables import PROGRAMS, check_list, cost_table, score_table  # noqa: E402

HERE = Path(__file__).parent
PROGRAM_ARGUMENT = {"greedy": "greedy", "SyN": "syn"}
WAYS = ("network", "classical", "geogrid")
"""Of geogrid: the shipped model alone; without a model; as it is."""


@dataclass(frozen=True)
class Table:
    """A set of pairs, what is asked of geogrid on it, and the ways in which geogrid is run."""

    title: str
    problems: Callable[[Path, Path], Iterable[Problem]]
    checks: Callable[[Sequence[Row]], list[Check]]
    ways: tuple[str, ...] = ("geogrid",)


TABLES = {
    "slabs": Table(
        "Brain slabs, 3-D, 1 mm: mean Dice of four tissues", lambda data, work: datasets.slabs(data), anchors.check_slabs,
        WAYS,
    ),
    "slices": Table(
        "Brain slices, 2-D, 1 mm: mean Dice of DKT31 labels with at least 20 pixels in the fixed slice",
        lambda data, work: datasets.slices(data), anchors.check_slices, WAYS,
    ),
    "heads2mm": Table(
        "Whole heads, 3-D, 2 mm, rendered from label maps: mean Dice of 27 structures",
        lambda data, work: datasets.heads(data, work / "heads"), anchors.check_heads_2mm, WAYS,
    ),
    "heads1mm": Table(
        "Two heads without skull, 3-D, 1 mm (160x192x224): local correlation, windows of 5 voxels",
        lambda data, work: datasets.whole_heads(data), anchors.check_heads_1mm,
    ),
    "oct": Table(
        "Retinal b-scans (OCT), 2-D, each moved and noisy, and against the other: mean Dice of eight layers",
        lambda data, work: oct.oct_scans(data, work / "oct"), oct.check_oct,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """How programs are run.

    Args:
        programs: the ones that can be run, in the order of the columns.
        peer_python: interpreter of the peers' environment.
        threads: for every program.
    """

    programs: tuple[str, ...]
    peer_python: Path
    threads: int

    def in_ways(self, ways: tuple[str, ...]) -> Bench:
        """The same, with geogrid run in several ways."""
        return replace(self, programs=tuple(name for name in self.programs if name in PROGRAM_ARGUMENT) + ways)

    def measure(self, problem: Problem, turn: int) -> Row:
        """All programs on one pair; ``turn`` says who goes first."""
        start = turn % len(self.programs)
        outcomes = {}
        for program in self.programs[start:] + self.programs[:start]:
            outcome = self._outcome(program, problem)
            if outcome is not None:
                outcomes[program] = outcome
                say(f"  {problem.name}: {program} {outcome.score:.3f} in {outcome.seconds:.1f} s")
        return Row(problem.name, score_before(problem), outcomes)

    def _outcome(self, program: str, problem: Problem) -> Outcome | None:
        with tempfile.TemporaryDirectory() as folder:
            files = [str(problem.fixed), str(problem.moving), str(problem.moving_labels or "-"), folder]
            command = [sys.executable, str(HERE / "worker.py"), *files, program]
            if program in PROGRAM_ARGUMENT:
                name = PROGRAM_ARGUMENT[program]
                command = [str(self.peer_python), str(HERE / "peers.py"), name, *files, str(self.threads)]
            began = time.perf_counter()
            found = run_json(command, self.threads)
            elapsed = time.perf_counter() - began
            if found is None:
                return None
            return score_after(problem, Path(folder), found["seconds"], found["peak_memory_mb"], elapsed)


def run_json(command: Sequence[str], threads: int) -> Any:
    """What the last line of a program's output says, or None when it failed."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads)) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        say(f"  failed with status {done.returncode}: {' '.join(command[1:4])}: {last}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def say(message: str) -> None:
    """A line about progress."""
    print(message, file=sys.stderr, flush=True)


def pair_section(key: str, bench: Bench, data: Path, work: Path) -> str:
    """Runs all programs on the pairs of a table."""
    table = TABLES[key]
    bench = bench.in_ways(table.ways)
    say(table.title)
    rows = [bench.measure(problem, turn) for turn, problem in enumerate(table.problems(data, work))]
    known = ANCHORS.get(key, {})
    programs = bench.programs
    parts = [f"## {table.title}", score_table(rows, programs, known), cost_table(rows, programs, known)]
    return "\n\n".join([*parts, check_list(table.checks(rows))])


def affine_section(bench: Bench, data: Path | None) -> str:
    """Runs the captures of the affine start."""
    say(page.AFFINE_TITLE)
    found = run_json([sys.executable, str(HERE / "capture.py"), str(data or "-")], bench.threads)
    return page.affine_section(found)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default=",".join((*TABLES, "affine")), help="which ones, separated by commas")
    parser.add_argument("--peer-python", type=Path, default=ROOT / ".venv-bench/bin/python", help="has greedy and antspyx")
    parser.add_argument("--threads", type=int, default=2, help="for every program")
    parser.add_argument("--work", type=Path, help="folder to keep rendered heads in; default a temporary one")
    parser.add_argument("--out", type=Path, help="page to write; default docs/benchmarks.md when all tables are asked for")
    found = parser.parse_args()
    found.keys = [key for key in found.tables.split(",") if key]
    unknown = [key for key in found.keys if key not in (*TABLES, "affine")]
    if unknown:
        parser.error(f"--tables: expected some of {', '.join((*TABLES, 'affine'))}, got {', '.join(unknown)}")
    return found


def main() -> None:
    """Runs the tables that were asked for, prints them, and writes the page."""
    options = arguments()
    data = datasets.data_folder()
    notes = []
    if data is None and options.keys != ["affine"]:
        notes.append("GEOGRID_TEST_DATA names no folder: tables that need real scans are left out.")
        options.keys = [key for key in options.keys if key == "affine"]
    peers = page.peer_versions(options.peer_python)
    if not peers:
        notes.append(f"{options.peer_python} has no greedy and antspyx: their columns are left out.")
    for note in notes:
        say(note)
    bench = Bench(PROGRAMS if peers else ("geogrid",), options.peer_python, options.threads)
    machine = page.machine(peers, options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        sections = [
            affine_section(bench, data) if key == "affine" or data is None else pair_section(key, bench, data, work)
            for key in options.keys
        ]
    sections = [page.dated(section, "\n\n".join([machine, *notes])) for section in sections]
    print("\n\n".join(sections))
    complete = set(options.keys) == {*TABLES, "affine"}
    out = options.out or (ROOT / "docs/benchmarks.md" if complete else None)
    if out:
        out.write_text(page.updated(out.read_text() if out.exists() else "", sections))


if __name__ == "__main__":
    main()

"""The page docs/benchmarks.md."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.anchors import Check
from tests.benchmarks.tables import check_list, markdown_table

AFFINE_TITLE = "Capture range of the affine start: endpoint error in mm inside the head"
CAPTURED_MM = 2.0

_INTRODUCTION = """# Benchmarks

`make bench` writes this page; each table says when and where it was measured. For registration it runs geogrid, greedy and
ANTs on the same pairs, one after the other, in one run on one machine. Greedy is affine, then deformable, with local
correlation (windows of 2 voxels, 100x50x10 iterations; in 2-D 4 pixels, 100x50x20); SyN is antspyx with
`type_of_transform="SyN"` and nothing else set; geogrid is `geogrid.register(fixed, moving)`.

* *before*: the moving file put on the fixed grid by the headers alone.
* *network*: the shipped model alone; *classical*: geogrid with `model="none"`; *geogrid*: with its defaults.
* *anchor*: measured by others before, on another day; compare columns of one run rather than with these.
* Labels are carried by nearest neighbour with every program's own transform. Dice counts the labels that either map contains.
* *s*: seconds between having read the images and having the transform, without the start of the interpreter. SyN writes its
  transforms and both warped images within that time.
* *folding %*: share of voxels inside the fixed image's content whose Jacobian determinant is <= 0, by one function for all
  programs' displacement files (the deformable part for greedy and SyN, the total for geogrid; the affine part does not change
  the sign).
* *MB*: peak memory of the whole process, libraries included.
* *local correlation*: mean over the content of the fixed image."""

_VERSIONS = "import importlib.metadata as m, json; print(json.dumps({p: m.version(p) for p in ('picsl-greedy', 'antspyx')}))"


def peer_versions(python: Path) -> dict[str, str]:
    """Versions of the peers in their environment; empty when it is missing or lacks one of them."""
    if not python.exists():
        return {}
    done = subprocess.run([str(python), "-c", _VERSIONS], capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def machine(peers: dict[str, str], threads: int) -> str:
    """One line about when, where and with what; the load tells how much else was going on."""
    own = {name: importlib.metadata.version(name) for name in ("geogrid", "torch")}
    versions = ", ".join(f"{name} {version}" for name, version in (own | peers).items())
    load, memory = os.getloadavg()[0], psutil.virtual_memory().total / 2**30
    return (
        f"Run of {datetime.datetime.now():%Y-%m-%d %H:%M} on {_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"{threads} threads for every program, load {load:.1f} at the start; Python {platform.python_version()}, {versions}."
    )


def affine_section(found: list[dict[str, Any]] | None) -> str:
    """The table of captures with what is asked of them."""
    if found is None:
        return f"## {AFFINE_TITLE}\n\nThis table failed."
    columns = ("before", "rigid", "affine", "registered")
    table = markdown_table(["movement", *columns], [[row["name"], *(f"{row[name]:.2f}" for name in columns)] for row in found])
    worst = {name: max(row[name] for row in found) for name in columns}
    checks = [
        Check(f"{name} within {CAPTURED_MM:g} mm everywhere; worst", f"{worst[name]:.2f}", worst[name] <= CAPTURED_MM)
        for name in columns[1:]
    ]
    explanation = (
        "A head at 2 mm against itself after a known motion, with another contrast, scale and noise. *rigid* and *affine*: "
        "that start alone; *registered*: the whole registration with its defaults."
    )
    return f"## {AFFINE_TITLE}\n\n{explanation}\n\n{table}\n\n{check_list(checks)}"


def dated(section: str, machine_line: str) -> str:
    """A section that says below its title when and where it was measured."""
    title, _, rest = section.partition("\n\n")
    return f"{title}\n\n{machine_line}\n\n{rest}"


def updated(page: str, sections: Sequence[str]) -> str:
    """The page with these sections in place of those with the same titles; new ones come last."""
    kept = {_title(part): part.strip() for part in ("\n" + page).split("\n## ")[1:]}
    fresh = {_title(section.removeprefix("## ")): section.removeprefix("## ").strip() for section in sections}
    return "\n\n".join([_INTRODUCTION, *(f"## {part}" for part in (kept | fresh).values())]) + "\n"


def _title(section: str) -> str:
    return section.splitlines()[0].strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

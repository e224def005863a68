"""Seconds that the neighbour searches need for one large cloud, each in a process of its own.

    python tests/benchmarks/neighbors.py [--threads 2]

Brute force (torch, PyTorch3D) gets a smaller cloud: its cost grows with the square of the number of points. torch_cluster and
PyTorch3D run in the environments that `make test-backends` has made; without these their rows are missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

TITLE = "k nearest neighbours of scattered points"
K = 16
LARGE, SMALL = 1_000_000, 50_000
ENVIRONMENTS = {"torch_cluster": ".venv-cluster", "pytorch3d": ".venv-pytorch3d"}
ENTRIES = (
    *(("scipy", LARGE), ("torch_cluster", LARGE)),
    *(("scipy", SMALL), ("torch_cluster", SMALL), ("torch", SMALL), ("pytorch3d", SMALL)),
)


def work(name: str, size: int) -> dict[str, float]:
    """Measures one search in this process."""
    import psutil
    import torch

    from geogrid.graph import knn

    points = torch.rand(size, 3, generator=torch.Generator().manual_seed(0))
    knn(points[:100], points[:100], K, implementation=name)
    before = psutil.Process().memory_info().rss
    began = time.perf_counter()
    knn(points, points, K, implementation=name)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "memory": (psutil.Process().memory_info().rss - before) / 2**20}


def section(threads: int) -> str:
    """The table."""
    from tests.benchmarks.run import run_json, say
    from tests.benchmarks.tables import markdown_table

    lines = []
    for name, size in ENTRIES:
        python = ROOT / ENVIRONMENTS[name] / "bin/python" if name in ENVIRONMENTS else Path(sys.executable)
        if not python.exists():
            continue
        found: dict[str, Any] | None = run_json([str(python), str(Path(__file__)), "--work", f"{name},{size}"], threads)
        say(f"  {name}, {size}: {found}")
        lines.append([name, f"{size:,}", "failed" if found is None else f"{found['seconds']:.1f}"])
    explanation = (
        f"Even random points in a cube, each of them a query, k = {K}, {threads} threads; seconds with the exact re-ranking "
        "that makes all implementations agree."
    )
    return "\n\n".join([f"## {TITLE}", explanation, markdown_table(["implementation", "points", "s"], lines)])


def main() -> None:
    """Prints the table, or with ``--work`` one entry as JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--work", help="NAME,POINTS: measure one entry in this process")
    chosen = options.parse_args()
    if chosen.work:
        name, size = chosen.work.split(",")
        print(json.dumps(work(name, int(size))))
    else:
        print(section(chosen.threads))


if __name__ == "__main__":
    main()

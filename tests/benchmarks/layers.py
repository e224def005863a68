"""Measures the layers, the neighbour searches and the models, and puts the tables into docs/benchmarks.md.

    python tests/benchmarks/layers.py [--tables NAME,NAME...]   (names: SECTIONS below; all by default)

Tables of the same title on the page are replaced, the others stay.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks import (  # noqa: E402
    ablation,
    attention,
    capture_range,
    density,
    digits,
    models,
    neighbors,
    page,
    points,
    sampled_worlds,
    sampling,
    sliding,
    thinned,
)

SECTIONS: dict[str, Callable[[int], str]] = {
    "attention": lambda threads: attention.section(48, (27, 125), (1, 4), threads),
    "neighbors": neighbors.section,
    "sampling": lambda threads: sampling.section(10),
    "density": lambda threads: density.section(10),
    "models": models.section,
    "digits": lambda threads: digits.section(workers=threads),
    "ablation": lambda threads: ablation.section(250, 3, threads),
    "worlds": lambda threads: sampled_worlds.section(),
    "points": lambda threads: points.section(),
    "sliding": lambda threads: sliding.section(600, 3, workers=threads),
    "capture": capture_range.whole,
    "thinned": lambda threads: thinned.section(),
}


def main() -> None:
    """Runs the tables that were asked for, prints them, and puts them on the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default=",".join(SECTIONS), help="which ones, separated by commas")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks.md", help="page to change")
    chosen = parser.parse_args()
    machine = page.machine({}, chosen.threads)
    sections = [page.dated(SECTIONS[key](chosen.threads), machine) for key in chosen.tables.split(",")]
    print("\n\n".join(sections))
    chosen.out.write_text(page.updated(chosen.out.read_text() if chosen.out.exists() else "", sections))


if __name__ == "__main__":
    main()

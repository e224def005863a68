"""Law (b) as a table: two ContinuousConv layers with the same weights on other samplings of the same field.

python -m tests.benchmarks.sampling --seeds 10
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import median

from tests.benchmarks.tables import markdown_table
from tests.nn.sampling import correlations

TITLE = "Same weights, another sampling: two ContinuousConv layers"


def section(num_seeds: int) -> str:
    """The table of the page."""
    explanation = (
        "Correlation with the features of the same two layers on the 1 mm lattice, away from borders: slices 2, 3, 4 mm apart, "
        "the same with a plain voxel convolution (*voxels*), and random shares of the points."
    )
    return "\n\n".join([f"## {TITLE}", explanation, table([correlations(seed) for seed in range(num_seeds)])])


def main() -> None:
    """Prints the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--first", type=int, default=0, help="the first seed")
    chosen = options.parse_args()
    print(table([correlations(seed) for seed in range(chosen.first, chosen.first + chosen.seeds)]))


def table(found: Sequence[dict[str, float]]) -> str:
    """Correlation with the features of the 1 mm lattice: median and worst, and one column per seed."""
    header = ["sampling", "median", "worst", *(f"seed {k + 1}" for k in range(len(found)))]
    lines = []
    for name in found[0]:
        values = [one[name] for one in found]
        lines.append([name, *(f"{value:.4f}" for value in (median(values), min(values), *values))])
    return markdown_table(header, lines)


if __name__ == "__main__":
    main()

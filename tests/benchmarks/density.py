"""Law (c) as a table: one layer of attention on a cloud whose density varies eightfold, with and without measure and taper.

python -m tests.benchmarks.density --seeds 10
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tests.benchmarks.tables import markdown_table
from tests.nn.density import FEWEST, MEASURES, RIMS, SPARSE, Result, compare, medians

TITLE = "Uneven density: one NeighborAttention layer"
DIMS = (2, 3)


def section(num_seeds: int) -> str:
    """The table of the page."""
    explanation = (
        "Update at fixed queries away from borders, on random points whose density rises eightfold across the domain, compared "
        f"with the same layer and rim on a dense even sampling: relative error (correlation), medians over {num_seeds} seeds. "
        f"*points*: expected within the radius at the sparse end; no query has fewer than {FEWEST}. *worst*: largest error of "
        "a seed."
    )
    return "\n\n".join([f"## {TITLE}", explanation, table({dim: [compare(s, dim) for s in range(num_seeds)] for dim in DIMS})])


def table(found: dict[int, Sequence[Result]]) -> str:
    """One line per dimension, rim and measure."""
    header = ["dimension, rim, measure", *(f"{what}{sparse} points" for sparse in SPARSE for what in ("", "worst, "))]
    lines = []
    for dim, every in found.items():
        middle = medians(every)
        for rim in RIMS:
            for measure in MEASURES:
                keys = [(sparse, rim, measure) for sparse in SPARSE]
                cells = [(f"{middle[k][1]:.3f} ({middle[k][0]:.4f})", f"{max(one[k][1] for one in every):.3f}") for k in keys]
                lines.append([f"{dim}-D, {rim}, {measure}", *(cell for pair in cells for cell in pair)])
    return markdown_table(header, lines)


def main() -> None:
    """Prints the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, default=10)
    print(section(options.parse_args().seeds))


if __name__ == "__main__":
    main()

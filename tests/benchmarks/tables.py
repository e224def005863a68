"""The benchmark tables as markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tests.benchmarks.anchors import Check, Row, column

PROGRAMS = ("greedy", "SyN", "geogrid")


def score_table(rows: Sequence[Row], programs: Sequence[str], anchors: dict[str, dict[str, float]]) -> str:
    """Scores before and after, with the anchors beside them and the mean of every column in the last line."""
    known = [name for name in ("greedy", "SyN") if anchors]
    header = ["pair", "before", *programs, *(f"anchor {name}" for name in known)]
    numbers = [[row.before for row in rows], *(column(rows, name, "score") for name in programs)]
    numbers += [[anchors[row.name][name] for row in rows] for name in known]
    return _with_means(header, rows, numbers, [_score] * len(numbers))


def cost_table(rows: Sequence[Row], programs: Sequence[str], anchors: dict[str, dict[str, float]]) -> str:
    """Seconds, folding and peak memory."""
    known = [name for name in ("s greedy", "s SyN") if anchors and all(name in values for values in anchors.values())]
    header = ["pair", *(f"s {name}" for name in programs), *(f"anchor {name}" for name in known)]
    header += [f"{what} {name}" for what in ("folding %", "MB") for name in programs]
    numbers = [column(rows, name, "seconds") for name in programs] + [[anchors[r.name][name] for r in rows] for name in known]
    formats = [_seconds] * len(numbers)
    numbers += [column(rows, name, value) for value in ("folding", "memory") for name in programs]
    formats += [_percent] * len(programs) + [_whole] * len(programs)
    return _with_means(header, rows, numbers, formats)


def check_list(checks: Sequence[Check]) -> str:
    """One line per demand."""
    words = {True: "met", False: "**not met**", None: "cannot tell"}
    return "\n".join(f"* {check.demand}: {check.found}, {words[check.met]}" for check in checks)


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A markdown table; the first column is text, the others are numbers."""
    parts = [list(header), ["---", *["---:"] * (len(header) - 1)], *map(list, lines)]
    return "\n".join("| " + " | ".join(part) + " |" for part in parts)


def _with_means(
    header: list[str], rows: Sequence[Row], numbers: list[list[float]], formats: Sequence[Callable[[float], str]]
) -> str:
    lines = [
        [row.name, *(show(values[k]) for show, values in zip(formats, numbers, strict=True))] for k, row in enumerate(rows)
    ]
    if len(rows) > 1:
        lines.append(["mean", *(show(float(np.mean(values))) for show, values in zip(formats, numbers, strict=True))])
    return markdown_table(header, lines)


def _score(value: float) -> str:
    return "failed" if math.isnan(value) else f"{value:.3f}".replace("0.", ".", 1)


def _seconds(value: float) -> str:
    return "failed" if math.isnan(value) else f"{value:.1f}"


def _percent(value: float) -> str:
    return "failed" if math.isnan(value) else f"{value:.3f}"


def _whole(value: float) -> str:
    return "failed" if math.isnan(value) else f"{value:.0f}"

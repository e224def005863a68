"""What was measured before geogrid existed (the anchors), and what geogrid must reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.benchmarks.scores import Outcome

ANCHORS: dict[str, dict[str, dict[str, float]]] = {
    "slabs": {
        "1, 10": {"before": 0.664, "greedy": 0.736, "SyN": 0.690, "s greedy": 9.2, "s SyN": 7.9},
        "3, 17": {"before": 0.646, "greedy": 0.692, "SyN": 0.661, "s greedy": 7.6, "s SyN": 6.2},
        "9, 28": {"before": 0.686, "greedy": 0.698, "SyN": 0.703, "s greedy": 4.9, "s SyN": 5.9},
        "12, 25": {"before": 0.672, "greedy": 0.720, "SyN": 0.686, "s greedy": 4.9, "s SyN": 6.0},
        "14, 33": {"before": 0.652, "greedy": 0.702, "SyN": 0.618, "s greedy": 4.9, "s SyN": 6.9},
    },
    "slices": {
        "1, 5": {"before": 0.391, "greedy": 0.551, "SyN": 0.483},
        "2, 7": {"before": 0.385, "greedy": 0.479, "SyN": 0.425},
        "3, 9": {"before": 0.391, "greedy": 0.504, "SyN": 0.478},
        "4, 11": {"before": 0.402, "greedy": 0.498, "SyN": 0.469},
        "6, 12": {"before": 0.324, "greedy": 0.432, "SyN": 0.403},
    },
}


@dataclass(frozen=True)
class Row:
    """One pair of a table.

    Args:
        name: of the pair.
        before: score with nothing applied.
        outcomes: by program: ``greedy``, ``SyN``, the ways of geogrid; a program that was not run or failed is missing.
    """

    name: str
    before: float
    outcomes: dict[str, Outcome] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """A demand and whether it is met; None where the run cannot tell, because a program is missing."""

    demand: str
    found: str
    met: bool | None


def column(rows: Sequence[Row], program: str, value: str) -> list[float]:
    """One number of a program for every pair; NaN where it is missing."""
    return [getattr(row.outcomes[program], value) if program in row.outcomes else float("nan") for row in rows]


def check_slabs(rows: Sequence[Row]) -> list[Check]:
    """Mean Dice, every pair against the anchor, folding, seconds, and seconds against greedy in this run."""
    scores, seconds = column(rows, "geogrid", "score"), column(rows, "geogrid", "seconds")
    margins = [s - ANCHORS["slabs"][row.name]["greedy"] for s, row in zip(scores, rows, strict=True)]
    ratios = [g / s for g, s in zip(column(rows, "greedy", "seconds"), seconds, strict=True)]
    return [
        _at_least("mean Dice at least .72", float(np.mean(scores)), 0.72),
        _at_least("no pair more than .005 below the anchor of greedy; worst margin", min(margins), -0.005),
        *_folding_and_seconds(rows, 5.0),
        _more_than("faster than greedy beside it on every pair; smallest ratio of seconds", _least(ratios), 1.0),
        *_with_a_model(rows, "slabs"),
    ]


def check_slices(rows: Sequence[Row]) -> list[Check]:
    """Mean Dice and seconds."""
    return [
        _at_least("mean Dice at least .50", float(np.mean(column(rows, "geogrid", "score"))), 0.50),
        _at_most("at most 1.5 s a pair; slowest", _most(column(rows, "geogrid", "seconds")), 1.5),
        *_with_a_model(rows, "slices"),
    ]


def check_heads_2mm(rows: Sequence[Row]) -> list[Check]:
    """Mean Dice against greedy in this run, folding and seconds."""
    gain = np.mean(column(rows, "geogrid", "score")) - np.mean(column(rows, "greedy", "score"))
    return [
        _at_least("mean Dice at least that of greedy in this run + .01; gain", float(gain), 0.01),
        *_folding_and_seconds(rows, 4.0),
    ]


def check_heads_1mm(rows: Sequence[Row]) -> list[Check]:
    """Memory and time of the whole process, local correlation and folding against both peers."""
    peers = [column(rows, name, value) for value in ("score", "folding") for name in ("greedy", "SyN")]
    margin = column(rows, "geogrid", "score")[0] - _most([c[0] for c in peers[:2]])
    folding = column(rows, "geogrid", "folding")[0] - _least([c[0] for c in peers[2:]])
    return [
        _at_most("whole process within 90 s", _most(column(rows, "geogrid", "process_seconds")), 90.0),
        _at_most("within 8 GB; MB", _most(column(rows, "geogrid", "memory")), 8192.0),
        _at_least("local correlation not below that of greedy and SyN; margin to the better one", margin, 0.0),
        _at_most("no more folding than greedy and SyN; percentage points above the lower one", folding, 0.0),
    ]


def _with_a_model(rows: Sequence[Row], key: str) -> list[Check]:
    """The model alone against SyN's anchor, and what it costs and gains as one more start."""
    gain = np.mean(column(rows, "geogrid", "score")) - np.mean(column(rows, "classical", "score"))
    ratio = np.mean(column(rows, "geogrid", "seconds")) / np.mean(column(rows, "classical", "seconds"))
    bar = float(np.mean([ANCHORS[key][row.name]["SyN"] for row in rows]))
    alone = float(np.mean(column(rows, "network", "score")))
    return [
        _at_least(f"network alone at least the anchor of SyN, {bar:.3f}", alone, bar),
        _at_least("with the model not below the classical start; gain", float(gain), -5e-4),
        _at_most("seconds with the model at most 1.3 times those without; ratio", float(ratio), 1.3),
    ]


def _folding_and_seconds(rows: Sequence[Row], limit: float) -> list[Check]:
    return [
        _less_than("folding below .1 % on every pair; worst", _most(column(rows, "geogrid", "folding")), 0.1),
        _at_most(f"at most {limit:g} s a pair; slowest", _most(column(rows, "geogrid", "seconds")), limit),
    ]


def _comparison(compare: Callable[[float, float], bool]) -> Callable[[str, float, float], Check]:
    def check(demand: str, found: float, limit: float) -> Check:
        if np.isnan(found):
            return Check(demand, "not run", None)
        return Check(demand, f"{found:.4g}", compare(found, limit))

    return check


def _most(values: Sequence[float]) -> float:
    return float(np.max(values))


def _least(values: Sequence[float]) -> float:
    return float(np.min(values))


_at_least = _comparison(lambda found, limit: found >= limit)
_more_than = _comparison(lambda found, limit: found > limit)
_at_most = _comparison(lambda found, limit: found <= limit)
_less_than = _comparison(lambda found, limit: found < limit)

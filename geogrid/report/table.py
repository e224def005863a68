"""Metrics as rows that people read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

_UNITS = {"mm": "mm", "percent": "%", "mb": "MB", "seconds": "s"}
_NAMES = {
    "dice": "Dice, mean over labels",
    "chamfer": "Chamfer distance",
    "hausdorff": "Hausdorff distance",
    "tre": "Target registration error",
    "endpoint_error": "Endpoint error",
    "hd95": "Hausdorff distance, 95th percentile",
    "average_surface_distance": "Average surface distance",
    "folding": "Folded voxels of the content",
    "log_jacobian_spread": "Spread of log Jacobian",
    "lncc": "Local correlation (LNCC)",
    "nmi": "Normalised mutual information (NMI)",
    "mind": "Difference of self-similarity (MIND-SSC), lower is better",
    "edges": "Difference of edge directions, lower is better",
    "seconds": "Time",
    "peak_memory": "Peak memory",
}


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Args:
        name: what is measured.
        unit: its unit; empty for pure numbers.
        before: value before registration; empty where it makes no sense.
        after: value after registration, or the only one.
    """

    name: str
    unit: str
    before: str
    after: str


@dataclass(frozen=True)
class Tables:
    """Metrics, sorted by how they are shown.

    Args:
        main: single numbers, before and after side by side.
        per_label: title to one row per label.
        settings: title to (name, value) pairs: parameters, versions, the machine.
    """

    main: tuple[Row, ...]
    per_label: Mapping[str, tuple[Row, ...]]
    settings: Mapping[str, tuple[tuple[str, str], ...]]


def metric_tables(metrics: Mapping[str, Any]) -> Tables:
    """Sorts metrics by the shape of their value.

    Keys that differ only in ``_before`` and ``_after`` share a row; a trailing ``_mm``, ``_percent``, ``_mb`` and ``seconds``
    give the unit. A mapping whose keys are whole numbers is a table per label; any other mapping and text is a setting.
    A missing value (None) is a dash next to its partner, and no row where both are missing.
    """
    scalars = {key: value for key, value in metrics.items() if _is_number(value) or (value is None and _is_measure(key))}
    labelled = {key: value for key, value in metrics.items() if _is_per_label(value)}
    nested = {key: value for key, value in metrics.items() if isinstance(value, Mapping) and key not in labelled}
    plain = {key: value for key, value in metrics.items() if key not in scalars | labelled | nested}
    settings = {_title(key): tuple((str(name), _text(v)) for name, v in value.items()) for key, value in nested.items()}
    if plain:
        settings = {"Run": tuple((_title(key), _text(value)) for key, value in plain.items()), **settings}
    return Tables(_rows(scalars), _label_tables(labelled), settings)


def format_number(value: Any) -> str:
    """Four significant digits for fractions; whole numbers as they are; a dash for what is missing or not a number."""
    if value is None or not _is_number(value) or math.isnan(value):
        return "\N{EN DASH}"
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else "\N{MINUS SIGN}\N{INFINITY}"
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def _rows(scalars: Mapping[str, Any]) -> tuple[Row, ...]:
    pairs: dict[str, dict[str, Any]] = {}
    for key, value in scalars.items():
        stem, moment = _split_moment(key)
        pairs.setdefault(stem, {})[moment] = value
    rows = []
    for stem, values in pairs.items():
        if all(value is None for value in values.values()):
            continue
        name, unit = _split_unit(stem)
        before = format_number(values["before"]) if "before" in values else ""
        after = format_number(values["after"]) if "after" in values else ""
        rows.append(Row(_NAMES.get(name, _title(name)), unit, before, after))
    return tuple(rows)


def _label_tables(labelled: Mapping[str, Mapping[Any, Any]]) -> dict[str, tuple[Row, ...]]:
    grouped: dict[str, dict[str, Mapping[Any, Any]]] = {}
    for key, value in labelled.items():
        stem, moment = _split_moment(key)
        grouped.setdefault(stem, {})[moment] = value
    tables = {}
    for stem, moments in grouped.items():
        name, unit = _split_unit(stem)
        labels = sorted({int(label) for values in moments.values() for label in values})
        by_moment = {moment: {int(label): value for label, value in values.items()} for moment, values in moments.items()}
        cells = {m: [format_number(by_moment[m].get(n)) if m in by_moment else "" for n in labels] for m in ("before", "after")}
        rows = zip(labels, cells["before"], cells["after"], strict=True)
        tables[_title(name)] = tuple(Row(f"label {label}", unit, before, after) for label, before, after in rows)
    return tables


def _is_measure(key: str) -> bool:
    return _split_moment(key)[0] != key or _split_unit(key)[1] != ""


def _split_moment(key: str) -> tuple[str, str]:
    match = re.search(r"_(before|after)(?=_|$)", key)
    if match is None:
        return key, "after"
    return key[: match.start()] + key[match.end() :], match.group(1)


def _split_unit(stem: str) -> tuple[str, str]:
    head, _, tail = stem.rpartition("_")
    if tail not in _UNITS:
        return stem, ""
    return head or tail, _UNITS[tail]


def _title(key: str) -> str:
    words = key.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _text(value: Any) -> str:
    if _is_number(value):
        return format_number(value)
    if value is None:
        return "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value)
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_per_label(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(re.fullmatch(r"-?\d+", str(key)) for key in value) and all(v is None or _is_number(v) for v in value.values())

"""Pictures of point sets: where they lie, and how far each point moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from geogrid.report.layout import FAINT, INK, caption, color_bar, dark_figure

FIXED, MOVING, BEHIND = "#35d07f", "#e05ad0", "#1f242b"
_MAP = "plasma"
MOST = 8000
"""Points of a cloud that are drawn."""
_VIEWS = {3: (("from behind", 0, 2, 1), ("from the right", 1, 2, 0), ("from above", 0, 1, 2)), 2: (("", 0, 1, -1),)}
_LETTERS = {3: (("L", "R"), ("P", "A"), ("I", "S")), 2: (("x", ""), ("y", ""))}
_NEAR = {1: -1, 0: 1, 2: 1}
"""Towards which end of the axis across the view the viewer stands: behind, on the right, above."""

Cloud = NDArray[np.float64]
View = tuple[str, int, int, int]


def clouds_figure(fixed: Tensor, before: Tensor, after: Tensor, slab: float | None = None) -> Figure:
    """Fixed points in green and moving points in magenta, before and after registration, from three sides.

    All panels share one scale. "From behind": the subject's right is on the right.

    Args:
        fixed: ``(num_fixed, dim)`` mm, at least one.
        before: ``(num_moving, dim)`` mm, the moving points as they are.
        after: ``(num_moving, dim)`` mm, in fixed space.
        slab: show only what lies in a slab through the middle of the fixed points, of this share of their largest extent, so
            that surfaces become lines; none: everything. For 3-D clouds.
    """
    everything = np.concatenate([_numbers(points) for points in (fixed, before, after)])
    figure, panels = _panels(everything, ("before", "after"), legend=0.3)
    still, drawn = _numbers(fixed), 0
    for moving, line in zip((_numbers(before), _numbers(after)), panels, strict=True):
        for axes, view in zip(line, _VIEWS[fixed.shape[1]], strict=True):
            parts = [_thin(_cut(cloud, still, view[3], slab)) for cloud in (still, moving)]
            drawn = max(drawn, *(stride for _, stride in parts))
            _draw_both(axes, parts[0][0], parts[1][0], view)
    what = "" if slab is None else f" in slabs of {slab * float(np.ptp(still, axis=0).max()):.3g} mm through the middle"
    caption(figure, f"fixed points green, moving points magenta{what}{_note(drawn)}")
    return figure


def point_values_figure(
    points: Tensor, values: Sequence[tuple[str, Tensor]], unit: str, largest: float | None = None
) -> Figure:
    """Points, coloured by a number of each, from three sides and (3-D) in perspective; a row per kind of number.

    Args:
        points: ``(num_points, dim)`` mm, at least one.
        values: name and ``(num_points,)`` numbers of each row, from 0 up.
        unit: said below the colours.
        largest: where the colours end; default the largest number.
    """
    dim = points.shape[1]
    places, stride = _thin(_numbers(points))
    numbers = [_thin(_numbers(row))[0] for _, row in values]
    norm = Normalize(0, max(float(max(row.max() for row in numbers)), 1e-12) if largest is None else largest)
    figure, panels = _panels(places, [name for name, _ in values], legend=0.6, perspective=dim == 3)
    style: dict[str, Any] = {"cmap": _MAP, "norm": norm, "s": _size(places), "linewidths": 0}
    for row, line in zip(numbers, panels, strict=True):
        for axes, view in zip(line, _VIEWS[dim], strict=False):
            order = _order(places, view)
            axes.scatter(places[order, view[1]], places[order, view[2]], c=row[order], **style)
        if dim == 3:
            line[-1].scatter(*places.T, c=row, **style)
    color_bar(figure, ScalarMappable(norm, _MAP), unit + _note(stride))
    return figure


def _draw_both(axes: Axes, fixed: Cloud, moving: Cloud, view: View) -> None:
    """Draws fixed points, and smaller moving ones, those near the viewer last."""
    together = np.concatenate([fixed, moving])
    order = _order(together, view)
    colours = np.array([FIXED] * len(fixed) + [MOVING] * len(moving))
    sizes = _size(together) * np.array([2.0] * len(fixed) + [1.0] * len(moving))
    axes.scatter(together[order, view[1]], together[order, view[2]], c=colours[order], s=sizes[order], linewidths=0)


def _order(points: Cloud, view: View) -> NDArray[np.intp]:
    depth = view[3]
    return np.argsort(points[:, depth] * _NEAR[depth], kind="stable") if depth >= 0 else np.arange(len(points))


def _cut(points: Cloud, fixed: Cloud, axis: int, slab: float | None) -> Cloud:
    """The points inside a slab across an axis, around the median of the fixed ones."""
    if slab is None or axis < 0:
        return points
    half = slab * float(np.ptp(fixed, axis=0).max()) / 2
    return points[np.abs(points[:, axis] - np.median(fixed[:, axis])) <= half]


def _panels(points: Cloud, rows: Sequence[str], legend: float, perspective: bool = False) -> tuple[Figure, list[list[Any]]]:
    """A dark figure with a row of views per name (2-D: a view per name, side by side), and axes that hold all points."""
    views = _VIEWS[points.shape[1]]
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, max(float((high - low).max()) / 2, 1e-12) * 1.06
    lines = [list(views) for _ in rows] if len(views) > 1 else [[(name, *views[0][1:]) for name in rows]]
    columns = len(lines[0]) + perspective
    side, left, title = min(4.2, 9.0 / columns), 0.35 if len(views) > 1 else 0.1, 0.3
    width, height = max(left + columns * (side + 0.1), 5.0), len(lines) * (side + title) + legend
    figure = dark_figure(width, height)
    panels: list[list[Any]] = []
    for number, line in enumerate(lines):
        bottom = (legend + (len(lines) - 1 - number) * (side + title)) / height
        boxes = [((left + c * (side + 0.1)) / width, bottom, side / width, side / height) for c in range(columns)]
        if len(views) > 1:
            at = 0.15 / width, bottom + side / height / 2
            figure.text(*at, rows[number], color=INK, fontsize=11, rotation=90, ha="center", va="center")
        panels.append([_flat_axes(figure, box, view, middle, half) for box, view in zip(boxes, line, strict=False)])
        if perspective:
            panels[-1].append(_perspective(figure, boxes[-1], middle, half))
    return figure, panels if len(views) > 1 else [[axes] for axes in panels[0]]


def _flat_axes(figure: Figure, box: tuple[float, float, float, float], view: View, center: Cloud, half: float) -> Axes:
    axes = figure.add_axes(box)
    title, across, up, _ = view
    letters = _LETTERS[len(center)]
    axes.set_facecolor(BEHIND)
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.set(xlim=(center[across] - half, center[across] + half), ylim=(center[up] - half, center[up] + half))
    axes.set_title(title, color=FAINT, fontsize=9, pad=4)
    for spine in axes.spines.values():
        spine.set_visible(False)
    places = (
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.02, "center", "bottom"),
        (0.5, 0.98, "center", "top"),
    )
    for letter, (x, y, ha, va) in zip((*letters[across], *letters[up]), places, strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, color=FAINT, fontsize=8, ha=ha, va=va)
    return axes


def _perspective(figure: Figure, box: tuple[float, float, float, float], center: Cloud, half: float) -> Any:
    axes: Any = figure.add_axes(box, projection="3d", facecolor=BEHIND)
    axes.set_axis_off()
    axes.view_init(elev=25, azim=35)
    for axis, middle in zip("xyz", center, strict=True):
        getattr(axes, f"set_{axis}lim")(middle - half, middle + half)
    axes.set_box_aspect((1, 1, 1), zoom=1.35)
    axes.set_title("from the right, front and above", color=FAINT, fontsize=9, pad=4)
    return axes


def _numbers(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values.detach().cpu().double())


def _thin(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """At most ``MOST`` rows, evenly taken, and how many stand for one."""
    stride = max(1, -(-len(values) // MOST))
    return values[::stride], stride


def _note(stride: int) -> str:
    return f"; 1 point in {stride} is drawn" if stride > 1 else ""


def _size(points: Cloud) -> float:
    return float(np.clip(3000 / max(1, len(points)), 1.2, 14.0))

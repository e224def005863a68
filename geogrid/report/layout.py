"""Empty figures with panels for slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from torch import Tensor

from geogrid.report.planes import Plane

BACKGROUND, INK, FAINT = "#14171c", "#e8eaed", "#9aa3ad"
DPI = 110
_WIDTH, _TALLEST, _GAP, _TITLE = 9.2, 3.7, 0.1, 0.3

Panels = list[list[Axes]]


def slice_panels(planes: Sequence[Plane], rows: Sequence[str], legend: float = 0.0) -> tuple[Figure, Panels]:
    """A dark figure with one panel per row and plane, in the proportions of the planes in mm.

    Rows of a single plane stand side by side.

    Args:
        planes: what the columns show.
        rows: names of the rows.
        legend: inches to leave free below the panels.

    Returns:
        The figure, and its axes by row and plane.
    """
    turned = len(planes) == 1
    lines = [[(name, plane) for name in rows for plane in planes]] if turned else [[(n, p) for p in planes] for n in rows]
    left = _GAP if turned else _GAP + 0.3 * any(rows)
    sizes = np.array([plane.size for _, plane in lines[0]])
    free = _WIDTH - left - _GAP * len(sizes)
    sizes = sizes * min(free / sizes[:, 0].sum(), _TALLEST / sizes[:, 1].max())
    tallest = float(sizes[:, 1].max())
    width = left + float(sizes[:, 0].sum()) + _GAP * len(sizes)
    shift = max(0.0, 4.2 - width) / 2
    figure = dark_figure(width + 2 * shift, len(lines) * (tallest + _TITLE) + _GAP + legend)
    panels = []
    for number, line in enumerate(lines):
        middle = legend + _GAP + (len(lines) - 1 - number) * (tallest + _TITLE) + tallest / 2
        lefts = shift + left + np.concatenate([[0], np.cumsum(sizes[:-1, 0] + _GAP)])
        boxes = [(x, middle - h / 2, w, h) for x, (w, h) in zip(lefts, sizes, strict=True)]
        titles = [name if turned else plane.title for name, plane in line]
        panels.append([_panel(figure, box, p, t) for box, (_, p), t in zip(boxes, line, titles, strict=True)])
        if not turned:
            at = (_GAP + 0.1) / figure.get_figwidth(), middle / figure.get_figheight()
            figure.text(*at, line[0][0], color=INK, fontsize=11, rotation=90, ha="center", va="center")
    return figure, [[axes] for axes in panels[0]] if turned else panels


def dark_figure(width: float, height: float) -> Figure:
    """An empty figure of ``width`` x ``height`` inches."""
    return Figure(figsize=(width, height), dpi=DPI, facecolor=BACKGROUND)


def caption(figure: Figure, text: str) -> None:
    """A line of text at the bottom; takes 0.3 inches."""
    figure.text(0.5, 0.12 / figure.get_figheight(), text, color=INK, fontsize=9, ha="center", va="center")


def color_bar(figure: Figure, drawn: ScalarMappable, text: str) -> Colorbar:
    """A horizontal colour bar with a caption at the bottom; takes 0.6 inches."""
    height = figure.get_figheight()
    bar = figure.colorbar(drawn, cax=figure.add_axes((0.1, 0.46 / height, 0.8, 0.09 / height)), orientation="horizontal")
    bar.ax.tick_params(colors=INK, labelsize=8)
    caption(figure, text)
    return bar


def note(axes: Axes, text: str) -> None:
    """A few words in the lower left corner of a panel."""
    outline = [withStroke(linewidth=2, foreground="black")]
    axes.text(0.03, 0.03, text, transform=axes.transAxes, color="white", fontsize=8, path_effects=outline)


def draw_slice(axes: Axes, plane: Plane, pixels: NDArray[np.float32], **style: Any) -> Any:
    """Draws ``(up, across)`` or ``(up, across, 3)`` pixels at their place in mm."""
    left, right, low, high = plane.extent
    drawn = axes.imshow(pixels, origin="lower", extent=plane.extent, aspect="equal", **style)
    axes.set(xlim=(left, right), ylim=(low, high))
    return drawn


def gray_window(*images: Tensor) -> tuple[float, float]:
    """The 0.5th and 99.5th percentile of the finite values of images that share a scale; never equal."""
    sampled = [image.reshape(-1)[:: max(1, image.numel() // 500_000)].detach().cpu().float().numpy() for image in images]
    values = np.concatenate(sampled)
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (0.5, 99.5)) if values.size else (0.0, 1.0)
    if low == high and values.size:
        low, high = values.min(), values.max()
    return float(low), float(high) if high > low else float(low) + 1


def to_unit(pixels: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.float32]:
    """Values brought from a window to [0, 1]; what is not finite becomes 0."""
    low, high = window
    scaled = np.clip((pixels - low) / (high - low), 0, 1)
    return np.asarray(np.where(np.isfinite(pixels), scaled, 0), dtype=np.float32)


def _panel(figure: Figure, box: tuple[float, float, float, float], plane: Plane, title: str) -> Axes:
    """Axes in a box given in inches: left, bottom, width, height."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
    axes.set_facecolor("black")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, color=FAINT, fontsize=9, pad=4)
    for spine in axes.spines.values():
        spine.set_visible(False)
    places = ((5, 0, 0, 0.5), (-5, 0, 1, 0.5), (0, 5, 0.5, 0), (0, -5, 0.5, 1))
    outline = [withStroke(linewidth=2, foreground="black")]
    for letter, (dx, dy, x, y) in zip(plane.letters, places, strict=True):
        if letter in plane.letters[2:] and box[3] < 0.5:
            continue
        axes.annotate(
            letter,
            (x, y),
            xytext=(dx, dy),
            xycoords="axes fraction",
            textcoords="offset points",
            ha=("left", "center", "right")[int(2 * x)],
            va=("bottom", "center", "top")[int(2 * y)],
            color="white",
            fontsize=8,
            fontweight="bold",
            path_effects=outline,
        )
    return axes

"""The picture of how an optimisation went."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from geogrid.report.contents import HistoryPoint
from geogrid.report.layout import FAINT, INK, dark_figure

_COLOURS = {"affine": "#f2a65a", "deformable": "#4dd0e1"}
_PER_ROW = 4


def convergence_figure(history: Sequence[HistoryPoint]) -> Figure:
    """The loss of every evaluation: a panel with its own scale per stage and level, because levels do not compare.

    Args:
        history: in the order of the optimisation; an empty one gives a figure that says so.
    """
    runs = [list(run) for _, run in groupby(history, key=lambda entry: (entry.stage, entry.level))]
    if not runs:
        figure = dark_figure(4.5, 0.8)
        figure.text(0.5, 0.5, "no iterations were recorded", color=FAINT, ha="center", va="center")
        return figure
    rows = -(-len(runs) // _PER_ROW)
    columns = -(-len(runs) // rows)
    width, height = max(3.5, 0.5 + 2.2 * columns), 0.6 + 1.9 * rows
    figure = dark_figure(width, height)
    figure.subplots_adjust(
        left=0.75 / width, right=1 - 0.15 / width, bottom=0.55 / height, top=1 - 0.3 / height, wspace=0.4, hspace=0.45
    )
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, run in zip(panels, runs, strict=False):
        _draw_run(axes, run)
    for axes in panels[len(runs) :]:
        axes.set_visible(False)
    figure.supylabel("loss", x=0.15 / width, color=INK, fontsize=9)
    figure.supxlabel("evaluation", y=0.1 / height, color=INK, fontsize=9)
    return figure


def _draw_run(axes: Axes, run: Sequence[HistoryPoint]) -> None:
    axes.set_facecolor("none")
    colour = _COLOURS.get(run[0].stage, INK)
    axes.plot(
        [e.iteration for e in run], [e.loss for e in run], color=colour, linewidth=1.4, marker="." if len(run) < 8 else None
    )
    axes.set_title(f"{run[0].stage}, level {run[0].level}", color=INK, fontsize=9)
    axes.tick_params(colors=FAINT, labelsize=7)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(color="#ffffff", alpha=0.08)
    for spine in axes.spines.values():
        spine.set_color("#3a4048")

"""Pictures that compare two images before and after registration."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geogrid.report.layout import color_bar, draw_slice, gray_window, slice_panels, to_unit
from geogrid.report.planes import Plane, middle_planes
from geogrid.spatial import Image

_DIVERGING = LinearSegmentedColormap.from_list("difference", ["#7cc4ff", "#2b78c2", "#23272e", "#d0701f", "#ffc27a"])


def overlay_figure(fixed: Image, before: Image, after: Image) -> Figure:
    """Fixed image in green, moving image in magenta: grey where they agree.

    Args:
        fixed: the fixed image.
        before: the moving image on the fixed grid, nothing applied.
        after: the warped moving image.
    """
    planes = middle_planes(fixed)
    figure, panels = slice_panels(planes, ("before", "after"))
    windows = gray_window(fixed.data), gray_window(before.data, after.data)
    for moving, line in zip((before, after), panels, strict=True):
        for plane, axes in zip(planes, line, strict=True):
            draw_overlay(axes, plane, plane.take(fixed.data), plane.take(moving.data), windows)
    return figure


def draw_overlay(
    axes: Axes,
    plane: Plane,
    fixed: NDArray[np.float32],
    moving: NDArray[np.float32],
    windows: tuple[tuple[float, float], tuple[float, float]],
) -> None:
    """Draws two slices over each other, fixed in green, moving in magenta; each has its own window of intensities."""
    green, magenta = to_unit(fixed, windows[0]), to_unit(moving, windows[1])
    draw_slice(axes, plane, np.stack([magenta, green, magenta], -1))


def difference_figure(fixed: Image, before: Image, after: Image) -> Figure:
    """Fixed minus moving, each scaled to [0, 1]: dark where they agree, orange where fixed is brighter, blue where moving."""
    planes = middle_planes(fixed)
    figure, panels = slice_panels(planes, ("before", "after"), legend=0.6)
    windows = gray_window(fixed.data), gray_window(before.data, after.data)
    drawn = None
    for moving, line in zip((before, after), panels, strict=True):
        for plane, axes in zip(planes, line, strict=True):
            difference = to_unit(plane.take(fixed.data), windows[0]) - to_unit(plane.take(moving.data), windows[1])
            drawn = draw_slice(axes, plane, difference, cmap=_DIVERGING, vmin=-0.8, vmax=0.8)
    if drawn is not None:
        color_bar(figure, drawn, "fixed \N{MINUS SIGN} moving, both scaled to [0, 1]")
    return figure

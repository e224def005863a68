"""Pictures of what a deformation does to space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray
from torch import Tensor

from geogrid.report.layout import caption, color_bar, draw_slice, gray_window, slice_panels, to_unit
from geogrid.report.planes import Plane, middle_planes
from geogrid.spatial import Grid, Image
from geogrid.transforms import DisplacementField

_TICKS = (0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)
_WIDE_TICKS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
_FOLD = "#ffe600"


def deformed_grid_figure(field: DisplacementField, fixed: Image) -> Figure:
    """The lines of a regular grid on the fixed image, moved by a deformation; its part across the slice is left out.

    Args:
        field: the deformation on the grid of ``fixed``, usually without the affine part.
        fixed: the image behind the lines.
    """
    planes = middle_planes(fixed)
    figure, panels = slice_panels(planes, ("",), legend=0.3)
    window = gray_window(fixed.data)
    step = line_distance(planes)
    in_frame = frame_components(field.displacement, field.grid)
    for plane, axes in zip(planes, panels[0], strict=True):
        draw_slice(axes, plane, 0.75 * to_unit(plane.take(fixed.data), window), cmap="gray", vmin=0, vmax=1)
        draw_lines(axes, plane, plane.take(in_frame), step)
    caption(figure, f"lines every {step:g} mm (or every voxel, where voxels are larger)")
    return figure


def jacobian_figure(jacobian: Tensor, fixed: Image) -> Figure:
    """Change of volume on a logarithmic scale around 1, over the fixed image; folded voxels are marked in yellow.

    Args:
        jacobian: ``(*fixed.grid.shape)`` Jacobian determinant.
        fixed: the image behind the colours.
    """
    planes = middle_planes(fixed)
    figure, panels = slice_panels(planes, ("",), legend=0.6)
    window, limit = gray_window(fixed.data), _largest_change(jacobian)
    norm = LogNorm(1 / limit, limit)
    folded = 0
    for plane, axes in zip(planes, panels[0], strict=True):
        values = plane.take(jacobian)
        draw_slice(axes, plane, to_unit(plane.take(fixed.data), window), cmap="gray", vmin=0, vmax=1)
        draw_slice(axes, plane, np.where(values > 0, values, np.nan), cmap="RdBu_r", norm=norm, alpha=0.65)
        folded += _mark_folds(axes, plane, values <= 0)
    text = f"Jacobian determinant; folded voxels in the {'slice' if len(planes) == 1 else 'slices'} shown: {folded}"
    bar = color_bar(figure, ScalarMappable(norm, "RdBu_r"), text)
    ticks = _TICKS if limit < 2.5 else _WIDE_TICKS
    bar.ax.xaxis.set_major_locator(FixedLocator([t for t in ticks if 1 / limit <= t <= limit]))
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return figure


def _mark_folds(axes: Axes, plane: Plane, folds: NDArray[np.bool_]) -> int:
    """Fills folded pixels, and puts a dot on each so that a single one is seen; returns their number."""
    up, across = np.nonzero(folds)
    pixels = np.where(folds, 1.0, np.nan).astype(np.float32)
    draw_slice(axes, plane, pixels, cmap=ListedColormap([_FOLD]), interpolation="nearest")
    axes.scatter(across * plane.spacing[0], up * plane.spacing[1], s=5, c=_FOLD, marker="s", linewidths=0)
    return len(up)


def frame_components(displacement: Tensor, grid: Grid) -> Tensor:
    """Displacements ``(*shape, dim)`` along the world's axes as components along a grid's own axes, without gradient."""
    return displacement.detach() @ grid.frame.to(displacement)


def draw_lines(axes: Axes, plane: Plane, offset: NDArray[np.float32], step: float) -> None:
    """Draws the lines of a grid of ``step`` mm, moved by ``(up, across, dim)`` offsets along the axes of the image."""
    (across, up), (dx, dy) = plane.shape, plane.spacing
    x, y = np.meshgrid(np.arange(across) * dx, np.arange(up) * dy)
    places = np.stack([x + offset[..., plane.across], y + offset[..., plane.up]], -1)
    rows = [places[i] for i in _every(up, step / dy)]
    columns = [places[:, i] for i in _every(across, step / dx)]
    axes.add_collection(LineCollection(rows + columns, colors="#4dd0e1", linewidths=0.7, alpha=0.9))


def _every(count: int, stride: float) -> range:
    whole = max(1, round(stride))
    return range((count - 1) % whole // 2, count, whole)


def line_distance(planes: Sequence[Plane], lines: int = 32) -> float:
    """A round number of mm that puts about ``lines`` lines on the longest side of the planes."""
    wanted = max(max(plane.size) for plane in planes) / lines
    power = 10.0 ** np.floor(np.log10(wanted))
    return float(min((power * nice for nice in (1, 2, 5, 10)), key=lambda step: abs(np.log(step / wanted))))


def _largest_change(jacobian: Tensor) -> float:
    """The factor by which nearly all volumes change at most, between 1.25 and 10."""
    values = jacobian.reshape(-1)[:: max(1, jacobian.numel() // 500_000)].detach().cpu().numpy()
    values = values[values > 0]
    spread = float(np.percentile(np.abs(np.log(values)), 99.5)) if values.size else 0.0
    return float(np.exp(np.clip(spread, np.log(1.25), np.log(10))))

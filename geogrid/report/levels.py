"""The picture of what each level of a registration adds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from geogrid.report.deformation import frame_components
from geogrid.report.layout import FAINT, color_bar, draw_slice, note, slice_panels
from geogrid.report.planes import Plane, middle_planes
from geogrid.spatial import Image
from geogrid.transforms import TrajectoryBatch, own_displacements

_COLOURS = "viridis"
_RANGE = 100.0


def level_displacements_figure(trajectory: TrajectoryBatch, entry: int = 0) -> Figure:
    """A panel per level, coarse to fine: the displacement that the level adds to what it inherits, without the start.

    Colours give the length of the displacement on one logarithmic scale for all levels, arrows its direction in the plane; the
    arrows of each level are drawn longer by the factor in the corner so that they can be seen. The title has the median
    length over all points of the pair. In 3-D the axial plane through the largest displacements is shown.

    Args:
        trajectory: with fixed points on lattices.
        entry: which pair.

    Raises:
        GeogridError: for scattered points.
    """
    levels = own_displacements(trajectory)
    lengths = [Image(level.entry(entry).detach().norm(dim=-1), level.points.lattices[entry]) for level in levels]
    planes = [replace(middle_planes(length)[0], letters=("",) * 4) for length in lengths]
    longest = max(max(float(length.data.max()) for length in lengths), 1e-3)
    norm = LogNorm(longest / _RANGE, longest, clip=True)
    figure, panels = slice_panels(planes, ("",), legend=0.6)
    for level, length, plane, axes in zip(levels, lengths, planes, panels[0], strict=True):
        draw_slice(axes, plane, plane.take(length.data), cmap=_COLOURS, norm=norm)
        factor = _draw_arrows(axes, plane, plane.take(frame_components(level.entry(entry), length.grid)))
        median = float(length.data.median())
        axes.set_title(f"level {level.level} ({level.scale:g} mm): median {median:.2g} mm", color=FAINT, fontsize=9, pad=4)
        note(axes, f"arrows \N{MULTIPLICATION SIGN} {factor:g}")
    bar = color_bar(figure, ScalarMappable(norm, _COLOURS), "length of the level's own displacement in mm")
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.ax.xaxis.set_minor_formatter(NullFormatter())
    return figure


def _draw_arrows(axes: Axes, plane: Plane, offset: NDArray[np.float32]) -> float:
    """Draws at most about 14 arrows a side, the longer ones one arrow distance long; returns the factor they are drawn by."""
    stride = max(1, round(max(plane.shape) / 14))
    rows, columns = (range((n - 1) % stride // 2, n, stride) for n in plane.shape[::-1])
    x, y = np.meshgrid(np.array(columns) * plane.spacing[0], np.array(rows) * plane.spacing[1])
    u, v = (offset[np.ix_(rows, columns)][..., axis] for axis in (plane.across, plane.up))
    long = float(np.percentile(np.hypot(u, v), 95))
    factor = _round_factor(stride * max(plane.spacing) / long) if long > 0 else 1.0
    style: dict[str, Any] = {"color": "white", "edgecolor": "black", "linewidth": 0.4, "width": 0.008, "pivot": "mid"}
    axes.quiver(x, y, factor * u, factor * v, angles="xy", scale_units="xy", scale=1, **style)
    return factor


def _round_factor(factor: float) -> float:
    """The next smaller of ..., 1, 1.5, 2, 3, 5, 7, 10, ..."""
    power = 10.0 ** np.floor(np.log10(factor))
    return float(max(nice for nice in power * np.array([1, 1.5, 2, 3, 5, 7]) if nice <= factor * (1 + 1e-9)))

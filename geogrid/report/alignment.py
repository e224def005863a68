"""The picture of images that come to lie on each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from matplotlib.figure import Figure
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.metrics import image_spread
from geogrid.report.layout import FAINT, color_bar, draw_slice, slice_panels
from geogrid.report.planes import middle_planes
from geogrid.spatial import Grid, Image

_STANDARD_DEVIATION = "magma"


def alignment_figure(stages: Mapping[str, Tensor], grid: Grid) -> Figure:
    """Mean and standard deviation of several copies of an image, a column per stage of their alignment.

    The nearer the copies come to each other, the sharper the mean and the darker the standard deviation; its root mean square
    (:func:`geogrid.metrics.image_spread`) stands above it. All stages share their scales. Of 3-D images the axial plane is
    shown, and the number is that of the whole image.

    Args:
        stages: name, for instance ``before`` or ``after level 2``, to the copies ``(num_copies, *grid.shape)``.
        grid: of all copies.

    Raises:
        GeogridError: without stages, or when copies are not on the grid.

    Example:
        >>> import torch
        >>> grid = Grid((8, 8), torch.eye(3))
        >>> len(alignment_figure({"before": torch.rand(5, 8, 8), "after": torch.zeros(5, 8, 8)}, grid).axes)
        5
    """
    for name, copies in stages.items():
        if tuple(copies.shape[1:]) != grid.shape or len(copies) == 0:
            raise GeogridError(f"{name}: expected (num_copies, *{grid.shape}) images, got {tuple(copies.shape)}")
    if not stages:
        raise GeogridError("stages: expected one at least, got none")
    means = [copies.detach().float().mean(0) for copies in stages.values()]
    deviations = [copies.detach().float().std(0, correction=0) for copies in stages.values()]
    plane = replace(middle_planes(Image(means[0], grid))[0], letters=("",) * 4)
    figure, panels = slice_panels([replace(plane, title=name) for name in stages], ("mean", "standard deviation"), legend=0.6)
    brightest = max(float(mean.max()) for mean in means)
    widest = max(max(float(deviation.max()) for deviation in deviations), 1e-6)
    for axes, mean in zip(panels[0], means, strict=True):
        draw_slice(axes, plane, plane.take(mean), cmap="gray", vmin=min(float(m.min()) for m in means), vmax=brightest)
    for axes, deviation, copies in zip(panels[1], deviations, stages.values(), strict=True):
        drawn = draw_slice(axes, plane, plane.take(deviation), cmap=_STANDARD_DEVIATION, vmin=0, vmax=widest)
        axes.set_title(f"spread {image_spread(copies):.3f}", color=FAINT, fontsize=9, pad=4)
    color_bar(figure, drawn, "standard deviation over the copies, in units of intensity; spread is its root mean square")
    return figure

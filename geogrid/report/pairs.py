"""The picture of several registered pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from geogrid.errors import GeogridError
from geogrid.metrics import foreground_dice
from geogrid.report.deformation import draw_lines, frame_components, line_distance
from geogrid.report.images import draw_overlay
from geogrid.report.layout import FAINT, caption, draw_slice, gray_window, slice_panels, to_unit
from geogrid.report.planes import Plane, middle_planes
from geogrid.spatial import Image
from geogrid.transforms import AffineTransform, DisplacementField, warp_image

_COLUMNS = ("moving", "fixed", "warped", "overlay", "deformed grid")


def pairs_figure(
    fixed: Sequence[Image],
    moving: Sequence[Image],
    warped: Sequence[Image],
    fields: Sequence[DisplacementField],
    threshold: float = 0.5,
) -> Figure:
    """A row per pair: moving, fixed and warped image, the overlay of the last two, and the deformed grid on the fixed image.

    The moving image is shown on the fixed grid. Moving and warped image carry their Dice with the fixed one. In the overlay the
    fixed image is green and the warped one magenta: grey where they agree. Of 3-D images the axial plane is shown, and the Dice
    is that of the whole image.

    Args:
        fixed: images of one shape and spacing.
        moving: one per fixed image, on any grids.
        warped: the moving images on the fixed grids.
        fields: the deformations on the fixed grids.
        threshold: what is brighter counts for the Dice.

    Raises:
        GeogridError: without pairs, or when there is not one of each for every pair.

    Example:
        >>> import torch
        >>> from geogrid.spatial import to_images, to_cloud
        >>> images = to_images(to_cloud(torch.rand(2, 8, 8)))
        >>> still = [DisplacementField(torch.zeros(8, 8, 2), image.grid) for image in images]
        >>> len(pairs_figure(images, images, images, still).axes)
        10
    """
    if not fixed or len({len(fixed), len(moving), len(warped), len(fields)}) != 1:
        raise GeogridError(
            f"pairs: expected as many moving, warped and fields as fixed images, one at least, got {len(fixed)} fixed, "
            f"{len(moving)}, {len(warped)} and {len(fields)}"
        )
    planes = [replace(middle_planes(image)[0], title="", letters=("",) * 4) for image in fixed]
    if len({plane.size for plane in planes}) != 1:
        raise GeogridError(f"pairs: expected fixed images of one size, got {sorted({image.grid.shape for image in fixed})}")
    figure, panels = slice_panels([planes[0]] * len(_COLUMNS), [""] * len(fixed), legend=0.3)
    step = line_distance(planes, lines=16)
    for number, (plane, line) in enumerate(zip(planes, panels, strict=True)):
        _draw_pair(line, plane, fixed[number], moving[number], warped[number], fields[number], step, threshold)
    caption(figure, f"overlay: fixed green, warped magenta; Dice of what is above {threshold:g}; lines every {step:g} mm")
    return figure


def _draw_pair(
    line: Sequence[Axes],
    plane: Plane,
    fixed: Image,
    moving: Image,
    warped: Image,
    field: DisplacementField,
    step: float,
    threshold: float,
) -> None:
    still = AffineTransform.identity(fixed.dim)
    before = moving if moving.grid.same_space(fixed.grid) else warp_image(moving, still, fixed.grid)
    shown = [plane.take(image.data) for image in (before, fixed, warped)]
    windows = [gray_window(image.data) for image in (moving, fixed, moving)]
    for axes, pixels, window in zip(line, shown, windows, strict=False):
        draw_slice(axes, plane, to_unit(pixels, window), cmap="gray", vmin=0, vmax=1)
    draw_overlay(line[3], plane, shown[1], shown[2], (windows[1], windows[2]))
    draw_slice(line[4], plane, 0.6 * to_unit(shown[1], windows[1]), cmap="gray", vmin=0, vmax=1)
    draw_lines(line[4], plane, plane.take(frame_components(field.displacement, field.grid)), step)
    scores = [float(foreground_dice(fixed.data[None], image.data[None], threshold)) for image in (before, warped)]
    titles = (f"moving, Dice {scores[0]:.2f}", "fixed", f"warped, Dice {scores[1]:.2f}", *_COLUMNS[3:])
    for axes, title in zip(line, titles, strict=True):
        axes.set_title(title, color=FAINT, fontsize=9, pad=4)

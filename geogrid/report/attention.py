"""The picture of what a point attends to."""

from __future__ import annotations

from dataclasses import replace

import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.report.layout import color_bar, draw_slice, gray_window, slice_panels, to_unit
from geogrid.report.planes import Plane, axial_slice, middle_planes
from geogrid.spatial import Grid, Image

_WEIGHT = "plasma"
_POINT, _EXPECTED = "#4dd0e1", "#7dff8a"


def attention_figure(
    fixed: Image, moving: Image, point: Tensor, position: Tensor, neighbors: Tensor, weights: Tensor
) -> Figure:
    r"""A fixed point, and how much weight each head gives its neighbours in the moving image.

    The first panel is the fixed image with the point, the second the moving image with the point's current position and a frame
    around its neighbours; then, enlarged, a panel per head with the neighbours coloured by their weights and a plus sign at the
    position it expects, :math:`\sum_j a_j x_j`. Of volumes the axial slices through the point and its position are shown, and
    the weights of neighbours above each other are added.

    Args:
        fixed: an image.
        moving: an image of the same dimension, along whose axes the neighbours lie in rows.
        point: ``(dim,)`` the fixed point in mm.
        position: ``(dim,)`` where it is in moving space, in mm, when it looks.
        neighbors: ``(k, dim)`` points of the moving image in mm.
        weights: ``(k, heads)`` or ``(k,)`` attention weights; each head's sum to 1.

    Raises:
        GeogridError: for parts that do not fit each other.
    """
    weights = weights[:, None] if weights.dim() == 1 else weights
    dim = fixed.dim
    if moving.dim != dim:
        raise GeogridError(f"images: expected two of the same dimension, got {dim}-D and {moving.dim}-D")
    if neighbors.shape != (len(weights), dim) or not len(weights) or {point.shape, position.shape} != {torch.Size([dim])}:
        raise GeogridError(
            f"attention: expected a point and a position ({dim},), neighbours (k, {dim}) and weights (k, heads), got "
            f"{tuple(point.shape)}, {tuple(position.shape)}, {tuple(neighbors.shape)}, {tuple(weights.shape)}"
        )
    if dim == 3:
        fixed, (point,) = axial_slice(fixed, point, point)
        moving, (neighbors, position) = axial_slice(moving, position, neighbors, position)
        neighbors, column = (1e3 * neighbors).round().unique(dim=0, return_inverse=True)
        neighbors = neighbors / 1e3
        weights = weights.new_zeros(len(neighbors), weights.shape[1]).index_add(0, column, weights)
    planes = [replace(middle_planes(image)[0], letters=("",) * 4) for image in (fixed, moving)]
    heads = weights.shape[1]
    titles = ["fixed", "moving", *(f"head {number + 1}" for number in range(heads))]
    shown = [replace(plane, title=title) for plane, title in zip([*planes, *planes[1:] * heads], titles, strict=True)]
    figure, panels = slice_panels(shown, ("",), legend=0.6)
    norm = Normalize(0, max(float(weights.max()), 1e-6))
    around = _window(moving.grid, planes[1], torch.cat([neighbors, position[None]]))
    for axes, plane, image in zip(panels[0], shown, [fixed, *[moving] * (heads + 1)], strict=True):
        draw_slice(axes, plane, 0.7 * to_unit(plane.take(image.data), gray_window(image.data)), cmap="gray", vmin=0, vmax=1)
    _mark(panels[0][0], fixed.grid, planes[0], point)
    _mark(panels[0][1], moving.grid, planes[1], position)
    panels[0][1].add_patch(Rectangle(around[:2], around[2], around[2], fill=False, edgecolor=_POINT, linewidth=1))
    for axes, head in zip(panels[0][2:], weights.detach().unbind(1), strict=True):
        places = _in_plane(moving.grid, planes[1], neighbors)
        across, up = places.unbind(1)
        axes.scatter(across, up, c=head.cpu().numpy(), cmap=_WEIGHT, norm=norm, s=_dot_size(places, around[2], axes))
        _mark(axes, moving.grid, planes[1], position)
        _mark(axes, moving.grid, planes[1], head @ neighbors.to(head) / head.sum(), marker="P", colour=_EXPECTED)
        axes.set(xlim=(around[0], around[0] + around[2]), ylim=(around[1], around[1] + around[2]))
    color_bar(
        figure,
        ScalarMappable(norm, _WEIGHT),
        "attention weight of a neighbour; ring: the point, plus sign: the position that the head expects",
    )
    return figure


def _in_plane(grid: Grid, plane: Plane, points: Tensor) -> Tensor:
    """World positions ``(n, 2)`` as places in a picture of the grid, in mm from its first pixel."""
    places = grid.world_to_index(points.detach().cpu().double()) * grid.spacing
    return places[:, [plane.across, plane.up]]


def _window(grid: Grid, plane: Plane, points: Tensor) -> tuple[float, float, float]:
    """Left, low and side of the square around points, two pixels wider on each side."""
    places = _in_plane(grid, plane, points)
    low, high = places.amin(0), places.amax(0)
    side = float((high - low).max()) + 4 * max(plane.spacing)
    left, bottom = ((low + high - side) / 2).tolist()
    return left, bottom, side


def _dot_size(places: Tensor, side: float, axes: Axes) -> float:
    """Area in square points of a dot half as wide as neighbouring points are apart, in a panel of ``side`` mm."""
    figure = axes.get_figure(root=True)
    width = 72 * axes.get_position().width * figure.get_figwidth() if figure else 100.0
    apart = torch.cdist(places, places).fill_diagonal_(float("inf")).amin(1).median()
    return (0.5 * width / side * min(float(apart), side / 4)) ** 2


def _mark(axes: Axes, grid: Grid, plane: Plane, point: Tensor, marker: str = "o", colour: str = _POINT) -> None:
    (x, y), ring = _in_plane(grid, plane, point[None])[0].tolist(), marker == "o"
    axes.scatter(
        x,
        y,
        s=50,
        marker=marker,
        facecolors="none" if ring else colour,
        edgecolors=colour if ring else "black",
        linewidths=1.5 if ring else 0.7,
    )

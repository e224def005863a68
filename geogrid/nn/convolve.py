"""One convolution on any sampling."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import Level
from geogrid.nn.conv import ContinuousConv


def convolve(conv: ContinuousConv, x: Tensor, level: Level) -> Tensor:
    """Applies a layer to the points of a level, in the axes of each entry's own frame.

    Rows of points are lattices stored channels last, so that nothing is copied on the way to the lattice's door.

    Args:
        conv: the layer.
        x: ``(num_points, in_channels)`` features of ``level.points``.
        level: where they are.

    Returns:
        ``(num_points, out_channels)``.

    Raises:
        GeogridError: for a level of scattered points that was made without their neighbours.
    """
    points = level.points
    if not points.is_lattice:
        if level.neighborhood is None:
            raise GeogridError("level: expected scattered points with their neighbours, got none; make the level with Level.of")
        return conv(
            x, level.own_positions, level.neighborhood, scale=level.scale, spacing=level.local_spacing,
            measure=points.measure, regular=level.sliced.to(x.device)[points.batch],
        )  # fmt: skip
    if points.stackable:
        steps = points.spacing[0].tolist()
        return points.to_rows(conv.on_grid(points.to_lattice(x), steps, scale=level.scale))
    parts = zip([points.entry(b) for b in range(points.num_entries)], x.split(points.counts().tolist()), strict=True)
    return torch.cat([convolve(conv, rows, Level(one, level.scale)) for one, rows in parts])

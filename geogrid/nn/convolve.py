"""One convolution on any sampling."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import Level, Neighborhood
from geogrid.nn.conv import ContinuousConv
from geogrid.nn.knot_matrix import KnotMatrix
from geogrid.nn.stencil import Stencil

_KNOTS: WeakKeyDictionary[Level, KnotMatrix] = WeakKeyDictionary()
"""Of levels that are in use; every layer that looks at a level needs the same."""


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
        if points.pos.requires_grad or points.measure.requires_grad:
            return conv(x, level.own_positions, _neighborhood(level), scale=level.scale, **_sampling(level))
        return conv.on_knots(x, knots_of(level))
    if points.stackable:
        steps = points.spacing[0].tolist()
        return points.to_rows(conv.on_grid(points.to_lattice(x), steps, scale=level.scale))
    parts = zip([points.entry(b) for b in range(points.num_entries)], x.split(points.counts().tolist()), strict=True)
    return torch.cat([convolve(conv, rows, Level(one, level.scale)) for one, rows in parts])


def knots_of(level: Level) -> KnotMatrix:
    """The knot weights of a level of scattered points, made once and kept as long as the level is.

    Args:
        level: of scattered points, with their neighbours; nothing about it is learned.

    Raises:
        GeogridError: for a level that was made without neighbours.
    """
    level = level.origin or level
    if level not in _KNOTS:
        neighborhood = _neighborhood(level)
        with torch.inference_mode(False), torch.no_grad():
            pos = level.own_positions
            _KNOTS[level] = KnotMatrix.of(Stencil.of(pos, pos, level.scale, **_sampling(level)), neighborhood)
    return _KNOTS[level]


def _neighborhood(level: Level) -> Neighborhood:
    if level.neighborhood is None:
        raise GeogridError("level: expected scattered points with their neighbours, got none; make the level with Level.of")
    return level.neighborhood


def _sampling(level: Level) -> dict[str, Any]:
    points = level.points
    regular = level.sliced.to(points.pos.device)[points.batch]
    return {"spacing": level.local_spacing, "measure": points.measure, "regular": regular}

"""What a model looks at."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import Level
from geogrid.models.frames import Frames
from geogrid.models.georeg import GeoReg, finest_scale_of
from geogrid.nn.refine import Refine
from geogrid.spatial import PointCloud, map_points
from geogrid.transforms import AffineTransform


@dataclass(frozen=True, eq=False)
class Attended:
    """What one fixed point sees of the moving image at one step; made by :func:`attended`.

    Args:
        level: 0 is the finest.
        point: ``(dim,)`` the fixed point in mm.
        place: ``(dim,)`` where it is in moving space before the step, in mm.
        neighbors: ``(k, dim)`` the moving points in reach, in mm.
        weights: ``(k, heads)`` attention weights; each head's sum to 1.
    """

    level: int
    point: Tensor
    place: Tensor
    neighbors: Tensor
    weights: Tensor


@torch.no_grad()
def attended(model: GeoReg, fixed: PointCloud, moving: PointCloud, point: Tensor) -> list[Attended]:
    """Follows the fixed point nearest to a place through all steps, and returns what its attention weighs at each.

    Args:
        model: a :class:`GeoReg`.
        fixed: a single image or cloud.
        moving: likewise.
        point: ``(dim,)`` a place in fixed space, in mm.

    Returns:
        One entry per learned step, coarse to fine.

    Raises:
        GeogridError: for batches, and for models without attention.
    """
    if fixed.num_entries != 1 or moving.num_entries != 1:
        raise GeogridError(f"fixed, moving: expected one entry each, got {fixed.num_entries} and {moving.num_entries}")
    scale, start = finest_scale_of(fixed, moving), AffineTransform.identity(fixed.dim)
    pyramids = model.encode(fixed, moving, scale)
    frames = Frames.of(pyramids[0].levels[0].points, [start])
    found, before = [], torch.zeros_like(pyramids[0].levels[-1].points.pos)
    for step in model.decode(*pyramids, [start]):
        if step.learned:
            row = int((step.points.pos - point).square().sum(1).argmin())
            place = step.points.pos[row] + before[row]
            x = (pyramids[1].features[step.level], pyramids[0].features[step.level][row][None])
            neighbors, weights = _look(model.refine[step.level], x, pyramids[1].levels[step.level], frames, place)
            found.append(Attended(step.level, step.points.pos[row], place, neighbors, weights))
        before = step.displacement
    return found


def _look(
    layer: torch.nn.Module, x: tuple[Tensor, Tensor], level: Level, frames: Frames, place: Tensor
) -> tuple[Tensor, Tensor]:
    if not isinstance(layer, Refine):
        raise GeogridError(f"model: expected steps with attention, got {type(layer).__name__}; use a GeoReg")
    moved = level.moved(frames.of_moving)
    seen = map_points(frames.of_moving[0], place[None])
    table = moved.window(seen, torch.zeros(1, dtype=torch.int64, device=seen.device), layer.radius * moved.scale)
    weights = layer.attention(
        x, (moved.points.pos, seen), table, moved.log_measure, scale=moved.scale, return_attention=True
    ).weights[0]
    return level.points.pos[table.index[0][table.mask[0]]], weights[table.mask[0]]

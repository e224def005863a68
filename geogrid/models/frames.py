"""Coordinates in which a model computes: the fixed image's own axes, for both images of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.spatial import PointCloud
from geogrid.transforms import AffineTransform


@dataclass(frozen=True, eq=False)
class Frames:
    r"""Rigid motions of the world that bring the images of each pair to one place, and what is left of the start.

    With the fixed frame :math:`R`, its centre :math:`c` and the start :math:`A = Q S` (a rotation after a symmetric stretch),
    fixed points are seen as :math:`R^T (x - c)`, moving points as :math:`(QR)^T (y - A(c))`. In these coordinates the start is
    the stretch :math:`R^T S R` alone, the identity for rigid starts.

    Args:
        of_fixed: ``(num_entries, dim + 1, dim + 1)`` float64 motion of the fixed world per pair.
        of_moving: likewise of the moving world.
        stretch: ``(num_entries, dim, dim)`` float64.
    """

    of_fixed: Tensor
    of_moving: Tensor
    stretch: Tensor

    @classmethod
    def of(cls, fixed: PointCloud, starts: Sequence[AffineTransform]) -> Frames:
        """The frames of a batch of fixed clouds under their starts."""
        counts = fixed.counts().tolist()
        centers = [part.double().mean(0).cpu() if len(part) else part.new_zeros(fixed.dim) for part in fixed.pos.split(counts)]
        frames = [_frames(r, c.double(), start.matrix) for r, c, start in zip(fixed.frame, centers, starts, strict=True)]
        return cls(*(torch.stack(parts) for parts in zip(*frames, strict=True)))

    def to_world(self, vectors: Tensor, points: PointCloud) -> Tensor:
        """Displacements ``(num_points, dim)`` of fixed points, from their frame's axes to the world's."""
        return _apply(self.of_fixed[:, :-1, :-1].mT, vectors, points)

    def to_moving(self, places: Tensor, points: PointCloud) -> Tensor:
        """Places of fixed points, from fixed to moving space, ``(num_points, dim)``."""
        return _apply(self.stretch, places, points)

    def from_moving(self, vectors: Tensor, points: PointCloud) -> Tensor:
        """Displacements in moving space as displacements in fixed space, ``(num_points, dim)``."""
        return _apply(torch.linalg.inv(self.stretch), vectors, points)


def _frames(frame: Tensor, center: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    linear = start[:-1, :-1].double().cpu()
    left, lengths, right = torch.linalg.svd(linear)
    turn, stretch = left @ right, right.T @ torch.diag(lengths) @ right
    there = linear @ center + start[:-1, -1].double().cpu()
    return _motion(frame.T, center), _motion(frame.T @ turn.T, there), frame.T @ stretch @ frame


def _motion(rotation: Tensor, center: Tensor) -> Tensor:
    matrix = torch.eye(len(center) + 1, dtype=torch.float64)
    matrix[:-1, :-1], matrix[:-1, -1] = rotation, -rotation @ center
    return matrix


def _apply(matrices: Tensor, vectors: Tensor, points: PointCloud) -> Tensor:
    """One matrix per entry, applied to the vectors of its points."""
    if bool((matrices == torch.eye(points.dim, dtype=matrices.dtype)).all()):
        return vectors
    matrices = matrices.to(vectors)
    if points.num_entries == 1:
        return vectors @ matrices[0].T
    parts = zip(matrices, vectors.split(points.counts().tolist()), strict=True)
    return torch.cat([part @ matrix.T for matrix, part in parts])

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
        centers = _centers(fixed)
        matrices = torch.stack([start.matrix for start in starts]).to(torch.float64).cpu()
        linear = matrices[:, :-1, :-1]
        left, lengths, right = torch.linalg.svd(linear)
        turn, stretch = left @ right, right.mT @ (lengths[..., None] * right)
        there = (linear @ centers[..., None])[..., 0] + matrices[:, :-1, -1]
        back = fixed.frame.mT
        return cls(_motions(back, centers), _motions(back @ turn.mT, there), back @ stretch @ fixed.frame)

    def to_world(self, vectors: Tensor, points: PointCloud) -> Tensor:
        """Displacements ``(num_points, dim)`` of fixed points, from their frame's axes to the world's."""
        return _apply(self.of_fixed[:, :-1, :-1].mT, vectors, points)

    def to_moving(self, places: Tensor, points: PointCloud) -> Tensor:
        """Places of fixed points, from fixed to moving space, ``(num_points, dim)``."""
        return _apply(self.stretch, places, points)

    def from_moving(self, vectors: Tensor, points: PointCloud) -> Tensor:
        """Displacements in moving space as displacements in fixed space, ``(num_points, dim)``."""
        return _apply(torch.linalg.inv(self.stretch), vectors, points)


def _centers(cloud: PointCloud) -> Tensor:
    """Mean position of each entry, ``(num_entries, dim)`` float64; zero where there are no points."""
    counts = cloud.counts()
    sums = torch.zeros(cloud.num_entries, cloud.dim, dtype=torch.float64, device=cloud.pos.device)
    return sums.index_add(0, cloud.batch, cloud.pos.double()).cpu() / counts.clamp_min(1)[:, None]


def _motions(rotations: Tensor, centers: Tensor) -> Tensor:
    """Motions of the world that rotate about a centre and bring it to the origin, ``(num_entries, dim + 1, dim + 1)``."""
    count, dim = centers.shape
    matrices = torch.eye(dim + 1, dtype=torch.float64).repeat(count, 1, 1)
    matrices[:, :-1, :-1], matrices[:, :-1, -1] = rotations, -(rotations @ centers[..., None])[..., 0]
    return matrices


def _apply(matrices: Tensor, vectors: Tensor, points: PointCloud) -> Tensor:
    """One matrix per entry, applied to the vectors of its points."""
    if bool((matrices == torch.eye(points.dim, dtype=matrices.dtype)).all()):
        return vectors
    matrices = matrices.to(vectors)
    if points.num_entries == 1:
        return vectors @ matrices[0].T
    parts = zip(matrices, vectors.split(points.counts().tolist()), strict=True)
    return torch.cat([part @ matrix.T for matrix, part in parts])

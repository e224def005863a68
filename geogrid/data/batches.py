"""Pairs to learn from: two clouds each, and whatever is known about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import concatenate, subset
from geogrid.spatial import PointCloud


class Landmarks(NamedTuple):
    """Places that are known in both images of a pair.

    Args:
        fixed: ``(num_landmarks, dim)`` mm, in fixed space.
        moving: ``(num_landmarks, dim)`` mm, the same places in moving space.
        batch: ``(num_landmarks,)`` int64, sorted: the pair of each.
    """

    fixed: Tensor
    moving: Tensor
    batch: Tensor


@dataclass(frozen=True, eq=False)
class PairBatch:
    """A batch of pairs, entry b of the fixed cloud with entry b of the moving one, and what is known about them.

    A *twin* has other features at the same points: of a synthetic pair whose contrasts differ, both images as one contrast
    would show them. An image loss reads twins where there are any; a model never sees them.

    Args:
        fixed: one entry per pair, with features.
        moving: likewise.
        fixed_twin: ``(num_fixed_points, channels)`` features of the twin, or None.
        moving_twin: ``(num_moving_points, channels)`` likewise; both or neither.
        displacement: ``(num_fixed_points, dim)`` mm, the truth; NaN where nobody knows it.
        fixed_labels: ``(num_fixed_points,)`` integers, 0 the background.
        moving_labels: ``(num_moving_points,)`` likewise; both or neither.
        landmarks: of all pairs; a pair may have none.

    Raises:
        GeogridError: when the parts do not fit each other.

    Example:
        >>> from geogrid.spatial import to_cloud
        >>> batch = PairBatch(to_cloud(torch.rand(3, 8, 8)), to_cloud(torch.rand(3, 8, 8)))
        >>> batch.num_pairs, batch.entry(1).num_pairs
        (3, 1)
    """

    fixed: PointCloud
    moving: PointCloud
    fixed_twin: Tensor | None = None
    moving_twin: Tensor | None = None
    displacement: Tensor | None = None
    fixed_labels: Tensor | None = None
    moving_labels: Tensor | None = None
    landmarks: Landmarks | None = None

    def __post_init__(self) -> None:
        if self.fixed.num_entries != self.moving.num_entries:
            raise GeogridError(f"moving: expected {self.fixed.num_entries} entries like fixed, got {self.moving.num_entries}")
        for fixed, moving in (("fixed_twin", "moving_twin"), ("fixed_labels", "moving_labels")):
            if (getattr(self, fixed) is None) != (getattr(self, moving) is None):
                raise GeogridError(f"{fixed}, {moving}: expected both or neither, got one")
        for name in _PER_POINT:
            part, count = getattr(self, name), self._cloud(name).num_points
            if part is not None and len(part) != count:
                raise GeogridError(f"{name}: expected {count} rows, one per point, got {len(part)}")

    @property
    def num_pairs(self) -> int:
        """Number of pairs."""
        return self.fixed.num_entries

    @property
    def scored(self) -> tuple[PointCloud, PointCloud]:
        """The clouds an image loss compares: with the twins' features, where there are any."""
        if self.fixed_twin is None or self.moving_twin is None:
            return self.fixed, self.moving
        return self.fixed.with_features(self.fixed_twin), self.moving.with_features(self.moving_twin)

    def entry(self, number: int) -> PairBatch:
        """One pair as a batch of its own."""
        parts = self._parts(self.fixed.rows(number), self.moving.rows(number))
        landmarks = self.landmarks
        if landmarks is not None:
            mine = landmarks.batch == number
            landmarks = Landmarks(landmarks.fixed[mine], landmarks.moving[mine], landmarks.batch[mine] - number)
        return PairBatch(self.fixed.entry(number), self.moving.entry(number), **parts, landmarks=landmarks)

    def subset(self, fixed: Tensor, moving: Tensor) -> PairBatch:
        """The pairs at some of their points (:func:`geogrid.graph.subset`), with what is known there; landmarks stay.

        Args:
            fixed: ``(num_kept,)`` int64 rows of the fixed points, ascending.
            moving: likewise of the moving points.
        """
        parts = self._parts(fixed, moving)
        return PairBatch(subset(self.fixed, fixed), subset(self.moving, moving), **parts, landmarks=self.landmarks)

    def to(self, device: torch.device | str) -> PairBatch:
        """The batch with its points on ``device``."""
        parts = {name: _on(getattr(self, name), device) for name in _PER_POINT}
        landmarks = None if self.landmarks is None else Landmarks(*(part.to(device) for part in self.landmarks))
        return replace(self, fixed=self.fixed.to(device), moving=self.moving.to(device), landmarks=landmarks, **parts)

    def _cloud(self, name: str) -> PointCloud:
        return self.moving if name.startswith("moving") else self.fixed

    def _parts(self, fixed: slice | Tensor, moving: slice | Tensor) -> dict[str, Tensor | None]:
        """What is known per point, at some rows of the fixed and of the moving points."""
        rows = {name: moving if name.startswith("moving") else fixed for name in _PER_POINT}
        known = {name: getattr(self, name) for name in _PER_POINT}
        return {name: None if part is None else part[rows[name]] for name, part in known.items()}


_PER_POINT = ("fixed_twin", "moving_twin", "displacement", "fixed_labels", "moving_labels")


def collate_pairs(batches: Sequence[PairBatch]) -> PairBatch:
    """Several batches as one, their pairs in order; images may differ in size.

    Args:
        batches: of one dimension, all lattices or all scattered; what one knows about its pairs all must know, but for
            landmarks, of which a pair may have none.

    Raises:
        GeogridError: when they do not fit each other.

    Example:
        >>> from geogrid.spatial import to_cloud
        >>> small, large = to_cloud(torch.rand(1, 8, 8)), to_cloud(torch.rand(1, 12, 10))
        >>> collate_pairs([PairBatch(small, large), PairBatch(large, small)]).moving.counts()
        tensor([120,  64])
    """
    batches = list(batches)
    if len({batch.fixed.dim for batch in batches}) != 1:
        raise GeogridError(f"batches: expected at least one, all 2-D or all 3-D, got {[batch.fixed.dim for batch in batches]}")
    parts = {name: _joined(name, [getattr(batch, name) for batch in batches]) for name in _PER_POINT}
    fixed, moving = concatenate([batch.fixed for batch in batches]), concatenate([batch.moving for batch in batches])
    return PairBatch(fixed, moving, **parts, landmarks=_joined_landmarks(batches))


def _joined(name: str, parts: list[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    if len(known) not in (0, len(parts)):
        raise GeogridError(f"{name}: expected all batches to have it or none, got {len(known)} of {len(parts)} with")
    return torch.cat(known) if known else None


def _joined_landmarks(batches: list[PairBatch]) -> Landmarks | None:
    first = [sum(batch.num_pairs for batch in batches[:number]) for number in range(len(batches))]
    known = [(batch.landmarks, start) for batch, start in zip(batches, first, strict=True) if batch.landmarks is not None]
    if not known:
        return None
    cat: Callable[[list[Tensor]], Tensor] = torch.cat
    return Landmarks(
        cat([marks.fixed for marks, _ in known]),
        cat([marks.moving for marks, _ in known]),
        cat([marks.batch + start for marks, start in known]),
    )


def _on(part: Tensor | None, device: torch.device | str) -> Tensor | None:
    return None if part is None else part.to(device)

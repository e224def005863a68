"""Pairs of point sets from a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from geogrid.data import PairBatch
from geogrid.errors import GeogridError
from geogrid.graph import point_volumes
from geogrid.io import read_points
from geogrid.io.points import POINT_SUFFIXES
from geogrid.optimize.points.network import counted_pair
from geogrid.spatial import PointCloud
from geogrid.training.file_pairs import FilePairs


@dataclass(frozen=True)
class PointsConfig:
    """Pairs of point sets in a folder, all of them with each other in both directions, or those of a list.

    Every point has one feature, the number 1, so that only where points are tells them apart; or none, for a model of
    ``in_channels: 0`` such as ``points-3d``.

    Args:
        folder: of point files in world mm (CSV, GIFTI, PLY, VTK).
        pairs: CSV table with the columns ``fixed`` and ``moving``, names of files in the folder; default all pairs.
        pattern: of the names of the files.
        coordinates: ``ras`` or ``lps``.
        corresponding: whether row i is the same point in all files; the truth is then known.
        bare: whether a model sees points as :func:`geogrid.optimize.register_points` shows them: without features, lengths in
            spacings of the pair, every point counts the same.
        keep: point sets that stay in memory.

    Raises:
        GeogridError: for values out of their range.
    """

    folder: str
    pairs: str | None = None
    pattern: str = "*.csv"
    coordinates: Literal["ras", "lps"] = "ras"
    corresponding: bool = False
    bare: bool = False
    keep: int = 1024

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise GeogridError(f"keep: expected a whole number from 1 up, got {self.keep}")


class PointPairs:
    """A stream of pairs in rounds: every pair comes once, in random order, before any comes again.

    Args:
        config: the folder.
        seed: of the order.

    Raises:
        GeogridError: naming the folder, list or file that cannot be used.
    """

    def __init__(self, config: PointsConfig, seed: int) -> None:
        self.config = config
        self.pairs = FilePairs(config, POINT_SUFFIXES, "point sets", self._read, seed)

    @property
    def num_pairs(self) -> int:
        """Number of different pairs."""
        return len(self.pairs)

    def draw(self, number: int) -> PairBatch:
        """The pair of a number."""
        names, fixed, moving = self.pairs.draw(number)
        if fixed.dim != moving.dim:
            raise GeogridError(f"{names[0]}, {names[1]}: expected points of one dimension, got 2-D and 3-D")
        if self.config.bare:
            fixed, moving, _ = counted_pair(fixed.pos, moving.pos)
        if not self.config.corresponding:
            return PairBatch(fixed, moving)
        if fixed.num_points != moving.num_points:
            raise GeogridError(
                f"{names[0]}, {names[1]}: expected as many points, row by row the same, got {fixed.num_points} and "
                f"{moving.num_points}; or set corresponding to false"
            )
        return PairBatch(fixed, moving, displacement=moving.pos - fixed.pos)

    def _read(self, name: str) -> PointCloud:
        pos = read_points(self.pairs.files[name], coordinates=self.config.coordinates).points.float()
        measure = point_volumes(pos, dimension=pos.shape[1]).measure
        return PointCloud.from_points(pos, measure, torch.ones_like(pos[:, :1]))

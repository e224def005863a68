"""Where pairs come from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

from geogrid.data import PairBatch
from geogrid.errors import GeogridError
from geogrid.training.digits import DigitPairs, DigitsConfig
from geogrid.training.folders import ImagePairs, ImagesConfig
from geogrid.training.point_sets import PointPairs, PointsConfig
from geogrid.training.worlds import WorldPairs, WorldsConfig


class PairSource(Protocol):
    """A stream of pairs in which every pair has a number, so that any process can make any of them at any time."""

    @property
    def num_pairs(self) -> int | None:
        """How many different pairs there are, where pairs repeat after that; None for a stream without end."""

    def draw(self, number: int) -> PairBatch:
        """The pair of a number from 0 up; the same number always gives the same pair."""


@dataclass(frozen=True)
class DataConfig:
    """Where pairs come from: exactly one of the kinds.

    Args:
        mnist: handwritten digits.
        images: a folder of images.
        points: a folder of point sets.
        synthetic: synthetic worlds.

    Raises:
        GeogridError: when none or several are given.
    """

    mnist: DigitsConfig | None = None
    images: ImagesConfig | None = None
    points: PointsConfig | None = None
    synthetic: WorldsConfig | None = None

    def __post_init__(self) -> None:
        names = [f.name for f in fields(self)]
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            raise GeogridError(f"expected exactly one of {', '.join(names)}, got {' and '.join(given) or 'none'}")


def make_source(config: DataConfig, seed: int) -> PairSource:
    """The pairs that a configuration describes.

    Args:
        config: which kind, and its settings.
        seed: of everything random about them.

    Raises:
        GeogridError: naming the file that cannot be used.
    """
    if config.mnist is not None:
        return DigitPairs(config.mnist, seed)
    if config.images is not None:
        return ImagePairs(config.images, seed)
    if config.points is not None:
        return PointPairs(config.points, seed)
    assert config.synthetic is not None
    return WorldPairs(config.synthetic, seed)

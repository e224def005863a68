"""Where pairs come from."""

from __future__ import annotations

from dataclasses import dataclass, fields

from geogrid.errors import GeogridError
from geogrid.training.clouds import CloudPairs, CloudsConfig
from geogrid.training.digits import DigitPairs, DigitsConfig
from geogrid.training.folders import ImagePairs, ImagesConfig
from geogrid.training.point_sets import PointPairs, PointsConfig
from geogrid.training.samplings import SampledPairs, SamplingConfig
from geogrid.training.stream import PairSource
from geogrid.training.worlds import WorldPairs, WorldsConfig


@dataclass(frozen=True)
class DataConfig:
    """Where pairs come from: exactly one of the kinds; and how they are sampled.

    Args:
        mnist: handwritten digits.
        images: a folder of images.
        points: a folder of point sets.
        synthetic: synthetic worlds.
        clouds: synthetic point sets without correspondences.
        sampling: what part of the points of a pair is seen; default all.

    Raises:
        GeogridError: when none or several are given.
    """

    mnist: DigitsConfig | None = None
    images: ImagesConfig | None = None
    points: PointsConfig | None = None
    synthetic: WorldsConfig | None = None
    clouds: CloudsConfig | None = None
    sampling: SamplingConfig | None = None

    def __post_init__(self) -> None:
        names = [f.name for f in fields(self) if f.name != "sampling"]
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            raise GeogridError(f"expected exactly one of {', '.join(names)}, got {' and '.join(given) or 'none'}")


def make_source(config: DataConfig, seed: int, batch: int = 1) -> PairSource:
    """The pairs that a configuration describes.

    Args:
        config: which kind, and its settings.
        seed: of everything random about them.
        batch: pairs of a step, on all devices together, for a sampling without a group of its own.

    Raises:
        GeogridError: naming the file that cannot be used.
    """
    source = _whole(config, seed)
    return source if config.sampling is None else SampledPairs(source, config.sampling, seed, batch)


def _whole(config: DataConfig, seed: int) -> PairSource:
    if config.mnist is not None:
        return DigitPairs(config.mnist, seed)
    if config.images is not None:
        return ImagePairs(config.images, seed)
    if config.points is not None:
        return PointPairs(config.points, seed)
    if config.clouds is not None:
        return CloudPairs(config.clouds, seed)
    assert config.synthetic is not None
    return WorldPairs(config.synthetic, seed)

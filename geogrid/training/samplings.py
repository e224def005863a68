"""Pairs of which a part of the points is seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.data import PairBatch
from geogrid.errors import GeogridError
from geogrid.graph import random_rows
from geogrid.spatial import PointCloud
from geogrid.training.draws import generator_of
from geogrid.training.stream import PairSource

SAMPLING = 2
"""What random numbers are for, beside the pairs themselves."""


@dataclass(frozen=True)
class SamplingConfig:
    """How often, and which, random parts of the points are seen instead of all of them, of either image a part of its own.

    A network that shall serve scattered samples learns from them here. What is known at a point (labels, twins, the true
    displacement) comes along; landmarks stay.

    Args:
        probability: that a group of pairs is sampled; the others are seen whole.
        share: range of the share of its points that an image keeps, drawn evenly in its logarithm.
        gradient: the largest ratio of the density at the two ends of an image, along a random direction; 1 for even ones.
        group: pairs in a row that are all sampled or all whole; give it the batch of all devices together, for a batch is of
            lattices or of scattered points.

    Raises:
        GeogridError: for values out of their range.
    """

    probability: float = 0.5
    share: tuple[float, float] = (0.05, 1.0)
    gradient: float = 1.0
    group: int = 1

    def __post_init__(self) -> None:
        low, high = self.share
        if not (0 <= self.probability <= 1 and 0 < low <= high <= 1 and self.gradient >= 1 and self.group >= 1):
            raise GeogridError(
                "expected probability in [0, 1], share in (0, 1] from small to large, gradient and group from 1 up, got "
                f"{self.probability}, {self.share}, {self.gradient}, {self.group}"
            )


class SampledPairs:
    """A source of pairs of which some are seen at a part of their points.

    Args:
        source: of whole pairs.
        config: how often, and what part.
        seed: of the draw.
    """

    def __init__(self, source: PairSource, config: SamplingConfig, seed: int) -> None:
        self.source, self.config, self.seed = source, config, seed

    @property
    def num_pairs(self) -> int | None:
        """As many as the source has."""
        return self.source.num_pairs

    def draw(self, number: int) -> PairBatch:
        """The pair of a number."""
        pair, config = self.source.draw(number), self.config
        chance = torch.rand(1, generator=generator_of(self.seed, SAMPLING, 0, number // config.group))
        if float(chance) >= config.probability:
            return pair
        return sampled_pair(pair, config, generator_of(self.seed, SAMPLING, 1, number))


def sampled_pair(pair: PairBatch, config: SamplingConfig, generator: torch.Generator) -> PairBatch:
    """A pair at a random part of its points, whatever the probability says.

    Args:
        pair: lattices or scattered points.
        config: what part.
        generator: on the CPU.

    Example:
        >>> from geogrid.spatial import to_cloud
        >>> pair = PairBatch(to_cloud(torch.rand(1, 8, 8)), to_cloud(torch.rand(1, 8, 8)))
        >>> part = sampled_pair(pair, SamplingConfig(share=(0.25, 0.25)), torch.Generator().manual_seed(0))
        >>> part.fixed.num_points, part.moving.num_points
        (16, 16)
    """
    return pair.subset(_rows(pair.fixed, config, generator), _rows(pair.moving, config, generator))


def _rows(cloud: PointCloud, config: SamplingConfig, generator: torch.Generator) -> Tensor:
    draws = torch.rand(2, generator=generator).tolist()
    low, high = (math.log(share) for share in config.share)
    share, gradient = math.exp(low + draws[0] * (high - low)), config.gradient ** draws[1]
    return random_rows(cloud, min(share, 1.0), generator, gradient)

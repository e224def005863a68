"""Pairs that are seen at a part of their points, or on other pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from geogrid.data import PairBatch
from geogrid.errors import GeogridError
from geogrid.graph import random_rows
from geogrid.spatial import PointCloud, resample_cloud
from geogrid.training.draws import generator_of
from geogrid.training.stream import PairSource

SAMPLING = 2
"""What random numbers are for, beside the pairs themselves."""


@dataclass(frozen=True)
class SamplingConfig:
    """How often, and how, pairs are sampled otherwise: at random parts of their points, or on finer or coarser pixels.

    A network that shall serve scattered samples, or other resolutions, learns from them here. Of a pair seen at parts of its
    points either image keeps a part of its own. What is known at a point (labels, twins, the true displacement) comes along;
    landmarks stay.

    Args:
        probability: that a group of pairs is seen at random parts of its points.
        share: range of the share of its points that an image keeps, drawn evenly in its logarithm.
        gradient: the largest ratio of the density at the two ends of an image, along a random direction; 1 for even ones.
        resampled: probability that a group of pairs is seen on other pixels (:func:`geogrid.spatial.resample_cloud`).
        factors: spacings relative to the images' own, per axis, of which one is drawn then; whole numbers, or one over them.
        group: pairs in a row that are sampled alike; None: the batch of all devices together, for a batch is of lattices or of
            scattered points.

    Raises:
        GeogridError: for values out of their range.
    """

    probability: float = 0.5
    share: tuple[float, float] = (0.05, 1.0)
    gradient: float = 1.0
    resampled: float = 0.0
    factors: tuple[tuple[float, ...], ...] = ()
    group: int | None = 1

    def __post_init__(self) -> None:
        low, high = self.share
        if not (0 < low <= high <= 1 and self.gradient >= 1 and (self.group is None or self.group >= 1)):
            raise GeogridError(
                "expected share in (0, 1] from small to large, gradient and group from 1 up, got "
                f"{self.share}, {self.gradient}, {self.group}"
            )
        if min(self.probability, self.resampled) < 0 or self.probability + self.resampled > 1:
            raise GeogridError(
                f"probability, resampled: expected shares of 1 together, got {self.probability} and {self.resampled}"
            )
        if self.resampled and not (self.factors and all(min(factor) > 0 for factor in self.factors)):
            raise GeogridError(f"factors: expected positive spacings per axis, one of them at least, got {self.factors}")


class SampledPairs:
    """A source of pairs of which some are seen at a part of their points.

    Args:
        source: of whole pairs.
        config: how often, and what part.
        seed: of the draw.
        batch: the group where the configuration says None.
    """

    def __init__(self, source: PairSource, config: SamplingConfig, seed: int, batch: int = 1) -> None:
        self.source, self.config, self.seed, self.group = source, config, seed, config.group or batch

    @property
    def num_pairs(self) -> int | None:
        """As many as the source has."""
        return self.source.num_pairs

    def draw(self, number: int) -> PairBatch:
        """The pair of a number."""
        pair, config = self.source.draw(number), self.config
        chance, which = torch.rand(2, generator=generator_of(self.seed, SAMPLING, 0, number // self.group)).tolist()
        if chance < config.probability:
            return sampled_pair(pair, config, generator_of(self.seed, SAMPLING, 1, number))
        if chance < config.probability + config.resampled:
            return resampled_pair(pair, config.factors[int(which * len(config.factors))])
        return pair


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


def resampled_pair(pair: PairBatch, factor: Sequence[float]) -> PairBatch:
    """A pair on pixels of another size: the mean of what they hold, or interpolated; the label of the largest share.

    Args:
        pair: of lattices of one shape and spacing on each side.
        factor: spacing relative to the images' own, per axis.

    Raises:
        GeogridError: for scattered points, and for sizes that are no multiple of the factor.

    Example:
        >>> from geogrid.spatial import to_cloud
        >>> pair = PairBatch(to_cloud(torch.rand(1, 8, 8)), to_cloud(torch.rand(1, 8, 8)))
        >>> resampled_pair(pair, (1.0, 2.0)).fixed.lattices[0].shape
        (8, 4)
    """
    fixed, twin, truth = _resampled(pair.fixed, (pair.fixed_twin, pair.displacement), factor)
    moving, other_twin = _resampled(pair.moving, (pair.moving_twin,), factor)
    return PairBatch(
        fixed, moving, twin, other_twin, truth, _relabelled(pair.fixed, pair.fixed_labels, factor),
        _relabelled(pair.moving, pair.moving_labels, factor), pair.landmarks,
    )  # fmt: skip


def _resampled(cloud: PointCloud, known: Sequence[Tensor | None], factor: Sequence[float]) -> tuple[Any, ...]:
    """The cloud and what is known at its points, on other pixels."""
    parts = [part for part in (cloud.x, *known) if part is not None]
    spacing = [size * times for size, times in zip(cloud.spacing[0].tolist(), factor, strict=False)]
    found = resample_cloud(cloud.with_features(torch.cat(parts, 1)), spacing)
    assert found.x is not None
    columns = iter(found.x.split([part.shape[1] for part in parts], 1))
    x, *others = [None if part is None else next(columns) for part in (cloud.x, *known)]
    return found.with_features(x), *others


def _relabelled(cloud: PointCloud, labels: Tensor | None, factor: Sequence[float]) -> Tensor | None:
    """Of every new pixel the label that has the largest share of it."""
    if labels is None:
        return None
    names, number = labels.unique(return_inverse=True)
    shares = torch.nn.functional.one_hot(number, len(names)).to(cloud.pos.dtype)
    found: PointCloud = _resampled(cloud.with_features(shares), (), factor)[0]
    assert found.x is not None
    return names[found.x.argmax(1)]  # type: ignore[no-any-return]


def _rows(cloud: PointCloud, config: SamplingConfig, generator: torch.Generator) -> Tensor:
    draws = torch.rand(2, generator=generator).tolist()
    low, high = (math.log(share) for share in config.share)
    share, gradient = math.exp(low + draws[0] * (high - low)), config.gradient ** draws[1]
    return random_rows(cloud, min(share, 1.0), generator, gradient)

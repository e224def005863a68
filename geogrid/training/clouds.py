"""Synthetic pairs of point sets."""

from __future__ import annotations

from dataclasses import dataclass

from geogrid.data import PairBatch, PointPairConfig, random_point_pair
from geogrid.errors import GeogridError
from geogrid.optimize.points.network import counted_pair
from geogrid.training.draws import generator_of, shuffled_place


@dataclass(frozen=True)
class CloudsConfig:
    """Synthetic pairs of point sets without end (:func:`geogrid.data.random_point_pair`); the truth is known.

    Lengths of every pair are divided by its spacing, and every point counts the same, as
    :func:`geogrid.optimize.register_points` shows clouds to a network.

    Args:
        kinds: in rounds, in each of which every kind comes once, in random order.

    Raises:
        GeogridError: without kinds, or for kinds of several dimensions.
    """

    kinds: tuple[PointPairConfig, ...]

    def __post_init__(self) -> None:
        if len({kind.dim for kind in self.kinds}) != 1:
            raise GeogridError(f"kinds: expected one or more, all 2-D or all 3-D, got {[kind.dim for kind in self.kinds]}")


class CloudPairs:
    """An endless stream of synthetic pairs of point sets.

    Args:
        config: their kinds.
        seed: of everything about them.
    """

    num_pairs = None

    def __init__(self, config: CloudsConfig, seed: int) -> None:
        self.config, self.seed = config, seed

    def draw(self, number: int) -> PairBatch:
        """The pair of a number, without features."""
        kinds = self.config.kinds
        kind = kinds[shuffled_place(number, len(kinds), self.seed)]
        pair = random_point_pair(generator_of(self.seed, 0, number), kind)
        fixed, moving, spacing = counted_pair(pair.fixed, pair.moving)
        return PairBatch(fixed, moving, displacement=pair.displacement / spacing)

"""Pairs of synthetic worlds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from geogrid.data import PairBatch, SyntheticConfig, pair_fields, read_label_maps, scattered_fields, synthesize
from geogrid.errors import GeogridError
from geogrid.training.draws import generator_of, shuffled_place


@dataclass(frozen=True)
class WorldsConfig:
    """Synthetic pairs without end, of one or several kinds (:func:`geogrid.data.synthesize`); the truth is known.

    Args:
        kinds: in rounds, in each of which every kind comes once, in random order; repeat one to see it more often.
        group: pairs in a row that share their kind; give it the batch, for images of one batch are fastest of one shape.
        maps: label map, or folder of label maps, for worlds of kind ``maps``.
        map_spacing: mm to which label maps are pooled.
        labels: whether pairs have labels.
        num_points: seen at so many random positions of each image instead of at its voxels; labels come with them.
        device: where pairs are made: ``cpu``, or ``cuda`` (with ``workers: 0``).

    Raises:
        GeogridError: without kinds, for kinds of several dimensions, or values out of their range.
    """

    kinds: tuple[SyntheticConfig, ...]
    group: int = 1
    maps: str | None = None
    map_spacing: float | None = None
    labels: bool = False
    num_points: int | None = None
    device: Literal["cpu", "cuda"] = "cpu"

    def __post_init__(self) -> None:
        if len({kind.dim for kind in self.kinds}) != 1:
            raise GeogridError(f"kinds: expected one or more, all 2-D or all 3-D, got {[kind.dim for kind in self.kinds]}")
        if self.group < 1 or (self.num_points is not None and self.num_points < 1):
            raise GeogridError(f"group, num_points: expected whole numbers from 1 up, got {self.group}, {self.num_points}")


class WorldPairs:
    """An endless stream of synthetic pairs.

    Args:
        config: their kinds.
        seed: of everything about them.

    Raises:
        GeogridError: naming the label map that cannot be used.
    """

    num_pairs = None

    def __init__(self, config: WorldsConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.maps = () if config.maps is None else read_label_maps(config.maps, config.map_spacing)

    def draw(self, number: int) -> PairBatch:
        """The pair of a number."""
        config, generator = self.config, generator_of(self.seed, 0, number)
        kind = config.kinds[shuffled_place(number // config.group, len(config.kinds), self.seed)]
        pair = synthesize(kind, generator, maps=self.maps, device=config.device)
        if config.num_points is None:
            return PairBatch(**pair_fields([pair], labels=config.labels))
        return PairBatch(**scattered_fields([pair], config.num_points, generator))

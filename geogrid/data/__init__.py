"""Pairs to register, and samples to try things on."""

from geogrid.data.pair import Pair, read_pair
from geogrid.data.samples import mni152, mni152_tissues
from geogrid.data.scanner import Scan, simulate_scan

__all__ = ["Pair", "Scan", "mni152", "mni152_tissues", "read_pair", "simulate_scan"]

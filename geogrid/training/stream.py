"""What a source of pairs is."""

from __future__ import annotations

from typing import Protocol

from geogrid.data import PairBatch


class PairSource(Protocol):
    """A stream of pairs in which every pair has a number, so that any process can make any of them at any time."""

    @property
    def num_pairs(self) -> int | None:
        """How many different pairs there are, where pairs repeat after that; None for a stream without end."""

    def draw(self, number: int) -> PairBatch:
        """The pair of a number from 0 up; the same number always gives the same pair."""

"""What an optimisation reports while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class HistoryEntry:
    """One evaluation of a loss.

    Args:
        stage: ``affine`` or ``deformable``.
        level: 0 is the finest.
        iteration: counts from 0 within a level.
        loss: the value; lower is better, comparable within a level only.
    """

    stage: str
    level: int
    iteration: int
    loss: float


Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of the whole work that is finished, in [0, 1]."""


def no_progress(message: str, fraction: float) -> None:
    """Reports nothing."""


def part_of(progress: Progress, begin: float, length: float) -> Progress:
    """A progress whose 0 to 1 is the part of the whole work from ``begin`` on, ``length`` long."""
    return lambda message, fraction: progress(message, begin + length * fraction)

"""EM with a standard deviation that falls step by step."""

from __future__ import annotations

import math

from torch import Tensor

from geogrid.optimize.history import HistoryEntry
from geogrid.optimize.points.assign import Assigner
from geogrid.optimize.points.fit import SmoothFit

FEWEST = 0.01
"""With less than this much of a match the map stays what it is."""


def falling(begin: float, end: float, steps: int) -> list[float]:
    """A geometric sequence from begin to end; never rising."""
    end = min(begin, end)
    return [begin * (end / begin) ** (step / max(1, steps - 1)) for step in range(steps)]


def anneal(
    stage: str,
    level: int,
    assigner: Assigner,
    fit: SmoothFit,
    theta: Tensor,
    sigmas: list[float],
    basis: Tensor | None = None,
) -> tuple[Tensor, list[HistoryEntry]]:
    """Alternates assignment and fit along a sequence of standard deviations.

    Args:
        stage: name in the history.
        level: number in the history, 0 the finest.
        assigner: the E-step.
        fit: the M-step.
        theta: coefficients to begin with.
        sigmas: one per step.
        basis: rows of the fit at the assigner's fixed points, where they are known.

    Returns:
        The coefficients and the loss at each step.
    """
    points = assigner.fixed.points
    basis = fit.basis(points) if basis is None else basis
    history = []
    for step, sigma in enumerate(sigmas):
        found = assigner(points + basis @ theta, sigma)
        if float(found.weight.sum()) >= FEWEST:
            theta = fit.solve(basis, found.target - points, found.weight / sigma**2)
        history.append(HistoryEntry(stage, level, step, found.loss + points.shape[1] * math.log(sigma)))
    return theta, history

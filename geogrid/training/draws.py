"""Random numbers that depend on what they are for, not on when they are drawn."""

from __future__ import annotations

import numpy as np
import torch


def generator_of(seed: int, *numbers: int) -> torch.Generator:
    """A source of random numbers for one purpose, on the CPU; other numbers give independent ones.

    Example:
        >>> first, again = (torch.rand(1, generator=generator_of(0, 7)) for _ in range(2))
        >>> bool(first == again)
        True
    """
    state = np.random.SeedSequence([seed, len(numbers), *numbers]).generate_state(1)
    return torch.Generator().manual_seed(int(state[0]))


def shuffled_place(number: int, count: int, seed: int) -> int:
    """The place of a number in an endless row of shuffled rounds, in each of which every one of ``count`` comes once."""
    turn, place = divmod(number, count)
    return int(torch.randperm(count, generator=generator_of(seed, turn))[place])

"""How many threads a piece of work is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

FEW_POINTS = 200_000
"""Below this many points, sharing an operation among threads costs more than it saves (decision 5)."""


@contextmanager
def threads_for(num_points: int) -> Iterator[None]:
    """Lets torch use a single thread for work on few points, and as many as before otherwise and afterwards."""
    before = torch.get_num_threads()
    if num_points < FEW_POINTS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

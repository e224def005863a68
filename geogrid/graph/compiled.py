"""When loops compiled by Numba serve, and how they share out their work."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor


@functools.cache
def available() -> bool:
    """Whether Numba is installed."""
    return importlib.util.find_spec("numba") is not None


def serves(tensor: Tensor) -> bool:
    """Whether compiled loops can run over a tensor: Numba is installed and the tensor is on the processor."""
    return available() and tensor.device.type == "cpu"


def share_out(count: int, work: Callable[[int, int], None]) -> None:
    """Runs ``work(first, last)`` over a range, on as many threads as PyTorch uses."""
    threads = min(torch.get_num_threads(), max(1, count // 256))
    if threads == 1:
        return work(0, count)
    bounds = [count * n // threads for n in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, bounds[:-1], bounds[1:]))
    return None

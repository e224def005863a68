"""Random numbers with a say in which device they end up on; they are always drawn on the generator's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """One number from a range."""
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64, device=generator.device))


def choice(generator: torch.Generator, options: Sequence[T]) -> T:
    """One of several things, all equally likely."""
    return options[int(torch.randint(len(options), (), generator=generator, device=generator.device))]


def normal(generator: torch.Generator, shape: Sequence[int], device: torch.device | str) -> Tensor:
    """Standard normal numbers, float32."""
    return torch.randn(tuple(shape), generator=generator, device=generator.device).to(device)


def direction(generator: torch.Generator, dim: int) -> Tensor:
    """A unit vector, ``(dim,)`` float64 on the CPU."""
    vector = torch.randn(dim, generator=generator, dtype=torch.float64, device=generator.device).cpu()
    unit: Tensor = vector / vector.norm()
    return unit


def rotation(generator: torch.Generator, dim: int, degrees: float) -> Tensor:
    """The turn by ``degrees`` about a random axis (3-D) or to a random side (2-D), ``(dim, dim)`` float64 on the CPU."""
    axis = direction(generator, dim * (dim - 1) // 2)
    skew = torch.zeros(dim, dim, dtype=torch.float64)
    rows, columns = torch.triu_indices(dim, dim, offset=1)
    skew[rows, columns] = axis * math.radians(degrees)
    turned: Tensor = torch.linalg.matrix_exp(skew - skew.T)
    return turned

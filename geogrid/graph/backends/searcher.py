"""What every back end returns."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FLOAT32_ERROR = 2.0**-18
"""Bound on the error of a distance between positions in [-1, 1]^3 rounded to float32, any order of operations."""
FLOAT64_ERROR = 2.0**-46
"""The same for float64."""
MAX_K_CUDA = 100
"""The largest k of PyG's kernels on CUDA."""


@dataclass(frozen=True)
class Searcher:
    """A search for candidates among one cloud.

    Args:
        nearest: takes ``(n, dim)`` float64 queries and k, not more than there are context points; returns ``(n, k)`` int64
            distinct rows of the context such that no point left out is nearer than any of them by more than ``2 error``.
        error: bound in mm on the error of the distances it compares.
        max_k: the largest k it can do, if it has a limit.
    """

    nearest: Callable[[Tensor, int], Tensor]
    error: float
    max_k: int | None = None


def normalisation(context: Tensor, query: Tensor) -> tuple[Tensor, float]:
    """A centre and a length that bring both clouds into [-1, 1]^dim, so that rounding to float32 has a known error."""
    low, high = context.amin(0), context.amax(0)
    center = (low + high) / 2
    length = max(float((context - center).abs().amax()), float((query - center).abs().amax()))
    return center, length if length > 0 else 1.0


def edge_searcher(knn: Callable[[Tensor, Tensor, int], Tensor], context: Tensor, query: Tensor) -> Searcher:
    """A search by PyG's kernels: in float64, scaled since they drop distances above 1e5.

    Args:
        knn: takes context, query and k; returns ``(2, num_query * k)`` edges, row 0 query, row 1 context, sorted by query.
        context: ``(num_context, dim)`` float64 positions in mm.
        query: the same for the query points.
    """
    center, length = normalisation(context, query)
    senders = ((context - center) / length).contiguous()

    def nearest(rows: Tensor, k: int) -> Tensor:
        return knn(senders, ((rows - center) / length).contiguous(), k)[1].reshape(len(rows), k)

    return Searcher(nearest, FLOAT64_ERROR * length, MAX_K_CUDA if context.is_cuda else None)


def missing_package(module: str, extra: str, pip: str) -> str | None:
    """None when the module can be imported, else why not and the line that installs it."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a wheel built for another torch fails with OSError or RuntimeError, not ImportError
        why = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({_first_line(error)})"
        return f"{module.split('.')[0]} {why}; get it with: pip install {pip} (or geogrid[{extra}])"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def contiguous32(points: Tensor, center: Tensor, length: float) -> Tensor:
    """Float64 positions, centred and scaled, in float32."""
    return ((points - center) / length).to(torch.float32).contiguous()

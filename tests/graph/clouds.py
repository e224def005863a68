"""Clouds for the tests of this folder: scattered, on integer lattices (exact ties), with duplicates and empty batch entries."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from geogrid.graph import implementation_status

REQUIRED = [name for name in os.environ.get("GEOGRID_REQUIRE_IMPLEMENTATION", "").split(",") if name]


def usable(name: str) -> str:
    """The name, if that implementation can be used here; else skips, or fails where it is required."""
    reason = implementation_status()[name]
    if reason is not None and name in REQUIRED:
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)
    return name


@dataclass(frozen=True)
class Clouds:
    context: Tensor
    query: Tensor
    batch_context: Tensor
    batch_query: Tensor

    @property
    def batches(self) -> dict[str, Tensor]:
        return {"batch_context": self.batch_context, "batch_query": self.batch_query}

    def to(self, device: str) -> Clouds:
        return Clouds(*(t.to(device) for t in (self.context, self.query, self.batch_context, self.batch_query)))


@st.composite
def clouds(draw: st.DrawFn, max_points: int = 30) -> Clouds:
    """Two clouds; the coordinates are small integers, multiples of an awkward step, or anything."""
    dim = draw(st.sampled_from([2, 3]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    kind = draw(st.sampled_from(["lattice", "awkward", "any"]))
    integers = st.integers(-2, 2)
    coordinate = {
        "lattice": integers.map(float),
        "awkward": integers.map(lambda n: 0.1 * n + 1000.0),
        "any": st.floats(-1e4, 1e4, width=32, allow_nan=False),
    }[kind]
    point = st.lists(coordinate, min_size=dim, max_size=dim)
    sets = [draw(st.lists(point, max_size=max_points)) for _ in range(2)]
    positions = [torch.tensor(s, dtype=dtype).reshape(-1, dim) for s in sets]
    entry = st.sampled_from([0, 1, 3])
    batches = [sorted(draw(st.lists(entry, min_size=len(s), max_size=len(s)))) for s in sets]
    return Clouds(*positions, *(torch.tensor(b, dtype=torch.int64) for b in batches))


def lattice(shape: tuple[int, ...], spacing: tuple[float, ...]) -> Tensor:
    axes = [torch.arange(n, dtype=torch.float64) * s for n, s in zip(shape, spacing, strict=True)]
    return torch.cartesian_prod(*axes)


def rotation(dim: int, seed: int = 0) -> Tensor:
    random = torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(random)[0]

"""Clouds, neighbourhoods and layers for the tests of this folder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from geogrid.graph import Neighborhood
from geogrid.nn import ContinuousConv


def everyone(num_context: int, num_query: int) -> Neighborhood:
    """Every context point is a neighbour of every query."""
    index = torch.arange(num_context).repeat(num_query, 1)
    return Neighborhood(index, torch.ones_like(index, dtype=torch.bool), num_context)


def within(pos_context: Tensor, pos_query: Tensor, reach: Tensor, frame: Tensor | None = None) -> Neighborhood:
    """All context points within the box of half widths ``reach`` mm, by comparing all pairs."""
    rel = pos_context - pos_query[:, None]
    near = ((rel if frame is None else rel @ frame).abs() <= reach.to(rel) * (1 + 1e-6)).all(-1)
    query, context = near.nonzero(as_tuple=True)
    return Neighborhood.from_edge_index(torch.stack([context, query]), len(pos_context), len(pos_query))


def cloud(dim: int, count: int, size: float, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random points in a cube of ``size`` mm."""
    return torch.rand(count, dim, generator=torch.Generator().manual_seed(seed), dtype=dtype) * size


def layer(
    dim: int, channels: tuple[int, int] = (2, 3), seed: int = 0, dtype: torch.dtype = torch.float64, **kwargs: Any
) -> ContinuousConv:
    """A layer with random weights."""
    made = ContinuousConv(*channels, dim, **kwargs).to(dtype)
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=chance, dtype=dtype) * 0.3)
    return made


def features(count: int, channels: int = 2, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random features."""
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(seed), dtype=dtype)

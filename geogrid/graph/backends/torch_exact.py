"""Candidates by comparing all pairs in torch, chunk by chunk, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.graph.backends.searcher import FLOAT32_ERROR, Searcher, contiguous32, normalisation

BYTES_PER_PAIR = 12


def missing_reason() -> str | None:
    """Torch is a dependency of geogrid."""
    return None


def build(context: Tensor, query: Tensor, max_bytes: int) -> Searcher:
    """Float32 distances by differences, never by the expanded form, which loses digits; O(num_query num_context)."""
    center, length = normalisation(context, query)
    senders = contiguous32(context, center, length)
    rows_at_once = max(1, max_bytes // (BYTES_PER_PAIR * len(context)))

    def nearest(rows: Tensor, k: int) -> Tensor:
        chunks = contiguous32(rows, center, length).split(rows_at_once)
        return torch.cat([_nearest_of_chunk(senders, chunk, k) for chunk in chunks])

    return Searcher(nearest, FLOAT32_ERROR * length)


def _nearest_of_chunk(context: Tensor, query: Tensor, k: int) -> Tensor:
    distance = torch.cdist(query, context, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.topk(k, dim=1, largest=False).indices

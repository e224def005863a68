"""Candidates from ``pytorch3d.ops.knn_points``, in float32."""

from __future__ import annotations

from torch import Tensor

from geogrid.graph.backends.searcher import FLOAT32_ERROR, Searcher, contiguous32, missing_package, normalisation


def missing_reason() -> str | None:
    """Why PyTorch3D cannot be used, None when it can."""
    return missing_package("pytorch3d.ops", "pytorch3d", "torch==2.11.0 easypytorch3d")


def build(context: Tensor, query: Tensor, max_bytes: int) -> Searcher:
    """Brute force; its CPU kernel knows float32 only."""
    from pytorch3d.ops import knn_points

    center, length = normalisation(context, query)
    senders = contiguous32(context, center, length)[None]

    def nearest(rows: Tensor, k: int) -> Tensor:
        found: Tensor = knn_points(contiguous32(rows, center, length)[None], senders, K=k, return_sorted=False).idx
        return found[0]

    return Searcher(nearest, FLOAT32_ERROR * length)

"""Candidates from ``torch_cluster.knn``; its ``radius`` truncates in memory order and is not used."""

from __future__ import annotations

from torch import Tensor

from geogrid.graph.backends.searcher import FLOAT64_ERROR, Searcher, missing_package, normalisation

MAX_K_CUDA = 100


def missing_reason() -> str | None:
    """Why torch_cluster cannot be used, None when it can."""
    return missing_package("torch_cluster", "cluster", "--no-build-isolation torch-cluster torch-scatter")


def build(context: Tensor, query: Tensor, max_bytes: int) -> Searcher:
    """A tree on the CPU, brute force with k <= 100 on CUDA; in float64, scaled since kernels drop distances above 1e5."""
    import torch_cluster

    center, length = normalisation(context, query)
    senders = ((context - center) / length).contiguous()

    def nearest(rows: Tensor, k: int) -> Tensor:
        found: Tensor = torch_cluster.knn(senders, ((rows - center) / length).contiguous(), k)[1]
        return found.reshape(len(rows), k)

    return Searcher(nearest, FLOAT64_ERROR * length, MAX_K_CUDA if context.is_cuda else None)

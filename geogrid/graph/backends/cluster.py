"""Candidates from ``torch_cluster.knn``; its ``radius`` truncates in memory order and is not used."""

from __future__ import annotations

from torch import Tensor

from geogrid.graph.backends.searcher import Searcher, edge_searcher, missing_package


def missing_reason() -> str | None:
    """Why torch_cluster cannot be used, None when it can."""
    return missing_package("torch_cluster", "cluster", "--no-build-isolation torch-cluster torch-scatter")


def build(context: Tensor, query: Tensor, max_bytes: int) -> Searcher:
    """A tree on the CPU, brute force with k <= 100 on CUDA."""
    import torch_cluster

    return edge_searcher(torch_cluster.knn, context, query)

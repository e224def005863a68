"""Candidates from SciPy's k-d tree, on the CPU."""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from geogrid.graph.backends.searcher import FLOAT64_ERROR, Searcher, normalisation


def missing_reason() -> str | None:
    """SciPy is a dependency of geogrid."""
    return None


def build(context: Tensor, query: Tensor, max_bytes: int) -> Searcher:
    """Builds the tree once; queries use as many threads as torch does."""
    tree = cKDTree(context.numpy(), balanced_tree=False)
    workers = torch.get_num_threads()

    def nearest(rows: Tensor, k: int) -> Tensor:
        _, index = tree.query(rows.numpy(), k=k, workers=workers)
        return torch.from_numpy(index).to(torch.int64).reshape(len(rows), k)

    return Searcher(nearest, FLOAT64_ERROR * normalisation(context, query)[1])

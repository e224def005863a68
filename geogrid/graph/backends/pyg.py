"""Candidates from pyg-lib through ``torch_geometric.nn.knn``."""

from __future__ import annotations

from torch import Tensor

from geogrid.graph.backends.searcher import Searcher, edge_searcher, missing_package

PIP = "pyg-lib -f https://data.pyg.org/whl/torch-<version>+<cpu or cuda>.html"


def missing_reason() -> str | None:
    """Why pyg-lib's search cannot be used, None when it can."""
    reason = missing_package("pyg_lib", "torch_geometric", PIP)
    if reason is not None:
        return reason.split(" (or geogrid")[0]
    import pyg_lib

    return (
        None if hasattr(pyg_lib.ops, "knn") else f"pyg-lib has no knn; expected 0.6 or newer; get it with: pip install -U {PIP}"
    )


def build(context: Tensor, query: Tensor, max_bytes: int) -> Searcher:
    """A tree on the CPU, brute force with k <= 100 on CUDA."""
    from torch_geometric.nn.pool import knn

    return edge_searcher(knn, context, query)

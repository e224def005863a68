"""Candidates from pyg-lib through ``torch_geometric.nn.knn``."""

from __future__ import annotations

from torch import Tensor

from geogrid.graph.backends.searcher import FLOAT64_ERROR, Searcher, missing_package, normalisation

MAX_K_CUDA = 100
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
    """A tree on the CPU, brute force with k <= 100 on CUDA; in float64, scaled since kernels drop distances above 1e5."""
    from torch_geometric.nn.pool import knn

    center, length = normalisation(context, query)
    senders = ((context - center) / length).contiguous()

    def nearest(rows: Tensor, k: int) -> Tensor:
        found: Tensor = knn(senders, ((rows - center) / length).contiguous(), k)[1]
        return found.reshape(len(rows), k)

    return Searcher(nearest, FLOAT64_ERROR * length, MAX_K_CUDA if context.is_cuda else None)

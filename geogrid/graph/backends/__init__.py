"""The implementations of nearest neighbour search, and which of them can be used here.

A back end proposes candidates; :mod:`geogrid.graph.ranking` puts them in their exact order and asks for more where that order
is in doubt. So a back end may compute in float32 or break ties as it likes, as long as it states its error.
"""

from __future__ import annotations

import importlib
import importlib.util

from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph.backends.searcher import Searcher

MODULES = {
    "scipy": "scipy_tree",
    "torch": "torch_exact",
    "torch_cluster": "cluster",
    "pyg_lib": "pyg",
    "pytorch3d": "pytorch3d",
}
REFERENCE = "reference"


def build_searcher(name: str, context: Tensor, query: Tensor, max_bytes: int) -> Searcher:
    """A search among the float64 positions ``context`` for queries out of ``query``, by the implementation of that name."""
    module = importlib.import_module(f"{__name__}.{MODULES[name]}")
    searcher: Searcher = module.build(context, query, max_bytes)
    return searcher


def missing_reason(name: str) -> str | None:
    """Why the implementation of that name cannot be used here, with the way to get it; None when it can."""
    if name == REFERENCE:
        return None
    reason: str | None = importlib.import_module(f"{__name__}.{MODULES[name]}").missing_reason()
    return reason


def implementation_status() -> dict[str, str | None]:
    """All names that ``implementation`` may have, each with None when it can be used or the reason why it cannot.

    Example:
        >>> implementation_status()["scipy"] is None
        True
    """
    return {name: missing_reason(name) for name in (REFERENCE, *MODULES)}


def available_implementations() -> tuple[str, ...]:
    """The names that ``implementation`` may have here: the slow reference, what always works, and what is installed.

    Example:
        >>> available_implementations()[:3]
        ('reference', 'scipy', 'torch')
    """
    return tuple(name for name, reason in implementation_status().items() if reason is None)


def choose_implementation(name: str, context: Tensor) -> str:
    """The implementation to use: what the caller names, or for ``"auto"`` SciPy on the CPU and torch elsewhere."""
    if name == "auto":
        return "scipy" if context.device.type == "cpu" else "torch"
    if name != REFERENCE and name not in MODULES:
        raise GeogridError(f"implementation: expected one of auto, {', '.join((REFERENCE, *MODULES))}, got {name}")
    reason = missing_reason(name)
    if reason is not None:
        raise GeogridError(f"implementation {name}: expected it to be installed; {reason}")
    if name == "scipy" and context.device.type != "cpu":
        raise GeogridError(f"implementation scipy: expected points on the cpu, got {context.device}; use auto or torch")
    return name

"""What is installed here and what it can do, for ``geogrid doctor`` and for bug reports."""

from __future__ import annotations

import importlib.metadata
import platform

PACKAGES = (
    *("geogrid", "torch", "torch_geometric", "numpy", "scipy", "nibabel", "SimpleITK"),
    *("numba", "torch-cluster", "torch-scatter", "pyg-lib", "easypytorch3d"),
)


def examine() -> list[tuple[str, str]]:
    """Names and findings: versions, devices, and the implementations of attention and neighbour search."""
    return [
        ("python", f"{platform.python_version()} on {platform.platform()}"),
        *_versions(),
        *_devices(),
        _attention(),
        *_searches(),
    ]


def _versions() -> list[tuple[str, str]]:
    lines = []
    for name in PACKAGES:
        try:
            lines.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            lines.append((name, "not installed"))
    return lines


def _devices() -> list[tuple[str, str]]:
    import torch

    lines = [("device cpu", f"{torch.get_num_threads()} threads")]
    if not torch.cuda.is_available():
        return [*lines, ("device cuda", "none that torch can use")]
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        lines.append((f"device cuda:{number}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"))
    return lines


def _attention() -> tuple[str, str]:
    from geogrid.graph.compiled import available

    missing = "torch operations; pip install 'geogrid[fast]' for loops about three times faster"
    return "attention on cpu", "compiled loops" if available() else missing


def _searches() -> list[tuple[str, str]]:
    from geogrid.graph import implementation_status

    return [(f"neighbours by {name}", reason or "ready") for name, reason in implementation_status().items()]

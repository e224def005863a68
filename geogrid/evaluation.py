"""The numbers of ``metrics.json``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import resource
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from geogrid.data import Pair
from geogrid.losses.similarity import Similarity, similarity_loss
from geogrid.metrics import (
    content_mask,
    dice,
    folding_percent,
    log_jacobian_spread,
    surface_distances,
    target_registration_error,
)
from geogrid.spatial import Image, finest_scale, scale_intensities
from geogrid.transforms import AffineTransform, DisplacementField, Transform, jacobian_determinant, warp_image, warp_labels

Metrics = dict[str, Any]

_AS_SHOWN: dict[str, Callable[[float], float]] = {
    "lncc": lambda v: -v, "nmi": lambda v: 1 - v, "mind": lambda v: v, "edges": lambda v: v,
}  # fmt: skip
"""From a loss to the number that is usually given."""


def evaluate(pair: Pair, transform: DisplacementField, similarity: Similarity = "lncc") -> Metrics:
    """How good a transform is, before (nothing applied) and after: similarity, overlap, surfaces, landmarks, folding.

    The local correlation is always measured, another similarity beside it (``nmi``: from 1, higher is better; ``mind`` and
    ``edges``: mean squared difference of what describes them, lower is better).
    """
    fixed = pair.fixed.image
    mask = pair.weight("fixed")
    content = content_mask(fixed, None if mask is None else Image(mask, fixed.grid))
    jacobian = jacobian_determinant(transform)
    found: Metrics = {
        "folding_percent": folding_percent(jacobian, content),
        "log_jacobian_spread": log_jacobian_spread(jacobian, content),
    }
    moments: dict[str, Transform] = {"before": AffineTransform.identity(fixed.dim), "after": transform}
    for moment, mapped in moments.items():
        found |= _overlap(pair, mapped, moment) | _landmarks(pair, mapped, moment)
    return found | _similarity(pair, moments, content, similarity)


def machine(device: torch.device) -> Metrics:
    """Device, peak memory so far and versions."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    found: Metrics = {"peak_memory_mb": round(peak)}
    if device.type == "cuda":
        found["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated(device) / 2**20)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    packages = ("geogrid", "torch", "numpy", "nibabel")
    return found | {
        "device": name,
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
    }


def _similarity(pair: Pair, moments: dict[str, Transform], content: Tensor, similarity: Similarity) -> Metrics:
    """Means over the fixed content."""
    fixed, moving = (scale_intensities(f.image, pair.weight(s)) for s, f in (("fixed", pair.fixed), ("moving", pair.moving)))
    spacing, weight = fixed.grid.spacing.tolist(), content.float()
    losses = {"lncc": similarity_loss("lncc", fixed.data, spacing, 2 * max(spacing), weight, stride=1)}
    if similarity != "lncc":
        radius = 2 * finest_scale(fixed.grid, fixed.grid)
        losses[similarity] = similarity_loss(similarity, fixed.data, spacing, radius, weight)
    found: Metrics = {}
    for moment, transform in moments.items():
        warped = warp_image(moving, transform, fixed.grid).data
        values = {name: float(loss(warped)) for name, loss in losses.items()}
        found |= {f"{name}_{moment}": _rounded(_AS_SHOWN[name](value)) for name, value in values.items()}
    return found


def _overlap(pair: Pair, transform: Transform, moment: str) -> Metrics:
    if pair.fixed_labels is None or pair.moving_labels is None:
        return {}
    fixed = pair.fixed_labels.image
    warped = warp_labels(pair.moving_labels.image, transform, fixed.grid)
    per_label = dice(fixed.data, warped.data)
    found: Metrics = {
        f"dice_{moment}": _rounded(sum(per_label.values()) / max(1, len(per_label))),
        f"dice_per_label_{moment}": {str(label): _rounded(value) for label, value in per_label.items()},
    }
    if importlib.util.find_spec("monai") is None:
        return found | {"surface_distances": "not measured: they need MONAI; pip install 'geogrid[metrics]'"}
    return found | _surfaces(fixed, warped, list(per_label), moment)


def _surfaces(fixed: Image, warped: Image, labels: list[int], moment: str) -> Metrics:
    """Means over the labels that both maps contain."""
    both = [label for label in labels if (fixed.data == label).any() and (warped.data == label).any()]
    found = [surface_distances(fixed.data, warped.data, fixed.grid.spacing, label) for label in both]
    if not found:
        return {}
    return {
        f"hd95_{moment}_mm": _rounded(sum(f.hd95_mm for f in found) / len(found)),
        f"average_surface_distance_{moment}_mm": _rounded(sum(f.average_mm for f in found) / len(found)),
    }


def _landmarks(pair: Pair, transform: Transform, moment: str) -> Metrics:
    if pair.fixed_landmarks is None or pair.moving_landmarks is None:
        return {}
    errors = target_registration_error(transform, pair.fixed_landmarks, pair.moving_landmarks)
    return {f"tre_{moment}_mm": _rounded(errors.mean())}


def _rounded(value: float | Tensor) -> float:
    return round(float(value), 5)

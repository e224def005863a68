"""Distances between the surfaces of a label before and after, by MONAI."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from geogrid.errors import GeogridError


@dataclass(frozen=True)
class SurfaceDistances:
    """How far two surfaces are apart.

    Args:
        hd95_mm: the larger of the two directed 95th percentiles of the distance to the other surface.
        average_mm: mean distance over the surface voxels of both (average symmetric surface distance).
    """

    hd95_mm: float
    average_mm: float


def surface_distances(
    fixed_labels: Tensor, warped_labels: Tensor, spacing_mm: Sequence[float] | Tensor, label: int
) -> SurfaceDistances:
    """Distances between the surfaces of one label in two maps.

    The surface is the label's outermost voxels (those with a face neighbour outside, also beyond the image's border);
    distances run between voxel centres, in mm.

    Args:
        fixed_labels: ``(*shape)`` integers, 2-D or 3-D.
        warped_labels: ``(*shape)``, the moving labels on the fixed grid.
        spacing_mm: voxel size along each axis, ``dim`` values.
        label: the value to compare.

    Returns:
        Both distances; infinite when only one map contains the label.

    Raises:
        GeogridError: when shapes or spacing do not fit, when neither map contains the label, or without MONAI.
    """
    spacing = [float(s) for s in spacing_mm]
    if fixed_labels.shape != warped_labels.shape or len(spacing) != fixed_labels.dim():
        raise GeogridError(
            f"surface distances: expected two maps of one shape and a spacing per axis, got {tuple(fixed_labels.shape)}, "
            f"{tuple(warped_labels.shape)} and {len(spacing)} spacings; warp the moving labels onto the fixed grid first"
        )
    monai = _monai_metrics()
    fixed, warped = fixed_labels == label, warped_labels == label
    if not fixed.any() and not warped.any():
        raise GeogridError(f"surface distances: label {label} is in neither map; pass a label that one of them contains")
    if not fixed.any() or not warped.any():
        return SurfaceDistances(math.inf, math.inf)
    box = _bounding_box(fixed | warped)
    pair = {"y_pred": warped[box][None, None].cpu(), "y": fixed[box][None, None].cpu()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        hd95 = monai.compute_hausdorff_distance(**pair, include_background=True, percentile=95, spacing=spacing)
        average = monai.compute_average_surface_distance(**pair, include_background=True, symmetric=True, spacing=spacing)
    return SurfaceDistances(float(hd95), float(average))


def _bounding_box(mask: Tensor) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.dim()):
        others = [a for a in range(mask.dim()) if a != axis]
        used = mask.any(dim=others).nonzero()[:, 0]
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(box)


def _monai_metrics() -> Any:
    try:
        return importlib.import_module("monai.metrics")
    except ImportError as error:
        raise GeogridError("surface distances: need MONAI, which is not installed; pip install 'geogrid[metrics]'") from error

"""What a trained model makes of two clouds: one more proposal, and an answer of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import point_spacing
from geogrid.models import GeoReg
from geogrid.optimize.points.cloud import OrderedCloud
from geogrid.optimize.points.fit import SmoothFit
from geogrid.spatial import PointCloud

SCALE = 1.5
"""Finest scale of the model in spacings of the points, as in its training."""
NOISE = 0.5
"""Standard deviation of the model's displacements, in spacings, at the fit of the map."""
FEWEST = 50
"""Fewer points than this have no shape that a model could know."""


def check_model(model: GeoReg | None, dim: int) -> None:
    """Refuses models that cannot see clouds.

    Raises:
        GeogridError: for a model of another dimension, or one that needs features.
    """
    if model is not None and (model.config.dim != dim or model.config.in_channels != 0):
        raise GeogridError(
            f"model: expected one for {dim}-D points without features (in_channels=0), got {model.config.dim}-D with "
            f"{model.config.in_channels}"
        )


@torch.no_grad()
def network_map(model: GeoReg, fixed: OrderedCloud, moving: OrderedCloud, spacing: float, fit: SmoothFit) -> Tensor:
    """Coefficients of the smooth map through the displacements that a model gives in one look, from where the clouds are.

    The model sees lengths in spacings, and every point counts the same.

    Args:
        model: for points without features.
        fixed: the points.
        moving: likewise.
        spacing: of both on average.
        fit: what the map is fitted with.
    """
    trajectory = model(*(counted_cloud(cloud.points / spacing) for cloud in (fixed, moving)), scale=SCALE)
    step = trajectory.last
    points, displacement = (part.double() * spacing for part in (step.points.pos, step.displacement))
    precision = torch.full((len(points),), (NOISE * spacing) ** -2, dtype=torch.float64)
    return fit.solve(fit.basis(points), displacement, precision)


def counted_pair(fixed: Tensor, moving: Tensor) -> tuple[PointCloud, PointCloud, float]:
    """Two clouds as a model sees them, and the spacing, on average of both, that is their unit of length."""
    spacing = (point_spacing(fixed) + point_spacing(moving)) / 2
    return counted_cloud(fixed / spacing), counted_cloud(moving / spacing), spacing


def counted_cloud(points: Tensor) -> PointCloud:
    """Points in units of their spacing as a model sees them: without features, every one counts 1."""
    return PointCloud.from_points(points.float(), torch.ones(len(points)))

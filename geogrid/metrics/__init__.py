"""How good a registration is: overlap, surfaces, landmarks, and whether space folds."""

from geogrid.metrics.clouds import CloudDistances, cloud_distances
from geogrid.metrics.folding import content_mask, folding_percent, log_jacobian_spread
from geogrid.metrics.landmarks import endpoint_error, target_registration_error
from geogrid.metrics.overlap import dice, mean_dice
from geogrid.metrics.stacks import foreground_dice, image_spread
from geogrid.metrics.surfaces import SurfaceDistances, surface_distances

__all__ = [
    "CloudDistances",
    "SurfaceDistances",
    "cloud_distances",
    "content_mask",
    "dice",
    "endpoint_error",
    "folding_percent",
    "foreground_dice",
    "image_spread",
    "log_jacobian_spread",
    "mean_dice",
    "surface_distances",
    "target_registration_error",
]

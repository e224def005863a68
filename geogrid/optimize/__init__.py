"""Registration without training: an affine start, then the displacement of points, level by level."""

from geogrid.optimize.affine import AffineConfig, register_affine
from geogrid.optimize.history import HistoryEntry
from geogrid.optimize.instance import InstanceConfig, optimize_displacement
from geogrid.optimize.learned import LearnedConfig, register_learned
from geogrid.optimize.points import PointRegistration, PointsConfig, register_points

__all__ = [
    "AffineConfig",
    "HistoryEntry",
    "InstanceConfig",
    "LearnedConfig",
    "PointRegistration",
    "PointsConfig",
    "optimize_displacement",
    "register_affine",
    "register_learned",
    "register_points",
]

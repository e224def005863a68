"""Registration of point sets: annealed soft assignment, then votes of neighbours."""

from geogrid.optimize.points.config import PointsConfig
from geogrid.optimize.points.registration import PointRegistration, register_points

__all__ = ["PointRegistration", "PointsConfig", "register_points"]

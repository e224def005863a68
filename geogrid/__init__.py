"""geogrid: deformable registration of images and points, in millimetres."""

from geogrid.errors import GeogridError, GeogridWarning
from geogrid.registration import Registration, register

__all__ = ["GeogridError", "GeogridWarning", "Registration", "register"]

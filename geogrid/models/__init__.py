"""Models: from a pair of images or clouds to a trajectory of transforms, coarse to fine."""

from geogrid.models.georeg import GeoReg, GeoRegConfig

__all__ = ["GeoReg", "GeoRegConfig"]

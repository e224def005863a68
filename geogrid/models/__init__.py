"""Models: from a pair of images or clouds to a trajectory of transforms, coarse to fine."""

from geogrid.models.attended import Attended, attended
from geogrid.models.feature_warp import FeatureWarp
from geogrid.models.georeg import GeoReg, GeoRegConfig

__all__ = ["Attended", "FeatureWarp", "GeoReg", "GeoRegConfig", "attended"]

"""Where things are: grids, images, sampling, physical scales."""

from geogrid.spatial.grid import Grid, map_points
from geogrid.spatial.image import Image
from geogrid.spatial.intensity import scale_intensities
from geogrid.spatial.points import PointCloud
from geogrid.spatial.pyramid import finest_scale, pool_image
from geogrid.spatial.resampling import resample_cloud
from geogrid.spatial.sampling import inside_lattice, sample_lattice
from geogrid.spatial.stacks import to_cloud, to_images

__all__ = [
    "Grid",
    "Image",
    "PointCloud",
    "finest_scale",
    "inside_lattice",
    "map_points",
    "pool_image",
    "resample_cloud",
    "sample_lattice",
    "scale_intensities",
    "to_cloud",
    "to_images",
]

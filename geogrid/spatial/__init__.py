"""Where things are: grids, images, sampling, physical scales."""

from geogrid.spatial.grid import Grid, map_points
from geogrid.spatial.gridding import Gridded, grid_samples, lattice_of_samples, sample_spacing
from geogrid.spatial.image import Image
from geogrid.spatial.intensity import scale_intensities
from geogrid.spatial.points import PointCloud
from geogrid.spatial.pyramid import finest_scale, pool_image
from geogrid.spatial.resampling import resample_cloud
from geogrid.spatial.sampling import inside_lattice, sample_lattice
from geogrid.spatial.stacks import to_cloud, to_images

__all__ = [
    "Grid",
    "Gridded",
    "Image",
    "PointCloud",
    "finest_scale",
    "grid_samples",
    "inside_lattice",
    "lattice_of_samples",
    "map_points",
    "pool_image",
    "resample_cloud",
    "sample_lattice",
    "sample_spacing",
    "scale_intensities",
    "to_cloud",
    "to_images",
]

"""Files in and out: images, label maps, masks, displacements, points, clouds; and results that appear only when complete."""

from geogrid.io.checks import MIN_VOXELS
from geogrid.io.clouds import PointSource, as_points, is_point_source
from geogrid.io.displacement import read_displacement, write_displacement
from geogrid.io.exchange import from_arrays, from_pyg, from_pytorch3d, to_arrays, to_pyg, to_pytorch3d
from geogrid.io.images import ImageFile, as_image_file, read_image, read_labels, read_mask, to_nifti, write_image
from geogrid.io.outputs import atomic_directory, atomic_file
from geogrid.io.points import PointTable, read_points, write_points
from geogrid.io.sampled import SampledImage, as_sampled_image, with_column
from geogrid.io.sources import Source, read_storage
from geogrid.io.storage import Storage

__all__ = [
    "MIN_VOXELS",
    "ImageFile",
    "PointSource",
    "PointTable",
    "SampledImage",
    "Source",
    "Storage",
    "as_image_file",
    "as_points",
    "as_sampled_image",
    "atomic_directory",
    "atomic_file",
    "from_arrays",
    "from_pyg",
    "from_pytorch3d",
    "is_point_source",
    "read_displacement",
    "read_image",
    "read_labels",
    "read_mask",
    "read_points",
    "read_storage",
    "to_arrays",
    "to_nifti",
    "to_pyg",
    "to_pytorch3d",
    "with_column",
    "write_displacement",
    "write_image",
    "write_points",
]

"""Files in and out: images, label maps, masks, displacements, points; and results that appear only when complete."""

from geogrid.io.checks import MIN_VOXELS
from geogrid.io.displacement import read_displacement, write_displacement
from geogrid.io.images import ImageFile, as_image_file, read_image, read_labels, read_mask, to_nifti, write_image
from geogrid.io.outputs import atomic_directory, atomic_file
from geogrid.io.points import PointTable, read_points, write_points
from geogrid.io.sources import Source, read_storage
from geogrid.io.storage import Storage

__all__ = [
    "MIN_VOXELS",
    "ImageFile",
    "PointTable",
    "Source",
    "Storage",
    "as_image_file",
    "atomic_directory",
    "atomic_file",
    "read_displacement",
    "read_image",
    "read_labels",
    "read_mask",
    "read_points",
    "read_storage",
    "to_nifti",
    "write_displacement",
    "write_image",
    "write_points",
]

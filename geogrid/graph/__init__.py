"""Who talks to whom: neighbourhoods of points, on lattices and scattered."""

from geogrid.graph.backends import available_implementations, implementation_status
from geogrid.graph.cells import Cells, cell_pool
from geogrid.graph.farthest import farthest_points
from geogrid.graph.inheritance import inherit_displacement
from geogrid.graph.lattice import lattice_window
from geogrid.graph.level import Level
from geogrid.graph.neighborhood import Neighborhood
from geogrid.graph.pooling import concatenate, pool_cloud
from geogrid.graph.search import knn, radius
from geogrid.graph.spacing import point_spacing
from geogrid.graph.subset import random_rows, random_subset, subset
from geogrid.graph.volumes import PointVolumes, point_volumes

__all__ = [
    "Cells",
    "Level",
    "Neighborhood",
    "PointVolumes",
    "available_implementations",
    "cell_pool",
    "concatenate",
    "farthest_points",
    "implementation_status",
    "inherit_displacement",
    "knn",
    "lattice_window",
    "point_spacing",
    "point_volumes",
    "pool_cloud",
    "radius",
    "random_rows",
    "random_subset",
    "subset",
]

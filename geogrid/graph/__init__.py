"""Who talks to whom: neighbourhoods of points, on lattices and scattered."""

from geogrid.graph.backends import available_implementations, implementation_status
from geogrid.graph.neighborhood import Neighborhood
from geogrid.graph.search import knn, radius

__all__ = ["Neighborhood", "available_implementations", "implementation_status", "knn", "radius"]

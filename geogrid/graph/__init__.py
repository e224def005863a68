"""Who talks to whom: neighbourhoods of points, on lattices and scattered."""

from geogrid.graph.neighborhood import Neighborhood

__all__ = ["Neighborhood"]

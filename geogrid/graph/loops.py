"""Loops over the entries of a table of neighbours, compiled by Numba for processors; arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def fill_window(first, last, place, here, offsets, shape, affine, scale, limit, index, mask):  # pragma: no cover
    """For a range of queries the rows of :func:`geogrid.graph.lattice_window`, one rounding per operation.

    ``place`` is in fractional indices, ``here`` in the metric; ``affine`` is that of the lattice.
    """
    dim = len(shape)
    for i in range(first, last):
        for o in range(len(offsets)):
            flat, inside = np.int64(0), True
            for a in range(dim):
                at = np.int64(np.rint(place[i, a])) + offsets[o, a]
                inside &= (at >= 0) & (at < shape[a])
                flat = flat * shape[a] + at
            if inside:
                squared = 0.0
                for a in range(dim):
                    position = (np.rint(place[i, 0]) + offsets[o, 0]) * affine[a, 0]
                    for b in range(1, dim):
                        position += (np.rint(place[i, b]) + offsets[o, b]) * affine[a, b]
                    away = (position + affine[a, dim]) / scale[a] - here[i, a]
                    squared += away * away
                inside = squared <= limit * limit
            index[i, o], mask[i, o] = flat if inside else 0, inside


@njit(nogil=True, cache=True)
def fill_compact(first, last, index, mask, packed_index, packed_mask):  # pragma: no cover
    """For a range of queries the valid entries, in their order, at the front of rows of zeros."""
    for i in range(first, last):
        count = 0
        for k in range(index.shape[1]):
            if mask[i, k]:
                packed_index[i, count], packed_mask[i, count] = index[i, k], True
                count += 1


@njit(nogil=True, cache=True)
def fill_spread(cloud, taken):  # pragma: no cover
    """Rows of a cloud from the second on, each the farthest from those before it; one rounding per operation, no row twice."""
    count, dim = cloud.shape
    distance = np.full(count, np.inf)
    for step in range(len(taken)):
        if step:
            taken[step] = distance.argmax()
        last = taken[step]
        for i in range(count):
            squared = 0.0
            for a in range(dim):
                away = cloud[i, a] - cloud[last, a]
                squared += away * away
            distance[i] = min(distance[i], squared)
        distance[last] = -1.0

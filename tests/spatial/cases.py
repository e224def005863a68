"""Grids of every orientation, smooth fields with known derivatives, and a check of how errors are told."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial import Grid


def rotation(angles: Sequence[float]) -> Tensor:
    """A float64 rotation matrix from one angle (2-D) or three (3-D), degrees."""
    planes = [(0, 1)] if len(angles) == 1 else [(0, 1), (1, 2), (0, 2)]
    matrix = torch.eye(2 if len(angles) == 1 else 3, dtype=torch.float64)
    for angle, (a, b) in zip(angles, planes, strict=True):
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        turn = torch.eye(len(matrix), dtype=torch.float64)
        turn[a, a], turn[a, b], turn[b, a], turn[b, b] = cos, -sin, sin, cos
        matrix = turn @ matrix
    return matrix


def homogeneous(linear: Tensor, shift: Sequence[float] | Tensor) -> Tensor:
    """The ``(dim + 1, dim + 1)`` float64 matrix of ``x -> linear x + shift``."""
    matrix = torch.eye(len(linear) + 1, dtype=torch.float64)
    matrix[:-1, :-1], matrix[:-1, -1] = linear, torch.as_tensor(shift, dtype=torch.float64)
    return matrix


def make_grid(
    shape: Sequence[int], spacing: Sequence[float], angles: Sequence[float] | None = None, origin: Sequence[float] | None = None
) -> Grid:
    """A grid with axes turned by ``angles`` degrees (default none)."""
    dim = len(shape)
    linear = rotation(angles or [0.0] * (dim * (dim - 1) // 2)) @ torch.diag(torch.tensor(spacing, dtype=torch.float64))
    return Grid(tuple(shape), homogeneous(linear, origin or [0.0] * dim))


def centered(grid: Grid) -> Grid:
    """The grid, moved so that its centre is at zero."""
    return grid.transformed(homogeneous(torch.eye(grid.dim, dtype=torch.float64), -grid.center))


def flipped(grid: Grid, axis: int) -> Grid:
    """The same points, stored the other way round along an axis."""
    flip = torch.eye(grid.dim + 1, dtype=torch.float64)
    flip[axis, axis], flip[axis, -1] = -1, grid.shape[axis] - 1
    return Grid(grid.shape, grid.affine @ flip)


def permuted(grid: Grid, order: Sequence[int]) -> Grid:
    """The same points, with index axes in another order."""
    return Grid(tuple(grid.shape[a] for a in order), grid.affine[:, [*order, grid.dim]])


@st.composite
def grids(draw: st.DrawFn, max_size: int = 12) -> Grid:
    """Oblique, anisotropic 2-D and 3-D grids, mirrored ones included."""
    dim = draw(st.sampled_from([2, 3]))
    angles = [draw(st.floats(-180, 180)) for _ in range(dim * (dim - 1) // 2)]
    spacing = [draw(st.floats(0.2, 8)) * draw(st.sampled_from([1, -1])) for _ in range(dim)]
    shape = [draw(st.integers(1, max_size)) for _ in range(dim)]
    return make_grid(shape, spacing, angles, [draw(st.floats(-300, 300)) for _ in range(dim)])


def field_on(grid: Grid, field: Callable[[Tensor], Tensor]) -> Tensor:
    """Channel-first values ``(dim, *shape)`` of a function of float64 world points."""
    points = grid.index_to_world(grid.indices().double())
    return field(points).T.reshape(-1, *grid.shape)


@contextmanager
def refused(*words: str) -> Iterator[None]:
    """Expects a one-line :class:`GeogridError` that says all the words."""
    with pytest.raises(GeogridError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message

"""Where a registration may begin: centres laid onto each other, and turns about them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geogrid.spatial import Image, pool_image
from geogrid.transforms import AffineTransform


def rotation(turn: Tensor, dim: int) -> Tensor:
    """The rotation matrix of a rotation vector in radians, one number in 2-D and three in 3-D; differentiable."""
    rows, columns = torch.triu_indices(dim, dim, offset=1)
    upper = torch.zeros(dim, dim, dtype=torch.float64).index_put((rows, columns), turn)
    matrix: Tensor = torch.linalg.matrix_exp(upper - upper.T)
    return matrix


def about(linear: Tensor, fixed_center: Tensor, moving_center: Tensor) -> AffineTransform:
    """The map with a linear part that carries one centre onto the other."""
    matrix = torch.eye(len(fixed_center) + 1, dtype=torch.float64)
    matrix[:-1, :-1], matrix[:-1, -1] = linear, moving_center - linear @ fixed_center
    return AffineTransform(matrix)


def centers(fixed: Image, moving: Image) -> tuple[Tensor, Tensor]:
    """The intensity-weighted centres in mm, of images pooled to some tens of points along an axis."""
    found = [
        moments(pool_image(i, float((torch.tensor(i.grid.shape) * i.grid.spacing).max()) / 48))[0] for i in (fixed, moving)
    ]
    return found[0], found[1]


def moments(image: Image) -> tuple[Tensor, Tensor]:
    """Intensity-weighted centre ``(dim,)`` in mm and principal axes ``(dim, dim)`` as columns, shortest first."""
    points = image.grid.points().double()
    weight = image.data.reshape(-1, 1).cpu().double().clamp_min(0)
    weight = weight / weight.sum().clamp_min(1e-12)
    center = (weight * points).sum(0)
    spread = (weight * (points - center)).T @ (points - center)
    return center, torch.linalg.eigh(spread).eigenvectors


def spread_turns(dim: int, step: float, largest: float) -> list[Tensor]:
    """Rotation matrices that leave no turn far away: rotation vectors on a lattice, the smallest turn first.

    In 3-D the lattice is body-centred cubic, the thinnest covering: with ``step`` 35 degrees no turn of less than ``largest``
    is more than about 20 degrees from one of them.

    Args:
        dim: 2 or 3.
        step: side of the lattice's cube in degrees; in 2-D the distance of neighbours.
        largest: of the turns in degrees.
    """
    if dim == 2:
        count = math.floor(largest / step + 1e-6)
        vectors = torch.arange(-count, count + 1, dtype=torch.float64)[:, None] * step
    else:
        count = math.ceil(2 * largest / step)
        index = torch.arange(-count, count + 1, dtype=torch.float64)
        corners = torch.cartesian_prod(index, index, index)
        vectors = corners[(corners % 2 == corners[:, :1] % 2).all(1)] * step / 2
    length = vectors.norm(dim=1)
    kept = (length <= largest + 1e-6).nonzero()[:, 0]
    ordered = kept[length[kept].argsort(stable=True)]
    return [rotation(torch.deg2rad(vector), dim) for vector in vectors[ordered]]

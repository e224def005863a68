"""Scattered samples of an image, put onto a lattice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial.grid import Grid
from geogrid.spatial.image import Image
from geogrid.spatial.lattice import flat_index, inherit
from geogrid.spatial.sampling import lattice_corners

FINENESS = {2: 2.0, 3: 4.0}
"""Lattice points per sample: half of an image's pixels, or a quarter of a volume's voxels, get about their own lattice back."""

REACH = 2
"""Lattice points: gaps up to twice as wide count as seen."""

MAX_FILL = 64
"""Most lattice points per sample: samples that fill less of their bounding box are taken for a mistake."""

PER_CELL = 8
COARSEST = 8
ITERATIONS = 25
TOLERANCE = 3e-3

Values = NDArray[np.float32]


class Gridded(NamedTuple):
    r"""Scattered samples on a lattice; made by :func:`grid_samples`.

    Args:
        image: the values.
        seen: ``(*grid.shape)`` bool, whether a point lies among the samples: near one, gaps closed.
        support: ``(*grid.shape)`` in [0, 1], :math:`\min(1, \sum_j S_{jb})`, the weight of a point in a registration.
    """

    image: Image
    seen: Tensor
    support: Tensor


def sample_spacing(points: Tensor) -> float:
    """Mean distance in mm of scattered samples: the edge of the cube (square in 2-D) that each one stands for.

    Cells of about eight samples are counted, so that neither holes nor the corners around a round field of view matter.

    Args:
        points: ``(num_points, dim)`` positions in mm.

    Raises:
        GeogridError: when the points lie in a plane, on a line, or in one place.

    Example:
        >>> axis = torch.arange(20.0) * 3
        >>> round(sample_spacing(torch.cartesian_prod(axis, axis)))
        3
    """
    dim = points.shape[1]
    relative = points.double() - points.double().mean(0)
    spread = torch.linalg.svdvals(relative)
    if len(points) <= dim or not float(spread[-1]) > 1e-6 * float(spread[0]):
        raise GeogridError(f"expected positions that fill {'a volume' if dim == 3 else 'an area'}, got {len(points)} in less")
    low = relative.amin(0)
    volume = float((relative.amax(0) - low).prod())
    for _ in range(4):
        edge = (PER_CELL * volume / len(points)) ** (1 / dim)
        cells = ((relative - low) / edge).floor().long()
        volume = min(volume, len(flat_index(list(cells.T), (cells.amax(0) + 1).tolist()).unique()) * edge**dim)
    return float((volume / len(points)) ** (1 / dim))


def lattice_of_samples(points: Tensor) -> Grid:
    """A lattice along the world's axes that covers scattered samples, two (2-D) or four (3-D) of its points to a sample.

    Args:
        points: ``(num_points, dim)`` positions in mm.

    Raises:
        GeogridError: for points that do not fill the space, or so little of it that stray ones must be among them.
    """
    dim = points.shape[1]
    spacing = sample_spacing(points) / FINENESS[dim] ** (1 / dim)
    low, high = points.double().amin(0), points.double().amax(0)
    shape = ((high - low) / spacing).round() + 3
    if float(shape.prod()) > MAX_FILL * (len(points) + 1000):
        extent = " x ".join(f"{size:.4g}" for size in (high - low).tolist())
        raise GeogridError(
            f"the positions reach over {extent} mm but are {sample_spacing(points):.3g} mm apart; remove stray points, or give "
            "the parts one by one"
        )
    affine = torch.diag(torch.tensor([*[spacing] * dim, 1.0], dtype=torch.float64))
    affine[:-1, -1] = (low + high) / 2 - spacing * (shape - 1) / 2
    return Grid(tuple(int(n) for n in shape), affine)


def grid_samples(points: Tensor, values: Tensor, grid: Grid, stiffness: float = 0.005) -> Gridded:
    r"""The image on a lattice that agrees best with scattered samples and bends least.

    With S the linear interpolation of the lattice at the samples and L the Laplacian in lattice units (differences to the
    neighbours that there are),

    .. math:: u = \arg\min_u \sum_j (f_j - (S u)_j)^2 + \lambda |L u|^2 .

    A constant is kept exactly. Solved coarse to fine by conjugate gradients; a level starts from the coarser one's solution.

    Args:
        points: ``(num_points, dim)`` positions in mm; what lies beyond the lattice counts as on its border.
        values: ``(num_points,)`` intensities.
        grid: the lattice, about as fine as the samples are apart (:func:`lattice_of_samples`).
        stiffness: the weight :math:`\lambda`.

    Returns:
        The image, what lies among the samples, and how well each lattice point is supported.

    Reference:
        Briggs (1974) "Machine contouring using minimum curvature", Geophysics.

    Example:
        >>> places = 30 * torch.rand(400, 2, generator=torch.Generator().manual_seed(0))
        >>> image, seen, _ = grid_samples(places, 2 * places[:, 0], lattice_of_samples(places))
        >>> error = image.data - 2 * image.grid.points()[:, 0].view(image.grid.shape)
        >>> bool(error[seen].abs().median() < 0.1)
        True
    """
    grids = [grid]
    while max(grids[-1].shape) > COARSEST:
        grids.append(grids[-1].pool([2 if n > 1 else 1 for n in grids[-1].shape]))
    mean = values.double().mean()
    rest, found = (values.double() - mean).float().numpy(), torch.zeros(grids[-1].shape)
    last = grids[-1]
    for level in reversed(grids):
        read = _interpolation(points, level)
        found = _bent_least(read, rest, inherit(found[None], last, level)[0], stiffness)
        last = level
    support = torch.from_numpy(read.sum(0).A1).view(grid.shape).clamp_max(1)
    return Gridded(Image(found + mean.float(), grid), _closed(support > 0), support)


def _interpolation(points: Tensor, grid: Grid) -> csr_matrix:
    """The matrix S, ``(num_points, grid.num_points)`` float32."""
    flat, weight = lattice_corners(grid.world_to_index(points.double()), grid.shape)
    ends = np.arange(0, flat.numel() + 1, flat.shape[1])
    return csr_matrix((weight.float().numpy().ravel(), flat.numpy().ravel(), ends), (len(points), grid.num_points))


def _bent_least(read: csr_matrix, values: Values, start: Tensor, stiffness: float) -> Tensor:
    """Conjugate gradients, preconditioned by the diagonal."""
    spread, steep = read.T.tocsr(), 2 * start.dim()
    diagonal = spread.multiply(spread).sum(1).A1.astype(np.float32) + np.float32(stiffness * (steep**2 + steep))

    def product(u: Values) -> Values:
        bent = _laplacian(_laplacian(torch.from_numpy(u).view(start.shape)))
        total: Values = spread @ (read @ u) + np.float32(stiffness) * bent.flatten().numpy()
        return total

    found, right = start.flatten().numpy().copy(), spread @ values
    rest = right - product(found)
    direction = rest / diagonal
    size, goal = float(rest @ direction), TOLERANCE**2 * float(right @ (right / diagonal))
    for _ in range(ITERATIONS):
        if size <= goal:
            break
        onward = product(direction)
        step = np.float32(size / float(direction @ onward))
        found += step * direction
        rest -= step * onward
        scaled = rest / diagonal
        size, before = float(rest @ scaled), size
        direction = scaled + np.float32(size / before) * direction
    return torch.from_numpy(found).view(start.shape)


def _laplacian(values: Tensor) -> Tensor:
    """Sum of the differences to the neighbours that there are."""
    total = torch.zeros_like(values)
    for axis in range(values.dim()):
        step = values.diff(dim=axis)
        total.narrow(axis, 0, step.shape[axis]).add_(step)
        total.narrow(axis, 1, step.shape[axis]).sub_(step)
    return total


def _closed(seen: Tensor) -> Tensor:
    """The places of a mask with its gaps closed, those up to twice ``REACH`` wide."""
    pool = F.max_pool3d if seen.dim() == 3 else F.max_pool2d
    grown = F.pad(seen.float(), [2 * REACH] * 2 * seen.dim())[None, None]
    grown = -pool(-pool(grown, 2 * REACH + 1, 1, REACH), 2 * REACH + 1, 1, REACH)
    inner = tuple(slice(2 * REACH, 2 * REACH + n) for n in seen.shape)
    return grown[0, 0][inner] > 0

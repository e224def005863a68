"""A regular lattice of points in the world."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

from geogrid.errors import GeogridError

P = ParamSpec("P")
Result = TypeVar("Result")
MAX_SHEAR = 1e-4
"""Largest cosine between two axes of a grid: what ITK still accepts in a file with an sform only."""


def kept(function: Callable[P, Result]) -> Callable[P, Result]:
    """Keeps the results of a function of grids and numbers, which are small: trainings ask for the same ones at every step."""

    @lru_cache(maxsize=256)
    @wraps(function)
    def outside_of_modes(*args: P.args, **kwargs: P.kwargs) -> Result:
        with torch.inference_mode(False), torch.no_grad():
            return function(*args, **kwargs)

    return cast(Callable[P, Result], outside_of_modes)


@dataclass(frozen=True, eq=False)
class Grid:
    r"""A regular lattice of points in world space, in mm, RAS+.

    The index :math:`i` of a point (integer at the points, in the storage order of the array) and its world position are tied
    by :math:`x = A_{1:d,1:d}\, i + A_{1:d,d+1}`. The columns of the linear part may have any length (the spacing) and must be
    orthogonal: sheared lattices are refused, because ITK cannot represent them. Grids of the same shape and affine are equal,
    so a batch of them needs its points, inverses and the like only once.

    Args:
        shape: number of points along each index axis, ``dim`` of them (2 or 3).
        affine: ``(dim + 1, dim + 1)`` index-to-world matrix in mm; kept in float64 on the CPU.

    Raises:
        GeogridError: for a shape or affine of the wrong size, a singular or a sheared affine.

    Example:
        >>> grid = Grid((4, 3), torch.diag(torch.tensor([2.0, 5.0, 1.0])))
        >>> grid.spacing
        tensor([2., 5.], dtype=torch.float64)
        >>> grid.index_to_world(torch.tensor([[1.0, 2.0]]))
        tensor([[ 2., 10.]])
    """

    shape: tuple[int, ...]
    affine: Tensor
    _numbers: tuple[Any, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        affine = torch.as_tensor(self.affine).detach().to("cpu", torch.float64).clone()
        dim = len(shape)
        if dim not in (2, 3) or min(shape) < 1:
            raise GeogridError(f"grid shape: expected 2 or 3 positive sizes, got {shape}")
        if affine.shape != (dim + 1, dim + 1):
            raise GeogridError(f"grid affine: expected a {dim + 1}x{dim + 1} matrix, got {tuple(affine.shape)}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "_numbers", (shape, *affine.flatten().tolist()))
        _check_affine(affine)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self._numbers == other._numbers

    def __hash__(self) -> int:
        return hash(self._numbers)

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        return len(self.shape)

    @property
    def num_points(self) -> int:
        """Number of lattice points."""
        return math.prod(self.shape)

    @property
    def spacing(self) -> Tensor:
        """Distance in mm between neighbours along each index axis, ``(dim,)`` float64."""
        return _axes(self)[0].clone()

    @property
    def frame(self) -> Tensor:
        """Unit vectors of the index axes as columns, ``(dim, dim)`` float64: frame coordinates to world directions."""
        return _axes(self)[1].clone()

    @property
    def to_index(self) -> Tensor:
        """World-to-index matrix, the inverse of the affine, ``(dim + 1, dim + 1)`` float64."""
        return _axes(self)[2].clone()

    @property
    def center(self) -> Tensor:
        """World position in mm of the middle of the lattice, ``(dim,)`` float64."""
        return self.index_to_world((torch.tensor(self.shape, dtype=torch.float64) - 1) / 2)

    @property
    def voxel_volume(self) -> float:
        """Volume (area in 2-D) that one point stands for, in mm^dim."""
        return float(self.spacing.prod())

    def index_to_world(self, index: Tensor) -> Tensor:
        """World positions in mm of (fractional) indices, ``(..., dim)`` to ``(..., dim)``, in the dtype of the input."""
        return map_points(self.affine, index)

    def world_to_index(self, points: Tensor) -> Tensor:
        """Fractional indices of world positions in mm, ``(..., dim)`` to ``(..., dim)``, in the dtype of the input."""
        return map_points(self.to_index, points)

    def indices(self, device: torch.device | str = "cpu") -> Tensor:
        """Indices of all lattice points, ``(num_points, dim)`` float32, the last axis fastest."""
        axes = [torch.arange(n, dtype=torch.float32, device=device) for n in self.shape]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, self.dim)

    def points(self, device: torch.device | str = "cpu") -> Tensor:
        """World positions in mm of all lattice points, ``(num_points, dim)`` float32, the last axis fastest."""
        return self.index_to_world(self.indices(device))

    def crop(self, start: Sequence[int], shape: Sequence[int]) -> Grid:
        """The lattice of the box of ``shape`` points whose first point has index ``start``."""
        return Grid(tuple(shape), _moved_origin(self.affine, torch.tensor([float(s) for s in start], dtype=torch.float64)))

    def pool(self, factors: Sequence[int]) -> Grid:
        """The lattice of cell centres when each axis is grouped in cells of ``factors`` points (the last may be partial)."""
        return _pooled(self, tuple(factors))

    def split(self, parts: Sequence[int]) -> Grid:
        """The lattice of the middles when each voxel is split into ``parts`` along each axis; undoes :meth:`pool`."""
        part = torch.tensor([float(p) for p in parts], dtype=torch.float64)
        affine = _moved_origin(self.affine, (1 / part - 1) / 2)
        affine[:-1, :-1] /= part
        return Grid(tuple(n * p for n, p in zip(self.shape, parts, strict=True)), affine)

    def straight(self) -> Grid:
        """A lattice of the same shape and spacing with its axes along the world's and its first point at the origin."""
        return _straight(self)

    def transformed(self, matrix: Tensor) -> Grid:
        """The same lattice after the rigid motion ``matrix``, ``(dim + 1, dim + 1)``, of the world."""
        return _transformed(self, tuple(matrix.flatten().tolist()))

    def same_space(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether both lattices have the same shape and their points lie within ``tolerance`` mm of each other."""
        if self.shape != other.shape:
            return False
        far = torch.tensor(self.shape, dtype=torch.float64) - 1
        corners = torch.cartesian_prod(*[torch.stack([torch.zeros_like(f), f]) for f in far])
        return bool((self.index_to_world(corners) - other.index_to_world(corners)).abs().max() <= tolerance)


@kept
def _axes(grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Spacing, frame and world-to-index matrix."""
    linear = grid.affine[:-1, :-1].clone()
    spacing: Tensor = torch.linalg.vector_norm(linear, dim=0)
    return spacing, linear / spacing, torch.linalg.inv(grid.affine.clone())


@kept
def _pooled(grid: Grid, factors: tuple[int, ...]) -> Grid:
    factor = torch.tensor([float(f) for f in factors], dtype=torch.float64)
    affine = _moved_origin(grid.affine, (factor - 1) / 2)
    affine[:-1, :-1] *= factor
    return Grid(tuple(-(-n // f) for n, f in zip(grid.shape, factors, strict=True)), affine)


@kept
def _straight(grid: Grid) -> Grid:
    return Grid(grid.shape, torch.diag(torch.cat([grid.spacing, torch.ones(1, dtype=torch.float64)])))


@kept
def _transformed(grid: Grid, matrix: tuple[float, ...]) -> Grid:
    motion = torch.tensor(matrix, dtype=torch.float64).view(grid.dim + 1, grid.dim + 1)
    return Grid(grid.shape, motion @ grid.affine)


def map_points(matrix: Tensor, points: Tensor) -> Tensor:
    """Applies a ``(dim + 1, dim + 1)`` homogeneous matrix to ``(..., dim)`` points, in their dtype and on their device.

    Places are never computed in mixed precision, whatever surrounds the call.
    """
    matrix = matrix.to(points.device)
    linear, shift = matrix[:-1, :-1].to(points.dtype), matrix[:-1, -1].to(points.dtype)
    flat = points.reshape(-1, points.shape[-1])
    with torch.autocast(points.device.type, enabled=False):
        return torch.addmm(shift, flat, linear.T).reshape(points.shape)


def map_entries(matrices: Tensor, points: Tensor, counts: Sequence[int]) -> Tensor:
    """Applies one homogeneous matrix per entry to the points of a batch, ``(num_points, dim)``, as :func:`map_points` does.

    Args:
        matrices: ``(num_entries, dim + 1, dim + 1)``.
        points: those of the first entry, then those of the second, and so on.
        counts: points per entry.
    """
    if len(set(counts)) != 1:
        return torch.cat([map_points(matrix, part) for matrix, part in zip(matrices, points.split(list(counts)), strict=True)])
    matrices = matrices.to(points)[:, :-1]
    stacked = points.reshape(len(counts), -1, points.shape[1])
    with torch.autocast(points.device.type, enabled=False):
        return torch.baddbmm(matrices[:, None, :, -1], stacked, matrices[:, :, :-1].mT).reshape(points.shape)


def _moved_origin(affine: Tensor, index: Tensor) -> Tensor:
    moved = affine.clone()
    moved[:-1, -1] = affine[:-1, :-1] @ index + affine[:-1, -1]
    return moved


def _check_affine(affine: Tensor) -> None:
    if not torch.isfinite(affine).all():
        raise GeogridError("grid affine: has NaN or infinite entries; the file's sform/qform is damaged")
    if (affine[-1] - torch.eye(len(affine), dtype=torch.float64)[-1]).abs().max() > 1e-6:
        raise GeogridError(
            f"grid affine: expected a last row of zeros and a one, got {affine[-1].tolist()}; is the matrix transposed?"
        )
    linear = affine[:-1, :-1]
    spacing = linear.norm(dim=0)
    if spacing.min() <= 0 or abs(float(torch.linalg.det(linear / spacing.clamp_min(1e-12)))) < 1e-3:
        raise GeogridError(
            "grid affine: singular (an axis has no length, or two axes are parallel), so voxels have no place in the world; "
            "set a valid sform or qform in the file"
        )
    cosine = (linear / spacing).T @ (linear / spacing) - torch.eye(len(spacing), dtype=torch.float64)
    if cosine.abs().max() > MAX_SHEAR:
        raise GeogridError(
            f"grid affine: sheared (axes are {float(torch.rad2deg(torch.arcsin(cosine.abs().max()))):.2g} degrees from being "
            "orthogonal), which ITK-based programs cannot read; resample the image to an orthogonal grid first"
        )

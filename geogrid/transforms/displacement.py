"""Dense displacements on a grid, and the composition of maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial import Grid, inside_lattice, sample_lattice
from geogrid.transforms.transform import Transform


@dataclass(frozen=True, eq=False)
class DisplacementField:
    r"""The map :math:`x \mapsto x + u(x)`, with :math:`u` given on a grid and linear between its points.

    Inside means inside the voxels of the grid, half a voxel beyond the outermost points; there the border value goes on.

    Args:
        displacement: ``(*grid.shape, dim)`` in mm, along the world axes (RAS+).
        grid: where the displacement is given.
        outside: what happens to points outside the grid. ``identity``, as in ITK and ANTs: they stay where they are.
            ``extend``: the displacement at the nearest border point.

    Raises:
        GeogridError: when displacement and grid do not fit each other.
    """

    displacement: Tensor
    grid: Grid
    outside: Literal["identity", "extend"] = "identity"

    def __post_init__(self) -> None:
        expected = (*self.grid.shape, self.grid.dim)
        if tuple(self.displacement.shape) != expected:
            raise GeogridError(f"displacement: expected shape {expected}, got {tuple(self.displacement.shape)}")

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        return self.grid.dim

    def __call__(self, points: Tensor) -> Tensor:
        """Maps ``(num_points, dim)`` world points in mm."""
        index = self.grid.world_to_index(points)
        moved = sample_lattice(self.displacement.movedim(-1, 0).to(points), index).T
        if self.outside == "identity":
            moved = moved * inside_lattice(index, self.grid.shape)[:, None]
        return points + moved

    def contains(self, points: Tensor) -> Tensor:
        """Which of ``(num_points, dim)`` world points lie inside the grid."""
        return inside_lattice(self.grid.world_to_index(points), self.grid.shape)

    def to(self, device: torch.device | str) -> DisplacementField:
        """The field with its values on ``device``."""
        return DisplacementField(self.displacement.to(device), self.grid, self.outside)


@dataclass(frozen=True, eq=False)
class Composition:
    """Maps one after the other: ``Composition((first, second))(x) == second(first(x))``."""

    transforms: tuple[Transform, ...]

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        return self.transforms[0].dim

    def __call__(self, points: Tensor) -> Tensor:
        """Maps ``(num_points, dim)`` world points in mm."""
        for transform in self.transforms:
            points = transform(points)
        return points


def compose(*transforms: Transform) -> Composition:
    """The composition that applies ``transforms`` from first to last.

    Raises:
        GeogridError: without transforms, or when 2-D and 3-D ones are mixed.
    """
    if not transforms or len({t.dim for t in transforms}) != 1:
        raise GeogridError("compose: expected one or more transforms of the same dimension")
    return Composition(tuple(transforms))


def to_displacement(transform: Transform, grid: Grid, device: torch.device | str = "cpu") -> DisplacementField:
    """The dense displacement of any transform on a grid; exact at its points, linear between them."""
    points = grid.points(device)
    return DisplacementField((transform(points) - points).reshape(*grid.shape, grid.dim), grid)

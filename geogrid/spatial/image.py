"""Samples on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial.grid import Grid


@dataclass(frozen=True, eq=False)
class Image:
    """A scalar image: one value at each point of a grid.

    Args:
        data: ``(*grid.shape)``, any device; index axes in the order of the grid.
        grid: where the values are, in mm.

    Raises:
        GeogridError: when the data's shape is not the grid's.
    """

    data: Tensor
    grid: Grid

    def __post_init__(self) -> None:
        if tuple(self.data.shape) != self.grid.shape:
            raise GeogridError(f"image data: expected the grid's shape {self.grid.shape}, got {tuple(self.data.shape)}")

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        return self.grid.dim

    def to(self, device: torch.device | str) -> Image:
        """The image with its values on ``device``."""
        return Image(self.data.to(device), self.grid)

    def crop(self, start: tuple[int, ...], shape: tuple[int, ...]) -> Image:
        """The part of the image in the box of ``shape`` voxels whose first voxel has index ``start``."""
        box = tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))
        return Image(self.data[box], self.grid.crop(start, shape))

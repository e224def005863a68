"""Which slices of an image are shown, and where their pixels are in mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geogrid.metrics import content_mask
from geogrid.spatial import Grid, Image

_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
_NAMES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True)
class Plane:
    """A slice along two index axes of a grid; its first voxel is at (0, 0) mm.

    Args:
        title: name of the plane and where it lies; empty in 2-D.
        across: index axis that runs to the right.
        up: index axis that runs upwards.
        cut: the index axis that is cut, and the index of the slice; None in 2-D.
        spacing: pixel size in mm to the right and upwards.
        shape: pixels to the right and upwards.
        letters: what lies left, right, below and above.
    """

    title: str
    across: int
    up: int
    cut: tuple[int, int] | None
    spacing: tuple[float, float]
    shape: tuple[int, int]
    letters: tuple[str, str, str, str]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in mm."""
        return self.spacing[0] * self.shape[0], self.spacing[1] * self.shape[1]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, lower and upper edge in mm, as matplotlib's ``imshow`` wants them."""
        (width, height), (dx, dy) = self.size, self.spacing
        return -dx / 2, width - dx / 2, -dy / 2, height - dy / 2

    def take(self, values: Tensor) -> NDArray[np.float32]:
        """The slice of ``(*shape, ...)`` values, ``(pixels upwards, pixels to the right, ...)``, lowest row first."""
        if self.cut is not None:
            values = values.select(*self.cut)
        if self.across < self.up:
            values = values.transpose(0, 1)
        return np.asarray(values.detach().cpu().numpy(), dtype=np.float32)


def middle_planes(fixed: Image) -> tuple[Plane, ...]:
    """The planes through the centre of mass of an image's content: axial, coronal, sagittal; the image itself in 2-D."""
    if fixed.dim == 2:
        return (_plane(fixed.grid, 0, 1, None),)
    center = _content_center(fixed)
    named = {_world_axis(fixed.grid, axis): axis for axis in range(3)}
    if len(named) < 3:
        named = {axis: axis for axis in range(3)}
    right, front, top = (named[axis] for axis in range(3))
    shown = ((right, front, top), (right, top, front), (front, top, right))
    return tuple(_plane(fixed.grid, across, up, (cut, center[cut])) for across, up, cut in shown)


def _plane(grid: Grid, across: int, up: int, cut: tuple[int, int] | None) -> Plane:
    spacing = grid.spacing.tolist()
    title = "" if cut is None else f"{_NAMES[_world_axis(grid, cut[0])]}, slice {cut[1] + 1} of {grid.shape[cut[0]]}"
    return Plane(
        title,
        across,
        up,
        cut,
        (spacing[across], spacing[up]),
        (grid.shape[across], grid.shape[up]),
        (*_ends(grid, across), *_ends(grid, up)),
    )


def _world_axis(grid: Grid, axis: int) -> int:
    return int(grid.frame[:, axis].abs().argmax())


def _ends(grid: Grid, axis: int) -> tuple[str, str]:
    world = _world_axis(grid, axis)
    low, high = _LETTERS[world] if grid.dim == 3 else (f"\N{MINUS SIGN}{'xy'[world]}", f"+{'xy'[world]}")
    return (low, high) if grid.frame[world, axis] > 0 else (high, low)


def _content_center(image: Image) -> tuple[int, ...]:
    content = content_mask(image)
    if not content.any():
        return tuple(n // 2 for n in image.grid.shape)
    center = []
    for axis in range(image.dim):
        count = content.sum(dim=[a for a in range(image.dim) if a != axis], dtype=torch.float64).cpu()
        center.append(round(float((count * torch.arange(len(count))).sum() / count.sum())))
    return tuple(center)


def axial_slice(image: Image, through: Tensor, *points: Tensor) -> tuple[Image, list[Tensor]]:
    """The axial slice of a volume nearest to a place, as a 2-D image in mm from its first voxel, and points projected onto it.

    Args:
        image: 3-D, stored along closest-canonical axes.
        through: ``(3,)`` in mm.
        points: ``(n, 3)`` or ``(3,)`` each, in mm.
    """
    index = image.grid.world_to_index(through[None].detach().cpu().double())[0]
    number = int(index[2].round().clamp(0, image.grid.shape[2] - 1))
    affine = torch.diag(torch.tensor([*image.grid.spacing[:2].tolist(), 1.0], dtype=torch.float64))
    flat = Image(image.data[..., number], Grid(image.grid.shape[:2], affine))
    spacing = image.grid.spacing[:2]
    projected = []
    for given in points:
        places = image.grid.world_to_index(given.detach().cpu().double().reshape(-1, 3))[:, :2] * spacing
        projected.append(places.reshape(*given.shape[:-1], 2))
    return flat, projected

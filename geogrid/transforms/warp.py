"""Images and labels carried by a transform."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.spatial import Grid, Image, inside_lattice, sample_lattice
from geogrid.spatial.sampling import Interpolation, lattice_corners
from geogrid.transforms.transform import Transform

_CHUNK = 1 << 20


def warp_image(
    image: Image, transform: Transform, grid: Grid, interpolation: Interpolation = "linear", fill: float = 0.0
) -> Image:
    """Brings a moving image onto a fixed grid: reads it where the transform sends the grid's points.

    Args:
        image: the moving image.
        transform: maps fixed-space points to moving space.
        grid: the grid of the result.
        interpolation: ``linear`` or ``nearest``.
        fill: value of points that land outside the voxels of the moving image (0, as in ITK and ANTs).
    """
    index = image.grid.world_to_index(transform(grid.points(image.data.device)))
    return Image(_read(image, index, interpolation, fill).reshape(grid.shape), grid)


def warp_labels(labels: Image, transform: Transform, grid: Grid) -> Image:
    """Brings integer labels onto a fixed grid: each point takes the label with the largest linearly interpolated share.

    Ties go to the smaller label; points that land outside are 0. Borders come out smoother than by nearest-neighbour reading.
    """
    index = labels.grid.world_to_index(transform(grid.points(labels.data.device)))
    warped = torch.cat([_largest_share(labels.data, part) for part in index.split(_CHUNK)])
    warped = torch.where(inside_lattice(index, labels.grid.shape), warped, torch.zeros_like(warped))
    return Image(warped.reshape(grid.shape), grid)


def _largest_share(labels: Tensor, index: Tensor) -> Tensor:
    """The winning label at each fractional index; only points whose corners differ are counted out."""
    corners, weight = lattice_corners(index, labels.shape)
    around = labels.reshape(-1)[corners]
    winner = around[:, 0].clone()
    mixed = (around != around[:, :1]).any(1)
    around, weight = around[mixed], weight[mixed]
    share = torch.stack([(weight * (around == around[:, k, None])).sum(1) for k in range(around.shape[1])], 1)
    best = share >= share.max(1, keepdim=True).values - 1e-6
    winner[mixed] = torch.where(best, around, torch.iinfo(around.dtype).max).min(1).values
    return winner


def _read(image: Image, index: Tensor, interpolation: Interpolation, fill: float) -> Tensor:
    values = image.data if image.data.is_floating_point() else image.data.float()
    read = sample_lattice(values[None], index.to(values.dtype), interpolation)[0]
    return torch.where(inside_lattice(index, image.grid.shape), read, torch.full_like(read, fill)).to(image.data.dtype)

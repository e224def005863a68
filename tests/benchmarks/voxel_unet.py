"""A voxel U-Net of the VoxelMorph kind, for comparison: both images as channels, a displacement in pixels."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from geogrid.spatial import PointCloud
from geogrid.transforms import AffineTransform, StepBatch, TrajectoryBatch


class VoxelUNet(nn.Module):
    """Convolutions of pixels, blind to their size: images of other pixels are other images to it.

    Takes and returns what a GeoReg does; the only step is at level 0. Skip connections, three levels.

    Args:
        channels: of each level, the finest first.
        dim: 2 or 3.
    """

    def __init__(self, channels: tuple[int, ...] = (32, 48, 64), dim: int = 2) -> None:
        super().__init__()
        widths = (2, *channels)
        self.conv = nn.Conv2d if dim == 2 else nn.Conv3d
        self.pool = nn.MaxPool2d(2, ceil_mode=True) if dim == 2 else nn.MaxPool3d(2, ceil_mode=True)
        self.down = nn.ModuleList(self._block(a, b) for a, b in pairwise(widths))
        self.up = nn.ModuleList(self._block(a + b, a) for a, b in pairwise(channels))
        self.out = self.conv(channels[0], dim, 3, padding=1)
        nn.init.normal_(self.out.weight, std=1e-3)
        nn.init.zeros_(self.out.bias)

    def forward(self, fixed: PointCloud, moving: PointCloud, scale: float | None = None) -> TrajectoryBatch:
        """The trajectory of a batch of pairs on lattices of one shape."""
        x, kept = torch.cat([cloud.to_lattice(cloud.x) for cloud in (fixed, moving)], 1), []
        for number, block in enumerate(self.down):
            x = block(self.pool(x) if number else x)
            kept.append(x)
        for block, skip in reversed(list(zip(self.up, kept, strict=False))):
            x = block(torch.cat([nn.functional.interpolate(x, size=skip.shape[2:]), skip], 1))
        displacement = fixed.to_rows(self.out(x)) * fixed.spacing[0].to(x)
        starts = (AffineTransform.identity(fixed.dim),) * fixed.num_entries
        return TrajectoryBatch(starts, (StepBatch(0, 1.0, fixed, displacement),))

    def _block(self, before: int, after: int) -> nn.Module:
        parts = [(self.conv(a, after, 3, padding=1), nn.LeakyReLU(0.1)) for a in (before, after)]
        return nn.Sequential(*(layer for part in parts for layer in part))

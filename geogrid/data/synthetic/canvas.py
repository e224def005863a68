"""Where a world is drawn, and the brushes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.data.synthetic.draws import normal, rotation, uniform
from geogrid.data.synthetic.noise import fractal_noise, smooth_noise
from geogrid.spatial import Grid

_EDGE = 0.35
_FLAT = 0.2


@dataclass(frozen=True, eq=False)
class Canvas:
    """The lattice of a world, and the field of view that the world is made for.

    Args:
        grid: the lattice, isotropic.
        center: ``(dim,)`` middle of the field of view, mm.
        extent: its shortest side, mm.
        generator: of all that is drawn.
        device: where.
    """

    grid: Grid
    center: Tensor
    extent: float
    generator: torch.Generator
    device: torch.device | str

    @property
    def spacing(self) -> float:
        """Of the lattice, mm."""
        return float(self.grid.spacing[0])

    def draw(self, low: float, high: float) -> float:
        """One number from a range."""
        return uniform(self.generator, low, high)

    def offsets(self) -> Tensor:
        """From the middle of the field of view to the points, ``(dim, num_points)`` mm."""
        return (self.grid.points(self.device) - self.center.to(self.device).float()).T.contiguous()

    def noise(self, wavelength: float, channels: int) -> Tensor:
        """Smooth noise of unit variance, ``(channels, *shape)``."""
        return smooth_noise(self.grid, wavelength, channels, self.generator, self.device)

    def fractal(self, longest: float, hurst: float, channels: int) -> Tensor:
        """Three octaves of noise, ``(channels, *shape)``."""
        return fractal_noise(self.grid, (longest / 4, longest), hurst, channels, self.generator, self.device)

    def bent(self, offsets: Tensor, amplitude: float, wavelength: float) -> Tensor:
        """Offsets moved by smooth noise of ``amplitude`` mm, so that what is drawn with them is not too regular."""
        return offsets + amplitude * self.noise(wavelength, self.grid.dim).flatten(1)

    def ellipsoid(self, offsets: Tensor, center: Tensor, radii: Sequence[float]) -> Tensor:
        """About the depth in mm inside an ellipsoid that is turned at random, ``(*shape)``; negative outside."""
        dim = self.grid.dim
        turn = rotation(self.generator, dim, self.draw(0, 180)).to(offsets)
        size = torch.tensor(radii, device=offsets.device)[:, None]
        scaled = (turn @ (offsets - center.to(offsets)[:, None])) / size
        length = scaled.square().sum(0).sqrt()
        slope = (scaled / size).square().sum(0).sqrt()
        depth = (1 - length) * length / slope.clamp_min(1e-6)
        shaped: Tensor = depth.reshape(self.grid.shape)
        return shaped

    def distance(self, level: Tensor) -> Tensor:
        """About the signed distance in mm to where a smooth function ``(*shape)`` is zero: the function over its slope."""
        slopes = torch.gradient(level, spacing=self.spacing)
        slope = torch.stack(slopes).square().sum(0).sqrt()
        return level / slope.clamp_min(_FLAT * float(slope.mean()))

    def cover(self, depth: Tensor) -> Tensor:
        """How much of a point is inside, 0 to 1: soft over about a voxel around depth 0."""
        return torch.sigmoid(depth / (_EDGE * self.spacing))

    def scatter(self, radius: float) -> Tensor:
        """A random place in a ball about the middle, ``(dim,)`` mm."""
        vector = normal(self.generator, (self.grid.dim,), "cpu")
        place: Tensor = vector / vector.norm() * radius * math.sqrt(self.draw(0, 1))
        return place


def paint_over(layers: Sequence[Tensor]) -> Tensor:
    """Memberships ``(1 + num_layers, *shape)``, sum 1, of a background and layers of which later ones cover earlier ones."""
    rest = torch.ones_like(layers[0])
    shares = []
    for layer in reversed(layers):
        shares.append(rest * layer)
        rest = rest * (1 - layer)
    return torch.stack([rest, *reversed(shares)])

"""Smooth maps with a known derivative."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.transforms import AffineTransform
from tests.spatial.cases import homogeneous, rotation

SHAPES = {2: (9, 8), 3: (7, 6, 8)}
SPACINGS = {2: (2.0, 3.0), 3: (2.0, 3.0, 2.5)}
ANGLES = {2: (20.0,), 3: (20.0, -35.0, 10.0)}


@dataclass(frozen=True, eq=False)
class Wave:
    """The map ``x -> x + sum_k a_k sin(b_k . x + c_k)``, in mm and radians per mm."""

    amplitude: Tensor
    frequency: Tensor
    phase: Tensor

    @property
    def dim(self) -> int:
        return self.amplitude.shape[1]

    def displacement(self, points: Tensor) -> Tensor:
        return torch.sin(points @ self.frequency.T.to(points) + self.phase.to(points)) @ self.amplitude.to(points)

    def __call__(self, points: Tensor) -> Tensor:
        return points + self.displacement(points)

    def derivative(self, points: Tensor) -> Tensor:
        """``(num_points, dim, dim)``, of the map."""
        slope = torch.cos(points @ self.frequency.T.to(points) + self.phase.to(points))
        change = torch.einsum("nk,ki,kj->nij", slope, self.amplitude.to(points), self.frequency.to(points))
        return torch.eye(self.dim).to(points) + change


def make_wave(dim: int, size: float, wavelength: float, count: int = 3, seed: int = 0) -> Wave:
    """A few random waves of amplitude ``size`` mm and ``wavelength`` mm."""
    generator = torch.Generator().manual_seed(seed)
    amplitude, frequency = torch.randn(2, count, dim, generator=generator, dtype=torch.float64)
    phase = torch.rand(count, generator=generator, dtype=torch.float64) * 6
    unit = 2 * torch.pi / wavelength
    return Wave(
        size * amplitude / amplitude.norm(dim=1, keepdim=True), unit * frequency / frequency.norm(dim=1, keepdim=True), phase
    )


def turn(dim: int, degrees: float = 40.0) -> AffineTransform:
    """A turn by ``degrees`` about each axis in succession, with a shift of some mm."""
    angles = [degrees] * (dim * (dim - 1) // 2)
    return AffineTransform(homogeneous(rotation(angles), (5.0, -8.0, 3.0)[:dim]))


def stretch(dim: int) -> AffineTransform:
    """An affine map with a known determinant other than one: turn, anisotropic scaling, shear."""
    upper = torch.diag(torch.tensor([1.2, 0.7, 1.1], dtype=torch.float64)[:dim])
    upper[0, 1] = 0.3
    return AffineTransform(homogeneous(turn(dim).linear @ upper, (4.0, 1.0, -2.0)[:dim]))

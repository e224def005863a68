"""A known brain as a scanner would give it, with the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from geogrid.data.synthetic.draws import direction, rotation
from geogrid.spatial import Grid, Image, sample_lattice
from geogrid.spatial.pyramid import pool_values
from geogrid.transforms import AffineTransform, Composition, DisplacementField, warp_image, warp_labels


@dataclass(frozen=True, eq=False)
class Scan:
    """A simulated scan and what is true of it.

    Args:
        image: the scan.
        labels: the labels in the scan, on its grid.
        to_original: the true map of the scan's points to the original's.
    """

    image: Image
    labels: Image
    to_original: Composition


def simulate_scan(
    image: Image,
    labels: Image,
    *,
    spacing: tuple[float, ...] = (1.0, 1.0, 4.0),
    turn_degrees: float = 12.0,
    shift_mm: float = 8.0,
    displacement_mm: float = 4.0,
    smoothness_mm: float = 25.0,
    noise: float = 0.02,
    bias: float = 0.3,
    intensity_scale: float = 900.0,
    seed: int = 0,
) -> Scan:
    """Deforms an image smoothly, lays it obliquely into a scanner, and scans it in thick slices.

    The scan is the original read at ``to_original(x)`` and averaged over the thickness of each slice, times a smooth bias
    field, plus noise, on another intensity scale.

    Args:
        image: the original.
        labels: integer labels on the grid of the original.
        spacing: mm between the scan's voxels along each axis; slices are as thick as they are far apart.
        turn_degrees: how oblique the scanner's axes lie.
        shift_mm: how far the head lies from where it was.
        displacement_mm: root mean square length of the smooth deformation.
        smoothness_mm: distance over which the deformation changes.
        noise: standard deviation, as a share of the brightest tissue.
        bias: the bias field multiplies intensities by between exp(-bias) and exp(bias).
        intensity_scale: intensity of the brightest tissue.
        seed: of all that is random.
    """
    generator = torch.Generator().manual_seed(seed)
    warp = _smooth_displacement(image.grid, displacement_mm, smoothness_mm, generator)
    motion = _motion(image.grid, turn_degrees, shift_mm, generator)
    to_original = Composition((motion, warp))
    grid = _scanner_grid(image.grid, motion, spacing)
    fine = _refined(grid, float(image.grid.spacing.min()))
    factors = tuple(f // g for f, g in zip(fine.shape, grid.shape, strict=True))
    clean = pool_values(warp_image(image, to_original, fine).data, factors)
    brightest = float(clean.flatten().kthvalue(max(1, round(0.99 * clean.numel()))).values)
    field = torch.exp(bias * _smooth_noise(grid, 4 * smoothness_mm, 1, generator)[0].clamp(-2, 2) / 2)
    scan = clean / brightest * field + noise * torch.randn(grid.shape, generator=generator)
    return Scan(Image(scan.clamp_min(0) * intensity_scale, grid), warp_labels(labels, to_original, grid), to_original)


def _motion(grid: Grid, degrees: float, shift: float, generator: torch.Generator) -> AffineTransform:
    """A rigid motion about the centre of a grid, by a turn about a random axis (3-D) and a shift in a random direction."""
    dim = grid.dim
    linear = rotation(generator, dim, degrees)
    matrix = torch.eye(dim + 1, dtype=torch.float64)
    matrix[:-1, :-1] = linear
    matrix[:-1, -1] = grid.center - linear @ grid.center + shift * direction(generator, dim)
    return AffineTransform(matrix)


def _scanner_grid(original: Grid, motion: AffineTransform, spacing: tuple[float, ...]) -> Grid:
    """A grid along the scanner's axes that covers the moved head, centred on it."""
    extent = torch.tensor(original.shape) * original.spacing
    shape = tuple(math.ceil(float(e) / s) for e, s in zip(extent, spacing, strict=True))
    affine = torch.eye(original.dim + 1, dtype=torch.float64)
    affine[:-1, :-1] = torch.linalg.inv(motion.linear) @ original.frame @ torch.diag(torch.tensor(spacing, dtype=torch.float64))
    center = motion.inverse()(original.center[None])[0]
    affine[:-1, -1] = center - affine[:-1, :-1] @ ((torch.tensor(shape, dtype=torch.float64) - 1) / 2)
    return Grid(shape, affine)


def _refined(grid: Grid, spacing: float) -> Grid:
    """The grid with each axis split into whole parts of about ``spacing`` mm."""
    return grid.split([max(1, round(float(s) / spacing)) for s in grid.spacing])


def _smooth_displacement(grid: Grid, rms: float, smoothness: float, generator: torch.Generator) -> DisplacementField:
    field = _smooth_noise(grid, smoothness, grid.dim, generator)
    field = field * rms / field.square().sum(0).mean().sqrt()
    return DisplacementField(field.movedim(0, -1), grid, outside="extend")


def _smooth_noise(grid: Grid, smoothness: float, channels: int, generator: torch.Generator) -> Tensor:
    """Smooth noise of about unit variance, ``(channels, *grid.shape)``: cubic between random values ``smoothness`` mm apart."""
    coarse = [max(4, math.ceil(n * float(s) / smoothness) + 3) for n, s in zip(grid.shape, grid.spacing, strict=True)]
    values = torch.randn(channels, *coarse, generator=generator)
    for axis in range(1, grid.dim + 1):
        values = _blurred(values, axis)
    values = values / values.std()
    place = grid.indices() * (grid.spacing / smoothness).float() + 1
    return sample_lattice(_upsampled(values), 4 * place + 1.5).reshape(channels, *grid.shape)


def _upsampled(values: Tensor) -> Tensor:
    """Four times as many points along each axis, smoothed, so that linear reading of the result is smooth."""
    mode = "trilinear" if values.dim() == 4 else "bilinear"
    fine = F.interpolate(values[None], scale_factor=4, mode=mode, align_corners=False)[0]
    for axis in range(1, values.dim()):
        for _ in range(4):
            fine = _blurred(fine, axis)
    return fine


def _blurred(values: Tensor, axis: int) -> Tensor:
    size = values.shape[axis]
    near = values.index_select(axis, torch.arange(size).sub(1).clamp_min(0))
    far = values.index_select(axis, torch.arange(size).add(1).clamp_max(size - 1))
    return (near + 2 * values + far) / 4

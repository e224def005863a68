"""Random maps of fixed-space points to moving space."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geogrid.data.synthetic.boxes import covering_grid, voxel_box
from geogrid.data.synthetic.config import DeformationConfig, Range
from geogrid.data.synthetic.draws import direction, rotation, uniform
from geogrid.data.synthetic.noise import fractal_noise
from geogrid.data.synthetic.sliding import SlidingMotion
from geogrid.data.synthetic.smooth import smooth_deformation
from geogrid.spatial import Grid
from geogrid.transforms import AffineTransform, Composition, DisplacementField
from geogrid.transforms.transform import Transform

_FINEST_WAVE = 8


def random_deformation(
    config: DeformationConfig,
    fixed: Grid,
    moving: Grid,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> Composition:
    r"""Draws a map of fixed-space points to moving space: :math:`\phi = A \circ S \circ B \circ U`.

    First a smooth displacement U, then a fractal Brownian one B, a sliding motion S, an affine map A that also brings the
    middle of the fixed grid to the middle of the moving grid. Parts of size 0 are left out. U and B are flows and checked, A
    and S are invertible by construction, so the map is a bijection with a positive Jacobian determinant away from the sliding
    border. The border is flat for S, so in fixed space it is bent by U and B.

    Args:
        config: sizes.
        fixed: grid over whose points the sizes are taken.
        moving: grid to which the fixed grid's middle is sent.
        generator: of all that is random.
        device: where the displacements are kept.

    Returns:
        The map; it can be evaluated at any points, in mm.

    Example:
        >>> from geogrid.transforms import to_displacement
        >>> grid = Grid((16, 16), torch.eye(3))
        >>> config = DeformationConfig(smooth_mm=(1.0, 1.0))
        >>> truth = random_deformation(config, grid, grid, torch.Generator().manual_seed(0))
        >>> round(float((truth(grid.points()) - grid.points()).square().sum(1).mean().sqrt()), 3)
        1.0
    """
    parts: list[Transform] = []
    longest = float((torch.tensor(fixed.shape) * fixed.spacing).max())
    finest = float(fixed.spacing.min())
    smooth = config.smooth_wavelength_mm or (longest / 4, longest)
    brownian = config.brownian_wavelength_mm or (min(longest, _FINEST_WAVE * finest), longest)
    for size, waves, hurst in ((config.smooth_mm, smooth, 1.0), (config.brownian_mm, brownian, 1 - config.roughness)):
        if size[1] > 0:
            parts.append(_displacement(size, waves, hurst, config.min_determinant, fixed, generator, device))
    if config.slip_mm[1] > 0:
        parts.append(_sliding(config, fixed, generator))
    return Composition((*parts, _affine(config, fixed, moving, generator)))


def _displacement(
    size: Range,
    waves: Range,
    hurst: float,
    min_determinant: float,
    fixed: Grid,
    generator: torch.Generator,
    device: torch.device | str,
) -> DisplacementField:
    """On a lattice with four points per shortest wave, or as fine as the fixed grid."""
    spacing = max(waves[0] / 4, float(fixed.spacing.min()))
    grid = covering_grid(fixed.frame, *voxel_box(fixed, fixed.frame), spacing)
    velocity = fractal_noise(grid, waves, hurst, fixed.dim, generator, device)
    return smooth_deformation(velocity, grid, fixed.points(device), uniform(generator, *size), min_determinant)


def _sliding(config: DeformationConfig, fixed: Grid, generator: torch.Generator) -> SlidingMotion:
    """Along a plane within the middle third of the fixed grid."""
    normal = direction(generator, fixed.dim)
    tangent = direction(generator, fixed.dim)
    tangent = tangent - normal * (normal @ tangent)
    tangent = tangent / tangent.norm()
    extent = float((torch.tensor(fixed.shape) * fixed.spacing).min())
    point = fixed.center + normal * uniform(generator, -extent / 6, extent / 6)
    return SlidingMotion(point, normal, tangent, uniform(generator, *config.slip_mm))


def _affine(config: DeformationConfig, fixed: Grid, moving: Grid, generator: torch.Generator) -> AffineTransform:
    dim = fixed.dim
    turn = rotation(generator, dim, uniform(generator, *config.rotation_degrees))
    stretch = [math.exp(uniform(generator, -1, 1) * math.log(config.scale)) for _ in range(dim)]
    shear = torch.eye(dim, dtype=torch.float64)
    for row, column in zip(*torch.triu_indices(dim, dim, offset=1).tolist(), strict=True):
        shear[row, column] = uniform(generator, -config.shear, config.shear)
    shift = direction(generator, dim) * uniform(generator, *config.shift_mm)
    linear: Tensor = turn @ torch.diag(torch.tensor(stretch, dtype=torch.float64)) @ shear
    matrix = torch.eye(dim + 1, dtype=torch.float64)
    matrix[:-1, :-1] = linear
    matrix[:-1, -1] = moving.center + shift - linear @ fixed.center
    return AffineTransform(matrix)

"""Smooth random fields on grids."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geogrid.data.synthetic.draws import normal, uniform
from geogrid.spatial import Grid
from geogrid.spatial.lattice import apply_per_axis

_MEAN_SQUARE = 151 / 315


def smooth_noise(
    grid: Grid, wavelength: float, channels: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Tensor:
    r"""Cubic B-splines with normal coefficients on knots half a wavelength apart; mean 0, variance about 1.

    :math:`f(x) = (315 / 151)^{d/2} \sum_k c_k \prod_a \beta^3(x_a / h - k_a - o_a)`, :math:`h` half the wavelength along every
    axis in mm, whatever the spacing, and :math:`o` a random offset; the factor makes the variance 1 on average over positions.

    Args:
        grid: where it is wanted.
        wavelength: mm.
        channels: how many independent fields.
        generator: of the offset and the coefficients.
        device: where the result is to be.

    Returns:
        ``(channels, *grid.shape)`` float32.
    """
    matrices = []
    for size, step in zip(grid.shape, grid.spacing.tolist(), strict=True):
        place = torch.arange(size, dtype=torch.float64) * step * 2 / wavelength + uniform(generator, 0, 1)
        matrices.append(_spline_matrix(place).float().to(device))
    coefficients = normal(generator, (channels, *(m.shape[1] for m in matrices)), device)
    return apply_per_axis(matrices, coefficients) * float(_MEAN_SQUARE ** (-grid.dim / 2))


def fractal_noise(
    grid: Grid,
    wavelengths: tuple[float, float],
    hurst: float,
    channels: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> Tensor:
    r"""Octaves of smooth noise with amplitudes :math:`\lambda^H`: fractal Brownian motion between two wavelengths.

    Args:
        grid: where it is wanted.
        wavelengths: shortest and longest, mm; octaves go down from the longest.
        hurst: exponent H; 1 is smooth, 0 equally strong at all scales.
        channels: how many independent fields.
        generator: of all coefficients.
        device: where the result is to be.

    Returns:
        ``(channels, *grid.shape)`` float32, variance about 1.
    """
    low, high = wavelengths
    shares = [0.5**octave for octave in range(1 + math.floor(math.log2(high / low) + 1e-9))]
    total = smooth_noise(grid, high, channels, generator, device)
    for share in shares[1:]:
        total.add_(smooth_noise(grid, high * share, channels, generator, device), alpha=share**hurst)
    return total / math.sqrt(sum(share ** (2 * hurst) for share in shares))


def _spline_matrix(place: Tensor) -> Tensor:
    """Cubic B-spline weights of knots at positions in units of their distance, ``(num_positions, num_knots)``."""
    knots = torch.arange(-1, math.floor(float(place[-1])) + 3, dtype=torch.float64)
    gap = (place[:, None] - knots).abs()
    near = 2 / 3 - gap**2 + gap**3 / 2
    far = (2 - gap).clamp_min(0) ** 3 / 6
    return torch.where(gap < 1, near, far)

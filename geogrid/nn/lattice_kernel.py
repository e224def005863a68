"""The continuous kernel written out on a lattice. Spacings ("steps") are in units of the scale."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from geogrid.graph import Neighborhood
from geogrid.nn.knots import hat_weights, linear_coefficients, monomials
from geogrid.spatial.lattice import flat_index

ON_KNOTS = 1e-6
"""How far a spacing may be from the scale, relative to it, for points to lie on knots: what float32 affines leave."""


def reaches(steps: Tensor) -> list[int]:
    """How many lattice points to each side a kernel covers along each axis: all closer than a knot plus a hat's width."""
    return [max(1, math.ceil((1 + max(1.0, h)) / h - 2 * ON_KNOTS) - 1) for h in steps.tolist()]


def lattice_kernel(weight: Tensor, steps: Tensor) -> Tensor:
    """The kernel for ``conv2d`` or ``conv3d`` on a lattice.

    Args:
        weight: ``(out_channels, in_channels, 3, ..., 3)`` weights on the knots.
        steps: ``(dim,)`` float64 spacing of the lattice in units of the scale.

    Returns:
        ``(out_channels, in_channels, 2 r_1 + 1, ...)`` with :math:`r` from :func:`reaches`, differentiable in the weights.
    """
    if at_scale(steps):
        return weight
    spread, sizes = knot_stencils(tuple(steps.tolist()))
    return (weight.flatten(2) @ spread.to(weight)).unflatten(2, sizes)


def at_scale(steps: Tensor) -> bool:
    """Whether the lattice is sampled at the scale along every axis, so that its points are knots."""
    return bool(((steps - 1).abs() < ON_KNOTS).all())


@functools.lru_cache(maxsize=64)
def knot_stencils(spacings: tuple[float, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """How the knots' values are made of the lattice points around: ``(3**dim, points)`` float64, and the window's sizes."""
    with torch.inference_mode(False), torch.no_grad():
        steps = torch.tensor(spacings, dtype=torch.float64)
        dim, radii = len(steps), reaches(steps)
        window = torch.cartesian_prod(*[torch.arange(-r, r + 1, dtype=torch.float64) for r in radii])
        rel, width = (window * steps)[None], steps.clamp_min(1)
        weights = hat_weights(rel, width, (steps / width).prod().expand(1, len(window)))
        constant, slope = linear_coefficients(weights @ monomials(rel, width), dim)
        return (weights * (constant[..., None] + slope @ rel.mT))[0], tuple(2 * r + 1 for r in radii)


def rim_windows(shape: tuple[int, ...], steps: Tensor, device: torch.device) -> tuple[Tensor, Neighborhood]:
    """The lattice points whose window leaves the lattice along an axis that is not sampled at the scale, and their windows.

    Along an axis that is, the knots are on lattice points, so zero padding is exact.

    Returns:
        Flat indices ``(num_rim,)`` in C order, and the neighbourhood of these points.
    """
    radii = reaches(steps)
    sizes = torch.tensor(shape, device=device)
    depth = torch.tensor([0 if abs(h - 1) < ON_KNOTS else r for h, r in zip(steps.tolist(), radii, strict=True)], device=device)
    index = torch.cartesian_prod(*[torch.arange(n, device=device) for n in shape]).reshape(-1, len(shape))
    rim = ((index < depth) | (index >= sizes - depth)).any(-1).nonzero()[:, 0]
    window = torch.cartesian_prod(*[torch.arange(-r, r + 1, device=device) for r in radii])
    place = index[rim][:, None] + window
    mask = ((place >= 0) & (place < sizes)).all(-1)
    return rim, Neighborhood(flat_index(place.unbind(-1), shape) * mask, mask, math.prod(shape))

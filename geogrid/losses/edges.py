"""Edge tensors: where images change and in which direction, not by how much nor which side is brighter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from geogrid.losses.windows import Windows, window_radii
from geogrid.spatial.grid import Grid
from geogrid.spatial.image import Image
from geogrid.spatial.intensity import slopes
from geogrid.spatial.lattice import apply_per_axis
from geogrid.spatial.pyramid import pool_values

FLOOR = 0.01
"""Change of intensity over one scale below which a place counts as flat."""


class EdgeTensors:
    r"""Mean squared difference between the edge tensors of one image and others on the same lattice.

    With the intensity gradient g, in units of change per ``scale``, the edge tensor of an image is

    .. math:: N = \frac{J}{\operatorname{tr} J + \varepsilon}, \qquad J = \overline{g g^\top} ,

    averaged over a box of about three scales, and the loss is

    .. math:: L = \frac{1}{\sum_x w(x)} \sum_x w(x) \| N_f(x) - N_m(x) \|^2 .

    N says which way intensities change here. It stays the same when they are multiplied, inverted or shifted, up to the floor
    :math:`\varepsilon`, and the tissues on both sides of an edge need not be told apart by one curve for the whole image.

    Args:
        fixed: ``(*shape)`` image, 2-D or 3-D.
        spacing: mm between points along each axis.
        scale: of the structures that matter, in mm.
        weight: ``(*shape)`` weight of each point in [0, 1]; default 1.
        floor: :math:`\sqrt\varepsilon`, change of intensity per scale below which a place counts as flat.

    Reference:
        Haber and Modersitzki, "Intensity gradient based registration and fusion of multi-modal images", MICCAI 2006, compare
        the directions of single gradients.

    Example:
        >>> image = torch.rand(16, 14, generator=torch.Generator().manual_seed(0))
        >>> loss = EdgeTensors(image, (1.0, 1.0), scale=1.0, floor=1e-3)
        >>> bool(loss(1 - 3 * image) < 1e-6), bool(loss(image.roll(3, 0)) > 0.05)
        (True, True)
    """

    def __init__(
        self, fixed: Tensor, spacing: Sequence[float], scale: float, weight: Tensor | None = None, floor: float = FLOOR
    ) -> None:
        self.grid = Grid(tuple(fixed.shape), torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64)))
        self.scale, self.floor = scale, floor
        self.weight = torch.ones_like(fixed) if weight is None else weight
        self.fixed = self._tensors(fixed.detach())

    def __call__(self, moving: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of a ``(*shape)`` image on the same lattice, from 0 (the same tensors) to 2.

        ``weight`` multiplies the fixed weight.
        """
        return tensor_difference(self.fixed, self._tensors(moving), self.weight if weight is None else self.weight * weight)

    def _tensors(self, image: Tensor) -> Tensor:
        return normalized(edge_products(image, self.grid, self.scale), self.floor)


def tensor_difference(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean of the squared difference of packed tensors ``(entries, *shape)``."""
    return ((first - second).square().sum(0) * weight).sum() / weight.sum().clamp_min(1e-12)


def edge_products(image: Tensor, grid: Grid, scale: float) -> Tensor:
    r"""The means :math:`J = \overline{g g^\top}` of the products of gradients along the world's axes, packed.

    The image is softened by half a scale before; axes whose points are further apart than that are hardly changed.

    Args:
        image: ``(*shape)`` intensities.
        grid: where they are.
        scale: in mm; gradients are changes per scale.

    Returns:
        ``(dim (dim + 1) / 2, *shape)``: the upper triangle row by row, off the diagonal times :math:`\sqrt 2`, so that squared
        differences of packed tensors sum to those of whole ones.
    """
    spacing = grid.spacing.tolist()
    soft = apply_per_axis([_softening(n, s, scale).to(image) for n, s in zip(grid.shape, spacing, strict=True)], image[None])[0]
    steps = scale * slopes(Image(soft, grid))
    gradient = (grid.frame.to(soft) @ steps.flatten(1)).reshape(grid.dim, *image.shape)
    products = torch.stack([share * gradient[i] * gradient[j] for i, j, share in _entries(grid.dim)])
    return Windows(grid.shape, window_radii(grid.shape, spacing, scale)).mean(products)


def normalized(products: Tensor, floor: float = FLOOR) -> Tensor:
    """Packed tensors over their trace, which is kept above the squared floor."""
    trace = sum(products[n] for n, (i, j, _) in enumerate(_entries(_dim(products))) if i == j)
    return products / (trace + floor**2)


def turned(products: Tensor, linear: Tensor) -> Tensor:
    """Packed products of an image m as they are of ``x -> m(linear @ x + shift)``: :math:`A^T J A`."""
    entries = _entries(_dim(products))
    columns = []
    for i, j, share in entries:
        unit = torch.zeros_like(linear)
        unit[i, j] = unit[j, i] = 1 / share
        whole = linear.T @ unit @ linear
        columns.append(torch.stack([weight * whole[a, b] for a, b, weight in entries]))
    return (torch.stack(columns, 1).to(products) @ products.flatten(1)).reshape(products.shape)


def pooled(channels: Tensor, factors: tuple[int, ...]) -> Tensor:
    """Cell means of each of ``(channels, *shape)``."""
    return torch.stack([pool_values(channel, factors) for channel in channels])


def _entries(dim: int) -> list[tuple[int, int, float]]:
    """The upper triangle with the factor of each entry."""
    return [(i, j, 1.0 if i == j else math.sqrt(2)) for i in range(dim) for j in range(i, dim)]


def _dim(products: Tensor) -> int:
    return 3 if len(products) == 6 else 2


def _softening(size: int, spacing: float, scale: float) -> Tensor:
    """Weights 1, n, 1 of about the variance of a Gaussian of half a scale; at the ends what would leave stays."""
    side = min(0.25, (scale / spacing) ** 2 / 8)
    near = torch.diag(torch.full((size - 1,), side), 1)
    matrix = near + near.T
    return matrix + torch.diag(1 - matrix.sum(1))

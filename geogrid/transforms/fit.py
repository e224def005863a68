"""The affine map nearest to what points do."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.spatial import Grid
from geogrid.transforms.affine import AffineTransform
from geogrid.transforms.transform import Transform


def affine_between(points: Tensor, moved: Tensor, weight: Tensor | None = None) -> AffineTransform:
    """The affine map that carries points nearest to where they went, in weighted least squares.

    Of the maps that are equally near (points on a line or plane leave directions open) it is the one that moves least.

    Args:
        points: ``(num_points, dim)`` in mm.
        moved: ``(num_points, dim)`` in mm.
        weight: ``(num_points,)`` from 0 up, not all 0; default 1.

    Example:
        >>> points = torch.rand(10, 2)
        >>> affine_between(points, points + torch.tensor([3.0, 0.0]))(torch.zeros(1, 2)).round()
        tensor([[3., 0.]])
    """
    points, moved = points.double().cpu(), moved.double().cpu()
    weight = torch.ones(len(points), 1, dtype=torch.float64) if weight is None else weight.double().cpu()[:, None]
    center, root = (weight * points).sum(0) / weight.sum(), weight.sqrt()
    known = torch.cat([points - center, torch.ones(len(points), 1, dtype=torch.float64)], 1)
    solution = torch.linalg.lstsq(root * known, root * (moved - points), driver="gelsd").solution.T
    matrix = torch.eye(points.shape[1] + 1, dtype=torch.float64)
    matrix[:-1, :-1] += solution[:, :-1]
    matrix[:-1, -1] = solution[:, -1] - solution[:, :-1] @ center
    return AffineTransform(matrix)


def fit_affine(transform: Transform, grid: Grid, per_axis: int = 9) -> AffineTransform:
    """The affine map nearest to a transform, in the least-squares sense over a coarse lattice that spans a grid.

    Of the maps that are equally near (a grid of one slice leaves a direction open) it is the one that moves least.
    """
    axes = [torch.linspace(0, n - 1, min(n, per_axis), dtype=torch.float64) for n in grid.shape]
    points = grid.index_to_world(torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, grid.dim))
    moved = transform(points.float()).double()
    return affine_between(points, moved)

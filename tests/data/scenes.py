"""Scenes that are known everywhere in the world, so that they can be put on any grid and moved by any map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from geogrid.spatial import Grid
from tests.io.cases import make_affine, restore

Map = Callable[[Tensor], Tensor]
LIA = ((0, 2, 1), (True, True, False))
"""Axes and flips that bring a RAS array to LIA storage."""


def head(points: Tensor, size: float = 60.0) -> Tensor:
    """A smooth ellipsoid with texture around the world's origin; values in about [0, 100], 0 far outside."""
    points = points.double() / size
    axes = torch.tensor([0.42, 0.36, 0.3], dtype=torch.float64)[: points.shape[1]]
    radius = (points / axes).norm(dim=1)
    rng = np.random.default_rng(3)
    waves = torch.from_numpy(rng.normal(0, 22, (24, 3))[:, : points.shape[1]])
    phases = torch.from_numpy(rng.uniform(0, 2 * np.pi, 24))
    texture = torch.cos(points @ waves.T + phases).sum(1)
    values = 60 * torch.sigmoid((1 - radius) * 14) * (1 + 0.07 * texture + 0.5 * torch.sigmoid((0.5 - radius) * 16))
    return values.float()


def head_labels(points: Tensor, size: float = 60.0) -> Tensor:
    """Labels of :func:`head`: 0 outside, 1 shell, 5 core."""
    axes = torch.tensor([0.42, 0.36, 0.3], dtype=torch.float64)[: points.shape[1]]
    radius = (points.double() / size / axes).norm(dim=1)
    return (radius < 1).to(torch.int16) + 4 * (radius < 0.55).to(torch.int16)


def centred_grid(
    shape: tuple[int, ...], spacing: tuple[float, ...], angles: tuple[float, ...] | None = None, center: float = 0.0
) -> Grid:
    """A grid with its middle at ``center`` on every axis, turned by ``angles`` degrees."""
    dim = len(shape)
    angles = angles or (0.0,) * (1 if dim == 2 else 3)
    affine = make_affine(angles, spacing, (0.0,) * dim)
    affine[:-1, -1] = center - affine[:-1, :-1] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, torch.from_numpy(affine))


def render(content: Map, grid: Grid, moved_by: Map | None = None) -> np.ndarray:
    """A content on a grid; with ``moved_by`` the fixed image of which ``content`` is the moving one: content(T(x))."""
    points = grid.index_to_world(grid.indices().double())
    return content(points if moved_by is None else moved_by(points)).reshape(grid.shape).numpy()


def save_nifti(
    path: Path,
    values: np.ndarray,
    grid: Grid,
    stored: tuple[tuple[int, ...], tuple[bool, ...]] | None = None,
    codes: tuple[int, int] = (1, 1),
) -> Path:
    """Writes values of canonical storage in another one; ``codes`` are those of sform and qform."""
    affine = grid.affine.numpy()
    if stored is not None:
        values, affine = restore(values, affine, *stored)
    whole, dim = np.eye(4), values.ndim
    whole[:dim, :dim], whole[:dim, 3] = affine[:-1, :-1], affine[:-1, -1]
    image = nib.Nifti1Image(values, whole)
    image.set_sform(whole, codes[0])
    image.set_qform(whole, codes[1])
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def markers(dim: int, size: float = 60.0) -> Tensor:
    """Centres of the markers of :func:`marked_head`, ``(8, dim)`` mm: in no symmetric arrangement."""
    share = [[4, 1, 2], [-9, 3, -1], [2, -9, 4], [-3, 8, -5], [10, 5, 1], [-5, -6, 7], [7, -4, -7], [-1, 2, 9]]
    return torch.tensor(share, dtype=torch.float64)[:, :dim] * (size / 60)


def marked_head(points: Tensor, size: float = 60.0) -> Tensor:
    """:func:`head` with eight bright markers of 2 mm (at the default size) whose centres are known."""
    distance = torch.cdist(points.double(), markers(points.shape[1], size)) / (size / 60)
    return head(points, size) + 80 * torch.exp(-((distance / 2) ** 2) / 2).sum(1).float()

"""Intensities on a common scale, and where an image has content."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.spatial.grid import Grid
from geogrid.spatial.image import Image

CONTENT_LEVEL = 0.05
"""Scaled intensity above which a voxel is content."""

STEEPEST = 0.02
"""Share of the points of an image that count as its steepest edges."""


def scale_intensities(image: Image, valid: Tensor | None = None) -> Image:
    """Scales intensities so that the 0.5th and 99.5th percentile become 0 and 1, clamped to [0, 1.2].

    Where both percentiles are equal (a small object on a flat background) the minimum and maximum take their place.

    Args:
        image: any finite intensities.
        valid: ``(*shape)`` voxels that count for the percentiles; the others become 0. Default all.
    """
    values = image.data.float()
    counted = values.reshape(-1) if valid is None else values[valid]
    low, high = intensity_range(counted)
    scaled = ((values - low) / max(high - low, 1e-30)).clamp_(0, 1.2)
    return Image(scaled if valid is None else scaled * valid, image.grid)


def on_dark_background(image: Image, weight: Image | None = None) -> Image:
    """The negative of an image with scaled intensities where its border is bright; other images as they are.

    What looks for content, and what reads beyond the border, takes dark for empty.

    Args:
        image: scaled intensities (:func:`scale_intensities`).
        weight: of each point; those without are left out, and 0 in the result. Default 1.
    """
    rim = torch.zeros_like(image.data, dtype=torch.bool)
    for axis, size in enumerate(image.data.shape):
        rim.select(axis, 0).fill_(True)
        rim.select(axis, size - 1).fill_(True)
    seen = rim if weight is None else rim & (weight.data > 0)
    if not seen.any() or not image.data[seen].median() > 0.5:
        return image
    negative = (1 - image.data).clamp_min(0)
    return Image(negative if weight is None else negative * (weight.data > 0), image.grid)


def edge_strength(image: Image) -> Image:
    """How steeply intensities change, in [0, 1]: 1 at a fiftieth of the points, the steepest, and 0 where nothing changes.

    The length of the gradient per mm, so that an inverted image has the same edges, and one whose contrast is another has them
    at the same places.

    Args:
        image: any finite intensities; noise finer than the structures that matter should have been pooled away.

    Example:
        >>> step = Image(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), Grid((1, 4), torch.eye(3)))
        >>> edge_strength(step).data.tolist()
        [[0.0, 1.0, 1.0, 0.0]]
    """
    length = slopes(image).square().sum(0).sqrt()
    steep = _percentile(length.reshape(-1), 1 - STEEPEST) or float(length.max())
    return Image((length / max(steep, 1e-30)).clamp_max(1.0), image.grid)


def slopes(image: Image) -> Tensor:
    """How intensities change along each axis of the lattice, ``(dim, *shape)`` per mm; 0 along axes with a single point."""
    return torch.stack(
        [
            torch.gradient(image.data, spacing=spacing, dim=axis)[0] if size > 1 else torch.zeros_like(image.data)
            for axis, (size, spacing) in enumerate(zip(image.grid.shape, image.grid.spacing.tolist(), strict=True))
        ]
    )


def content_box(image: Image) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First index and shape of the smallest box around the content of an image with scaled intensities."""
    content = image.data > CONTENT_LEVEL
    start, shape = [], []
    for axis in range(image.dim):
        others = tuple(a for a in range(image.dim) if a != axis)
        present = content.any(others[0]) if len(others) == 1 else content.any(others[1]).any(others[0])
        where = present.nonzero()[:, 0]
        first, last = (int(where[0]), int(where[-1])) if len(where) else (0, image.grid.shape[axis] - 1)
        start.append(first)
        shape.append(last - first + 1)
    return tuple(start), tuple(shape)


def grow_box(
    start: tuple[int, ...], shape: tuple[int, ...], margin: tuple[int, ...], grid: Grid
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The box grown by ``margin`` voxels on each side, as far as the grid goes."""
    first = [max(0, s - m) for s, m in zip(start, margin, strict=True)]
    last = [min(g, s + n + m) for s, n, m, g in zip(start, shape, margin, grid.shape, strict=True)]
    return tuple(first), tuple(b - a for a, b in zip(first, last, strict=True))


def intensity_range(values: Tensor) -> tuple[float, float]:
    """The 0.5th and 99.5th percentile of the finite values; minimum and maximum where the percentiles coincide."""
    finite = values[torch.isfinite(values)]
    if len(finite) == 0:
        return 0.0, 0.0
    low, high = _percentile(finite, 0.005), _percentile(finite, 0.995)
    return (low, high) if low < high else (float(finite.min()), float(finite.max()))


def _percentile(values: Tensor, share: float) -> float:
    rank = max(1, min(len(values), round(share * len(values))))
    return float(torch.kthvalue(values, rank).values)

"""Point sets that look like what detectors find in anatomy: volumes, trees and surfaces."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import farthest_points

Shape = Literal["volume", "tree", "surface"]
SHAPES: tuple[Shape, ...] = ("volume", "tree", "surface")
CROWD = 3
"""Candidates drawn per point; of these the ones that keep away from each other are taken, as detectors do."""


def random_shape(shape: Shape, count: int, dim: int, generator: torch.Generator) -> Tensor:
    """Points on a random shape of about 250 mm.

    Args:
        shape: ``volume``: two ellipsoids with uneven density, like lungs. ``tree``: thick branches that fork, like vessels.
            ``surface``: a bumpy closed surface.
        count: how many points.
        dim: 2 or 3.
        generator: on the CPU.

    Returns:
        ``(count, dim)`` positions in mm around the origin.

    Raises:
        GeogridError: for an unknown shape.
    """
    if shape not in SHAPES:
        raise GeogridError(f"shape: expected one of {', '.join(SHAPES)}, got {shape!r}")
    draw = {"volume": _volume, "tree": _tree, "surface": _surface}[shape]
    crowd = draw(CROWD * count, dim, generator)
    half = crowd[: 2 * count]
    if float(torch.rand((), generator=generator)) < 0.5:
        return crowd[:count]
    return half[farthest_points(half, count)]


def _directions(count: int, dim: int, generator: torch.Generator) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(count, dim, generator=generator), dim=1)


def _volume(count: int, dim: int, generator: torch.Generator) -> Tensor:
    """Two ellipsoids side by side; denser towards one end and around their middle axis."""
    half_axes = torch.tensor([45.0, 70.0, 100.0])[:dim] * (0.7 + 0.6 * torch.rand(dim, generator=generator))
    power = 0.3 + 0.7 * float(torch.rand((), generator=generator))
    length = torch.rand(count, 1, generator=generator) ** (power / dim * 2)
    points = length * _directions(count, dim, generator)
    points[:, -1] = points[:, -1].abs() ** (0.6 + 0.8 * float(torch.rand((), generator=generator))) * points[:, -1].sign()
    side = 2.0 * (torch.rand(count, generator=generator) < 0.5) - 1
    points = points * half_axes
    points[:, 0] += side * (half_axes[0] + 15)
    return points


def _tree(count: int, dim: int, generator: torch.Generator) -> Tensor:
    """Segments that fork in two, each shorter than the one before; points at random places along and around them."""
    start, heading = torch.zeros(2, dim), _directions(2, dim, generator)
    segments: list[Tensor] = []
    length = 60.0
    while 2 ** len(segments) * 2 < max(64, count // 12):
        end = start + length * heading
        segments.append(torch.stack([start, end], 1))
        start, heading = end.repeat(2, 1), heading.repeat(2, 1)
        heading = torch.nn.functional.normalize(heading + 0.8 * _directions(len(heading), dim, generator), dim=1)
        length *= 0.82
    lines = torch.cat(segments)
    size = (lines[:, 1] - lines[:, 0]).norm(dim=1)
    chosen = lines[torch.multinomial(size, count, replacement=True, generator=generator)]
    place = torch.rand(count, 1, generator=generator)
    thick = 3 * torch.randn(count, dim, generator=generator)
    return chosen[:, 0] + place * (chosen[:, 1] - chosen[:, 0]) + thick


def _surface(count: int, dim: int, generator: torch.Generator) -> Tensor:
    """An ellipsoid whose radius swings along random directions."""
    unit = _directions(count, dim, generator)
    swing = torch.cos(unit @ (3 * torch.randn(dim, 6, generator=generator)) + 2 * math.pi * torch.rand(6, generator=generator))
    radius = 1 + 0.12 * swing.sum(1, keepdim=True) / math.sqrt(3)
    return unit * radius * torch.tensor([70.0, 90.0, 120.0])[:dim]

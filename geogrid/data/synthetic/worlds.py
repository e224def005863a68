"""Anatomies that nobody has: which tissue is where, as a function of position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.data.synthetic.canvas import Canvas, paint_over
from geogrid.spatial import Grid, sample_lattice


@dataclass(frozen=True, eq=False)
class World:
    """How much of each label is at any position; linear between the points of a lattice.

    Beyond the lattice what is at its border goes on.

    Args:
        memberships: ``(num_labels, *grid.shape)``, 0 to 1, sum 1 over the labels; label 0 is the background.
        grid: where they are given, mm.
    """

    memberships: Tensor
    grid: Grid

    @property
    def num_labels(self) -> int:
        """Number of labels, the background included."""
        return len(self.memberships)

    def __call__(self, points: Tensor) -> Tensor:
        """Memberships ``(num_labels, num_points)`` at world points ``(num_points, dim)`` in mm."""
        return sample_lattice(self.memberships, self.grid.world_to_index(points).to(self.memberships))

    def labels(self, points: Tensor) -> Tensor:
        """The label with the largest membership at world points ``(num_points, dim)``: ``(num_points,)`` int32."""
        return self(points).argmax(0).int()

    def paint(self, values: Tensor) -> Tensor:
        """Values of labels mixed by membership, ``(channels, num_labels)`` to ``(channels, *grid.shape)``."""
        return torch.einsum("ck,k...->c...", values.to(self.memberships), self.memberships)

    def with_other_side(self, side: Tensor) -> World:
        """The world with every tissue replaced by the next one on one side of a border.

        Args:
            side: ``(*grid.shape)`` bool.
        """
        rolled = torch.cat([self.memberships[:1], self.memberships[1:].roll(1, 0)])
        return World(torch.where(side, rolled, self.memberships), self.grid)


def draw_blobs(canvas: Canvas, num_labels: int, size: float) -> World:
    """Smooth random regions: the largest of ``num_labels`` noise fields wins; every other world is a body in air."""
    wavelength = canvas.extent * canvas.draw(0.25, 0.9)
    fields = canvas.fractal(wavelength, canvas.draw(0.7, 1.5), num_labels)
    regions = torch.softmax(fields * (wavelength / (2.5 * canvas.spacing)), 0)
    body = canvas.cover(_body(canvas, size)) if canvas.draw(0, 1) < 0.5 else torch.ones_like(regions[0])
    return World(torch.cat([(1 - body)[None], regions * body]), canvas.grid)


def draw_sheets(canvas: Canvas, num_labels: int, size: float) -> World:
    """A head: nested shells, a cortex of even thickness folded around white matter, ventricles and deep nuclei.

    The folds are the zero set of band-limited noise inside an ellipsoid: a point is as deep in tissue as it is far from the
    nearest sulcus or from the hull, and shells of that depth are cerebrospinal fluid, cortex and white matter.
    """
    radius = size * canvas.extent / 2
    hull = _body(canvas, size * canvas.draw(0.72, 0.85))
    folds = canvas.noise(radius * canvas.draw(0.2, 0.4), 2)
    folds = folds[0] + canvas.draw(0, 0.4) * folds[1]
    sulcus = canvas.distance(folds).abs() - radius * canvas.draw(0.0, 0.025)
    reach = radius * canvas.draw(0.25, 0.45)
    depth = torch.minimum(hull, sulcus + 1.5 * (hull - reach).clamp_min(0))
    cortex = max(radius * canvas.draw(0.05, 0.08), 0.9 * canvas.spacing)
    gaps = [radius * canvas.draw(0.02, 0.06) for _ in range(3)]
    shells = [hull + sum(gaps), hull + gaps[0] + gaps[1], hull + gaps[0]][: max(1, min(3, num_labels - 2))]
    layers = [canvas.cover(shell) for shell in shells] + [canvas.cover(depth), canvas.cover(depth - cortex)]
    inner = canvas.fractal(radius * canvas.draw(0.4, 0.8), 1.0, max(1, num_labels - len(layers)))
    core = canvas.cover(hull - reach)
    layers += [canvas.cover(canvas.distance(field - canvas.draw(0.8, 1.3))) * core for field in inner]
    return World(paint_over(layers), canvas.grid)


def draw_ellipsoids(canvas: Canvas, num_labels: int, size: float) -> World:
    """A body with bent ellipsoids in it: organs, some of them with a core, and long thin ones (vessels, cords)."""
    radius, dim = size * canvas.extent / 2, canvas.grid.dim
    layers = [canvas.cover(_body(canvas, size))]
    offsets = canvas.bent(canvas.offsets(), 0.08 * radius, radius)
    while len(layers) < num_labels:
        center, base = canvas.scatter(0.75 * radius), radius * canvas.draw(0.1, 0.4)
        radii = [base * canvas.draw(0.5, 1.2) for _ in range(dim)]
        if canvas.draw(0, 1) < 0.2:
            radii = [1.5 * radius, *[0.35 * base] * (dim - 1)]
        depth = canvas.ellipsoid(offsets, center, radii)
        layers.append(canvas.cover(depth))
        if len(layers) < num_labels and canvas.draw(0, 1) < 0.5:
            layers.append(canvas.cover(depth - min(radii) * canvas.draw(0.3, 0.6)))
    return World(paint_over(layers), canvas.grid)


DRAWERS: dict[str, Callable[[Canvas, int, float], World]] = {
    "blobs": draw_blobs,
    "sheets": draw_sheets,
    "ellipsoids": draw_ellipsoids,
}


def _body(canvas: Canvas, size: float) -> Tensor:
    """Depth in mm inside a bent ellipsoid around the middle, ``(*shape)``; bodies larger than the view are off its middle."""
    radius = size * canvas.extent / 2
    radii = [radius * canvas.draw(0.85, 1.15) for _ in range(canvas.grid.dim)]
    offsets = canvas.bent(canvas.offsets(), 0.06 * radius, 1.2 * radius)
    center = canvas.scatter(max(0.05 * canvas.extent, radius - canvas.extent / 2))
    return canvas.ellipsoid(offsets, center, radii)

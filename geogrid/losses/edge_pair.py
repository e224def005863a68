"""Edge tensors of a pair, made at the finest scale and pooled to the others."""

from __future__ import annotations

from torch import Tensor

from geogrid.losses.edges import edge_products, normalized, pooled, tensor_difference, turned
from geogrid.losses.level_pair import LevelPair
from geogrid.spatial import Grid, Image, pool_image
from geogrid.spatial.cut import background_of
from geogrid.spatial.intensity import content_box, grow_box
from geogrid.spatial.pyramid import pool_factors
from geogrid.transforms import AffineTransform

CELL = 4
"""Width of the cells in which content is looked for, and half the least margin around it, in units of the finest scale."""


class Edges:
    """The products of an image's gradients.

    Args:
        products: packed (:func:`geogrid.losses.edges.edge_products`).
        grid: where they are.
        background: ``(*shape)``, where the image shows none (:func:`geogrid.spatial.cut.background_of`).
    """

    def __init__(self, products: Tensor, grid: Grid, background: Tensor) -> None:
        self.products, self.grid, self.background = products, grid, background
        self._seen: tuple[AffineTransform | None, Tensor] | None = None

    @classmethod
    def of(cls, image: Image, scale: float) -> Edges:
        """Those of an image pooled to a scale in mm."""
        small = pool_image(image, scale)
        return cls(edge_products(small.data, small.grid, scale), small.grid, background_of(small))

    def at(self, scale: float) -> Grid:
        """The lattice of the tensors pooled to a scale in mm."""
        return self.grid.pool(pool_factors(self.grid, scale))

    def tensors(self, scale: float, start: AffineTransform | None = None) -> Tensor:
        """Edge tensors pooled to a scale, packed; of the image seen through a start where one is given."""
        if self._seen is None or self._seen[0] is not start:
            products = self.products if start is None else turned(self.products, start.linear)
            self._seen = (start, normalized(products))
        return pooled(self._seen[1], pool_factors(self.grid, scale))


def content_cells(image: Image, scale: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First index and shape of the box of cells around the content of an image with scaled intensities, with a margin.

    Cells are ``CELL`` scales wide and start where pooled levels have theirs. In their means noise is dark.
    """
    factors = pool_factors(image.grid, CELL * scale)
    cells = pool_image(image, CELL * scale)
    start, shape = grow_box(*content_box(cells), (2,) * image.dim, cells.grid)
    first = tuple(s * f for s, f in zip(start, factors, strict=True))
    ends = zip(start, shape, factors, image.grid.shape, strict=True)
    last = (min(size, (s + n) * f) for s, n, f, size in ends)
    return first, tuple(b - a for a, b in zip(first, last, strict=True))


class EdgePair(LevelPair):
    """A pair at one scale, compared by its edge tensors.

    They are made at the finest scale and pooled, so that coarse levels see where fine edges are, which pooled images have lost.
    At the finest scale itself every second point along an axis is compared, with the mean of its cell: reading the moving
    tensors half-way between eight voxels is their mean, too.

    Args:
        fixed: edges at the finest scale.
        moving: likewise.
        scale: of the level in mm.
        finest: scale in mm.
        gain: factor of the difference.
        fixed_weight: weight in [0, 1] of each fixed point; default 1.
        moving_weight: weight in [0, 1] of each moving point; default 1.
        cut: whether the moving image shows a part of something larger (:func:`geogrid.spatial.cut.is_cut`).
    """

    def __init__(
        self, fixed: Edges, moving: Edges, scale: float, finest: float, gain: float,
        fixed_weight: Image | None = None, moving_weight: Image | None = None, cut: bool = False,
    ) -> None:  # fmt: skip
        compared = max(scale, 2 * finest)
        small = None if moving_weight is None else pool_image(moving_weight, scale)
        background = pooled(moving.background[None], pool_factors(moving.grid, scale))[0] if cut else None
        super().__init__(fixed.at(compared), moving.at(scale), gain, small, background)
        self.fixed, self.moving, self.scale = fixed.tensors(compared), moving, scale
        self.weight = self.fixed.new_ones(self.fixed_grid.shape)
        if fixed_weight is not None:
            self.weight = pool_image(fixed_weight, compared).data
        self._seen: tuple[AffineTransform, Tensor] | None = None

    def channels(self, start: AffineTransform) -> Tensor:
        """The moving tensors, turned as the start turns them; those of a place lie side by side, to be read at once."""
        if self._seen is None or self._seen[0] is not start:
            tensors = self.moving.tensors(self.scale, start)
            self._seen = (start, tensors.movedim(0, -1).contiguous().movedim(-1, 0))
        return self._seen[1]

    def compare(self, warped: Tensor, weight: Tensor | None) -> Tensor:
        """The mean squared difference to the fixed tensors."""
        return tensor_difference(self.fixed, warped, self.weight if weight is None else self.weight * weight)

"""Edge tensors of a pair, made at the finest scale and pooled to the others."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from geogrid.losses.edges import edge_products, normalized, pooled, tensor_difference, turned
from geogrid.losses.level_pair import LevelPair
from geogrid.spatial import Grid, Image, pool_image
from geogrid.spatial.pyramid import pool_factors
from geogrid.transforms import AffineTransform


@dataclass(frozen=True, eq=False)
class Edges:
    """The products of an image's gradients.

    Args:
        products: packed (:func:`geogrid.losses.edges.edge_products`).
        grid: where they are.
    """

    products: Tensor
    grid: Grid

    @classmethod
    def of(cls, image: Image, scale: float) -> Edges:
        """Those of an image pooled to a scale in mm."""
        small = pool_image(image, scale)
        return cls(edge_products(small.data, small.grid, scale), small.grid)

    def at(self, scale: float) -> Grid:
        """The lattice of the tensors pooled to a scale in mm."""
        return self.grid.pool(pool_factors(self.grid, scale))

    def tensors(self, scale: float, start: AffineTransform | None = None) -> Tensor:
        """Edge tensors pooled to a scale, packed; of the image seen through a start where one is given."""
        products = self.products if start is None else turned(self.products, start.linear)
        return pooled(normalized(products), pool_factors(self.grid, scale))


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
    """

    def __init__(
        self, fixed: Edges, moving: Edges, scale: float, finest: float, gain: float,
        fixed_weight: Image | None = None, moving_weight: Image | None = None,
    ) -> None:  # fmt: skip
        compared = max(scale, 2 * finest)
        small = None if moving_weight is None else pool_image(moving_weight, scale)
        super().__init__(fixed.at(compared), moving.at(scale), gain, small)
        self.fixed, self.moving, self.scale = fixed.tensors(compared), moving, scale
        self.weight = self.fixed.new_ones(self.fixed_grid.shape)
        if fixed_weight is not None:
            self.weight = pool_image(fixed_weight, compared).data
        self._seen: tuple[AffineTransform, Tensor] | None = None

    def channels(self, start: AffineTransform) -> Tensor:
        """The moving tensors, turned as the start turns them."""
        if self._seen is None or self._seen[0] is not start:
            self._seen = (start, self.moving.tensors(self.scale, start))
        return self._seen[1]

    def compare(self, warped: Tensor, weight: Tensor | None) -> Tensor:
        """The mean squared difference to the fixed tensors."""
        return tensor_difference(self.fixed, warped, self.weight if weight is None else self.weight * weight)

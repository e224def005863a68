"""One scale of a cloud, and who is near whom there."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from geogrid.graph.boxes import within_box
from geogrid.graph.lattice import lattice_window
from geogrid.graph.neighborhood import Neighborhood
from geogrid.graph.pooling import own_positions
from geogrid.graph.search import knn, radius
from geogrid.spatial import PointCloud
from geogrid.spatial.grid import map_entries
from geogrid.spatial.points import for_each_distinct

ON_POINT = 1e-3
"""How near a place must be to a lattice point, in spacings, to have its coordinate."""
UNEVEN = 1e-3
"""How much wider than the finest axis the spacing of slices is, at least, relative to it."""


@dataclass(frozen=True, eq=False)
class Level:
    """The points of a cloud at a physical scale; answers who is near a place, by index arithmetic where it is a lattice.

    Args:
        points: the cloud, pooled to the scale.
        scale: s_l in mm.
        neighborhood: who is near whom within the cloud, far enough for a :class:`~geogrid.nn.ContinuousConv`; None on
            lattices, which do not need it.
        origin: the level that this one is a rigid motion of, if it is one: what depends on relative places alone serves both.

    Example:
        >>> from geogrid.spatial import Grid
        >>> grid = Grid((4, 3), torch.eye(3))
        >>> level = Level.of(PointCloud.on_lattices([grid, grid]), scale=1.0)
        >>> query, batch = torch.tensor([[0.0, 0.3], [0.0, 0.3]]), torch.tensor([0, 1])
        >>> level.window(query, batch, 0.8).edge_index
        tensor([[ 0,  1, 12, 13],
                [ 0,  0,  1,  1]])
    """

    points: PointCloud
    scale: float
    neighborhood: Neighborhood | None = field(default=None, repr=False)
    origin: Level | None = field(default=None, repr=False)

    @classmethod
    def of(cls, points: PointCloud, scale: float) -> Level:
        """The level of a cloud, with its own neighbours where they must be searched."""
        level = cls(points, scale)
        return level if points.is_lattice else cls(points, scale, level._boxes())

    @cached_property
    def log_measure(self) -> Tensor:
        """The log of each point's volume in units of the scale, ``(num_points,)``."""
        return (self.points.measure / self.scale**self.points.dim).log()

    @cached_property
    def sliced(self) -> Tensor:
        """The axes of its frame along which an entry lies in slices, ``(num_entries, dim)`` bool.

        On lattices these are all axes whose spacing is wider than the scale. The spacing of scattered points is that of
        slices where it is also wider than another axis's; if it is the same along all axes it only tells a density.
        """
        spacing = self.points.spacing
        wide = spacing > self.scale
        return wide if self.points.is_lattice else wide & (spacing > (1 + UNEVEN) * spacing.amin(1, keepdim=True))

    @cached_property
    def own_positions(self) -> Tensor:
        """Positions along the axes of each entry's own frame, ``(num_points, dim)`` in mm."""
        return own_positions(self.points)

    @cached_property
    def local_spacing(self) -> Tensor:
        """Spacing around each point along the axes of its frame, ``(num_points, dim)`` in mm; its product is the measure.

        Where a cloud lies in slices these stay as far apart as they are, whatever the density within them.
        """
        points = self.points
        spacing = points.spacing.to(points.pos)[points.batch]
        free = ~self.sliced | self.sliced.all(1, keepdim=True)
        free = free.to(points.pos.device)[points.batch]
        stretch = (points.measure / spacing.prod(1)).pow(1 / free.sum(1))
        return spacing * torch.where(free, stretch[:, None], 1.0)

    def in_spacings(self, places: Tensor, batch: Tensor) -> Tensor:
        """Places along the axes of their entry's frame in units of its spacing, ``(num_places, dim)`` float64."""
        return own_positions(self.points, places.detach().double(), batch) / self.points.spacing.to(places.device)[batch]

    def moved(self, matrices: Tensor) -> Level:
        """The level after one rigid motion per entry; neighbours stay neighbours."""
        return Level(self.points.moved(matrices), self.scale, self.neighborhood, self.origin or self)

    def window(self, query: Tensor, batch: Tensor, reach: float) -> Neighborhood:
        """The points within ``reach`` mm of each place.

        Args:
            query: ``(num_query, dim)`` places in mm.
            batch: ``(num_query,)`` int64, sorted: the entry each place belongs to.
            reach: in mm.
        """
        points = self.points
        if not points.is_lattice:
            return radius(points.pos, query.detach(), reach, batch_context=points.batch, batch_query=batch)
        if points.stackable:
            return self._window_of_stack(query.detach(), batch, reach)
        found, first = [], 0
        counts = torch.bincount(batch, minlength=points.num_entries).tolist()
        for grid, part in zip(points.lattices, query.detach().split(counts), strict=True):
            found.append((first, lattice_window(grid, part, reach)))
            first += grid.num_points
        return _stacked(found, points.num_points).compact()

    def parents(self, query: Tensor, batch: Tensor, k: int | None = None) -> Neighborhood:
        """The points that a place inherits from: the corners of the lattice's cell around it, or the nearest points.

        Distances to scattered points are in units of the spacing along their frame's axes, so that thick slices do not hide
        each other.

        Args:
            query: ``(num_query, dim)`` places in mm.
            batch: ``(num_query,)`` int64, sorted.
            k: how many scattered points; default 2^dim + 2. Lattices have 2^dim corners; beyond the border fewer, and along
                axes on which the place has the coordinate of a point, that point alone.
        """
        points = self.points
        if not points.is_lattice:
            k = 2**points.dim + 2 if k is None else k
            places = self.in_spacings(points.pos, points.batch), self.in_spacings(query, batch)
            return knn(*places, k, batch_context=points.batch, batch_query=batch)
        return self._corners(self.lattice_index(query.detach(), batch), batch)

    def _boxes(self) -> Neighborhood:
        """All points within the reach of a :class:`~geogrid.nn.ContinuousConv` along each axis, and at most few others."""
        points = self.points
        sliced = self.sliced.to(points.pos.device)
        widths = torch.cat([self.local_spacing, points.spacing.to(points.pos)]).clamp_min(self.scale)
        widths = widths * torch.where(torch.cat([sliced[points.batch], sliced]), 2, 1)
        return within_box(self.own_positions, self.own_positions, self.scale + widths.amax(0), points.batch, points.batch)

    def _corners(self, index: Tensor, batch: Tensor) -> Neighborhood:
        """The corners of the cell around fractional indices, the last axis fastest; one axis after the other."""
        grids = self.points.lattices
        left = (index + ON_POINT).floor()
        share, left = index - left, left.long()
        shape = torch.tensor([grid.shape for grid in grids], device=index.device)
        shape = shape.expand(len(index), -1) if len(grids) == 1 else shape[batch]
        size = torch.tensor([grid.num_points for grid in grids], device=index.device)
        flat = torch.zeros_like(left[:, :1])
        mask = torch.ones_like(flat, dtype=torch.bool)
        for axis in range(index.shape[1]):
            count, low = shape[:, axis], left[:, axis]
            near = torch.stack([(low >= 0) & (low < count), (low >= -1) & (low < count - 1) & (share[:, axis] > ON_POINT)], 1)
            mask = (mask[..., None] & near[:, None]).flatten(1)
            pair = torch.stack([low, low + 1], 1)
            flat = (flat[..., None] * count[:, None, None] + pair[:, None]).flatten(1)
        first = (size.cumsum(0) - size)[batch][:, None]
        return Neighborhood((flat + first).masked_fill_(~mask, 0), mask, self.points.num_points)

    def lattice_index(self, query: Tensor, batch: Tensor) -> Tensor:
        """Fractional indices of places on their entry's lattice, float64."""
        matrices = torch.stack(for_each_distinct(self.points.lattices, lambda grid: grid.to_index))
        counts = torch.bincount(batch, minlength=len(matrices)).tolist()
        return map_entries(matrices, query.double(), counts)

    def _window_of_stack(self, query: Tensor, batch: Tensor, reach: float) -> Neighborhood:
        """All entries at once, in the axes of their lattices, where distances are the same."""
        grid = self.points.lattices[0]
        found = lattice_window(grid.straight(), self.lattice_index(query, batch) * grid.spacing.to(query.device), reach)
        first = (batch * grid.num_points)[:, None]
        return Neighborhood((found.index + first) * found.mask, found.mask, self.points.num_points).compact()


def _stacked(found: list[tuple[int, Neighborhood]], num_context: int) -> Neighborhood:
    """Tables of entries, each with the first row of its context, as one table."""
    k = max(table.k for _, table in found)
    pad = [(0, k - table.k) for _, table in found]
    index = [torch.nn.functional.pad((t.index + first) * t.mask, p) for (first, t), p in zip(found, pad, strict=True)]
    mask = [torch.nn.functional.pad(t.mask, p) for (_, t), p in zip(found, pad, strict=True)]
    return Neighborhood(torch.cat(index), torch.cat(mask), num_context)

"""Points that carry features: what images and clouds become before anything is learned from them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial.grid import Grid, map_entries
from geogrid.spatial.image import Image

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class PointCloud:
    r"""A batch of point sets in the world, one after the other, as PyG concatenates graphs.

    An image is a cloud that knows its lattice: its points are those of ``lattices[entry].points()``, in that order, and their
    neighbours need no search. Otherwise nothing distinguishes images from scattered samples.

    Args:
        pos: ``(num_points, dim)`` positions in mm, RAS+, dim 2 or 3.
        measure: ``(num_points,)`` the volume in mm^dim that each point stands for, above 0.
        batch: ``(num_points,)`` int64, sorted: the entry each point belongs to.
        frame: ``(num_entries, dim, dim)`` float64, per entry the unit vectors of its own axes as columns.
        spacing: ``(num_entries, dim)`` float64 mm between neighbours along these axes.
        x: ``(num_points, channels)`` features, or None.
        lattices: one grid per entry, or none for scattered points.

    Raises:
        GeogridError: when the parts do not fit each other.

    Example:
        >>> grid = Grid((4, 3), torch.diag(torch.tensor([2.0, 5.0, 1.0])))
        >>> cloud = PointCloud.from_images([Image(torch.rand(4, 3), grid)])
        >>> cloud.x.shape, cloud.measure[0], cloud.spacing
        (torch.Size([12, 1]), tensor(10.), tensor([[2., 5.]], dtype=torch.float64))
    """

    pos: Tensor
    measure: Tensor
    batch: Tensor
    frame: Tensor
    spacing: Tensor
    x: Tensor | None = None
    lattices: tuple[Grid, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.pos)
        parts = {"measure": self.measure, "batch": self.batch} | ({} if self.x is None else {"x": self.x})
        for name, part in parts.items():
            if len(part) != count:
                raise GeogridError(f"{name}: expected {count} rows, one per point, got {len(part)}")
        if self.frame.shape != (self.num_entries, self.dim, self.dim) or self.spacing.shape != (self.num_entries, self.dim):
            raise GeogridError(
                f"frame, spacing: expected one per entry in {self.dim}-D, got {tuple(self.frame.shape)}, "
                f"{tuple(self.spacing.shape)}"
            )
        sizes = [grid.num_points for grid in self.lattices]
        if sizes and (len(sizes) != self.num_entries or sum(sizes) != count):
            raise GeogridError(f"lattices: expected {self.num_entries} of {count} points together, got points {sizes}")

    @classmethod
    def from_images(cls, images: Sequence[Image] | Image) -> PointCloud:
        """Images, one entry each, their intensities as the only feature.

        Args:
            images: of one dimension, stored along closest-canonical axes as :func:`geogrid.io.read_image` gives them.
        """
        images = [images] if isinstance(images, Image) else list(images)
        values = torch.cat([image.data.reshape(-1, 1) for image in images])
        return cls.on_lattices([image.grid for image in images], values)

    @classmethod
    def on_lattices(cls, grids: Sequence[Grid], x: Tensor | None = None, device: torch.device | str = "cpu") -> PointCloud:
        """The points of lattices, one entry each.

        Args:
            grids: of one dimension.
            x: ``(num_points, channels)`` features in the order of the points, or None.
            device: where the points are to be, if there are no features.

        Raises:
            GeogridError: for no grids, or grids of several dimensions.
        """
        if len({grid.dim for grid in grids}) != 1:
            raise GeogridError(f"grids: expected at least one, all 2-D or all 3-D, got {[grid.shape for grid in grids]}")
        device = device if x is None else x.device
        counts = [grid.num_points for grid in grids]
        spacing = torch.stack(for_each_distinct(grids, lambda grid: grid.spacing))
        return cls(
            pos=torch.cat(for_each_distinct(grids, lambda grid: grid.points(device))),
            measure=_per_point(spacing.prod(1).float(), counts).to(device),
            batch=_per_point(torch.arange(len(grids)), counts).to(device),
            frame=torch.stack(for_each_distinct(grids, lambda grid: grid.frame)),
            spacing=spacing,
            x=x,
            lattices=tuple(grids),
        )

    @classmethod
    def from_points(
        cls,
        pos: Tensor,
        measure: Tensor,
        x: Tensor | None = None,
        batch: Tensor | None = None,
        frame: Tensor | None = None,
        spacing: Tensor | None = None,
        num_entries: int | None = None,
    ) -> PointCloud:
        """Scattered points.

        Args:
            pos: ``(num_points, dim)`` positions in mm.
            measure: ``(num_points,)`` the volume each stands for (:func:`geogrid.graph.point_volumes` estimates it).
            x: ``(num_points, channels)`` features, or None.
            batch: ``(num_points,)`` int64, sorted; entries may be empty; default all one entry.
            frame: ``(dim, dim)`` unit vectors of the axes in which the points were sampled, as columns, or one per entry;
                default the world's.
            spacing: ``(dim,)`` mm between neighbours along these axes, or one row per entry; give it where it differs between
                the axes (slices). Default: per entry the mean of ``measure ** (1 / dim)``.
            num_entries: default as many as the last point asks for.

        Raises:
            GeogridError: for a batch vector that is not sorted or does not fit ``num_entries``.
        """
        dim = pos.shape[1]
        batch = torch.zeros(len(pos), dtype=torch.int64, device=pos.device) if batch is None else batch
        needed = int(batch.max()) + 1 if len(batch) else 1
        num_entries = needed if num_entries is None else num_entries
        if num_entries < needed or bool((batch.diff(prepend=batch.new_zeros(1)) < 0).any()):
            raise GeogridError(
                f"batch: expected sorted values from 0 to {num_entries - 1}, got others; sort the points by entry"
            )
        axes = torch.eye(dim) if frame is None else frame
        steps = _mean_spacing(measure, batch, num_entries, dim) if spacing is None else spacing
        shapes = (num_entries, dim, dim), (num_entries, dim)
        axes, steps = (part.double().cpu().expand(shape) for part, shape in zip((axes, steps), shapes, strict=True))
        return cls(pos, measure, batch, axes, steps, x)

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        return self.pos.shape[1]

    @property
    def num_points(self) -> int:
        """Number of points of all entries together."""
        return len(self.pos)

    @property
    def num_entries(self) -> int:
        """Number of point sets in the batch."""
        return len(self.frame)

    @property
    def is_lattice(self) -> bool:
        """Whether the points are those of lattices."""
        return bool(self.lattices)

    @cached_property
    def stackable(self) -> bool:
        """Whether all entries are lattices of one shape and spacing, so that their values fit into one array."""
        if len(set(self.lattices)) == 1:
            return True
        shapes = {grid.shape for grid in self.lattices}
        return len(shapes) == 1 and bool((self.spacing - self.spacing[0]).abs().max() <= 1e-6 * self.spacing.max())

    def counts(self) -> Tensor:
        """Points per entry, ``(num_entries,)`` int64 on the CPU."""
        if self.lattices:
            return torch.tensor([grid.num_points for grid in self.lattices])
        return torch.bincount(self.batch.cpu(), minlength=self.num_entries)

    def entry(self, number: int) -> PointCloud:
        """One entry as a batch of its own.

        Raises:
            GeogridError: for a number that is not one of 0 to ``num_entries - 1``.
        """
        if not 0 <= number < self.num_entries:
            raise GeogridError(f"entry: expected a number from 0 to {self.num_entries - 1}, got {number}")
        return self.part(number, number + 1)

    def part(self, first: int, last: int) -> PointCloud:
        """The entries from ``first`` to before ``last`` as a batch of their own."""
        ends = [0, *self.counts().cumsum(0).tolist()]
        rows, entries = slice(ends[first], ends[last]), slice(first, last)
        return PointCloud(
            self.pos[rows],
            self.measure[rows],
            self.batch[rows] - first,
            self.frame[entries],
            self.spacing[entries],
            None if self.x is None else self.x[rows],
            self.lattices[entries],
        )

    def rows(self, number: int) -> slice:
        """Which rows the points of one entry are."""
        last = self.counts().cumsum(0)
        return slice(int(last[number - 1]) if number else 0, int(last[number]))

    def with_features(self, x: Tensor | None) -> PointCloud:
        """The same points with other features."""
        return replace(self, x=x)

    def moved(self, matrices: Tensor) -> PointCloud:
        """The points after one rigid motion per entry.

        Args:
            matrices: ``(num_entries, dim + 1, dim + 1)`` float64 rotations and shifts of the world.
        """
        matrices = matrices.to(self.frame)
        pos = map_entries(matrices, self.pos.double(), self.counts().tolist())
        lattices = tuple(grid.transformed(matrix) for grid, matrix in zip(self.lattices, matrices, strict=False))
        return replace(self, pos=pos.to(self.pos.dtype), frame=matrices[:, :-1, :-1] @ self.frame, lattices=lattices)

    def to_lattice(self, values: Tensor) -> Tensor:
        """Rows of stackable lattices as an array: ``(num_points, channels)`` to ``(num_entries, channels, *shape)``."""
        return values.view(self.num_entries, *self.lattices[0].shape, values.shape[1]).movedim(-1, 1)

    def to_rows(self, values: Tensor) -> Tensor:
        """The way back: ``(num_entries, channels, *shape)`` to ``(num_points, channels)``."""
        return values.movedim(1, -1).reshape(self.num_points, values.shape[1])

    def to(self, device: torch.device | str) -> PointCloud:
        """The cloud with its points on ``device``."""
        x = None if self.x is None else self.x.to(device)
        return replace(self, pos=self.pos.to(device), measure=self.measure.to(device), batch=self.batch.to(device), x=x)


def _mean_spacing(measure: Tensor, batch: Tensor, num_entries: int, dim: int) -> Tensor:
    """Mean edge of the cells of each entry's points, ``(num_entries, 1)``; without points the finest of the others'."""
    entry, edges = batch.cpu(), measure.detach().double().cpu().pow(1 / dim)
    count = torch.bincount(entry, minlength=num_entries)
    mean = edges.new_zeros(num_entries).index_add(0, entry, edges) / count
    return torch.where(count > 0, mean, mean[count > 0].min() if len(edges) else edges.new_ones(()))[:, None]


def _per_point(values: Tensor, counts: Sequence[int]) -> Tensor:
    """A value per entry, repeated for each of its points."""
    return values.repeat_interleave(counts[0] if len(set(counts)) == 1 else torch.tensor(counts))


def for_each_distinct(items: Sequence[Item], function: Callable[[Item], Result]) -> list[Result]:
    """``[function(item) for item in items]``, called once per distinct item; batches often share one grid."""
    found = {item: function(item) for item in dict.fromkeys(items)}
    return [found[item] for item in items]

"""Pooling of scattered points on cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph.checks import check_batch, check_points, per_axis

START = 1e-3
"""How far before the smallest coordinate the cells start, in cells."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Which cell each point belongs to; made by :func:`cell_pool`.

    Args:
        cluster: ``(num_points,)`` int64, the cell of each point, 0 to ``num_clusters - 1``.
        num_clusters: how many cells have points.
        batch: ``(num_clusters,)`` int64, the sorted batch entry of each cell.

    Example:
        >>> points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
        >>> cells = cell_pool(points, 2.0)
        >>> cells.mean(points, measure=torch.tensor([1.0, 3.0, 1.0]))
        tensor([[0.7500, 0.0000],
                [2.0000, 0.0000]])
        >>> cells.sum(torch.tensor([1.0, 3.0, 1.0]))
        tensor([4., 1.])
    """

    cluster: Tensor
    num_clusters: int
    batch: Tensor

    def sum(self, values: Tensor) -> Tensor:
        """Sums over the members of each cell, ``(num_points, ...)`` to ``(num_clusters, ...)``; differentiable."""
        self._check(values, "values")
        return values.new_zeros(self.num_clusters, *values.shape[1:]).index_add(0, self.cluster, values)

    def mean(self, values: Tensor, measure: Tensor | None = None) -> Tensor:
        r"""Means :math:`\sum_j v_j f_j / \sum_j v_j` over each cell, for positions and features. Differentiable.

        Args:
            values: ``(num_points, ...)`` positions or features.
            measure: ``(num_points,)``, what each point stands for, not negative; none: all the same. Where the members of a
                cell have none at all, they count the same.

        Returns:
            ``(num_clusters, ...)`` in the dtype of the values.
        """
        self._check(values, "values")
        weight = torch.ones_like(self.cluster, dtype=values.dtype) if measure is None else measure.to(values.dtype)
        self._check(weight, "measure")
        if weight.dim() != 1 or bool((weight < 0).any()):
            raise GeogridError("measure: expected one number per point, not negative, got another shape or negative ones")
        weight = torch.where((self.sum(weight) > 0)[self.cluster], weight, torch.ones_like(weight))
        share = (weight / self.sum(weight)[self.cluster]).reshape(-1, *[1] * (values.dim() - 1))
        first = self._representative(values)
        return first + self.sum(share * (values - first[self.cluster]))

    def _representative(self, values: Tensor) -> Tensor:
        """The value of some member of each cell, a constant: means of differences from it lose no digits."""
        first = torch.full((self.num_clusters,), len(values), device=values.device)
        place = torch.arange(len(values), device=values.device)
        return values.detach()[first.scatter_reduce(0, self.cluster, place, "amin")]

    def _check(self, values: Tensor, name: str) -> None:
        if values.shape[:1] != self.cluster.shape or not values.is_floating_point() or values.device != self.cluster.device:
            raise GeogridError(
                f"{name}: expected {len(self.cluster)} rows of floating point numbers on {self.cluster.device}, "
                f"one per point, got {tuple(values.shape)} {values.dtype} on {values.device}"
            )


def cell_pool(points: Tensor, cell: float | Sequence[float] | Tensor, batch: Tensor | None = None) -> Cells:
    r"""Groups points by cells of a given size, anchored to the cloud.

    The cells of a batch entry start a thousandth of a cell before its smallest coordinate along each axis,
    :math:`c_j = \lfloor (x_j - \min_i x_i) / \text{cell} + 0.001 \rfloor`. So a translation of the cloud changes nothing, and
    on a lattice whose spacing divides the cell no point lies on the border of two, where rounding would decide; the cells are
    then those of ``Grid.pool``.

    Args:
        points: ``(num_points, dim)`` positions in mm, in the axes that the cells are to have.
        cell: edge length in mm, one number or one per axis.
        batch: ``(num_points,)`` int64, sorted; entries may be empty.

    Returns:
        The cells that have points, numbered by batch entry and then by place, the last axis fastest: an order that does not
        depend on that of the points.

    Raises:
        GeogridError: for a cell that is not positive, or so small that cells cannot be numbered.

    Example:
        >>> cell_pool(torch.tensor([[7.0, 0.0], [9.0, 0.0], [8.0, 5.0]]), cell=4.0).cluster
        tensor([0, 0, 1])
    """
    check_points(points, "points")
    size = per_axis(cell, points, "cell")
    entry = check_batch(batch, points, "batch")
    if not len(points):
        return Cells(entry, 0, entry)
    position = points.detach().to(torch.float64)
    low = torch.full((int(entry[-1]) + 1, points.shape[1]), torch.inf, dtype=torch.float64, device=points.device)
    low = low.scatter_reduce(0, entry[:, None].expand_as(position), position, "amin")
    place = ((position - low[entry]) / size + START).floor()
    extent = [int(n) + 1 for n in place.amax(0).tolist()]
    if math.prod(extent) * len(low) >= 2**62:
        raise GeogridError(f"cell: expected cells large enough to number them, got {extent} along the axes; use larger ones")
    key = entry
    for axis, number in enumerate(extent):
        key = key * number + place[:, axis].to(torch.int64)
    found, cluster = key.unique(return_inverse=True)
    return Cells(cluster, len(found), found.div(math.prod(extent), rounding_mode="floor"))

"""Neighbours on a lattice by index arithmetic, without a search."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import compiled
from geogrid.graph.checks import MAX_BYTES, check_points, check_positive, per_axis, working_bytes
from geogrid.graph.metric import metric_positions, squared_distance
from geogrid.graph.neighborhood import Neighborhood
from geogrid.graph.search import MetricScale
from geogrid.spatial import Grid
from geogrid.spatial.grid import kept
from geogrid.spatial.lattice import flat_index

SLACK = 1e-6
BYTES_PER_ENTRY = 64


def lattice_window(
    grid: Grid, query: Tensor, radius: float, *, metric_scale: MetricScale = None, max_bytes: int = MAX_BYTES
) -> Neighborhood:
    r"""The lattice points within a radius of each query point, the rim included.

    Each query is rounded to the lattice; its candidates are the window of offsets that can come within the radius of any point
    that rounds there. The mask holds exactly those with :math:`|(x_j - x_i) / s|^2 \le r^2` that lie on the lattice, compared
    in float64 at the positions :math:`A j + t`. Beyond the border there are no points, so queries there have fewer neighbours
    or none. Costs O(num_query k) and no search.

    Args:
        grid: the context; point ``(i, j, k)`` is row ``(i * shape[1] + j) * shape[2] + k`` (the order of ``grid.points()``).
        query: ``(num_query, dim)`` positions in mm, anywhere.
        radius: in mm, above 0 (in units of ``metric_scale`` if that is given).
        metric_scale: positive scale of the world axes, one number or one per axis, that positions are divided by.
        max_bytes: bound on working memory, the result not counted.

    Returns:
        A table with one column per offset of the window (27 in 3-D for a radius of 0.87 to below 1.5 spacings), in the order
        of the offsets, so the neighbours of a query rise in context index; they are not sorted by distance.

    Raises:
        GeogridError: for queries of another dimension than the grid, NaN, or a radius that is not positive.

    Example:
        >>> grid = Grid((4, 3), torch.diag(torch.tensor([2.0, 2.0, 1.0])))
        >>> lattice_window(grid, torch.tensor([[0.0, 0.3]]), radius=2.0).edge_index
        tensor([[0, 1],
                [0, 0]])
    """
    check_points(query, "query")
    limit = check_positive(radius, "radius")
    if query.shape[1] != grid.dim:
        raise GeogridError(f"query: expected {grid.dim}-D positions like the grid, got {query.shape[1]}-D")
    scale = per_axis(metric_scale, query, "metric_scale")
    offsets = window_offsets(grid, limit, scale.cpu()).to(query.device)
    index = torch.empty(len(query), len(offsets), dtype=torch.int64, device=query.device)
    mask = torch.empty(len(query), len(offsets), dtype=torch.bool, device=query.device)
    if compiled.serves(query):
        _fill_compiled(grid, query, limit, scale, offsets, index, mask)
        return Neighborhood(index, mask, grid.num_points)
    rows = max(1, working_bytes(max_bytes, query) // (BYTES_PER_ENTRY * len(offsets)))
    chunks = zip(query.split(rows), index.split(rows), mask.split(rows), strict=True)
    for some_query, some_index, some_mask in chunks if len(query) else ():
        _fill(grid, some_query, limit, scale, offsets, some_index, some_mask)
    return Neighborhood(index, mask, grid.num_points)


def window_offsets(grid: Grid, radius: float, scale: Tensor) -> Tensor:
    r"""All index offsets ``(num_offsets, dim)`` int64 that may lie within the radius of a point that rounds to offset 0.

    An offset is left out when a lower bound of its distance says so: for columns D of the scaled axes' lengths and the smallest
    singular value :math:`\sigma` of the axes' directions, :math:`\sigma |D \max(|o| - 1/2, 0)|`; for axes at right angles it is
    the distance itself.
    """
    return _window_offsets(grid, radius, tuple(scale.tolist()))


@kept
def _window_offsets(grid: Grid, radius: float, scale: tuple[float, ...]) -> Tensor:
    axes = grid.affine[:-1, :-1] / torch.tensor(scale, dtype=torch.float64)[:, None]
    lengths = axes.norm(dim=0)
    sigma = float(torch.linalg.svdvals(axes / lengths).min())
    reach = [math.floor(radius / (sigma * float(n)) + 0.5 + SLACK) for n in lengths]
    box = torch.cartesian_prod(*[torch.arange(-n, n + 1) for n in reach])
    nearest = ((box.abs() - 0.5 - SLACK).clamp_min(0) * lengths).norm(dim=1) * sigma
    return box[nearest <= radius]


def lattice_positions(grid: Grid, index: Tensor) -> Tensor:
    """World positions in mm of integer indices ``(..., dim)``, float64, one rounding per operation on every device."""
    affine = grid.affine.tolist()
    numbers = index.to(torch.float64)
    rows = []
    for axis in range(grid.dim):
        total = numbers[..., 0] * affine[axis][0]
        for other in range(1, grid.dim):
            total = total + numbers[..., other] * affine[axis][other]
        rows.append(total + affine[axis][-1])
    return torch.stack(rows, -1)


def _fill(grid: Grid, query: Tensor, radius: float, scale: Tensor, offsets: Tensor, index: Tensor, mask: Tensor) -> None:
    """Writes the rows of some queries: distances from the rounded position, near the rim once more by the exact formula."""
    shape = torch.tensor(grid.shape, device=query.device)
    base = _places(grid, query, offsets).round().to(torch.int64)
    torch.add(flat_index(base.unbind(1), grid.shape)[:, None], flat_index(offsets.unbind(1), grid.shape), out=index)
    here = metric_positions(query, scale)
    origin = lattice_positions(grid, base) / scale
    axes = grid.affine[:-1, :-1].to(query.device) / scale[:, None]
    squared = squared_distance((origin - here)[:, None], -(offsets.double() @ axes.T))
    torch.le(squared, radius * radius, out=mask)
    _settle_rim(grid, here, radius, scale, base, offsets, squared, mask)
    for axis in range(grid.dim):
        first, last = -base[:, axis, None], shape[axis] - base[:, axis, None]
        mask &= (offsets[:, axis] >= first) & (offsets[:, axis] < last)
    index.masked_fill_(~mask, 0)


def _fill_compiled(
    grid: Grid, query: Tensor, radius: float, scale: Tensor, offsets: Tensor, index: Tensor, mask: Tensor
) -> None:
    """The same by a compiled loop, which uses the exact formula everywhere."""
    from geogrid.graph import loops

    shape = torch.tensor(grid.shape)
    inputs = (_places(grid, query, offsets), metric_positions(query, scale), offsets, shape, grid.affine, scale)
    arrays = [tensor.contiguous().numpy() for tensor in inputs]
    found = index.numpy(), mask.numpy()
    compiled.share_out(len(query), lambda first, last: loops.fill_window(first, last, *arrays, radius, *found))


def _places(grid: Grid, query: Tensor, offsets: Tensor) -> Tensor:
    """Fractional indices of queries, those far away brought to where no offset reaches the lattice."""
    shape = torch.tensor(grid.shape, device=query.device)
    inverse = grid.to_index.to(query.device)
    place = torch.addmm(inverse[:-1, -1], query.detach().to(torch.float64), inverse[:-1, :-1].T)
    margin = offsets.abs().amax(0) + 1
    return torch.minimum(torch.maximum(place, -margin.double() - 1), (shape + margin).double())


def _settle_rim(
    grid: Grid, here: Tensor, radius: float, scale: Tensor, base: Tensor, offsets: Tensor, squared: Tensor, mask: Tensor
) -> None:
    """Decides once more by the exact formula where rounding leaves a doubt."""
    far = torch.maximum(here.abs(), (lattice_positions(grid, base) / scale).abs()).amax(1, keepdim=True)
    doubt = (squared - radius * radius).abs() <= 1e-12 * radius * (far + radius)
    row, column = doubt.nonzero(as_tuple=True)
    exact = squared_distance(lattice_positions(grid, base[row] + offsets[column]) / scale, here[row])
    mask[row, column] = exact <= radius * radius

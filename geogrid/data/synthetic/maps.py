"""Label maps of real anatomies as worlds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from geogrid.data.synthetic.canvas import Canvas
from geogrid.data.synthetic.config import WorldConfig
from geogrid.data.synthetic.draws import choice, rotation, uniform
from geogrid.data.synthetic.worlds import World
from geogrid.errors import GeogridError
from geogrid.io import Source, read_labels
from geogrid.spatial import Grid, Image
from geogrid.spatial.pyramid import pool_factors
from geogrid.spatial.sampling import lattice_corners
from geogrid.transforms import AffineTransform, affine_between

_MARGIN = 2
_LEAST_SHARED = 8
"""Labels between whose middles an affine map is fitted, at least."""


def read_label_maps(sources: Sequence[Source] | str | Path, spacing: float | None = None) -> tuple[Image, ...]:
    """Reads label maps to draw worlds from: cropped to their content, pooled, axes closest to the world's.

    Pooling gives each cell its most frequent label. Do this once and keep the result: :func:`synthesize` takes it.

    Args:
        sources: label files, nibabel images or (array, affine) pairs; or a folder, of which all NIfTI files are read.
        spacing: mm per voxel to pool to, about that of the images to be made; default as they are.

    Returns:
        int32 label maps.

    Raises:
        GeogridError: for an empty folder, for files that are no label maps, and for maps without any label.

    Example:
        >>> labels = torch.zeros(16, 16, dtype=torch.int32)
        >>> labels[4:12, 4:12] = 7
        >>> read_label_maps([(labels, torch.eye(3))], spacing=2.0)[0].data.shape
        torch.Size([6, 6])
    """
    if isinstance(sources, str | Path):
        folder = Path(sources)
        sources = sorted([*folder.glob("*.nii.gz"), *folder.glob("*.nii")]) if folder.is_dir() else [folder]
        if not sources:
            raise GeogridError(f"{folder}: expected label maps, found no .nii or .nii.gz file in the folder")
    return tuple(_pooled(_cropped(source), spacing) for source in sources)


def draw_maps(canvas: Canvas, maps: Sequence[Image], config: WorldConfig) -> tuple[World, ...]:
    """One of the maps, turned, mirrored and enlarged at random, its labels merged and dropped at random; one world a person.

    For 2-D images a 3-D map is cut at random, across one of its axes. For two people the second is another map, brought onto
    the first by the affine map between their labels' middles, its labels merged and dropped likewise.
    """
    generator = canvas.generator
    source = choice(generator, maps)
    if source.grid.dim > canvas.grid.dim:
        points, present = _on_section(source, canvas, config)
    else:
        points, present = _placement(canvas, source.grid, config), source.data.reshape(-1)
    views = [_View(source, points)]
    if config.people == 2:
        other = choice(generator, [one for one in maps if one is not source])
        views.append(_View(other, _between(source, other)(points)))
        present = torch.cat([present.to(canvas.device), views[1].corner_labels.reshape(-1)])
    table, count = _merged(present, config, generator)
    return tuple(view.world(canvas, table, count) for view in views)


class _View:
    """What a map shows where the points of a canvas lie in it."""

    def __init__(self, source: Image, points: Tensor) -> None:
        corners, self.weights = lattice_corners(source.grid.world_to_index(points), source.grid.shape)
        self.corner_labels = source.data.to(points.device).reshape(-1)[corners].long()

    def world(self, canvas: Canvas, table: Tensor, count: int) -> World:
        """The world of it, labels renamed by a table; those beyond it, next to the section, are background of weight 0."""
        table = torch.nn.functional.pad(table, (0, max(0, int(self.corner_labels.max()) + 1 - len(table))))
        labels = table.to(canvas.device)[self.corner_labels]
        shares = torch.zeros(count, len(labels), device=labels.device)
        for label, weight in zip(labels.T, self.weights.T, strict=True):
            shares.scatter_add_(0, label[None], weight[None])
        return World(shares.reshape(count, *canvas.grid.shape), canvas.grid)


def _between(source: Image, other: Image) -> AffineTransform:
    """From one person's map to another's, by the middles of the labels that they share."""
    middles, their_middles = _middles(source), _middles(other)
    shared = sorted(middles.keys() & their_middles.keys())
    if len(shared) < _LEAST_SHARED:
        raise GeogridError(f"maps: those of two people need {_LEAST_SHARED} labels or more in common, got {len(shared)}")
    ends = [torch.stack([found[label] for label in shared]) for found in (middles, their_middles)]
    return affine_between(*ends)


@lru_cache(maxsize=64)
def _middles(image: Image) -> dict[int, Tensor]:
    """The mean position of each label above 0, mm; kept, for maps are drawn again and again."""
    numbers, place, count = image.data.cpu().reshape(-1).unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(numbers), image.dim, dtype=torch.float64)
    index = torch.cartesian_prod(*(torch.arange(n) for n in image.grid.shape)).double()
    middle = image.grid.index_to_world(sums.index_add(0, place, index) / count[:, None])
    return {label: row for label, row in zip(numbers.tolist(), middle, strict=True) if label > 0}


def _cropped(source: Source) -> Image:
    """The content with a margin, at least that of background, so that the map's border is background."""
    file = read_labels(source)
    where = (file.image.data != 0).nonzero()
    if len(where) == 0:
        raise GeogridError(f"{file.name}: every voxel is 0; expected at least one label above 0")
    if int(file.image.data.min()) < 0:
        raise GeogridError(f"{file.name}: expected labels from 0 up, got {int(file.image.data.min())}")
    first, last = where.amin(0) - _MARGIN, where.amax(0) + _MARGIN
    shape = tuple((last - first + 1).tolist())
    data = torch.zeros(shape, dtype=torch.int32)
    low, high = first.clamp_min(0), torch.minimum(last + 1, torch.tensor(file.image.grid.shape))
    inner = tuple(slice(a, b) for a, b in zip((low - first).tolist(), (high - first).tolist(), strict=True))
    data[inner] = file.image.data[tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))]
    return Image(data, file.image.grid.crop(first.tolist(), shape))


def _pooled(image: Image, spacing: float | None) -> Image:
    """The most frequent label of every cell; a partial cell at the end of an axis is filled with background."""
    factors = (1,) * image.dim if spacing is None else pool_factors(image.grid, spacing)
    if max(factors) == 1:
        return image
    numbers, compact = image.data.unique(return_inverse=True)
    missing = [-n % f for n, f in zip(image.grid.shape, factors, strict=True)]
    compact = torch.nn.functional.pad(compact, [p for m in reversed(missing) for p in (0, m)])
    cells = compact
    for axis, factor in enumerate(factors):
        cells = cells.unflatten(axis, (-1, factor)).movedim(axis + 1, -1)
    cells = cells.flatten(image.dim)
    counts = torch.zeros(*cells.shape[:-1], len(numbers), dtype=torch.uint8)
    for member in cells.unbind(-1):
        counts.scatter_add_(-1, member[..., None], torch.ones_like(member[..., None], dtype=torch.uint8))
    return Image(numbers[counts.argmax(-1)], image.grid.pool(factors))


def _on_section(source: Image, canvas: Canvas, config: WorldConfig) -> tuple[Tensor, Tensor]:
    """Where the points of a 2-D canvas lie in a 3-D map, ``(num_points, 3)`` mm: on a plane across one of its axes.

    The plane is in the middle half of those that have labels; its labels are returned, too.
    """
    generator, axis = canvas.generator, choice(canvas.generator, (0, 1, 2))
    planes = source.data.movedim(axis, 0).flatten(1).any(1).nonzero().flatten().tolist()
    place = planes[round(uniform(generator, 0.25, 0.75) * (len(planes) - 1))]
    others = [k for k in range(3) if k != axis]
    affine = torch.diag(torch.cat([source.grid.spacing[others], torch.ones(1)]).double())
    section = Grid(tuple(source.grid.shape[k] for k in others), affine)
    along = section.world_to_index(_placement(canvas, section, config))
    index = torch.full((len(along), 3), float(place), dtype=along.dtype, device=along.device)
    index[:, others] = along
    return source.grid.index_to_world(index), source.data.select(axis, place).reshape(-1)


def _placement(canvas: Canvas, grid: Grid, config: WorldConfig) -> Tensor:
    """Where in the map the canvas' points lie, ``(num_points, dim)`` mm; a map larger than the view is shown in part."""
    generator, dim = canvas.generator, grid.dim
    if canvas.grid.dim != dim:
        raise GeogridError(f"maps: expected label maps of the images' dimension {canvas.grid.dim} or more, got {dim}-D ones")
    mirror = torch.eye(dim, dtype=torch.float64)
    mirror[0, 0] = choice(generator, (-1.0, 1.0))
    turn = rotation(generator, dim, uniform(generator, *config.turn_degrees)) @ mirror
    linear = turn / uniform(generator, *config.zoom)
    spare = (torch.tensor(grid.shape) * grid.spacing - canvas.extent).clamp_min(0) / 2
    moved = torch.tensor([uniform(generator, -float(s), float(s)) for s in spare], dtype=torch.float64)
    start = grid.center + grid.frame @ moved
    return canvas.offsets().T @ linear.T.to(canvas.device).float() + start.to(canvas.device).float()


def _merged(labels: Tensor, config: WorldConfig, generator: torch.Generator) -> tuple[Tensor, int]:
    """A table from labels to fewer labels, 0 stays 0, and how many there are with it."""
    present = torch.bincount(labels.reshape(-1)) > 0  # many times faster than unique
    present[0] = False
    numbers = present.nonzero().flatten()
    count = min(len(numbers), round(uniform(generator, *config.num_labels)))
    order = torch.randperm(len(numbers), generator=generator, device=generator.device).cpu()
    merged = 1 + order % count
    dropped = torch.rand(len(numbers), generator=generator, device=generator.device).cpu() < config.drop
    merged[dropped & (order > 0)] = 0
    table = torch.zeros(int(numbers.max()) + 1, dtype=torch.int64)
    table[numbers.cpu()] = merged
    return table, 1 + count

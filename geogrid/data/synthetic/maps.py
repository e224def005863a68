"""Label maps of real anatomies as worlds."""

from __future__ import annotations

from collections.abc import Sequence
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

_MARGIN = 2


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


def draw_map(canvas: Canvas, maps: Sequence[Image], config: WorldConfig) -> World:
    """One of the maps, turned, mirrored and enlarged at random, its labels merged and dropped at random.

    For 2-D images a 3-D map is cut at random, across one of its axes.
    """
    source = choice(canvas.generator, maps)
    if source.grid.dim > canvas.grid.dim:
        source = _section(source, canvas.generator)
    points = _placement(canvas, source.grid, config)
    table, count = _merged(source.data, config, canvas.generator)
    labels = table.to(canvas.device)[source.data.to(canvas.device).reshape(-1).long()]
    corners, weights = lattice_corners(source.grid.world_to_index(points), source.grid.shape)
    shares = torch.zeros(count, len(points), device=points.device)
    for corner, weight in zip(corners.T, weights.T, strict=True):
        shares.scatter_add_(0, labels[corner][None], weight[None])
    return World(shares.reshape(count, *canvas.grid.shape), canvas.grid)


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


def _section(source: Image, generator: torch.Generator) -> Image:
    """A plane across one of the axes of a 3-D map, in the middle half of those that have labels."""
    axis = choice(generator, (0, 1, 2))
    planes = source.data.movedim(axis, 0).flatten(1).any(1).nonzero().flatten().tolist()
    place = planes[round(uniform(generator, 0.25, 0.75) * (len(planes) - 1))]
    others = [k for k in range(3) if k != axis]
    affine = torch.diag(torch.cat([source.grid.spacing[others], torch.ones(1)]).double())
    return Image(source.data.select(axis, place), Grid(tuple(source.grid.shape[k] for k in others), affine))


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
    numbers = labels.unique()
    numbers = numbers[numbers > 0].long()
    count = min(len(numbers), round(uniform(generator, *config.num_labels)))
    order = torch.randperm(len(numbers), generator=generator, device=generator.device).cpu()
    merged = 1 + order % count
    dropped = torch.rand(len(numbers), generator=generator, device=generator.device).cpu() < config.drop
    merged[dropped & (order > 0)] = 0
    table = torch.zeros(int(numbers.max()) + 1, dtype=torch.int64)
    table[numbers.cpu()] = merged
    return table, 1 + count

"""Many synthetic pairs at once, and as the clouds that models take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor

from geogrid.data.synthetic.config import SyntheticConfig
from geogrid.data.synthetic.draws import choice
from geogrid.data.synthetic.pair import SyntheticPair, synthesize
from geogrid.data.synthetic.scene import Scene
from geogrid.errors import GeogridError
from geogrid.spatial import Grid, Image, PointCloud


class PairFields(TypedDict):
    """All that a batch of pairs for training consists of.

    Args:
        fixed: one entry per pair, intensities as the only feature.
        moving: likewise.
        fixed_twin: ``(num_fixed_points, 1)`` intensities of the fixed twin.
        moving_twin: ``(num_moving_points, 1)`` intensities of the moving twin.
        displacement: ``(num_fixed_points, dim)`` truth in mm; NaN for pairs of two people.
        fixed_labels: ``(num_fixed_points,)`` int32, or None where they were not asked for.
        moving_labels: ``(num_moving_points,)`` likewise.
    """

    fixed: PointCloud
    moving: PointCloud
    fixed_twin: Tensor
    moving_twin: Tensor
    displacement: Tensor
    fixed_labels: Tensor | None
    moving_labels: Tensor | None


def synthetic_batch(
    configs: SyntheticConfig | Sequence[SyntheticConfig],
    count: int,
    generator: torch.Generator,
    *,
    maps: Sequence[Image] = (),
    device: torch.device | str = "cpu",
) -> list[SyntheticPair]:
    """Several pairs, each of a kind drawn from those given.

    Args:
        configs: kinds of pairs, of one dimension; shapes and spacings may differ.
        count: number of pairs, 1 or more.
        generator: of all that is random.
        maps: label maps for worlds of kind ``maps``.
        device: where to compute.

    Raises:
        GeogridError: for no kinds, a count below 1, or kinds of several dimensions.

    Example:
        >>> pairs = synthetic_batch(SyntheticConfig((16, 16), (1.0, 1.0)), 3, torch.Generator().manual_seed(0))
        >>> pair_fields(pairs)["fixed"].num_entries
        3
    """
    kinds = (configs,) if isinstance(configs, SyntheticConfig) else tuple(configs)
    if count < 1 or len({kind.dim for kind in kinds}) != 1:
        raise GeogridError(f"configs, count: expected kinds of one dimension and 1 pair or more, got {len(kinds)} and {count}")
    return [synthesize(choice(generator, kinds), generator, maps=maps, device=device) for _ in range(count)]


def pair_fields(pairs: Sequence[SyntheticPair], *, labels: bool = False) -> PairFields:
    """Pairs as clouds on their lattices and values per point, one entry per pair.

    Args:
        pairs: at least one, of one dimension.
        labels: whether to give labels, which take about a fifth of the time of a pair.

    Raises:
        GeogridError: for no pairs, or pairs of several dimensions.
    """
    _check_pairs(pairs)
    fixed, moving = (PointCloud.from_images([getattr(p, side) for p in pairs]) for side in ("fixed", "moving"))
    return PairFields(
        fixed=fixed,
        moving=moving,
        fixed_twin=_rows([p.fixed_twin for p in pairs])[:, None],
        moving_twin=_rows([p.moving_twin for p in pairs])[:, None],
        displacement=torch.cat([p.displacement for p in pairs]),
        fixed_labels=_rows([p.fixed_labels for p in pairs]) if labels else None,
        moving_labels=_rows([p.moving_labels for p in pairs]) if labels else None,
    )


def scattered_fields(pairs: Sequence[SyntheticPair], num_points: int, generator: torch.Generator) -> PairFields:
    """As :func:`pair_fields`, seen at random positions: evenly spread over each image's field of view, drawn anew for each.

    The world is evaluated at the points themselves, without averaging over a slice.

    Args:
        pairs: at least one, of one dimension.
        num_points: of each image.
        generator: of positions and noise.

    Raises:
        GeogridError: for no pairs, pairs of several dimensions, or no points.
    """
    _check_pairs(pairs)
    if num_points < 1:
        raise GeogridError(f"num_points: expected 1 or more, got {num_points}")
    fixed = [_scatter(p.fixed_scene, p.fixed.grid, num_points, generator) for p in pairs]
    moving = [_scatter(p.moving_scene, p.moving.grid, num_points, generator) for p in pairs]
    grids = [[getattr(p, side).grid for p in pairs] for side in ("fixed", "moving")]
    clouds = [_cloud(parts, grid) for parts, grid in zip((fixed, moving), grids, strict=True)]
    values = [torch.cat([part[1] for part in parts]) for parts in (fixed, moving)]
    moved = torch.cat([p.displacement_at(part[0]) for p, part in zip(pairs, fixed, strict=True)])
    return PairFields(
        fixed=clouds[0].with_features(values[0][:, :1]),
        moving=clouds[1].with_features(values[1][:, :1]),
        fixed_twin=values[0][:, 1:],
        moving_twin=values[1][:, 1:],
        displacement=moved,
        fixed_labels=torch.cat([part[2] for part in fixed]),
        moving_labels=torch.cat([part[2] for part in moving]),
    )


def _check_pairs(pairs: Sequence[SyntheticPair]) -> None:
    dims = sorted({pair.dim for pair in pairs})
    if len(dims) != 1:
        raise GeogridError(f"pairs: expected at least one, all 2-D or all 3-D, got {len(pairs)} of dimensions {dims}")


def _rows(images: Sequence[Image]) -> Tensor:
    return torch.cat([image.data.reshape(-1) for image in images])


def _scatter(scene: Scene, grid: Grid, num_points: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Positions, intensities of image and twin, labels."""
    share = torch.rand(num_points, grid.dim, generator=generator, device=generator.device).to(scene.volumes.device)
    points = grid.index_to_world(share * torch.tensor(grid.shape).to(share) - 0.5)
    return points, scene.noisy(scene.intensities(points), generator), scene.labels(points)


def _cloud(parts: Sequence[tuple[Tensor, Tensor, Tensor]], grids: Sequence[Grid]) -> PointCloud:
    count = len(parts[0][0])
    pos = torch.cat([part[0] for part in parts])
    volume = torch.tensor([grid.num_points * grid.voxel_volume / count for grid in grids], dtype=torch.float32)
    return PointCloud.from_points(
        pos,
        volume.repeat_interleave(count).to(pos.device),
        batch=torch.arange(len(parts)).repeat_interleave(count).to(pos.device),
        frame=torch.stack([grid.frame for grid in grids]),
    )

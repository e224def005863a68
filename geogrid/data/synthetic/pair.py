"""Pairs of images whose true correspondence is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from geogrid.data.synthetic.boxes import centred_grid, covering_grid, voxel_box
from geogrid.data.synthetic.canvas import Canvas
from geogrid.data.synthetic.config import SyntheticConfig, WorldConfig
from geogrid.data.synthetic.contrasts import random_contrast, related_contrast
from geogrid.data.synthetic.deformations import random_deformation
from geogrid.data.synthetic.draws import choice, rotation, uniform
from geogrid.data.synthetic.maps import draw_maps
from geogrid.data.synthetic.scene import Scene, paint_scene, scan
from geogrid.data.synthetic.sliding import SlidingMotion
from geogrid.data.synthetic.worlds import DRAWERS, World
from geogrid.errors import GeogridError
from geogrid.io import Storage
from geogrid.spatial import Grid, Image
from geogrid.transforms import Composition
from geogrid.transforms.transform import Transform


@dataclass(frozen=True, eq=False)
class SyntheticPair:
    r"""A moving image of a world, and a fixed image of the same world seen at :math:`\phi(x)`, exact by construction.

    Of two people (``WorldConfig.people``) the fixed image is of another world, and nobody knows where its points are in the
    moving one.

    Args:
        fixed: the world at ``truth(x)``, with a contrast, bias, blur and noise of its own.
        moving: the world.
        fixed_twin: the fixed image free of noise, bias, blur and lesions.
        moving_twin: the moving image likewise, and in the fixed image's contrast: take an image loss on these two.
        truth: the map of fixed-space points to moving space, for any points; for two people that of the first one's world.
        fixed_scene: what the fixed image would show anywhere.
        moving_scene: what the moving image would show anywhere.
        people: 1, or 2 where the moving image is of another one.
    """

    fixed: Image
    moving: Image
    fixed_twin: Image
    moving_twin: Image
    truth: Composition
    fixed_scene: Scene
    moving_scene: Scene
    people: int = 1

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        return self.fixed.dim

    @cached_property
    def displacement(self) -> Tensor:
        """True displacement ``(num_points, dim)`` of the fixed voxels' middles, mm, world axes; NaN for two people."""
        return self.displacement_at(self.fixed.grid.points(self.fixed.data.device))

    def displacement_at(self, points: Tensor) -> Tensor:
        """True displacement of any ``(num_points, dim)`` fixed-space points, mm; NaN for two people."""
        return self.truth(points) - points if self.people == 1 else torch.full_like(points, torch.nan)

    @cached_property
    def fixed_labels(self) -> Image:
        """The label at the middle of each fixed voxel, int32; found when first asked for."""
        return _labels(self.fixed_scene, self.fixed.grid)

    @cached_property
    def moving_labels(self) -> Image:
        """The label at the middle of each moving voxel, int32; found when first asked for."""
        return _labels(self.moving_scene, self.moving.grid)


def synthesize(
    config: SyntheticConfig,
    generator: torch.Generator,
    *,
    maps: Sequence[Image] = (),
    fixed_grid: Grid | None = None,
    moving_grid: Grid | None = None,
    device: torch.device | str = "cpu",
) -> SyntheticPair:
    r"""Draws a world, two contrasts and a deformation, and takes both images.

    With world intensities :math:`W` the moving image is :math:`W(y)` and the fixed image :math:`W(\phi(x))`, evaluated exactly
    there: nothing is warped from one image to the other. Slices thicker than the finest spacing are averages of as many
    evaluations through the slice as it has finest spacings.

    Args:
        config: what kind of pair.
        generator: of all that is random: the same seed gives the same pair. One on the CPU serves every ``device``.
        maps: label maps (:func:`read_label_maps`), needed for worlds of kind ``maps``; two or more for pairs of two people.
        fixed_grid: in place of the config's shape and spacing.
        moving_grid: likewise; the middle of the fixed grid is sent to its middle, then moved.
        device: where to compute, and where the results are.

    Returns:
        The pair.

    Raises:
        GeogridError: for worlds of kind ``maps`` without maps, and for grids or maps of another dimension.

    Example:
        >>> config = SyntheticConfig((32, 24), (1.0, 1.0))
        >>> pair = synthesize(config, torch.Generator().manual_seed(0))
        >>> pair.fixed.data.shape, pair.displacement.shape
        (torch.Size([32, 24]), torch.Size([768, 2]))
    """
    fixed = fixed_grid or _grid(config.shape, config.spacing, config.oblique_degrees, generator)
    moving = moving_grid or _grid(
        config.moving_shape or config.shape, config.moving_spacing or config.spacing, config.oblique_degrees, generator
    )
    _check(config, maps, fixed, moving)
    truth = random_deformation(config.deformation, fixed, moving, generator, device)
    points, other = fixed.points(device), moving.points(device)
    moved = truth(points)
    canvas = _canvas(moved, fixed, moving, generator, device)
    worlds = _draw_worlds(canvas, config.world, maps)
    if config.world.visible_border:
        worlds = tuple(_with_border(world, truth) for world in worlds)
    scenes = _scenes(canvas, worlds, config, fixed, moving, truth)
    views = zip(scenes, (fixed, moving), (points, other), (moved, other), strict=True)
    pictures = [scan(*view, config.contrast.thickness, generator) for view in views]
    return SyntheticPair(
        fixed=Image(pictures[0][0], fixed),
        moving=Image(pictures[1][0], moving),
        fixed_twin=Image(pictures[0][1], fixed),
        moving_twin=Image(pictures[1][1], moving),
        truth=truth,
        people=config.world.people,
        fixed_scene=scenes[0],
        moving_scene=scenes[1],
    )


def _grid(shape: Sequence[int], spacing: Sequence[float], oblique: tuple[float, float], generator: torch.Generator) -> Grid:
    """Stored along the axes closest to the world's, as files are after reading; a turn beyond 45 degrees swaps axes."""
    turn = rotation(generator, len(shape), uniform(generator, *oblique))
    grid = centred_grid(shape, spacing, turn)
    return Storage(grid.shape, grid.affine).grid()


def _check(config: SyntheticConfig, maps: Sequence[Image], fixed: Grid, moving: Grid) -> None:
    if fixed.dim != moving.dim:
        raise GeogridError(f"grids: expected two of the same dimension, got {fixed.dim}-D and {moving.dim}-D")
    if "maps" in config.world.kinds and not maps:
        raise GeogridError("maps: worlds of kind 'maps' need label maps, got none; read some with read_label_maps")
    if config.world.people > len(maps) > 0:
        raise GeogridError(f"maps: pairs of two people need two label maps or more, got {len(maps)}")


def _canvas(moved: Tensor, fixed: Grid, moving: Grid, generator: torch.Generator, device: torch.device | str) -> Canvas:
    """A lattice of the pair's finest spacing over all that either image sees, at most twice as wide as the moving image."""
    low, high = voxel_box(moving, moving.frame)
    along = moved.double().cpu() @ moving.frame
    spare = (high - low) / 2
    spacing = float(torch.cat([fixed.spacing, moving.spacing]).min())
    pad = fixed.spacing.max() / 2
    least = torch.maximum(torch.minimum(low, along.amin(0) - pad), low - spare)
    most = torch.minimum(torch.maximum(high, along.amax(0) + pad), high + spare)
    grid = covering_grid(moving.frame, least, most, spacing)
    return Canvas(grid, moving.center, float((high - low).min()), generator, device)


def _draw_worlds(canvas: Canvas, config: WorldConfig, maps: Sequence[Image]) -> tuple[World, ...]:
    """What the images are of: one world, but for pairs of two people, where the last is the moving one's."""
    kind = choice(canvas.generator, config.kinds)
    if kind == "maps":
        return draw_maps(canvas, maps, config)
    num_labels = round(canvas.draw(*config.num_labels))
    return (DRAWERS[kind](canvas, num_labels, canvas.draw(*config.size)),)


def _with_border(world: World, truth: Composition) -> World:
    """Other tissue beyond the border of a sliding motion, as far as that is followed by nothing but an affine map."""
    for motion, affine in zip(truth.transforms, truth.transforms[1:], strict=False):
        if isinstance(motion, SlidingMotion):
            back: Transform = affine.inverse()  # type: ignore[attr-defined]
            points = world.grid.points(world.memberships.device)
            return world.with_other_side((motion.distance(back(points)) >= 0).reshape(world.grid.shape))
    return world


def _scenes(
    canvas: Canvas, worlds: tuple[World, ...], config: SyntheticConfig, fixed: Grid, moving: Grid, truth: Composition
) -> tuple[Scene, Scene]:
    generator, settings = canvas.generator, config.contrast
    strength = canvas.draw(*settings.texture)
    first = random_contrast(worlds[0].num_labels, strength, generator)
    second = related_contrast(first, choice(generator, settings.relation), strength, generator)
    texture = canvas.fractal(max(16 * canvas.spacing, canvas.extent / 6), canvas.draw(0.0, 1.0), 1)[0]
    return (
        paint_scene(canvas, worlds[0], first, first, texture, settings, fixed, truth),
        paint_scene(canvas, worlds[-1], second, first, texture, settings, moving),
    )


def _labels(scene: Scene, grid: Grid) -> Image:
    return Image(scene.labels(grid.points(scene.volumes.device)).reshape(grid.shape), grid)

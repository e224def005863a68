"""From two images to a trajectory: scale, start, coarse to fine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch

from geogrid.losses import Objective, ObjectiveConfig
from geogrid.losses.similarity import Similarity
from geogrid.models import GeoReg
from geogrid.optimize.affine import AffineConfig, AffineKind, register_affine
from geogrid.optimize.boxes import ROUNDING, index_box
from geogrid.optimize.history import HistoryEntry, Progress, no_progress, part_of
from geogrid.optimize.instance import InstanceConfig, num_levels, optimize_displacement
from geogrid.optimize.learned import LearnedConfig, register_learned
from geogrid.spatial import Grid, Image, finest_scale, pool_image
from geogrid.spatial.cut import is_cut
from geogrid.spatial.intensity import CONTENT_LEVEL, content_box, grow_box, on_dark_background
from geogrid.spatial.slices import see_through, slice_parts, split_slices, split_weight
from geogrid.transforms import AffineTransform, Trajectory

CLEARLY = 0.8
"""Of images that are cut (:func:`geogrid.spatial.cut.is_cut`), by ``mind`` and ``edges``, a start takes the place of the
headers only where its loss is below this share of theirs: an affine map fits the little they show nearly as well elsewhere."""


@dataclass(frozen=True)
class OptimizeConfig:
    """Settings of :func:`optimize_pair`.

    Args:
        affine: ``rigid``; ``affine``; ``auto`` (affine, unless the headers alone lead to a better deformable registration at
            coarse scales; of images that are cut see :data:`CLEARLY`); ``none`` (trust the headers).
        similarity: ``lncc`` for images of the same contrast, ``nmi``, ``edges`` or ``mind`` for others; for both stages.
        scale: finest scale s_0 in mm; default the coarser of the two in-plane spacings.
        margin: what is kept around the content of the images, in units of s_0.
        affine_config: settings of the affine stage.
        objective: weights of the deformable stage.
        instance: settings of the deformable stage.
        learned: settings of the learned start.
    """

    affine: AffineKind = "auto"
    similarity: Similarity = "lncc"
    scale: float | None = None
    margin: float = 8.0
    affine_config: AffineConfig = field(default_factory=AffineConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    instance: InstanceConfig = field(default_factory=InstanceConfig)
    learned: LearnedConfig = field(default_factory=LearnedConfig)


@dataclass(frozen=True, eq=False)
class Solution:
    """What the optimisation found.

    Args:
        trajectory: every intermediate transform.
        history: the loss along the way.
        domain: the part of the fixed grid that was looked at; beyond it the border displacement goes on.
        start: ``headers``, ``rigid``, ``affine`` or ``learned``: which start was kept.
        losses: of every start that was tried, the loss after the coarse levels of the optimisation, all at one scale and on
            one mask; the lowest was kept.
    """

    trajectory: Trajectory
    history: list[HistoryEntry]
    domain: Grid
    start: str
    losses: dict[str, float]


def optimize_pair(
    fixed: Image,
    moving: Image,
    config: OptimizeConfig | None = None,
    fixed_weight: Image | None = None,
    moving_weight: Image | None = None,
    progress: Progress = no_progress,
    model: GeoReg | None = None,
) -> Solution:
    """Registers a pair: a start, then the displacement of points, coarse to fine.

    Starts are the affine one and the headers; from each the coarse levels are optimised, and the one that ends best goes on. A
    model makes one more start by a search of its own (:func:`geogrid.optimize.register_learned`), where these two end at
    different places (``config.learned.doubt``) and where there is one of them only.

    After the affine start, what the other image shows in thick slices is averaged across slices as thick, and the moving
    image's own slices are split to the finest scale, or to the spacing within them (:mod:`geogrid.spatial.slices`); so a model
    sees them, too. The iterations at the finest level grow with the square root of the number of parts. Nothing changes for
    images of even voxels.

    Args:
        fixed: intensities scaled to [0, 1] (:func:`geogrid.spatial.intensity.scale_intensities`).
        moving: likewise.
        config: settings.
        fixed_weight: weight in [0, 1] of each fixed point (a mask); default 1.
        moving_weight: weight in [0, 1] of each moving point; default 1.
        progress: told what is being done and the fraction of the work that is finished.
        model: trained, of one feature per point, on the device of the images; default none.
    """
    config = config or OptimizeConfig()
    if config.similarity != "lncc":
        fixed, moving = on_dark_background(fixed, fixed_weight), on_dark_background(moving, moving_weight)
    scale = config.scale or finest_scale(fixed.grid, moving.grid)
    progress("affine start", 0.0)
    affine, history = register_affine(fixed, moving, config.affine, fixed_weight, config.affine_config, config.similarity)
    starts = {"headers" if config.affine == "none" else config.affine.replace("auto", "affine"): Trajectory(affine, ())}
    if config.affine == "auto":
        starts["headers"] = Trajectory(AffineTransform.identity(fixed.dim), ())
    seen = _comparable(fixed, moving, scale)
    weights = fixed_weight, None if moving_weight is None else split_weight(moving_weight, scale)
    config = _for_slices(config, max(slice_parts(fixed.grid, scale) + slice_parts(moving.grid, scale)))
    asked_anyway = model is not None and (len(starts) == 1 or config.learned.doubt <= 0)
    contest = None
    if not asked_anyway:
        contest = _coarse_levels(*seen, weights, scale, starts, config, part_of(progress, 0.15, 0.05))
    if contest is None or (model is not None and contest.distance() >= config.learned.doubt):
        assert model is not None
        progress("learned start", 0.2)
        brief = replace(config.learned, carried=())
        starts["learned"] = register_learned(model, *seen, config.similarity, fixed_weight, brief)
        contest = _coarse_levels(*seen, weights, scale, starts, config, part_of(progress, 0.2, 0.05))
    wary = config.similarity in ("mind", "edges") and (is_cut(fixed) or is_cut(moving))
    best = best_start(contest.losses, CLEARLY if wary else 1.0)
    trajectory, coarse_history = contest.candidates[best]
    trajectory, fine_history = optimize_displacement(
        contest.objective, trajectory, contest.levels_left, config.instance, part_of(progress, 0.25, 0.75)
    )
    progress("deformable", 1.0)
    domain = contest.objective.fixed.grid
    return Solution(trajectory, [*history, *coarse_history, *fine_history], domain, best, contest.losses)


def answer_pair(
    model: GeoReg,
    fixed: Image,
    moving: Image,
    config: OptimizeConfig | None = None,
    fixed_weight: Image | None = None,
) -> Solution:
    """What a model makes of a pair alone (:func:`geogrid.optimize.register_learned`), without any optimisation.

    Thick slices are shown to it as :func:`optimize_pair` compares them.

    Args:
        model: trained, of one feature per point, on the device of the images.
        fixed: intensities scaled to [0, 1] (:func:`geogrid.spatial.intensity.scale_intensities`).
        moving: likewise.
        config: settings, of which ``similarity``, ``scale`` (of thick slices alone) and ``learned`` count.
        fixed_weight: weight in [0, 1] of each fixed point (a mask), by which answers are compared; default 1.
    """
    config = config or OptimizeConfig()
    if config.similarity != "lncc":
        fixed, moving = on_dark_background(fixed, fixed_weight), on_dark_background(moving)
    seen = _comparable(fixed, moving, config.scale or finest_scale(fixed.grid, moving.grid))
    found = register_learned(model, *seen, config.similarity, fixed_weight, config.learned)
    return Solution(found, [], fixed.grid, "learned", {})


def _comparable(fixed: Image, moving: Image, scale: float) -> tuple[Image, Image]:
    """Each image seen through slices as thick as the other's, as the headers lay them; those of the moving one split."""
    seen = see_through(fixed, moving.grid, fixed.grid.spacing, scale)
    return seen, see_through(split_slices(moving, scale), fixed.grid, moving.grid.spacing, scale)


def best_start(losses: dict[str, float], share: float) -> str:
    """The start of the lowest loss, or the headers, where nothing is below that share of theirs.

    Example:
        >>> [best_start({"affine": 0.09, "headers": 0.1}, share) for share in (1.0, 0.8)]
        ['affine', 'headers']
    """
    best = min(losses, key=losses.__getitem__)
    return "headers" if "headers" in losses and losses[best] > share * losses["headers"] else best


def _for_slices(config: OptimizeConfig, parts: int) -> OptimizeConfig:
    """Settings for slices ``parts`` times as thick as their pixels are wide: from these the finest level learns more slowly."""
    first, *others = config.instance.iterations
    iterations = round(math.sqrt(parts) * first), *others
    return replace(config, instance=replace(config.instance, iterations=iterations))


@dataclass(frozen=True, eq=False)
class _Contest:
    """What the coarse levels make of several starts, on one lattice and one mask.

    Args:
        objective: of the pair, the fixed image cropped to what matters.
        scale: of the last coarse level, in mm.
        levels_left: after these.
        candidates: the trajectory from each start, and the losses along it.
        losses: the best of each at the last coarse level.
    """

    objective: Objective
    scale: float
    levels_left: list[int]
    candidates: dict[str, tuple[Trajectory, list[HistoryEntry]]]
    losses: dict[str, float]

    def distance(self) -> float:
        """Mean distance over the fixed content between where the first two starts ended, in units of the scale."""
        seen, weight = pool_image(self.objective.fixed, self.scale), self.objective.fixed_weight
        content = seen.data > CONTENT_LEVEL
        if weight is not None:
            content &= pool_image(weight, self.scale).data > 0
        points = seen.grid.points(seen.data.device)[content.flatten()]
        if not len(points):
            return math.inf
        ends = [trajectory.transform(seen.grid)(points) for trajectory, _ in self.candidates.values()]
        return float((ends[0] - ends[1]).norm(dim=1).mean()) / self.scale


def _coarse_levels(
    fixed: Image,
    moving: Image,
    weights: tuple[Image | None, Image | None],
    scale: float,
    starts: dict[str, Trajectory],
    config: OptimizeConfig,
    progress: Progress,
) -> _Contest:
    affines = [trajectory.start for trajectory in starts.values()]
    fixed, fixed_weight = _cropped(fixed, moving, affines, weights[0], config.margin * scale)
    objective = Objective(fixed, moving, scale, config.objective, fixed_weight, weights[1], config.similarity)
    levels = list(range(num_levels(fixed.grid, scale, config.instance) - 1, -1, -1))
    num_coarse = max(1, len(levels) - 2)
    candidates, losses = {}, {}
    for number, (name, start) in enumerate(starts.items()):
        share = part_of(progress, number / len(starts), 1 / len(starts))
        instance = replace(config.instance, rate=(config.learned.rate,)) if name == "learned" else config.instance
        candidates[name] = optimize_displacement(objective, start, levels[:num_coarse], instance, share)
        losses[name] = min(entry.loss for entry in candidates[name][1] if entry.level == levels[num_coarse - 1])
    return _Contest(objective, scale * 2 ** levels[num_coarse - 1], levels[num_coarse:], candidates, losses)


def _cropped(
    fixed: Image, moving: Image, starts: list[AffineTransform], weight: Image | None, margin: float
) -> tuple[Image, Image | None]:
    """The part of the fixed image where either image has content under one of the starts, with a margin in mm."""
    boxes = [index_box(fixed.grid, fixed.grid, *content_box(fixed))]
    boxes += [index_box(fixed.grid, moving.grid, *content_box(moving), start.inverse()) for start in starts]
    low = torch.stack([low for low, _ in boxes]).min(0).values.add(ROUNDING).floor().clamp_min(0).long().tolist()
    size = torch.tensor(fixed.grid.shape)
    high = torch.minimum(torch.stack([high for _, high in boxes]).max(0).values.sub(ROUNDING).ceil().long() + 1, size).tolist()
    shape = tuple(max(1, b - a) for a, b in zip(low, high, strict=True))
    voxels = tuple(math.ceil(margin / float(s)) for s in fixed.grid.spacing)
    box = grow_box(tuple(low), shape, voxels, fixed.grid)
    return fixed.crop(*box), None if weight is None else weight.crop(*box)

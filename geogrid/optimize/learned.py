"""What a trained model makes of a pair: a start for the optimisation, without an affine stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch

from geogrid.losses.similarity import Similarity
from geogrid.models import GeoReg
from geogrid.optimize.affine import AffineConfig, search_losses
from geogrid.optimize.boxes import ROUNDING, index_box
from geogrid.optimize.starts import about, centers, spread_turns
from geogrid.optimize.threads import threads_for
from geogrid.spatial import Grid, Image, PointCloud, pool_image
from geogrid.spatial.intensity import CONTENT_LEVEL, content_box, edge_strength
from geogrid.spatial.pyramid import pool_values
from geogrid.transforms import (
    AffineTransform,
    Step,
    StepBatch,
    Trajectory,
    TrajectoryBatch,
    Transform,
    affine_between,
    warp_image,
)

QUARTER_CELL = 0.25
"""How far from its middle a lattice cell is sampled; half cells, each way."""


@dataclass(frozen=True)
class LearnedConfig:
    """Settings of :func:`register_learned`.

    Args:
        points: lattice points along the longest axis of the fixed content, as in the model's training; they give its scale.
            Default 40 in 2-D and 24 in 3-D.
        edges: whether the model is shown how steeply intensities change (:func:`geogrid.spatial.intensity.edge_strength`)
            instead of the intensities, so that both images have one contrast; default for every similarity but ``lncc``.
        search: how much coarser the scale is at which the starts are compared; default 2, and 1 for edges, of which coarse
            scales have few.
        turn_step: degrees between neighbouring turns from which the search begins; see
            :func:`geogrid.optimize.starts.spread_turns`.
        largest_turn: of them, in degrees; 0 for none.
        tried: how many of the starts the model sees there, those under which the images are most similar, and the headers.
        follow: how many of these go on at the model's own scale.
        passes: how often, at most, the model sees the pair at its scale, each time from the affine part of what it found; it
            ends when a pass makes the images no more similar.
        finer: scales of last looks, as parts of the model's own, each from the affine part of what was found before; what one
            finds is kept if it makes the images more similar there.
        carried: scales of further looks, as parts of the model's own, at the moving image as the whole displacement found so
            far brings it to lie, no longer its affine part alone; what one adds is kept if it makes the images more similar.
            They find how two people differ. Not taken where an optimisation follows, which ends no better from there.
        largest: lattice points of the fixed image above which such a look is left out; it costs about 10 s for a million on a
            core.
        margin: lattice points that are added around the fixed content, and again around these to see the moving image, as far
            as the images reach.
        largest_stretch: by which one pass may scale along any axis; affine parts beyond it are not trusted.
        rate: step length of the optimisation's coarse levels from this start, in units of the level's scale. Adam's first
            steps are as long as its rate whatever the gradient: those that bring other starts near would lead away from here.
        doubt: the model is asked only where the classical starts, after the coarse levels, end further apart than this on
            average over the fixed content, in units of the last such level's scale: two that began apart and end at one place
            are right, as a rule. 0 for always; so it is, too, where there is a single classical start.
    """

    points: int | None = None
    edges: bool | None = None
    search: float | None = None
    turn_step: float = 35.0
    largest_turn: float = 50.0
    tried: int = 10
    follow: int = 2
    passes: int = 6
    finer: tuple[float, ...] = (0.5, 0.35)
    carried: tuple[float, ...] = (0.5, 0.35, 0.25, 0.18)
    largest: int = 400_000
    margin: int = 3
    largest_stretch: float = 2.0
    rate: float = 0.35
    doubt: float = 1.5


@torch.no_grad()
def register_learned(
    model: GeoReg,
    fixed: Image,
    moving: Image,
    similarity: Similarity = "lncc",
    weight: Image | None = None,
    config: LearnedConfig | None = None,
    starts: Sequence[AffineTransform] = (),
) -> Trajectory:
    """Registers a pair by a trained model alone, without an affine stage.

    The model first looks at the pair coarsely, from several starts at once: the headers as they are, and the centres of the
    images laid onto each other, alone and with turns; or from the starts that are given. From each start the moving image is
    resampled, so that the model sees it turned. Those that end most similar are followed at the model's own scale; after each
    pass the affine part of what was found is the next start, so that less is left to find. Last looks are finer, and the very
    last keep the whole displacement that was found, so that they add to it.

    Args:
        model: of one feature per point, in evaluation mode, on the device of the images.
        fixed: intensities scaled to about [0, 1].
        moving: likewise.
        similarity: by which starts are compared: ``lncc``, ``nmi``, ``mind`` or ``edges`` (by ``nmi``).
        weight: weight in [0, 1] of each fixed point; default 1.
        config: settings.
        starts: maps of fixed to moving space to begin from, instead of a search over turns.

    Returns:
        An affine start, and one step with the rest on the lattice that the model saw.

    Example:
        >>> from geogrid.models import GeoRegConfig
        >>> axes = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
        >>> image = Image(torch.exp(-((axes[0] - 15) ** 2 + (axes[1] - 14) ** 2) / 40), Grid((32, 32), torch.eye(3)))
        >>> model = GeoReg(GeoRegConfig(dim=2, channels=(8, 8), steps=(1, 1))).eval()
        >>> len(register_learned(model, image, image).steps)
        1
    """
    config = config or LearnedConfig()
    edges = similarity != "lncc" if config.edges is None else config.edges
    config, whole = replace(config, edges=edges), fixed.grid
    fixed, weight = _content(fixed, weight)
    extent = max(n * s for n, s in zip(fixed.grid.shape, fixed.grid.spacing.tolist(), strict=True))
    points = config.points or (40 if fixed.dim == 2 else 24)
    scale = max(extent / points, float(fixed.grid.spacing.min()))

    @cache
    def view(part: float) -> _View:
        return _View(model, fixed, moving, similarity, weight, part * scale, config, whole)

    coarse, own = view(config.search or (1.0 if edges else 2.0)), view(1.0)
    found = coarse.register(starts or _searched(coarse, fixed, moving, config))[: config.follow]
    loss, best = own.register([trajectory.start for _, trajectory in found])[0]
    for _ in range(config.passes - 1):
        next_loss, found_next = own.register([best.start])[0]
        if next_loss >= loss:
            break
        loss, best = next_loss, found_next
    for part in config.finer:
        if part * scale < float(fixed.grid.spacing.min()):
            break
        finer = view(part)
        loss, found_next = finer.register([best.start])[0]
        best = found_next if loss < finer.loss(best) else best
    for part in config.carried:
        if part * scale < float(fixed.grid.spacing.min()) or _lattice(fixed.grid, part * scale, 0).num_points > config.largest:
            break
        finer = view(part)
        found_next = finer.carry(best)
        best = found_next if finer.loss(found_next) < finer.loss(best) else best
    return best


class _View:
    """The pair at one scale, as the model sees it."""

    def __init__(
        self, model: GeoReg, fixed: Image, moving: Image, similarity: Similarity, weight: Image | None, scale: float,
        config: LearnedConfig, whole: Grid,
    ) -> None:  # fmt: skip
        self.model, self.scale, self.config = model, scale, config
        identity = AffineTransform.identity(fixed.dim)
        grid = _seen(_lattice(fixed.grid, scale, config.margin), whole, identity)
        pooled, self.moving = pool_image(fixed, scale / 2), pool_image(moving, scale / 2)
        self.fixed = _resampled(pooled, identity, grid)
        self.shown = self.fixed, self.moving
        if config.edges:
            self.shown = _resampled(edge_strength(pooled), identity, grid), edge_strength(self.moving)
        weights = None if weight is None else _resampled(pool_image(weight, scale / 2), identity, grid).data
        self.losses = search_losses(similarity, self.fixed, weights, scale, AffineConfig(), wide=True)
        self.around = grid.crop((-config.margin,) * fixed.dim, tuple(n + 2 * config.margin for n in grid.shape))

    def register(self, starts: Sequence[AffineTransform]) -> list[tuple[float, Trajectory]]:
        """What the model finds from each start, with the loss, the most similar first."""
        steps = self._look([(start, _seen(self.around, self.moving.grid, start)) for start in starts])
        found = [self._absorbed(start, steps.entry(number)) for number, start in enumerate(starts)]
        return sorted(((self.loss(one), one) for one in found), key=lambda one: one[0])

    def carry(self, found: Trajectory) -> Trajectory:
        """A trajectory with what the model finds between the fixed image and the moving one as it has come to lie."""
        around = _seen(self.around, self.moving.grid, found.start)
        step = self._look([(found.transform(around), around)]).entry(0)
        points = step.points.points(step.displacement.device)
        moved = found.deformation(step.points)(points + step.displacement.flatten(1).T)
        total = (moved - points).T.reshape(step.displacement.shape)
        return Trajectory(found.start, (replace(step, displacement=total),))

    def _look(self, places: Sequence[tuple[Transform, Grid]]) -> StepBatch:
        """The model's last step for the moving image seen through several transforms, each on a lattice of its own."""
        fixed = PointCloud.from_images([self.shown[0]] * len(places))
        moving = PointCloud.from_images([_resampled(self.shown[1], *place) for place in places])
        with threads_for(moving.num_points):
            steps: TrajectoryBatch = self.model(fixed, moving, scale=self.scale)
        return steps.last

    def _absorbed(self, start: AffineTransform, step: Step) -> Trajectory:
        """The affine part of a step becomes part of the start, unless it stretches more than a model can be trusted with."""
        points = step.points.points(step.displacement.device)
        moved = points + step.displacement.flatten(1).T
        part = affine_between(points, moved, (self.fixed.data.flatten() > CONTENT_LEVEL).float() + 1e-3)
        stretch = torch.linalg.svdvals(part.linear)
        if stretch.max() > self.config.largest_stretch or stretch.min() < 1 / self.config.largest_stretch:
            return Trajectory(start, (step,))
        rest = (part.inverse()(moved) - points).T.reshape(step.displacement.shape)
        return Trajectory(AffineTransform(start.matrix @ part.matrix), (replace(step, displacement=rest),))

    def loss(self, trajectory: Trajectory) -> float:
        """How unlike the images are under a trajectory; lower is better."""
        warped = _resampled(self.moving, trajectory.transform(self.fixed.grid), self.fixed.grid).data
        return float(torch.stack([gain * loss(warped) for gain, loss in self.losses]).mean())


def _content(fixed: Image, weight: Image | None) -> tuple[Image, Image | None]:
    """The part of the fixed image that has content."""
    box = content_box(fixed)
    return fixed.crop(*box), None if weight is None else weight.crop(*box)


def _lattice(grid: Grid, scale: float, margin: int) -> Grid:
    """The lattice of equal spacing along the axes of a grid that covers it, with some points more on each side."""
    extent = torch.tensor(grid.shape) * grid.spacing
    shape = (extent / scale - 1e-6).ceil().long() + 2 * margin
    affine = torch.eye(grid.dim + 1, dtype=torch.float64)
    affine[:-1, :-1] = scale * grid.frame
    affine[:-1, -1] = grid.center - affine[:-1, :-1] @ ((shape - 1) / 2).double()
    return Grid(tuple(shape.tolist()), affine)


def _seen(lattice: Grid, whole: Grid, start: AffineTransform) -> Grid:
    """The part of a lattice that an image reaches under a start: what lies beyond is not dark, it is not known."""
    low, high = index_box(lattice, whole, [-0.5] * whole.dim, [n + 1 for n in whole.shape], start.inverse())
    first = (low + QUARTER_CELL - ROUNDING).ceil().clamp_min(0).long()
    last = torch.minimum((high - QUARTER_CELL + ROUNDING).floor().long(), torch.tensor(lattice.shape) - 1)
    first = torch.minimum(first, torch.tensor(lattice.shape) - 1)
    return lattice.crop(first.tolist(), (last - first + 1).clamp_min(1).tolist())


def _resampled(image: Image, transform: Transform, grid: Grid) -> Image:
    """An image seen through a transform on a lattice, each point the mean of its cell."""
    halves = (2,) * grid.dim
    return Image(pool_values(warp_image(image, transform, grid.split(halves)).data, halves), grid)


def _searched(view: _View, fixed: Image, moving: Image, config: LearnedConfig) -> list[AffineTransform]:
    """The headers, and the turns (about axes of the fixed lattice) under which the images are most similar."""
    middles = centers(fixed, moving)
    frame, turns = fixed.grid.frame, spread_turns(fixed.dim, config.turn_step, config.largest_turn)
    turned = [about(frame @ turn @ frame.T, *middles) for turn in turns]
    ranked = sorted(turned, key=lambda start: view.loss(Trajectory(start, ())))
    return [AffineTransform.identity(fixed.dim), *ranked[: config.tried]]

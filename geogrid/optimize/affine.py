"""Affine start: centres and moments, a search over turns, then rigid and affine steps on the similarity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from geogrid.losses.similarity import ImageLoss, Similarity, similarity_loss
from geogrid.optimize.history import HistoryEntry
from geogrid.optimize.starts import about, moments, rotation
from geogrid.optimize.threads import threads_for
from geogrid.spatial import Grid, Image, pool_image
from geogrid.spatial.cut import background_of, is_cut, known_beyond
from geogrid.spatial.pyramid import pool_factors
from geogrid.spatial.sampling import normalization, sample_normalized
from geogrid.transforms import AffineTransform

AffineKind = Literal["auto", "rigid", "affine", "none"]
LINE_SEARCH = 8
"""Most evaluations along one direction."""
START_GAINS: dict[Similarity, float] = {"lncc": 1.0, "nmi": 2.0, "mind": 3.0}
"""Factors of the losses, so that one tolerance and one stretch penalty serve all of them."""


@dataclass(frozen=True)
class AffineConfig:
    """Settings of :func:`register_affine`.

    Args:
        search_points: lattice points along the longest axis in the search for a start.
        scales: scales of the refinement relative to the search's, coarse to fine.
        iterations: L-BFGS iterations at each of these scales.
        max_points: the finest scale is coarsened until the fixed image has no more points than this.
        angles: turns in degrees, both ways about each axis, from which the search starts.
        num_starts: how many turned starts are followed by optimisation, besides the headers and the centres without a turn.
        search_iterations: L-BFGS iterations from each of them, and further ones from the best two.
        tolerance: an optimisation ends when an iteration lowers the loss, which lies between -1 and 0, by less; single
            precision allows no finer one.
        radius: half width of the correlation window, or the reach of ``mind``, in units of the scale.
        wide_radius: half width of a second window, which the search and the coarsest scale also look at: in small windows of a
            smooth image almost any two edges correlate, and only wide ones tell where they belong.
        floor: standard deviation below which a window or place counts as flat, for intensities in about [0, 1].
        stretch_penalty: weight of the squared logarithmic stretch, which holds directions that the images do not show.
    """

    search_points: int = 24
    scales: tuple[float, ...] = (1.0, 0.5, 0.25)
    iterations: tuple[int, ...] = (20, 12, 8)
    max_points: int = 20_000
    angles: tuple[float, ...] = (15.0, 30.0, 45.0)
    num_starts: int = 3
    search_iterations: tuple[int, int] = (5, 8)
    tolerance: float = 1e-5
    radius: float = 2.0
    wide_radius: float = 8.0
    stretch_penalty: float = 0.05
    floor: float = 0.05


def register_affine(
    fixed: Image,
    moving: Image,
    kind: AffineKind = "auto",
    weight: Image | None = None,
    config: AffineConfig | None = None,
    similarity: Similarity = "lncc",
) -> tuple[AffineTransform, list[HistoryEntry]]:
    """Finds the affine map of fixed to moving space under which the images are most similar.

    Starts: the headers as they are, and the intensity-weighted centres laid onto each other, alone and with turns (from the
    second moments, and a fixed set about each axis). The best few are followed; the best of all is refined. Where one of the
    images is cut (:func:`geogrid.spatial.cut.is_cut`), centres and moments are those of the picture, and ``auto`` begins from
    the headers alone.

    Args:
        fixed: intensities scaled to about [0, 1].
        moving: likewise.
        kind: ``rigid``; ``affine``; ``auto`` (affine, near the headers where an image is cut); ``none`` (the identity).
        weight: weight in [0, 1] of each fixed point; default 1.
        config: settings.
        similarity: ``lncc``, ``nmi``, ``mind`` or ``edges`` (the start of ``nmi``).

    Returns:
        The map, and the loss at each evaluation of the refinement.
    """
    config = config or AffineConfig()
    identity = AffineTransform.identity(fixed.dim)
    if kind == "none":
        return identity, []
    scale = max(float((torch.tensor(g.shape) * g.spacing).max()) for g in (fixed.grid, moving.grid)) / config.search_points
    level = _Level(fixed, moving, weight, scale, config, similarity, wide=True)
    cut = is_cut(fixed) or is_cut(moving)
    with threads_for(level.num_points):
        best = identity if kind == "auto" and cut else _search(level, config, kind == "rigid")
    history: list[HistoryEntry] = []
    for number, (share, iterations) in enumerate(zip(config.scales, config.iterations, strict=True)):
        if number:
            level = _Level(
                fixed, moving, weight, max(share * scale, _scale_for(fixed.grid, config.max_points)), config, similarity
            )
        losses: list[float] = []
        with threads_for(level.num_points):
            best = level.optimize(best, kind == "rigid", iterations, losses)
        history += [HistoryEntry("affine", len(config.scales) - 1 - number, i, loss) for i, loss in enumerate(losses)]
    return best, history


def _scale_for(grid: Grid, max_points: int) -> float:
    """The scale in mm at which a grid has about ``max_points`` points."""
    scale = float(grid.spacing.min())
    while grid.pool(pool_factors(grid, scale)).num_points > max_points:
        scale *= 1.1
    return scale


class _Level:
    """The pair at one scale: evaluates and improves affine maps."""

    def __init__(
        self, fixed: Image, moving: Image, weight: Image | None, scale: float, config: AffineConfig,
        similarity: Similarity, wide: bool = False,
    ) -> None:  # fmt: skip
        self.fixed, self.moving = pool_image(fixed, scale), pool_image(moving, scale)
        self.background = background_of(self.moving) if is_cut(moving) else None
        self.config = config
        grid = self.fixed.grid
        weights = None if weight is None else pool_image(weight, scale).data
        self.losses = search_losses(similarity, self.fixed, weights, scale, config, wide)
        axis_scale, axis_shift = normalization(self.moving.grid.shape)
        normalize = torch.eye(grid.dim + 1, dtype=torch.float64)
        normalize[:-1, :-1], normalize[:-1, -1] = torch.diag(axis_scale), axis_shift
        self.to_cube = normalize @ torch.linalg.inv(self.moving.grid.affine)
        self.index, self.num_points = grid.indices(fixed.data.device), grid.num_points
        self.radius_mm = 0.25 * float((torch.tensor(grid.shape) * grid.spacing).norm())

    def value(self, matrix: Tensor) -> Tensor:
        """The loss of a ``(dim + 1, dim + 1)`` float64 world matrix."""
        cube = (self.to_cube @ matrix @ self.fixed.grid.affine).to(self.index)
        position = torch.addmm(cube[:-1, -1], self.index, cube[:-1, :-1].T).flip(-1)
        warped = sample_normalized(self.moving.data[None], position)[0].reshape(self.fixed.grid.shape)
        shape, place = self.fixed.grid.shape, position.detach()
        if self.background is not None:
            known = known_beyond(self.background, place).reshape(shape)
            return torch.stack([gain * loss(warped, known) for gain, loss in self.losses]).mean()
        inside = (place.abs() <= 1.02).all(-1).reshape(shape)
        return torch.stack([gain * loss(warped * inside) for gain, loss in self.losses]).mean()

    def loss_of(self, transform: AffineTransform) -> float:
        """The loss of a map."""
        with torch.no_grad():
            return float(self.value(transform.matrix))

    def optimize(
        self, start: AffineTransform, rigid: bool, iterations: int, losses: list[float] | None = None
    ) -> AffineTransform:
        """Improves a map by a motion of the moving space; returns the start when nothing better is found.

        Each evaluation of the loss is added to ``losses``.
        """
        dim = self.fixed.dim
        center = start(self.fixed.grid.center[None])[0]
        sizes = (dim * (dim - 1) // 2, dim, 0 if rigid else dim * (dim + 1) // 2)

        def matrix(unknowns: Tensor) -> Tensor:
            turn, shift, stretch = unknowns.split(sizes)
            return _motion(turn, shift * self.radius_mm, stretch, center) @ start.matrix

        def evaluate(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            unknowns = torch.tensor(values, requires_grad=True)
            value = self.value(matrix(unknowns))
            if losses is not None:
                losses.append(float(value.detach()))
            loss = value + self.config.stretch_penalty * unknowns.split(sizes)[2].square().sum()
            (gradient,) = torch.autograd.grad(loss, unknowns)
            return float(loss.detach()), gradient.numpy()

        options = {"maxiter": iterations, "ftol": self.config.tolerance, "maxls": LINE_SEARCH}
        found = minimize(evaluate, np.zeros(sum(sizes)), jac=True, method="L-BFGS-B", options=options)
        better = AffineTransform(matrix(torch.tensor(found.x)))
        return better if self.loss_of(better) <= self.loss_of(start) else start


def search_losses(
    similarity: Similarity, fixed: Image, weight: Tensor | None, scale: float, config: AffineConfig, wide: bool
) -> list[tuple[float, ImageLoss]]:
    """The similarity and its wide look, with their gains; ``nmi`` looks at the whole image, and does so for ``mind`` too.

    It stands in for ``edges``, which say nothing where images are far apart.
    """
    similarity = "nmi" if similarity == "edges" else similarity
    looks: list[tuple[Similarity, float]] = [(similarity, config.radius)]
    if wide and similarity != "nmi":
        looks.append(("nmi" if similarity == "mind" else similarity, config.wide_radius))
    spacing = fixed.grid.spacing.tolist()
    return [(START_GAINS[k], similarity_loss(k, fixed.data, spacing, r * scale, weight, config.floor)) for k, r in looks]


def _motion(turn: Tensor, shift: Tensor, stretch: Tensor, center: Tensor) -> Tensor:
    """A turn (rotation vector), a symmetric stretch (logarithm) and a shift in mm about a center, as a homogeneous matrix."""
    dim = len(center)
    linear = rotation(turn, dim)
    if len(stretch):
        rows, columns = torch.triu_indices(dim, dim)
        upper = torch.zeros(dim, dim, dtype=torch.float64).index_put((rows, columns), stretch)
        linear = linear @ torch.linalg.matrix_exp((upper + upper.T) / 2)
    matrix = torch.eye(dim + 1, dtype=torch.float64)
    return matrix.index_put(
        (torch.arange(dim)[:, None], torch.arange(dim + 1)), torch.cat([linear, (center + shift - linear @ center)[:, None]], 1)
    )


def _search(level: _Level, config: AffineConfig, rigid: bool) -> AffineTransform:
    """The best of the starts at the coarsest scale: all are ranked, a few are followed for some steps, the best two for more.

    The headers and the centres without a turn are always among the few: where stretch has to be found, a wrong turn may look
    better before it is.
    """
    starts = _starts(level.fixed, level.moving, config.angles)
    ranked = [*starts[:2], *sorted(starts[2:], key=level.loss_of)[: config.num_starts]]
    first, more = config.search_iterations
    tried = sorted((level.optimize(start, rigid, first) for start in ranked), key=level.loss_of)
    return min((level.optimize(start, rigid, more) for start in tried[:2]), key=level.loss_of)


def _starts(fixed: Image, moving: Image, angles: tuple[float, ...]) -> list[AffineTransform]:
    dim = fixed.dim
    (fixed_center, fixed_axes), (moving_center, moving_axes) = moments(fixed), moments(moving)
    turns = [torch.eye(dim, dtype=torch.float64)]
    for plane in torch.eye(dim * (dim - 1) // 2, dtype=torch.float64):
        turns += [rotation(plane * math.radians(sign * angle), dim) for angle in angles for sign in (1, -1)]
    for signs in torch.cartesian_prod(*[torch.tensor([1.0, -1.0], dtype=torch.float64)] * dim):
        turn = moving_axes @ torch.diag(signs) @ fixed_axes.T
        if torch.linalg.det(turn) > 0:
            turns.append(turn)
    return [AffineTransform.identity(dim), *(about(turn, fixed_center, moving_center) for turn in turns)]

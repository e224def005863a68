"""Registration of two point sets without correspondences."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geogrid.errors import GeogridError, GeogridWarning
from geogrid.models import GeoReg
from geogrid.optimize.history import HistoryEntry
from geogrid.optimize.points.checks import check_clouds, check_correspondences, check_features, unit_factor
from geogrid.optimize.points.cloud import OrderedCloud
from geogrid.optimize.points.config import PointsConfig
from geogrid.optimize.points.matches import Matches
from geogrid.optimize.points.network import FEWEST, check_model
from geogrid.optimize.points.pins import Pins
from geogrid.optimize.points.stages import Stages
from geogrid.optimize.threads import threads_for
from geogrid.transforms import AffineTransform, KernelTransform


@dataclass(frozen=True, eq=False)
class PointRegistration:
    """What :func:`register_points` found.

    Args:
        transform: carries fixed-space points to moving space; defined everywhere, invertible by its ``inverse_of``.
        match_support: ``(num_fixed,)`` in [0, 1], how much speaks for the point having a partner.
        matches: ``(num_fixed,)`` int64 row of the moving point that is the partner, -1 where none is likelier than not.
        confidence: ``(num_fixed,)`` in [0, 1], probability of the best candidate.
        history: the loss along the way, comparable within a stage.
        affine_start: what the affine stage found, on which the deformation was built; the affine part of a model's map where
            that is the answer.
        followed: by what share of the points each proposal was followed: ``affine``, ``dense`` and ``sparse`` are the maps of
            the stages, ``network`` is the model's.
    """

    transform: KernelTransform
    match_support: Tensor
    matches: Tensor
    confidence: Tensor
    history: list[HistoryEntry]
    affine_start: AffineTransform
    followed: dict[str, float]

    @property
    def mean_support(self) -> float:
        """Mean of ``match_support``: an honest sign of whether the answer can be right."""
        return float(self.match_support.mean())


def register_points(
    fixed: Tensor,
    moving: Tensor,
    config: PointsConfig | None = None,
    features: tuple[Tensor, Tensor] | None = None,
    correspondences: Tensor | None = None,
    model: GeoReg | None = None,
    optimize: bool = True,
) -> PointRegistration:
    r"""Registers two point sets that have no correspondences, coarse to fine.

    EM with an outlier class and a falling standard deviation: first over affine maps, then over affine maps plus Gaussian
    kernels,

    .. math:: \min_T \sum_{ij} p_{ij} \frac{|T(x_i) - y_j|^2}{2 \sigma^2} + \tfrac12 |T|_k^2 ,

    on subsets of both clouds and then among near neighbours of all points. Last, the neighbours of each fixed point vote
    among its candidates by how well their displacements agree: about the maps of all stages, for where the last one has bent
    itself to wrong neighbours an earlier one may still be right. Nothing is random: the same clouds in any order give the same
    map, and a rigid motion of both worlds moves the map along, up to rounding (a model's proposal, which knows the axes of the
    world, aside).

    Args:
        fixed: ``(num_fixed, dim)`` points, dim 2 or 3, finite, in mm (any unit will do, the same for both).
        moving: ``(num_moving, dim)`` points.
        config: settings.
        features: ``(num_fixed, channels)`` and ``(num_moving, channels)`` values that partners share (curvature, vessel
            radius, ...), on the same scale on both sides.
        correspondences: ``(num_pairs, 2)`` int64 rows of fixed and of moving points that are known to be partners; they draw
            the map, and the detail of dense clouds does not know them.
        model: trained on clouds without features, whose map is one more proposal where votes are taken.
        optimize: False gives the answer of the model alone: one look, and votes about what it saw.

    Returns:
        The transform, matches and how much supports them.

    Raises:
        GeogridError: for clouds that are empty, not finite, of different dimensions or of sizes that no unit explains; for a
            model of other points.

    Warns:
        GeogridWarning: when the mean match support is below ``config.low_support``; when the clouds seem to be in different
            units (metres against mm): they are registered in the fixed one's, and the transform leads into the moving one's.

    Reference:
        Myronenko and Song, "Point Set Registration: Coherent Point Drift", IEEE TPAMI 32(12), 2010; Chui and Rangarajan,
        "A new point matching algorithm for non-rigid registration", CVIU 89(2-3), 2003 (annealing with an outlier class).

    Example:
        >>> fixed = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * 100
        >>> found = register_points(fixed, fixed.flip(0) + torch.tensor([3.0, 1.0]))
        >>> found.transform(torch.tensor([[50.0, 50.0]])).round()
        tensor([[53., 51.]])
    """
    config = config or PointsConfig()
    check_clouds(fixed, moving)
    check_features(features, fixed, moving)
    check_correspondences(correspondences, fixed, moving)
    check_model(model, fixed.shape[1])
    scaled = _scaled(features)
    fixed_cloud, moving_cloud = OrderedCloud.of(fixed, scaled[0]), OrderedCloud.of(moving, scaled[1])
    scale = unit_factor(fixed_cloud, moving_cloud)
    moving_cloud = moving_cloud.centred(torch.zeros_like(moving_cloud.middle), 1 / scale)
    with threads_for(len(fixed) + len(moving)):
        found = _register(fixed_cloud, moving_cloud, config, fixed, correspondences, model, optimize)
    if scale != 1:
        found = _in_unit(found, scale)
    if found.mean_support < config.low_support:
        warnings.warn(
            f"match support is {found.mean_support:.2f}, below {config.low_support:g}: the clouds may not show the same "
            "thing, lie too far apart, or were sampled each by itself, so that they share no points; look at the result",
            GeogridWarning,
            stacklevel=2,
        )
    return found


def _in_unit(found: PointRegistration, scale: float) -> PointRegistration:
    """The answer for moving points that were multiplied by ``scale``, in their own unit."""
    affine = found.affine_start.matrix.clone()
    affine[:-1] /= scale
    return replace(found, transform=found.transform.into_unit(1 / scale), affine_start=AffineTransform(affine))


def _register(
    fixed: OrderedCloud,
    moving: OrderedCloud,
    config: PointsConfig,
    like: Tensor,
    pairs: Tensor | None,
    model: GeoReg | None,
    optimize: bool,
) -> PointRegistration:
    unit = fixed.radius or moving.radius or 1.0
    middle = fixed.middle
    fixed, moving = fixed.centred(middle, unit), moving.centred(middle, unit)
    spacing = (fixed.spacing() + moving.spacing()) / 2
    stages = Stages(fixed, moving, spacing or 0.1, config, Pins.of(fixed, moving, pairs, spacing or 0.1))
    found = _optimized(stages, model) if optimize else _alone(stages, model)
    rows, confidence = found.matches.best()
    original = torch.where(rows >= 0, moving.order[rows], -1)
    back = fixed.order.argsort()
    support = found.matches.support.clamp_max(1).to(like.dtype)
    per_point = (support[back], original[back], confidence.to(like.dtype)[back])
    transform, start = (part.scaled(unit).shifted(middle) for part in (found.transform, found.start))
    support, partner, sure = (part.to(like.device) for part in per_point)
    return PointRegistration(transform.to(like.device), support, partner, sure, stages.history, start.affine, found.followed)


@dataclass(frozen=True, eq=False)
class _Found:
    """An answer in units of the fixed cloud's radius, its points in their order of distance."""

    transform: KernelTransform
    start: KernelTransform
    matches: Matches
    followed: dict[str, float]


def _alone(stages: Stages, model: GeoReg | None) -> _Found:
    """The model's answer; without a model, or for a handful of points, there is none."""
    num = min(len(stages.fixed), len(stages.moving))
    if model is None or num < FEWEST:
        raise GeogridError(
            f"optimize: without an optimisation the answer is a model's, expected one and at least {FEWEST} points, got "
            f"{'no model' if model is None else f'{num} points'}; leave optimize at its default, or name a model"
        )
    proposal = stages.learned(model)
    votes, _ = _voted(stages, {"network": proposal})
    found = stages.fit.transform(proposal) if votes is None else stages.closed(votes)
    start = replace(found, coefficients=torch.zeros_like(found.coefficients))
    return _Found(found, start, _all_matches(stages, found, votes), {"network": 1.0})


def _voted(stages: Stages, maps: Mapping[str, Tensor]) -> tuple[Matches | None, dict[str, float]]:
    """What is voted about several maps, and by what share each was followed; None where votes find no support.

    Whether they do is judged by the vote by hand: the learned one finds order among unrelated points, too, and knows nothing
    about a handful.
    """
    config, last = stages.config, list(maps)[-1]
    if not stages.takes_votes:
        return None, {last: 1.0}
    theta, followed = stages.fuse(maps) if config.fusion_rounds else (maps[last], {last: 1.0})
    place = stages.place(theta)
    votes = stages.vote(place)
    if float(votes.support.mean()) < config.low_support:
        return None, {last: 1.0}
    if config.voting == "learned" and min(len(stages.fixed), len(stages.moving)) >= FEWEST:
        votes = stages.vote_again(stages.vote(place, learned=True))
    return votes, followed


def _optimized(stages: Stages, model: GeoReg | None) -> _Found:
    """Annealing, votes about the maps of all stages and the model's, and what follows."""
    config, fit, sizes = stages.config, stages.fit, (len(stages.fixed), len(stages.moving))
    affine = stages.affine()
    maps = stages.deform(affine)
    last = maps["sparse"]
    if model is not None and min(sizes) >= FEWEST and config.fusion_rounds and stages.takes_votes:
        maps = {"network": stages.learned(model)} | maps
    votes, followed = _voted(stages, maps)
    if votes is None:
        found = stages.fine(fit.transform(last if stages.is_dense else stages.settle(last)))
    else:
        found = stages.reconcile(votes)
    return _Found(found, fit.transform(fit.affine_only(affine)), _all_matches(stages, found, votes), followed)


def _all_matches(stages: Stages, found: KernelTransform, voted: Matches | None) -> Matches:
    """What was voted, or matches by distance where there were no votes or only a part of the points took part."""
    some = max(len(stages.fixed), len(stages.moving)) > stages.config.sparse_points
    return stages.near(found) if voted is None or some else voted


def _scaled(features: tuple[Tensor, Tensor] | None) -> tuple[Tensor | None, Tensor | None]:
    """Features in units of their spread over both clouds, per channel."""
    if features is None:
        return None, None
    fixed, moving = (part.detach().to("cpu", torch.float32) for part in features)
    spread = torch.cat([fixed, moving]).std(0, unbiased=False)
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    return fixed / spread, moving / spread

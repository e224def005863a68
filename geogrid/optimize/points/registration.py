"""Registration of two point sets without correspondences."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geogrid.errors import GeogridWarning
from geogrid.optimize.history import HistoryEntry
from geogrid.optimize.points.checks import check_clouds, check_correspondences, check_features, unit_factor
from geogrid.optimize.points.cloud import OrderedCloud
from geogrid.optimize.points.config import PointsConfig
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
        affine_start: what the affine stage found, on which the deformation was built.
    """

    transform: KernelTransform
    match_support: Tensor
    matches: Tensor
    confidence: Tensor
    history: list[HistoryEntry]
    affine_start: AffineTransform

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
) -> PointRegistration:
    r"""Registers two point sets that have no correspondences, coarse to fine.

    EM with an outlier class and a falling standard deviation: first over affine maps, then over affine maps plus Gaussian
    kernels,

    .. math:: \min_T \sum_{ij} p_{ij} \frac{|T(x_i) - y_j|^2}{2 \sigma^2} + \tfrac12 |T|_k^2 ,

    on subsets of both clouds and then among near neighbours of all points. Last, the neighbours of each fixed point vote
    among its candidates by how well their displacements agree: about the maps of all stages, for where the last one has bent
    itself to wrong neighbours an earlier one may still be right. Nothing is random: the same clouds in any order give the same
    map, and a rigid motion of both worlds moves the map along, up to rounding.

    Args:
        fixed: ``(num_fixed, dim)`` points, dim 2 or 3, finite, in mm (any unit will do, the same for both).
        moving: ``(num_moving, dim)`` points.
        config: settings.
        features: ``(num_fixed, channels)`` and ``(num_moving, channels)`` values that partners share (curvature, vessel
            radius, ...), on the same scale on both sides.
        correspondences: ``(num_pairs, 2)`` int64 rows of fixed and of moving points that are known to be partners; they draw
            the map, and the detail of dense clouds does not know them.

    Returns:
        The transform, matches and how much supports them.

    Raises:
        GeogridError: for clouds that are empty, not finite, of different dimensions or of sizes that no unit explains.

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
    scaled = _scaled(features)
    fixed_cloud, moving_cloud = OrderedCloud.of(fixed, scaled[0]), OrderedCloud.of(moving, scaled[1])
    scale = unit_factor(fixed_cloud, moving_cloud)
    moving_cloud = moving_cloud.centred(torch.zeros_like(moving_cloud.middle), 1 / scale)
    with threads_for(len(fixed) + len(moving)):
        found = _register(fixed_cloud, moving_cloud, config, fixed, correspondences)
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
    fixed: OrderedCloud, moving: OrderedCloud, config: PointsConfig, like: Tensor, pairs: Tensor | None
) -> PointRegistration:
    unit = fixed.radius or moving.radius or 1.0
    middle = fixed.middle
    fixed, moving = fixed.centred(middle, unit), moving.centred(middle, unit)
    spacing = (fixed.spacing() + moving.spacing()) / 2
    stages = Stages(fixed, moving, spacing or 0.1, config, Pins.of(fixed, moving, pairs, spacing or 0.1))
    affine = stages.affine()
    fit, maps = stages.deform(affine)
    theta = maps[-1]
    matches = None
    if config.voting != "none" and not stages.is_dense:
        voted, votes = stages.vote(fit, stages.fuse(fit, maps))
        if float(votes.support.mean()) >= config.low_support:
            theta, matches = voted, votes
    if not stages.is_dense:
        theta = stages.finish(fit, stages.settle(fit, theta))
    found = fit.transform(theta)
    if matches is None:
        found = stages.fine(found)
    if matches is None or max(len(fixed), len(moving)) > config.sparse_points:
        matches = stages.near(found)
    rows, confidence = matches.best()
    original = torch.where(rows >= 0, moving.order[rows], -1)
    back = fixed.order.argsort()
    per_point = (matches.support.clamp_max(1).to(like.dtype)[back], original[back], confidence.to(like.dtype)[back])
    transform, start = (part.scaled(unit).shifted(middle) for part in (found, fit.transform(fit.affine_only(affine))))
    support, partner, sure = (part.to(like.device) for part in per_point)
    return PointRegistration(transform.to(like.device), support, partner, sure, stages.history, start.affine)


def _scaled(features: tuple[Tensor, Tensor] | None) -> tuple[Tensor | None, Tensor | None]:
    """Features in units of their spread over both clouds, per channel."""
    if features is None:
        return None, None
    fixed, moving = (part.detach().to("cpu", torch.float32) for part in features)
    spread = torch.cat([fixed, moving]).std(0, unbiased=False)
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    return fixed / spread, moving / spread

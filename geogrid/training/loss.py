"""What a training minimises: images, and whatever else is known about its pairs."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from geogrid.data import Landmarks, PairBatch
from geogrid.errors import GeogridError
from geogrid.graph import Level, inherit_displacement
from geogrid.losses import TrajectoryLoss, TrajectoryLossConfig, dice_loss, displacement_loss
from geogrid.losses.trajectory import check_fit, pool_to_levels, read_moving
from geogrid.spatial import PointCloud
from geogrid.transforms import StepBatch, TrajectoryBatch

SMALL_SHARE = 1e-3
"""Cells of which less than this share is inside count for nothing, and their mean is not divided by less."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms of a :class:`PairLoss`.

    Args:
        trajectory: the image term and the smoothness terms, with a weight per level.
        image: weight of the dissimilarity of the images.
        displacement: weight of the error of the displacement, in units of each level's scale, where the truth is not NaN.
        inside: whether that error counts only where the fixed labels are above 0; what the background does cannot be seen.
        dice: weight of one minus the soft Dice of the labels.
        landmarks: weight of the distance of landmarks, in units of each level's scale.

    Raises:
        GeogridError: for a negative weight, or when all are 0.
    """

    trajectory: TrajectoryLossConfig = field(default_factory=TrajectoryLossConfig)
    image: float = 1.0
    displacement: float = 0.0
    inside: bool = False
    dice: float = 0.0
    landmarks: float = 0.0

    def __post_init__(self) -> None:
        weights = (self.image, self.displacement, self.dice, self.landmarks)
        if min(weights) < 0 or max(weights) == 0:
            raise GeogridError(f"image, displacement, dice, landmarks: expected weights from 0 up, one above 0, got {weights}")


class PairLoss:
    r"""Scores every step of a trajectory by all that is known about its pairs (deep supervision).

    .. math:: L = \frac{1}{\sum_t w_{l(t)}} \sum_t w_{l(t)} \left[ \alpha D + R + \beta |u_t - u^*| / s_l
        + \gamma (1 - \mathrm{Dice}) + \delta |T_t(x) - y| / s_l \right]

    D and R are those of :class:`~geogrid.losses.TrajectoryLoss`, on the twins where there are any. The true displacement, and
    the shares of the labels, are averaged over the cells of a level as the encoder pools features. Every term is a mean over
    the pairs, so that the mean over two batches of equal size is the loss of both together.

    Args:
        config: weights.
    """

    def __init__(self, config: LossConfig) -> None:
        self.config, self.images = config, TrajectoryLoss(config.trajectory)

    def __call__(self, trajectory: TrajectoryBatch, batch: PairBatch) -> dict[str, Tensor]:
        """The weighted terms by name, and their sum as ``loss``.

        Args:
            trajectory: of the pairs, its starts the identity.
            batch: the pairs.

        Raises:
            GeogridError: when a term has a weight and the pairs lack what it needs.
        """
        _check_known(self.config, batch)
        weights = [self.config.trajectory.weight(step.level) for step in trajectory.steps]
        if not sum(weights) > 0:
            raise GeogridError("loss: expected a step with a weight, got none; set trajectory.level_weights")
        known = _Known.of(self.config, trajectory, batch)
        sums: dict[str, Tensor] = {}
        for weight, step in zip(weights, trajectory.steps, strict=True):
            for name, value in self._terms(trajectory, step, known).items() if weight else ():
                sums[name] = sums.get(name, torch.zeros_like(value)) + weight / sum(weights) * value
        return sums | {"loss": torch.stack(list(sums.values())).sum()}

    def _terms(self, trajectory: TrajectoryBatch, step: StepBatch, known: _Known) -> dict[str, Tensor]:
        """The weighted terms of one step."""
        config, terms = self.config, {}
        if config.image or config.dice:
            warped, measure = known.read(trajectory, step)
        if config.image:
            fixed = known.fixed("image", step.level)
            terms["image"] = config.image * self.images.compare(step, fixed, warped["image"], measure)
        if config.trajectory.is_smooth:
            terms["smoothness"] = self.images.smoothness(step)
        if config.displacement:
            truth = known.fixed("displacement", step.level)
            share = features(known.fixed("inside", step.level))
            target, inside = features(truth) / share.clamp_min(SMALL_SHARE), truth.measure * share[:, 0]
            error = displacement_loss(step.displacement, target, inside, step.scale, truth.batch)
            terms["displacement"] = config.displacement * error
        if config.dice:
            fixed = known.fixed("labels", step.level)
            terms["dice"] = config.dice * dice_loss(features(fixed), warped["labels"], measure, fixed.batch)
        if config.landmarks and known.landmarks is not None:
            terms["landmarks"] = config.landmarks * _landmark_error(step, known.landmarks)
        return terms


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known about the points of a batch at every level: columns of one pooled cloud per image."""

    levels: tuple[list[PointCloud], list[PointCloud]]
    columns: tuple[dict[str, slice], dict[str, slice]]
    landmarks: Landmarks | None

    @classmethod
    def of(cls, config: LossConfig, trajectory: TrajectoryBatch, batch: PairBatch) -> _Known:
        parts: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
        if config.image:
            parts[0]["image"], parts[1]["image"] = (features(cloud) for cloud in batch.scored)
        if config.displacement and batch.displacement is not None:
            inside = torch.ones_like(batch.displacement[:, :1])
            if config.inside and batch.fixed_labels is not None:
                inside = (batch.fixed_labels > 0)[:, None].to(inside)
            inside = inside * batch.displacement.isfinite().all(1, keepdim=True)
            parts[0]["displacement"], parts[0]["inside"] = inside * batch.displacement.nan_to_num(0.0), inside
        if config.dice and batch.fixed_labels is not None and batch.moving_labels is not None:
            parts[0]["labels"], parts[1]["labels"] = one_hot(batch.fixed_labels, batch.moving_labels)
        pooled = [_pooled(trajectory, cloud, part) for cloud, part in zip((batch.fixed, batch.moving), parts, strict=True)]
        return cls((pooled[0], pooled[1]), (_columns(parts[0]), _columns(parts[1])), batch.landmarks)

    def fixed(self, name: str, level: int) -> PointCloud:
        """The fixed points of a level with one kind of feature."""
        cloud = self.levels[0][level]
        return cloud.with_features(features(cloud)[:, self.columns[0][name]])

    def read(self, trajectory: TrajectoryBatch, step: StepBatch) -> tuple[dict[str, Tensor], Tensor]:
        """All that is known of the moving points where a step brings the fixed ones, by name, and what each counts for."""
        fixed, moving = (side[step.level] for side in self.levels)
        check_fit(step, fixed, moving)
        warped, measure = read_moving(moving, trajectory.moved(step), fixed)
        return {name: warped[:, columns] for name, columns in self.columns[1].items()}, measure


def one_hot(fixed_labels: Tensor, moving_labels: Tensor) -> tuple[Tensor, Tensor]:
    """Both label maps as shares of the labels above 0 of the fixed one, ``(num_points, num_labels)`` float32."""
    present = fixed_labels.unique()
    fixed, moving = ((labels[:, None] == present[present > 0]).float() for labels in (fixed_labels, moving_labels))
    return fixed, moving


def features(cloud: PointCloud) -> Tensor:
    """The features of a cloud that must have some.

    Raises:
        GeogridError: when it has none.
    """
    if cloud.x is None:
        raise GeogridError("pairs: expected clouds with features, got a cloud without")
    return cloud.x


def _pooled(trajectory: TrajectoryBatch, cloud: PointCloud, parts: dict[str, Tensor]) -> list[PointCloud]:
    if not parts:
        return []
    return pool_to_levels(trajectory, cloud.with_features(torch.cat(list(parts.values()), 1)))


def _columns(parts: dict[str, Tensor]) -> dict[str, slice]:
    ends = torch.tensor([0, *(part.shape[1] for part in parts.values())]).cumsum(0).tolist()
    return {name: slice(first, last) for name, first, last in zip(parts, ends[:-1], ends[1:], strict=True)}


def _landmark_error(step: StepBatch, landmarks: Landmarks) -> Tensor:
    """Mean distance per pair in units of the step's scale, mean over the pairs that have landmarks."""
    carried, measure = carried_landmarks(step, landmarks), torch.ones_like(landmarks.fixed[:, 0], dtype=torch.float32)
    return displacement_loss(carried, landmarks.moving.to(carried), measure, step.scale, landmarks.batch)


def carried_landmarks(step: StepBatch, landmarks: Landmarks) -> Tensor:
    """Where a step without a start brings the fixed landmarks, ``(num_landmarks, dim)`` mm."""
    pos, count = landmarks.fixed.to(step.displacement), step.points.num_entries
    cloud = PointCloud.from_points(pos, torch.ones_like(pos[:, 0]), batch=landmarks.batch, num_entries=count)
    return pos + inherit_displacement(Level(step.points, step.scale), cloud, step.displacement)


def _check_known(config: LossConfig, batch: PairBatch) -> None:
    needs = {"displacement": batch.displacement, "inside": batch.fixed_labels, "dice": batch.fixed_labels}
    for name, known in (needs | {"landmarks": batch.landmarks}).items():
        if getattr(config, name) and known is None:
            what = {"displacement": "a known displacement", "landmarks": "landmarks"}.get(name, "labels")
            raise GeogridError(f"loss: {name} has a weight, expected pairs with {what}, got pairs without; set it to 0")

"""How good a registration of a validation pair is."""

from __future__ import annotations

from itertools import starmap

import torch
from torch import Tensor

from geogrid.data import PairBatch
from geogrid.graph import Level, inherit_displacement
from geogrid.losses.entries import entry_shares
from geogrid.metrics import content_mask, folding_percent, mean_dice
from geogrid.spatial import Image
from geogrid.training.loss import carried_landmarks, features
from geogrid.transforms import Trajectory, TrajectoryBatch, warp_labels


def scores(trajectory: TrajectoryBatch, batch: PairBatch) -> dict[str, float]:
    """Means over the pairs of what can be known about them.

    Args:
        trajectory: of the pairs, its starts the identity.
        batch: the pairs.

    Returns:
        ``endpoint_error_mm`` where the truth is known everywhere, ``landmark_error_mm`` where there are landmarks, ``dice``
        where there are labels (lattices only), ``folding_percent`` of the content of fixed lattices.
    """
    last = trajectory.last
    found: dict[str, float] = {}
    if batch.displacement is not None and bool(batch.displacement.isfinite().all()):
        answer = inherit_displacement(Level(last.points, last.scale), batch.fixed, last.displacement)
        found["endpoint_error_mm"] = _mean_length(answer - batch.displacement, batch.fixed.measure, batch.fixed.batch)
    if batch.landmarks is not None and len(batch.landmarks.fixed):
        error = carried_landmarks(last, batch.landmarks) - batch.landmarks.moving.to(last.displacement)
        found["landmark_error_mm"] = _mean_length(error, torch.ones_like(error[:, 0]), batch.landmarks.batch)
    if not batch.fixed.is_lattice:
        return found
    pairs = [(trajectory.entry(number), batch.entry(number)) for number in range(batch.num_pairs)]
    fields = [pair.deformation(one.fixed.lattices[0]) for pair, one in pairs]
    content = [_content(one) for _, one in pairs]
    found["folding_percent"] = _mean(list(starmap(folding_percent, zip(fields, content, strict=True))))
    if batch.fixed_labels is not None and batch.moving.is_lattice:
        found["dice"] = _mean([_dice(*pair) for pair in pairs])
    return found


def _content(pair: PairBatch) -> Tensor:
    """Where the fixed image shows something; everywhere if that is nowhere."""
    grid, cloud = pair.fixed.lattices[0], pair.scored[0]
    mask = content_mask(Image(features(cloud)[:, 0].reshape(grid.shape), grid))
    return mask if bool(mask.any()) else torch.ones_like(mask)


def _dice(trajectory: Trajectory, pair: PairBatch) -> float:
    """Mean Dice of all labels of one pair; NaN without any."""
    assert pair.fixed_labels is not None
    assert pair.moving_labels is not None
    fixed, moving = pair.fixed.lattices[0], pair.moving.lattices[0]
    labels = pair.fixed_labels.reshape(fixed.shape)
    warped = warp_labels(Image(pair.moving_labels.reshape(moving.shape), moving), trajectory.transform(fixed), fixed).data
    return mean_dice(labels, warped) if bool(labels.any() | warped.any()) else float("nan")


def _mean_length(vectors: Tensor, measure: Tensor, batch: Tensor) -> float:
    """Mean per pair, weighted by measure, then over the pairs."""
    share, weight = entry_shares(measure, batch)
    return float((vectors.norm(dim=1) * share * weight[batch]).sum())


def _mean(values: list[float]) -> float:
    return float(torch.tensor(values).nanmean())

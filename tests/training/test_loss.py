"""The loss of a batch is the mean over its pairs, and every term does what its name says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from geogrid.data import Landmarks, PairBatch, SyntheticConfig, collate_pairs
from geogrid.errors import GeogridError
from geogrid.losses import TrajectoryLoss, TrajectoryLossConfig
from geogrid.training import DataConfig, LossConfig, PairLoss, RegistrationTask, WorldsConfig, make_source, scores
from geogrid.transforms import AffineTransform, StepBatch, TrajectoryBatch
from tests.training.tiny import tiny

FLAT = TrajectoryLossConfig(diffusion=0.0, folding=0.0)
KINDS = {2: SyntheticConfig((40, 32), (2.0, 2.0)), 3: SyntheticConfig((10, 8, 9), (2.0, 2.0, 2.0))}
EVERYTHING = LossConfig(TrajectoryLossConfig(diffusion=0.3), image=1.0, displacement=0.5, dice=0.7, landmarks=0.2)


def pairs(dim: int, count: int) -> list[PairBatch]:
    """Synthetic pairs of which everything is known; two landmarks each."""
    source = make_source(DataConfig(synthetic=WorldsConfig((KINDS[dim],), labels=True)), 0)
    found = []
    for number in range(count):
        pair = source.draw(number)
        assert pair.displacement is not None
        rows = torch.tensor([5, 60])
        fixed, moved = pair.fixed.pos[rows], pair.displacement[rows]
        found.append(replace(pair, landmarks=Landmarks(fixed, fixed + moved, torch.zeros(2, dtype=torch.int64))))
    return found


def trajectory(batch: PairBatch, displacement: torch.Tensor) -> TrajectoryBatch:
    """One step at the finest level."""
    starts = (AffineTransform.identity(batch.fixed.dim),) * batch.num_pairs
    return TrajectoryBatch(starts, (StepBatch(0, 2.0, batch.fixed, displacement),))


@pytest.mark.parametrize("dim", [2, 3])
def test_a_batch_costs_the_mean_of_its_pairs(dim: int) -> None:
    singles = pairs(dim, 3)
    generator, loss = torch.Generator().manual_seed(0), PairLoss(EVERYTHING)
    moves = [torch.randn(one.fixed.pos.shape, generator=generator) for one in singles]
    alone = [loss(trajectory(one, move), one) for one, move in zip(singles, moves, strict=True)]
    batch = collate_pairs(singles)
    together = loss(trajectory(batch, torch.cat(moves)), batch)
    assert set(together) == {"image", "smoothness", "displacement", "dice", "landmarks", "loss"}
    for name in together:
        torch.testing.assert_close(together[name], torch.stack([one[name] for one in alone]).mean(), rtol=1e-4, atol=1e-5)


def test_scattered_pairs_are_scored_by_their_labels_too() -> None:
    (pair,) = pairs(2, 1)
    rows = [torch.randperm(cloud.num_points, generator=torch.Generator().manual_seed(1)) for cloud in (pair.fixed, pair.moving)]
    part = replace(pair, landmarks=None).subset(*(r[: len(r) // 2].sort().values for r in rows))
    assert part.displacement is not None
    dice = PairLoss(LossConfig(FLAT, image=0.0, dice=1.0))
    found = [dice(trajectory(part, u), part)["loss"] for u in (part.displacement, torch.zeros_like(part.displacement))]
    assert float(found[0]) < 0.7 * float(found[1])


def test_the_truth_costs_nothing_where_the_truth_is_asked_for() -> None:
    (pair,) = pairs(2, 1)
    assert pair.displacement is not None
    known = trajectory(pair, pair.displacement)
    still = trajectory(pair, torch.zeros_like(pair.displacement))
    for name in ("displacement", "landmarks"):
        config = LossConfig(FLAT, image=0.0, **{name: 1.0})
        assert float(PairLoss(config)(known, pair)["loss"]) < 1e-5
        assert float(PairLoss(config)(still, pair)["loss"]) > 0.1
    dice = PairLoss(LossConfig(FLAT, image=0.0, dice=1.0))
    assert float(dice(known, pair)["loss"]) < 0.7 * float(dice(still, pair)["loss"])


def test_the_image_term_reads_the_twins() -> None:
    (pair,) = pairs(2, 1)
    assert pair.displacement is not None
    loss, moved = PairLoss(LossConfig(FLAT)), trajectory(pair, pair.displacement)
    torch.testing.assert_close(loss(moved, pair)["loss"], TrajectoryLoss(FLAT)(moved, *pair.scored))
    plain = replace(pair, fixed_twin=None, moving_twin=None)
    torch.testing.assert_close(loss(moved, plain)["loss"], TrajectoryLoss(FLAT)(moved, pair.fixed, pair.moving))
    assert loss(moved, pair)["loss"] < loss(moved, plain)["loss"]


def test_all_steps_of_a_model_are_scored_as_the_trajectory_loss_scores_them() -> None:
    (pair,) = pairs(2, 1)
    task = RegistrationTask(tiny())
    config = TrajectoryLossConfig("lncc", diffusion=0.2, level_weights=(1.0, 0.0))
    found = task(pair)
    expected = TrajectoryLoss(config)(found, *pair.scored)
    torch.testing.assert_close(PairLoss(LossConfig(config))(found, pair)["loss"], expected)


def test_a_term_does_not_depend_on_what_else_is_asked_for() -> None:
    (pair,) = pairs(2, 1)
    rows = [torch.arange(0, cloud.num_points, 2) for cloud in (pair.fixed, pair.moving)]
    part = replace(pair, landmarks=None).subset(*rows)
    assert part.displacement is not None
    moved = trajectory(part, part.displacement + 3.0)
    every = replace(EVERYTHING, trajectory=FLAT, landmarks=0.0, inside=True)
    together = PairLoss(every)(moved, part)
    for name in ("image", "displacement", "dice"):
        rest = {other: 0.0 for other in ("image", "displacement", "dice") if other != name}
        torch.testing.assert_close(together[name], PairLoss(replace(every, **rest))(moved, part)[name])


def test_terms_without_what_they_need_are_refused() -> None:
    (pair,) = pairs(2, 1)
    plain = PairBatch(pair.fixed, pair.moving)
    still = trajectory(pair, torch.zeros_like(pair.fixed.pos))
    for name in ("displacement", "dice", "landmarks"):
        with pytest.raises(GeogridError, match=f"{name} has a weight, expected pairs with"):
            PairLoss(LossConfig(FLAT, **{name: 1.0}))(still, plain)
    with pytest.raises(GeogridError, match="expected a step with a weight"):
        PairLoss(LossConfig(TrajectoryLossConfig(level_weights=(0.0,))))(still, plain)


@pytest.mark.parametrize("dim", [2, 3])
def test_scores_of_known_answers(dim: int) -> None:
    singles = pairs(dim, 2)
    batch = collate_pairs(singles)
    assert batch.displacement is not None
    shift = torch.zeros(dim)
    shift[0] = 3.0
    exact = scores(trajectory(batch, batch.displacement), batch)
    off = scores(trajectory(batch, batch.displacement + shift), batch)
    assert exact["endpoint_error_mm"] < 1e-4
    assert exact["landmark_error_mm"] < 1e-3
    assert off["endpoint_error_mm"] == pytest.approx(3.0, abs=1e-3)
    assert off["landmark_error_mm"] == pytest.approx(3.0, abs=1e-3)
    assert exact["dice"] > 0.8 > off["dice"]
    assert exact["folding_percent"] == 0
    mirrored = trajectory(batch, -2 * (batch.fixed.pos - batch.fixed.pos.mean(0)) * (shift > 0))
    assert scores(mirrored, batch)["folding_percent"] == 100


@pytest.mark.parametrize("dim", [2, 3])
def test_inside_the_labels_only_the_error_there_counts(dim: int) -> None:
    pair = collate_pairs(pairs(dim, 1))
    assert pair.displacement is not None
    assert pair.fixed_labels is not None
    outside = (pair.fixed_labels == 0).float()[:, None]
    assert 0.05 < outside.mean() < 0.95
    wrong_outside = trajectory(pair, pair.displacement + 3.0 * outside)
    wrong_inside = trajectory(pair, pair.displacement + 3.0 * (1 - outside))
    everywhere, inside = (PairLoss(LossConfig(FLAT, image=0.0, displacement=1.0, inside=i)) for i in (False, True))
    assert everywhere(wrong_outside, pair)["loss"] > 0.05
    assert inside(wrong_outside, pair)["loss"] < 1e-5
    assert inside(wrong_inside, pair)["loss"] == pytest.approx(3.0 * dim**0.5 / 2.0 - 0.01, abs=0.02)


def test_where_nobody_knows_the_truth_nothing_is_asked() -> None:
    pair = collate_pairs(pairs(2, 2))
    assert pair.displacement is not None
    second = pair.fixed.batch == 1
    unknown = replace(pair, displacement=torch.where(second[:, None], torch.nan, pair.displacement))
    loss = PairLoss(LossConfig(FLAT, image=0.0, displacement=1.0))
    answer = (pair.displacement + 3.0).requires_grad_()
    half, whole = (loss(trajectory(pair, answer), batch)["loss"] for batch in (unknown, pair))
    torch.testing.assert_close(half, whole, rtol=0.05, atol=0, msg="the mean is over the pairs that are known")
    half.backward()
    assert answer.grad is not None
    assert bool(answer.grad.isfinite().all())
    assert float(answer.grad[~second].abs().min()) > 0 == float(answer.grad[second].abs().max())
    assert "endpoint_error_mm" not in scores(trajectory(pair, pair.displacement), unknown)

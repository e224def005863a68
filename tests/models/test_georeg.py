from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from geogrid.errors import GeogridError
from geogrid.graph import concatenate
from geogrid.models import FeatureWarp, GeoReg, GeoRegConfig, presets
from geogrid.spatial import PointCloud
from geogrid.transforms import AffineTransform
from tests.models.cases import ANGLES, awake, in_float64, make_model, pair, small_config, smooth_image
from tests.spatial.batches import assert_same
from tests.spatial.cases import homogeneous, make_grid, rotation

DIMS = pytest.mark.parametrize("dim", [2, 3])
SIZES = pytest.mark.parametrize("sizes", [{}, {"affine_levels": 2}, {"choice_radius": 2.0}], ids=["plain", "affine", "choice"])


def _motion(dim: int) -> torch.Tensor:
    return homogeneous(rotation(ANGLES[dim]), [5.0, -40.0, 12.0][:dim])


@DIMS
def test_steps_go_from_coarse_to_fine_as_configured(dim: int):
    trajectory = make_model(dim, steps=(0, 1, 2))(*pair(dim))
    assert [(step.level, step.learned) for step in trajectory.steps] == [
        (2, True),
        (2, True),
        (1, False),
        (1, True),
        (0, False),
    ]
    assert [step.scale for step in trajectory.steps] == [s * trajectory.last.scale for s in (4, 4, 2, 2, 1)]
    assert trajectory.last.displacement.shape == trajectory.last.points.pos.shape


@DIMS
@SIZES
def test_a_batch_equals_its_pairs_one_by_one(dim: int, sizes: dict[str, object]):
    model = make_model(dim, **sizes).double()
    fixed, moving = (in_float64(cloud) for cloud in pair(dim, 2))
    both = model(fixed, moving)
    for number in range(2):
        alone = model(fixed.entry(number), moving.entry(number)).last.displacement
        torch.testing.assert_close(both.last.displacement.view(2, -1, dim)[number], alone, atol=1e-10, rtol=0)


@DIMS
def test_images_of_one_lattice_are_encoded_together_as_they_would_be_alone(dim: int):
    model = make_model(dim).double()
    fixed, _ = (in_float64(cloud) for cloud in pair(dim, 2))
    moving = fixed.with_features(fixed.x.flip(0))
    for found, cloud in zip(model.encode(fixed, moving, 1.5), (fixed, moving), strict=True):
        alone = model.encoder(cloud, 1.5)
        for x, expected, here, there in zip(found.features, alone.features, found.levels, alone.levels, strict=True):
            torch.testing.assert_close(x, expected, atol=1e-12, rtol=0)
            assert_same(here.points, there.points)
            assert here.scale == there.scale


@DIMS
def test_pairs_of_other_sizes_can_share_a_batch(dim: int):
    model, (fixed, moving) = make_model(dim), pair(dim)
    other = PointCloud.from_images(smooth_image(make_grid((12, 9, 8)[:dim], (1.0, 1.5, 2.0)[:dim]), 5))
    both = model(concatenate([fixed, other]), concatenate([moving, fixed]), scale=1.5)
    alone = model(fixed, moving, scale=1.5).last.displacement
    torch.testing.assert_close(both.last.displacement[: len(alone)], alone, atol=5e-4, rtol=0)


@DIMS
@SIZES
def test_a_rigid_motion_of_the_world_turns_the_answer_and_nothing_else(dim: int, sizes: dict[str, object]):
    model, (fixed, moving) = make_model(dim, **sizes), pair(dim)
    motion = _motion(dim)
    there = model(fixed.moved(motion[None]), moving.moved(motion[None]))
    for step, turned in zip(model(fixed, moving).steps, there.steps, strict=True):
        expected = step.displacement @ motion[:-1, :-1].T.float()
        torch.testing.assert_close(turned.displacement, expected, atol=2e-3, rtol=0)


@DIMS
def test_a_rigid_start_is_the_same_as_a_moved_moving_image(dim: int):
    model, (fixed, moving) = make_model(dim), pair(dim)
    start = AffineTransform(_motion(dim))
    started = model(fixed, moving.moved(start.matrix[None]), starts=[start])
    torch.testing.assert_close(started.last.displacement, model(fixed, moving).last.displacement, atol=2e-3, rtol=0)


@pytest.mark.parametrize(("learned", "choice_radius"), [(True, 0.0), (True, 2.0), (False, 0.0)])
def test_gradients_reach_every_level_from_the_finest_loss_alone(learned: bool, choice_radius: float):
    model = make_model(2, steps=(0, 1, 1), learned_interpolation=learned, choice_radius=choice_radius)
    model(*pair(2)).last.displacement.square().sum().backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    unused = {name for name in without if name.startswith("interpolate")} if not learned else set()
    assert without == unused


@DIMS
def test_an_untrained_model_moves_points_no_further_than_its_bound(dim: int):
    torch.manual_seed(1)
    model = GeoReg(small_config(dim))
    trajectory = model(*pair(dim))
    before = {step.level: step for step in trajectory.steps if not step.learned}
    for step in trajectory.steps:
        own = step.displacement - (before[step.level].displacement if step.level in before else 0)
        count = model.config.steps[step.level]
        assert own.norm(dim=1).max() <= count * model.step_bound * step.scale


@DIMS
def test_no_moving_points_in_reach_leave_the_points_to_the_head_alone(dim: int):
    """Far away moving points have no say: neither their features nor where exactly they are change anything."""
    model, (fixed, moving) = make_model(dim, steps=(0, 0, 1)), pair(dim)
    far = homogeneous(torch.eye(dim, dtype=torch.float64), torch.full((dim,), 1000.0))
    farther = homogeneous(torch.eye(dim, dtype=torch.float64), torch.full((dim,), -3000.0))
    one, other = (model(fixed, moving.moved(m[None])).last.displacement for m in (far, farther))
    assert one.isfinite().all()
    torch.testing.assert_close(one, other)


@DIMS
def test_a_lattice_and_the_same_points_scattered_give_the_same_steps_at_one_level(dim: int):
    model, (fixed, moving) = make_model(dim, channels=(4,), steps=(2,)), pair(dim, 2)
    scattered = [PointCloud.from_points(c.pos, c.measure, c.x, c.batch) for c in (fixed, moving)]
    grid_answer = model(fixed, moving, scale=1.0).last.displacement
    spacings = [replace(c, spacing=fixed.spacing) for c in scattered]
    torch.testing.assert_close(model(*spacings, scale=1.0).last.displacement, grid_answer, atol=1e-3, rtol=0)


@pytest.mark.parametrize("choice_radius", [0.0, 2.0])
def test_the_order_of_scattered_points_does_not_matter(choice_radius: float):
    model, (fixed, moving) = make_model(2, choice_radius=choice_radius), pair(2)
    order = torch.randperm(fixed.num_points, generator=torch.Generator().manual_seed(0))
    clouds = [PointCloud.from_points(c.pos, c.measure, c.x) for c in (fixed, moving)]
    shuffled = PointCloud.from_points(fixed.pos[order], fixed.measure[order], fixed.x[order])
    expected = model(*clouds, scale=1.5).last.displacement[order]
    torch.testing.assert_close(model(shuffled, clouds[1], scale=1.5).last.displacement, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("entry", range(2))
def test_fixed_and_moving_may_have_encoders_of_their_own(entry: int):
    torch.manual_seed(0)
    model = awake(GeoReg(small_config(2, two_encoders=True)))
    encoder = (model.encoder, model.moving_encoder)[entry]
    before = model(*pair(2)).last.displacement
    with torch.no_grad():
        encoder.stages[0][0].conv1.weight.neg_()
    assert (model(*pair(2)).last.displacement - before).abs().max() > 1e-3


@DIMS
def test_feature_warp_takes_the_same_steps(dim: int):
    torch.manual_seed(0)
    model = awake(FeatureWarp(small_config(dim)))
    trajectory = model(*pair(dim))
    assert [step.level for step in trajectory.steps] == [2, 2, 1, 1, 0, 0]
    assert trajectory.last.displacement.abs().max() > 0
    motion = _motion(dim)
    turned = model(*(cloud.moved(motion[None]) for cloud in pair(dim))).last.displacement
    torch.testing.assert_close(turned, trajectory.last.displacement @ motion[:-1, :-1].T.float(), atol=2e-3, rtol=0)


@DIMS
def test_points_of_affine_levels_move_together(dim: int):
    fixed, moving = pair(dim)
    model = make_model(dim, affine_levels=2, learned_interpolation=False)
    for step in model(fixed, moving).steps:
        ones = torch.ones_like(step.points.pos[:, :1])
        fit = torch.cat([step.points.pos, ones], 1).double()
        u = step.displacement.detach().double()
        left = (u - fit @ torch.linalg.lstsq(fit, u).solution).norm() / u.norm()
        assert (float(left) < 1e-4) == (step.level > 0 or not step.learned)


@pytest.mark.parametrize(("preset", "low", "high"), [("mnist", 1e5, 2e5), ("paper3d", 3e6, 3.5e6), ("light3d", 3e5, 5e5)])
def test_presets_have_the_sizes_they_promise(preset: str, low: float, high: float):
    model = GeoReg(getattr(presets, preset)())
    assert low < sum(p.numel() for p in model.parameters()) < high


def test_saved_weights_give_the_same_answer():
    first, second = make_model(2), GeoReg(small_config(2))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(*pair(2)).last.displacement, second(*pair(2)).last.displacement)


@pytest.mark.parametrize("steps", [(1, 1), (1, 1, 0), (-1, 1, 1)])
def test_steps_that_do_not_fit_are_refused(steps: tuple[int, ...]):
    with pytest.raises(GeogridError, match="steps: expected 3 numbers"):
        GeoRegConfig(dim=2, channels=(4, 4, 4), steps=steps)


def test_a_choice_among_too_few_parents_is_refused():
    with pytest.raises(GeogridError, match="choice_radius: expected 0 or at least 1"):
        GeoRegConfig(dim=2, channels=(4, 4), steps=(1, 1), choice_radius=0.5)


def test_pairs_that_do_not_fit_are_refused():
    model = make_model(2)
    with pytest.raises(GeogridError, match="expected 2 entries like fixed, got 1"):
        model(pair(2, 2)[0], pair(2)[1])
    with pytest.raises(GeogridError, match="3-D"):
        model(*pair(3))


@DIMS
def test_thick_slices_beside_thin_ones_change_nothing(dim: int):
    """Spacings above the scale widen the cost volume's hats, of their own entry only."""
    model, (fixed, moving) = make_model(dim), pair(dim)
    thick = PointCloud.from_images(smooth_image(make_grid((9, 6, 7)[:dim], (1.0, 3.0, 2.0)[:dim]), 5))
    both = model(concatenate([fixed, thick]), concatenate([moving, thick]), scale=1.0)
    alone = model(fixed, moving, scale=1.0).last.displacement
    torch.testing.assert_close(both.last.displacement[: len(alone)], alone, atol=5e-4, rtol=0)

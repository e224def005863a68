"""Deep supervision: the paper's Eq. 8-10, term by term."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geogrid.losses import LocalCorrelation, Objective, ObjectiveConfig, bending_loss, diffusion_loss, folding_loss
from geogrid.spatial import Grid, Image, pool_image
from geogrid.transforms import AffineTransform, Step, Trajectory, warp_image
from tests.spatial.cases import centered, field_on, homogeneous, make_grid, rotation
from tests.transforms.cases import ANGLES, make_wave

SHAPES = {2: (24, 20), 3: (14, 12, 13)}
SPACINGS = {2: (1.0, 1.2), 3: (1.0, 1.2, 2.0)}
DIMS = pytest.mark.parametrize("dim", [2, 3])


def _texture(points: Tensor) -> Tensor:
    waves = make_wave(points.shape[1], 1.0, 12.0, count=8, seed=5)
    return 0.5 + waves.displacement(points).sum(1) / 12


def _start(dim: int) -> AffineTransform:
    return AffineTransform(homogeneous(rotation([6.0] * (dim * (dim - 1) // 2)), (1.0, -2.0, 0.5)[:dim]))


def _motion(points: Tensor) -> Tensor:
    return make_wave(points.shape[1], 1.2, 40.0, seed=2).displacement(points)


def _pair(dim: int) -> tuple[Image, Image]:
    """``fixed(x) = moving(start(x + motion(x)))``, both textures known everywhere; the moving grid is larger and turned."""
    grid = centered(make_grid(SHAPES[dim], SPACINGS[dim], ANGLES[dim]))
    around = centered(make_grid([n + 20 for n in SHAPES[dim]], SPACINGS[dim]))
    points = grid.index_to_world(grid.indices().double())
    fixed = _texture(_start(dim)(points + _motion(points)))
    moving = _texture(around.index_to_world(around.indices().double()))
    return Image(fixed.float().reshape(grid.shape), grid), Image(moving.float().reshape(around.shape), around)


def _step(grid: Grid, level: int, factor: int, share: float = 1.0) -> Step:
    """A share of the true motion, given at every ``factor``-th point of a grid."""
    points = grid.pool((factor,) * grid.dim)
    return Step(level, 2.0**level, points, share * field_on(points, _motion).float())


@DIMS
@pytest.mark.parametrize(("level", "factor"), [(0, 1), (1, 2), (0, 2), (1, 4)])
def test_a_step_is_scored_at_its_level_through_interpolation(dim: int, level: int, factor: int):
    """Eq. 8 where the points are the level's voxels, Eq. 9 where they are coarser."""
    fixed, moving = _pair(dim)
    objective = Objective(fixed, moving, 1.0)
    step = _step(fixed.grid, level, factor)
    small = pool_image(fixed, step.scale)
    transform = Trajectory(_start(dim), (step,)).transform(small.grid)
    warped = warp_image(pool_image(moving, step.scale), transform, small.grid)
    config = objective.config
    radius = (2.0 if step.points.dim == 3 else 4.0) * step.scale
    loss = LocalCorrelation(
        small.data,
        small.grid.spacing.tolist(),
        radius,
        floor=config.floor,
        stride=config.stride,
    )
    torch.testing.assert_close(objective.dissimilarity(step, _start(dim)), loss(warped.data), atol=1e-4, rtol=0)


@DIMS
def test_smoothness_is_the_weighted_sum_of_its_terms(dim: int):
    fixed, moving = _pair(dim)
    config = ObjectiveConfig(diffusion=0.3, bending=0.7, folding=5.0, folding_margin=1.1)
    step = _step(fixed.grid, 0, 2, share=4.0)
    terms = (diffusion_loss, bending_loss, lambda u, grid: folding_loss(u, grid, 1.1))
    diffusion, bending, folding = (term(step.displacement, step.points) for term in terms)
    expected = 0.3 * diffusion + 0.7 * float(step.points.spacing.max()) ** 2 * bending + 5 * folding
    assert min(diffusion, bending, folding) > 0
    torch.testing.assert_close(Objective(fixed, moving, 1.0, config).smoothness(step), expected)
    off = ObjectiveConfig(diffusion=0, bending=0, folding=0)
    assert Objective(fixed, moving, 1.0, off).smoothness(step) == 0


@DIMS
def test_a_trajectory_is_the_weighted_sum_over_its_steps(dim: int):
    """Eq. 10."""
    fixed, moving = _pair(dim)
    objective = Objective(fixed, moving, 1.0, ObjectiveConfig(level_weights=(0.5, 3.0)))
    steps = (_step(fixed.grid, 2, 4, 0.5), _step(fixed.grid, 1, 4, 0.8), _step(fixed.grid, 1, 2), _step(fixed.grid, 0, 2))
    losses = [objective.step_loss(step, _start(dim)) for step in steps]
    assert len({round(float(loss), 6) for loss in losses}) == 4
    expected = 1 * losses[0] + 3 * losses[1] + 3 * losses[2] + 0.5 * losses[3]
    torch.testing.assert_close(objective(Trajectory(_start(dim), steps)), expected)
    first = objective.dissimilarity(steps[0], _start(dim)) + objective.smoothness(steps[0])
    torch.testing.assert_close(losses[0], first)


@DIMS
@pytest.mark.parametrize("level", [0, 1])
def test_the_true_displacement_scores_best(dim: int, level: int):
    fixed, moving = _pair(dim)
    objective = Objective(fixed, moving, 1.0)
    none, half, true, double = (
        float(objective.dissimilarity(_step(fixed.grid, level, 2, share), _start(dim))) for share in (0, 0.5, 1, 2)
    )
    assert true < half < none
    assert true < double
    assert float(objective.dissimilarity(_step(fixed.grid, level, 2), AffineTransform.identity(dim))) > true + 0.1


@DIMS
def test_every_coarse_point_answers_for_the_finest_images(dim: int):
    fixed, moving = _pair(dim)
    step = _step(fixed.grid, 0, 4, share=0.5)
    unknown = step.displacement.requires_grad_()
    Objective(fixed, moving, 1.0).dissimilarity(step, _start(dim)).backward()
    assert unknown.grad is not None
    assert (unknown.grad.norm(dim=0) > 0).all()


@DIMS
def test_the_gradient_is_a_descent_direction(dim: int):
    fixed, moving = _pair(dim)
    objective = Objective(fixed, moving, 1.0)
    step = _step(fixed.grid, 0, 4, share=0)
    step.displacement.requires_grad_()
    value = objective.step_loss(step, _start(dim))
    value.backward()
    grad = step.displacement.grad
    assert grad is not None
    size = 1e-2 / grad.norm()
    lower = objective.step_loss(replace(step, displacement=(step.displacement - size * grad).detach()), _start(dim))
    assert (lower - value).item() == pytest.approx(-(size * grad.square().sum()).item(), rel=0.15)


@DIMS
def test_fixed_voxels_without_weight_pass_no_gradient(dim: int):
    fixed, moving = _pair(dim)
    weight = torch.zeros(fixed.grid.shape)
    weight[:4] = 1
    objective = Objective(fixed, moving, 1.0, fixed_weight=Image(weight, fixed.grid))
    step = _step(fixed.grid, 0, 1, share=0.5)
    step.displacement.requires_grad_()
    objective.dissimilarity(step, _start(dim)).backward()
    assert step.displacement.grad is not None
    grad = step.displacement.grad.norm(dim=0)
    reach = 4 + (2 if dim == 3 else 4)
    rounding = torch.finfo(grad.dtype).eps * grad.max()
    assert (grad[reach:] < rounding).all()
    assert (grad[:reach].flatten(1).amax(1) > 1000 * rounding).all()


@DIMS
def test_what_the_masks_leave_out_does_not_count(dim: int):
    fixed, moving = _pair(dim)
    step = _step(fixed.grid, 0, 2, share=0.5)
    inside = moving.grid.points()[:, 0] > 0
    weight = Image(inside.float().reshape(moving.grid.shape), moving.grid)
    far = (moving.grid.points()[:, 0] < -8).reshape(moving.grid.shape)
    spoilt = Image(torch.where(far, 50.0, moving.data), moving.grid)

    def score(image: Image, mask: Image | None) -> float:
        return float(Objective(fixed, image, 1.0, moving_weight=mask).dissimilarity(step, _start(dim)))

    assert score(spoilt, weight) == pytest.approx(score(moving, weight), abs=1e-6)
    assert score(spoilt, None) > score(moving, None) + 0.02


def test_levels_are_kept_until_forgotten():
    objective = Objective(*_pair(2), 1.0)
    first = objective.level(1)
    assert objective.level(1) is first
    objective.forget(1)
    assert objective.level(1) is not first
    objective.forget(7)


def test_a_new_start_is_noticed():
    fixed, moving = _pair(2)
    objective, step = Objective(fixed, moving, 1.0), _step(fixed.grid, 0, 2)
    first = objective.dissimilarity(step, _start(2))
    other = objective.dissimilarity(step, AffineTransform.identity(2))
    assert other != first
    torch.testing.assert_close(objective.dissimilarity(step, _start(2)), first)


def test_weights_default_to_one():
    config = ObjectiveConfig(level_weights=(0.2,))
    assert [config.weight(level) for level in (0, 1, 5)] == [0.2, 1, 1]


@DIMS
def test_nothing_is_compared_beyond_the_border_of_a_moving_image_that_is_cut(dim: int):
    fixed, moving = _pair(dim)
    inner = moving.crop((6,) * dim, tuple(n - 12 for n in moving.grid.shape))
    inner = Image(inner.data.clamp_min(0.2), inner.grid)
    aside = torch.eye(dim + 1, dtype=torch.float64)
    aside[0, -1] = 0.8 * SHAPES[dim][0]
    start = AffineTransform(aside)
    step = Step(0, 1.0, fixed.grid, torch.zeros(dim, *fixed.grid.shape))
    beyond = inner.grid.world_to_index(start(fixed.grid.points().double()))[:, 0] > inner.grid.shape[0] - 0.9
    assert 0.2 < beyond.double().mean() < 0.8
    elsewhere = Image(torch.where(beyond.reshape(fixed.grid.shape), fixed.data.square(), fixed.data), fixed.grid)
    for cut in (True, False):
        objectives = [Objective(image, inner, 1.0, similarity="nmi") for image in (fixed, elsewhere)]
        assert all(objective.cut for objective in objectives)
        for objective in objectives:
            objective.cut = cut
        losses = [objective.dissimilarity(step, start) for objective in objectives]
        assert torch.equal(*losses) == cut

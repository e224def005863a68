"""Deep supervision of a batch: the paper's Eq. 8-10 over a TrajectoryBatch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from geogrid.graph import random_subset
from geogrid.losses import (
    Objective,
    ObjectiveConfig,
    TrajectoryLoss,
    TrajectoryLossConfig,
    bending_loss,
    diffusion_loss,
    folding_loss,
    mse_loss,
)
from geogrid.spatial import Image, PointCloud
from geogrid.transforms import AffineTransform, StepBatch, TrajectoryBatch, warp_image
from tests.losses.scenes import Scene, make_scene
from tests.spatial.cases import homogeneous, refused, rotation

DIMS = pytest.mark.parametrize("dim", [2, 3])
ALIKE = pytest.mark.parametrize("alike", [True, False], ids=["stacked", "one by one"])
KINDS = pytest.mark.parametrize("kind", ["mse", "ncc", "lncc", "mind", "nmi"])
ROUGH = {"diffusion": 0.0, "bending": 0.0, "folding": 0.0}
LEVELS = (1, 1, 0)


def _score(scene: Scene, trajectory: TrajectoryBatch, **config: object) -> torch.Tensor:
    return TrajectoryLoss(TrajectoryLossConfig(**config))(trajectory, scene.fixed, scene.moving)  # type: ignore[arg-type]


def _pair(trajectory: TrajectoryBatch, number: int) -> TrajectoryBatch:
    """One pair of a batch as a batch of its own."""
    steps = [
        replace(s, points=s.points.entry(number), displacement=s.displacement[s.points.batch == number])
        for s in trajectory.steps
    ]
    return TrajectoryBatch(trajectory.starts[number : number + 1], tuple(steps))


@DIMS
@ALIKE
@KINDS
def test_a_batch_is_the_mean_of_its_pairs(dim: int, alike: bool, kind: str):
    scene = make_scene(dim, 3, alike)
    assert scene.fixed.stackable == alike
    config = {"dissimilarity": kind, "bending": 0.5, "folding_margin": 1.0}
    trajectory = scene.trajectory(LEVELS, 0.6)
    singles = torch.stack([_score(scene.entry(b), _pair(trajectory, b), **config) for b in range(3)])
    torch.testing.assert_close(_score(scene, trajectory, **config), singles.mean(), atol=1e-6, rtol=0)
    assert singles.diff().abs().min() > 1e-4


@DIMS
@ALIKE
@KINDS
@pytest.mark.parametrize("level", [0, 1])
def test_the_true_displacement_scores_best(dim: int, alike: bool, kind: str, level: int):
    scene = make_scene(dim, 2, alike)
    none, half, true, double = (
        float(_score(scene, scene.trajectory((level,), share), dissimilarity=kind, **ROUGH)) for share in (0, 0.5, 1, 2)
    )
    assert true < half < none
    assert true < double


@DIMS
def test_intensities_are_those_of_the_warped_image(dim: int):
    """Against the warping of single images, which takes another way to the same places."""
    scene = make_scene(dim, 1)
    trajectory = scene.trajectory((0,), 0.7)
    step, moving = trajectory.last, scene.moving
    deformation = trajectory.entry(0).transform(step.points.lattices[0])
    image = Image(moving.x.reshape(moving.lattices[0].shape), moving.lattices[0])  # type: ignore[union-attr]
    warped = warp_image(image, deformation, step.points.lattices[0]).data.reshape(-1, 1)
    expected = mse_loss(scene.fixed.x, warped, scene.fixed.measure, scene.fixed.batch)  # type: ignore[arg-type]
    torch.testing.assert_close(_score(scene, trajectory, **ROUGH), expected, atol=1e-6, rtol=1e-4)
    assert expected > 1e-4


@DIMS
def test_smoothness_is_the_weighted_sum_of_its_terms(dim: int):
    scene = make_scene(dim, 2)
    step = scene.trajectory((1,), 3.0).last
    config = TrajectoryLossConfig(diffusion=0.3, bending=0.7, folding=5.0, folding_margin=1.1)
    expected = []
    for number in range(2):
        u, grid = step.entry(number).displacement, step.points.lattices[number]
        terms = diffusion_loss(u, grid), bending_loss(u, grid), folding_loss(u, grid, 1.1)
        assert min(terms) > 0
        expected.append(0.3 * terms[0] + 0.7 * float(grid.spacing.max()) ** 2 * terms[1] + 5 * terms[2])
    torch.testing.assert_close(TrajectoryLoss(config).smoothness(step), torch.stack(expected).mean())


def _single(cloud: PointCloud) -> PointCloud:
    """With intensities in single precision, as the objective of classical registration takes them."""
    assert cloud.x is not None
    return cloud.with_features(cloud.x.float())


@DIMS
def test_one_pair_with_local_correlation_agrees_with_the_objective(dim: int):
    scene = make_scene(dim, 1)
    scene = replace(scene, fixed=_single(scene.fixed), moving=_single(scene.moving))
    steps = [replace(s, displacement=s.displacement.float()) for s in scene.trajectory((1, 1, 0), 0.6).steps]
    trajectory = TrajectoryBatch(scene.starts, tuple(steps))
    weights = {"bending": 0.4, "folding": 7.0, "folding_margin": 0.9, "level_weights": (0.5, 2.0)}
    images = [Image(c.x.reshape(c.lattices[0].shape), c.lattices[0]) for c in (scene.fixed, scene.moving)]  # type: ignore[union-attr]
    objective = Objective(*images, 1.0, ObjectiveConfig(diffusion=0.2, growth=1.0, **weights))  # type: ignore[arg-type]
    expected = objective(trajectory.entry(0)) / (2 + 2 + 0.5)
    actual = _score(scene, trajectory, dissimilarity="lncc", diffusion=0.2, **weights)
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=0)
    assert expected < -0.1


@DIMS
def test_a_trajectory_is_the_weighted_mean_over_its_steps(dim: int):
    """Eq. 10; interpolations count like refinements."""
    scene = make_scene(dim, 2)
    steps = [scene.trajectory((n,), share).last for n, share in ((1, 0.2), (1, 0.5), (0, 0.4))]
    steps[2] = replace(steps[2], learned=False)
    singles = [_score(scene, TrajectoryBatch(scene.starts, (step,))) for step in steps]
    whole = _score(scene, TrajectoryBatch(scene.starts, tuple(steps)), level_weights=(0.5, 3.0))
    torch.testing.assert_close(whole, (3 * singles[0] + 3 * singles[1] + 0.5 * singles[2]) / 6.5)
    last = _score(scene, TrajectoryBatch(scene.starts, tuple(steps)), level_weights=(1.0, 0.0))
    torch.testing.assert_close(last, singles[2])
    assert len({round(float(loss), 6) for loss in singles}) == 3


@pytest.mark.parametrize("kind", ["mse", "ncc"])
@DIMS
def test_gradcheck(dim: int, kind: str):
    scene = make_scene(dim, 2)
    trajectory = scene.trajectory((2, 1), 0.6)
    config = TrajectoryLossConfig(dissimilarity=kind, bending=0.3, folding_margin=0.9)  # type: ignore[arg-type]

    def score(*displacements: torch.Tensor) -> torch.Tensor:
        steps = [replace(s, displacement=u) for s, u in zip(trajectory.steps, displacements, strict=True)]
        moved = TrajectoryBatch(trajectory.starts, tuple(steps))
        return TrajectoryLoss(config)(moved, scene.fixed, scene.moving)

    inputs = tuple(step.displacement.clone().requires_grad_() for step in trajectory.steps)
    assert torch.autograd.gradcheck(score, inputs, fast_mode=True)


@DIMS
@KINDS
def test_one_rigid_motion_of_the_world_changes_nothing(dim: int, kind: str):
    scene = make_scene(dim, 2)
    trajectory = scene.trajectory(LEVELS, 0.6)
    turn = rotation([50.0, 20.0, -70.0][: dim * (dim - 1) // 2])
    motion = homogeneous(turn, (9.0, -4.0, 6.0)[:dim])
    everywhere = torch.stack([motion, motion])
    starts = tuple(AffineTransform(motion @ s.matrix @ torch.linalg.inv(motion)) for s in scene.starts)
    steps = [replace(s, points=s.points.moved(everywhere), displacement=s.displacement @ turn.T) for s in trajectory.steps]
    moved = Scene(scene.fixed.moved(everywhere), scene.moving.moved(everywhere), starts)
    config = {"dissimilarity": kind, "bending": 0.5, "folding_margin": 1.0}
    expected = _score(scene, trajectory, **config)
    torch.testing.assert_close(_score(moved, TrajectoryBatch(starts, tuple(steps)), **config), expected, atol=2e-6, rtol=0)
    unturned = [replace(s, points=p.points) for s, p in zip(trajectory.steps, steps, strict=True)]
    assert _score(moved, TrajectoryBatch(starts, tuple(unturned)), **config) != pytest.approx(float(expected), abs=1e-4)


def test_units_do_not_matter():
    """A scene measured in tenths of a millimetre scores as one in millimetres."""
    scene = make_scene(2, 2)
    trajectory = scene.trajectory(LEVELS, 0.6)
    grow = torch.diag(torch.tensor([10.0, 10.0, 1.0], dtype=torch.float64))

    def grown(cloud: PointCloud) -> PointCloud:
        return PointCloud.on_lattices([type(g)(g.shape, grow @ g.affine) for g in cloud.lattices], cloud.x)

    starts = tuple(AffineTransform(grow @ s.matrix @ torch.linalg.inv(grow)) for s in scene.starts)
    steps = [StepBatch(s.level, 10 * s.scale, grown(s.points), 10 * s.displacement) for s in trajectory.steps]
    large = Scene(grown(scene.fixed), grown(scene.moving), starts, 10.0)
    config = {"bending": 0.5, "folding_margin": 1.0}
    expected = _score(scene, trajectory, **config)
    torch.testing.assert_close(_score(large, TrajectoryBatch(starts, tuple(steps)), **config), expected, atol=1e-6, rtol=1e-5)


def _scattered(scene: Scene) -> PointCloud:
    keep = torch.rand(scene.fixed.num_points, generator=torch.Generator().manual_seed(0)) < 0.7
    cloud = scene.fixed
    assert cloud.x is not None
    return PointCloud.from_points(cloud.pos[keep], cloud.measure[keep], cloud.x[keep], cloud.batch[keep])


@DIMS
@pytest.mark.parametrize("kind", ["mse", "ncc"])
def test_scattered_fixed_points_are_scored(dim: int, kind: str):
    scene = make_scene(dim, 2)
    scene = replace(scene, fixed=_scattered(scene))
    none, true = (float(_score(scene, scene.trajectory((0,), s), dissimilarity=kind, **ROUGH)) for s in (0, 1))
    assert true < 0.3 * none


def _moving_points(scene: Scene, share: float = 1.0) -> Scene:
    """The scene with moving points that have forgotten their lattice, or a random share of them."""
    if share == 1.0:
        return replace(scene, moving=replace(scene.moving, lattices=()))
    return replace(scene, moving=random_subset(scene.moving, share, torch.Generator().manual_seed(1)))


@DIMS
@ALIKE
@KINDS
def test_scattered_moving_points_are_read_as_their_lattice_is(dim: int, alike: bool, kind: str):
    """At the finest level, all of whose fixed points stay within the moving lattices."""
    scene = make_scene(dim, 2, alike)
    trajectory = scene.trajectory((0,), 0.7)
    expected = _score(scene, trajectory, dissimilarity=kind, **ROUGH)
    torch.testing.assert_close(
        _score(_moving_points(scene), trajectory, dissimilarity=kind, **ROUGH), expected, atol=1e-5, rtol=1e-4
    )


@DIMS
@KINDS
@pytest.mark.parametrize("level", [0, 1])
def test_the_true_displacement_scores_best_with_a_random_half_of_the_moving_points(dim: int, kind: str, level: int):
    scene = _moving_points(make_scene(dim, 2), 0.5)
    none, half, true, double = (
        float(_score(scene, scene.trajectory((level,), share), dissimilarity=kind, **ROUGH)) for share in (0, 0.5, 1, 2)
    )
    assert true < half < none
    assert true < double


@pytest.mark.parametrize("kind", ["mse", "ncc"])
@DIMS
def test_gradcheck_with_scattered_moving_points(dim: int, kind: str):
    scene = _moving_points(make_scene(dim, 1), 0.7)
    trajectory = scene.trajectory((1,), 0.6)
    config = TrajectoryLossConfig(dissimilarity=kind, bending=0.3, folding_margin=0.9)  # type: ignore[arg-type]

    def score(*displacements: torch.Tensor) -> torch.Tensor:
        steps = [replace(s, displacement=u) for s, u in zip(trajectory.steps, displacements, strict=True)]
        return TrajectoryLoss(config)(TrajectoryBatch(trajectory.starts, tuple(steps)), scene.fixed, scene.moving)

    inputs = tuple(step.displacement.clone().requires_grad_() for step in trajectory.steps)
    assert torch.autograd.gradcheck(score, inputs, fast_mode=True)


def test_fixed_points_beyond_the_moving_cloud_do_not_count():
    """Those that are sent away do not change the mean of the others; if all are, nothing is left to compare."""
    scene = _moving_points(make_scene(2, 1))
    step = scene.trajectory((0,), 0.5).last
    away = torch.arange(len(step.displacement)) % 3 == 0
    sent = replace(step, displacement=torch.where(away[:, None], 1000.0, step.displacement).requires_grad_())
    found = _score(scene, TrajectoryBatch(scene.starts, (sent,)), **ROUGH)
    weights = replace(scene.fixed, measure=scene.fixed.measure * ~away)
    expected = _score(replace(scene, fixed=weights), TrajectoryBatch(scene.starts, (step,)), **ROUGH)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found, [sent.displacement])
    assert not gradient[away].any()
    assert bool((gradient[~away].abs().sum(1) > 0).any())
    nobody = replace(step, displacement=torch.full_like(step.displacement, 1000.0))
    assert _score(scene, TrajectoryBatch(scene.starts, (nobody,)), **ROUGH) == 0


@DIMS
def test_scattered_fixed_points_are_smoothed_as_their_lattice_is(dim: int):
    scene = make_scene(dim, 2)
    thinned = replace(scene, fixed=_scattered(scene))
    smooth = {"diffusion": 1.0, "folding": 0.0}
    parts = [
        _score(each, each.trajectory((0,)), **smooth) - _score(each, each.trajectory((0,)), **ROUGH)
        for each in (scene, thinned)
    ]
    assert parts[0] > 0.01
    torch.testing.assert_close(parts[1], parts[0], rtol=0.2, atol=0)


def test_refusals():
    scene = make_scene(2, 2)
    trajectory = scene.trajectory((1, 0))
    scattered = replace(scene, fixed=_scattered(scene))
    with refused("scattered", "bending to 0"):
        _score(scattered, scattered.trajectory((0,)), bending=0.1)
    with refused("lncc", "lattices"):
        _score(scattered, scattered.trajectory((0,)), dissimilarity="lncc", **ROUGH)
    with refused("intensities"):
        _score(replace(scene, fixed=scene.fixed.with_features(None)), trajectory)
    with refused("2 entries", "1 and 2"):
        _score(replace(scene, fixed=scene.fixed.entry(0)), trajectory)
    with refused("level 0", "336 points", "other clouds"):
        last = replace(trajectory.last, points=scene.level(1), displacement=torch.zeros(scene.level(1).num_points, 2))
        _score(scene, TrajectoryBatch(scene.starts, (last,)))
    with refused("level_weights"):
        _score(scene, trajectory, level_weights=(0.0, 0.0))
    with refused("mse, ncc, lncc, mind or nmi", "got mi"):
        TrajectoryLossConfig(dissimilarity="mi")  # type: ignore[arg-type]
    with refused("-1"):
        TrajectoryLossConfig(bending=-1.0)

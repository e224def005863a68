"""A model as a start."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from geogrid.losses.similarity import Similarity
from geogrid.models import GeoReg, GeoRegConfig, load_weights
from geogrid.optimize import LearnedConfig, register_learned
from geogrid.optimize.learned import _View
from geogrid.optimize.pipeline import OptimizeConfig, optimize_pair
from geogrid.optimize.starts import about, rotation, spread_turns
from geogrid.spatial import Grid, Image, PointCloud
from geogrid.spatial.sampling import inside_lattice
from geogrid.transforms import AffineTransform, TrajectoryBatch, affine_between
from tests.optimize.cases import affine_pair, errors_mm, on_grid, phantom
from tests.spatial.cases import centered, make_grid

FEW = LearnedConfig(tried=6, follow=1)


def make_model(dim: int) -> GeoReg:
    """An untrained matcher; enough for a phantom."""
    torch.manual_seed(0)
    return GeoReg(GeoRegConfig(dim, (8, 16, 16), (1, 2, 2), num_blocks=1, hidden=8, radius=1.5, affine_levels=2)).eval()


def turned(dim: int, degrees: float, shift: float) -> AffineTransform:
    """A turn about an oblique axis, and a shift along the diagonal."""
    vector = torch.ones(dim * (dim - 1) // 2, dtype=torch.float64)
    turn = rotation(vector / vector.norm() * math.radians(degrees), dim)
    zero = torch.zeros(dim, dtype=torch.float64)
    return about(turn, zero, zero + shift / math.sqrt(dim))


@pytest.mark.parametrize("dim", [2, 3])
def test_turned_starts_find_a_turn_that_one_start_misses(dim: int) -> None:
    truth = turned(dim, 40.0, 20.0)
    fixed, moving = affine_pair(truth, size=32, spacing=6.0)
    with_turns = register_learned(make_model(dim), fixed, moving, config=FEW)
    without = register_learned(make_model(dim), fixed, moving, config=replace(FEW, largest_turn=0.0))
    errors = [float(errors_mm(found.transform(fixed.grid), truth, fixed.grid).mean()) for found in (with_turns, without)]
    before = float(errors_mm(AffineTransform.identity(dim), truth, fixed.grid).mean())
    assert errors[0] < before / 3
    assert errors[1] > 2 * errors[0]


def test_the_kept_start_is_the_one_with_the_lowest_loss_and_all_are_told() -> None:
    truth = turned(2, 40.0, 10.0)
    fixed, moving = affine_pair(truth, size=40, spacing=5.0)
    config = OptimizeConfig(affine="none")
    alone = optimize_pair(fixed, moving, config)
    both = optimize_pair(fixed, moving, config, model=make_model(2))
    assert alone.start == "headers"
    assert set(alone.losses) == {"headers"}
    assert both.start == "learned"
    assert both.losses["learned"] < both.losses["headers"]
    assert both.losses["headers"] == pytest.approx(alone.losses["headers"], abs=0.02)
    errors = [errors_mm(found.trajectory.transform(found.domain), truth, fixed.grid).mean() for found in (alone, both)]
    assert errors[1] < 1.0 < errors[0]


def test_a_learned_start_that_is_worse_is_not_kept() -> None:
    truth = turned(2, 10.0, 5.0)
    fixed, moving = affine_pair(truth, size=40, spacing=5.0)
    model = make_model(2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    config = OptimizeConfig(learned=LearnedConfig(doubt=0.0))
    found = optimize_pair(fixed, moving, config, model=model)
    assert "learned" in found.losses
    assert found.start in ("affine", "headers")
    assert found.losses[found.start] == min(found.losses.values())


def test_what_is_affine_in_the_answer_becomes_the_start() -> None:
    truth = turned(2, 20.0, 10.0)
    fixed, moving = affine_pair(truth, size=40, spacing=5.0)
    found = register_learned(make_model(2), fixed, moving, config=FEW)
    (step,) = found.steps
    points = step.points.points()
    rest = affine_between(points, points + step.displacement.flatten(1).T, _inside(points))
    assert (rest.matrix - torch.eye(3)).abs().max() < 0.5


def _inside(points: torch.Tensor) -> torch.Tensor:
    return (points.norm(dim=1) < 50.0).float()


@pytest.mark.parametrize(("dim", "covered"), [(2, 17.5), (3, 20.0)])
def test_no_turn_is_far_from_the_spread_ones(dim: int, covered: float) -> None:
    turns = torch.stack(spread_turns(dim, 35.0, 50.0))
    assert torch.equal(turns[0], torch.eye(dim, dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(300, dim * (dim - 1) // 2, generator=generator, dtype=torch.float64)
    lengths = torch.rand(300, 1, generator=generator, dtype=torch.float64) * math.radians(40 if dim == 3 else 50)
    for vector in vectors / vectors.norm(dim=1, keepdim=True) * lengths:
        between = turns.mT @ rotation(vector, dim)
        trace = between.diagonal(dim1=1, dim2=2).sum(1)
        cosine = (trace / 2 if dim == 2 else (trace - 1) / 2).clamp(-1, 1)
        assert math.degrees(float(cosine.acos().min())) < covered + 1.0


def test_a_turned_world_gives_the_turned_answer() -> None:
    truth = turned(2, 15.0, 10.0)
    fixed, moving = affine_pair(truth, size=40, spacing=5.0)
    world = turned(2, 70.0, 30.0)
    model = make_model(2)
    moved = [replace(image, grid=Grid(image.grid.shape, world.matrix @ image.grid.affine)) for image in (fixed, moving)]
    here, there = (register_learned(model, *pair, config=FEW) for pair in ((fixed, moving), moved))
    points = fixed.grid.points()[::50]
    inside = points[points.norm(dim=1) < 60]
    expected = world(here.transform(fixed.grid)(inside))
    found = there.transform(fixed.grid.transformed(world.matrix))(world(inside))
    assert (found - expected).norm(dim=1).max() < 0.5


@pytest.mark.parametrize("degrees", [0.0, 30.0])
def test_the_model_sees_nothing_beyond_either_image(degrees: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a field of view cuts off is not dark, it is left out; else thin slabs would match by their cut faces."""
    fixed, moving = affine_pair(AffineTransform.identity(2), size=40, spacing=5.0)
    fixed, moving = fixed.crop((15, 0), (10, 40)), moving.crop((14, 0), (12, 40))
    model, start, seen = make_model(2), turned(2, degrees, 0.0), []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *clouds, **options: seen.append(clouds) or forward(*clouds, **options))
    register_learned(model, fixed, moving, config=replace(FEW, finer=(0.5,)), starts=[start])
    corners = start.inverse()(
        moving.grid.index_to_world(torch.cartesian_prod(*torch.tensor([[-0.5, 11.5], [-0.5, 39.5]]).double()))
    )
    assert len(seen) >= 3
    for fixed_cloud, _ in seen:
        assert inside_lattice(fixed.grid.world_to_index(fixed_cloud.pos.double()), fixed.grid.shape).all()
    first = seen[0][1].pos
    assert (first >= corners.amin(0)).all()
    assert (first <= corners.amax(0)).all()
    assert len(first) > 0.6 * len(seen[0][0].pos)


def test_a_finer_look_is_kept_only_where_it_helps() -> None:
    truth = turned(2, 15.0, 10.0)
    fixed, moving = affine_pair(truth, size=40, spacing=5.0)
    looks = [
        register_learned(make_model(2), fixed, moving, config=replace(FEW, points=20, finer=finer)) for finer in ((), (0.5,))
    ]
    errors = [float(errors_mm(found.transform(fixed.grid), truth, fixed.grid).mean()) for found in looks]
    assert looks[1].steps[0].points.spacing.max() <= looks[0].steps[0].points.spacing.max()
    assert errors[1] < errors[0] + 0.5


def test_given_starts_replace_the_search() -> None:
    truth = turned(2, 40.0, 10.0)
    fixed, moving = affine_pair(truth, size=40, spacing=5.0)
    from_truth = register_learned(make_model(2), fixed, moving, config=FEW, starts=[truth])
    from_headers = register_learned(make_model(2), fixed, moving, config=FEW, starts=[AffineTransform.identity(2)])
    errors = [float(errors_mm(found.transform(fixed.grid), truth, fixed.grid).mean()) for found in (from_truth, from_headers)]
    assert 2 * errors[0] < errors[1]


@pytest.mark.parametrize(("degrees", "doubtful"), [(5.0, False), (50.0, True)])
def test_the_model_is_asked_where_the_classical_starts_end_apart(degrees: float, doubtful: bool) -> None:
    fixed, moving = affine_pair(turned(2, degrees, 5.0), size=40, spacing=5.0)
    config = OptimizeConfig()
    found = optimize_pair(fixed, moving, config, model=make_model(2))
    assert set(found.losses) == {"affine", "headers"} | ({"learned"} if doubtful else set())
    always = optimize_pair(fixed, moving, replace(config, learned=replace(config.learned, doubt=0.0)), model=make_model(2))
    assert set(always.losses) == {"affine", "headers", "learned"}
    rigid = optimize_pair(fixed, moving, replace(config, affine="rigid"), model=make_model(2))
    assert set(rigid.losses) == {"rigid", "learned"}


class Bends:
    """A smooth map of fixed to moving space, some mm of waves about 80 mm long, that no affine map comes near."""

    def __init__(self, height: float = 8.0) -> None:
        self.height = height

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        waves = torch.stack([torch.sin(points[:, 1] / 13), torch.sin(points[:, 0] / 13 + 1)], 1)
        return points + self.height * waves


def bent_pair() -> tuple[Image, Image, Bends]:
    """``fixed(x) = moving(bends(x))`` in 2-D."""
    grid, bends = centered(make_grid((112, 112), (1.5, 1.5))), Bends()
    return on_grid(grid, bends), on_grid(grid), bends


def test_looks_that_carry_what_was_found_add_to_it() -> None:
    fixed, moving, bends = bent_pair()
    model = load_weights("synth-2d")
    few = replace(FEW, points=30, finer=(0.5,), carried=())
    errors = [
        float(errors_mm(register_learned(model, fixed, moving, config=config).transform(fixed.grid), bends, fixed.grid).mean())
        for config in (few, replace(few, carried=(0.5, 0.35)), replace(few, carried=(0.5, 0.35), largest=10))
    ]
    assert errors[1] < 0.7 * errors[0]
    assert errors[2] == errors[0], "lattices with more points than the largest are left out"


def test_a_look_that_finds_nothing_carries_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, moving, _ = bent_pair()
    model = load_weights("synth-2d")
    view = _View(model, fixed, moving, "lncc", None, 1.5, FEW, fixed.grid)
    found = register_learned(model, fixed, moving, config=replace(FEW, points=30, carried=()))
    forward = model.forward

    def still(*clouds: PointCloud, **options: Any) -> TrajectoryBatch:
        found = forward(*clouds, **options)
        last = replace(found.last, displacement=torch.zeros_like(found.last.displacement))
        return replace(found, steps=(*found.steps[:-1], last))

    monkeypatch.setattr(model, "forward", still)
    with torch.no_grad():
        carried = view.carry(found)
    inside = fixed.grid.points()[phantom(fixed.grid.points().double()) > 0.1]
    there, here = (each.transform(fixed.grid)(inside) for each in (carried, found))
    assert (there - here).norm(dim=1).max() < 0.05


def test_an_inverted_image_is_registered_as_well_by_its_edges() -> None:
    truth = turned(2, 15.0, 6.0)
    fixed, moving = affine_pair(truth, size=80, spacing=2.0)
    fixed, moving = fixed.crop((22, 22), (36, 36)), moving.crop((12, 12), (56, 56))
    inverted, model = replace(moving, data=1.1 - moving.data), load_weights("synth-2d")
    found = [register_learned(model, fixed, image, "nmi") for image in (moving, inverted)]
    errors = [float(errors_mm(each.transform(fixed.grid), truth, fixed.grid).mean()) for each in found]
    assert max(errors) < 0.7
    assert abs(errors[0] - errors[1]) < 0.1


@pytest.mark.parametrize(("similarity", "edges"), [("lncc", False), ("nmi", True), ("mind", True)])
def test_what_the_model_is_shown(similarity: Similarity, edges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, moving = affine_pair(turned(2, 5.0, 3.0), size=80, spacing=2.0)
    fixed = fixed.crop((22, 22), (36, 36))
    model, seen = make_model(2), []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *clouds, **options: seen.append(clouds[0].x) or forward(*clouds, **options))
    config = replace(FEW, passes=1, finer=(), carried=())
    for image in (fixed, replace(fixed, data=1.1 - fixed.data)):
        register_learned(model, image, moving, similarity, config=config, starts=[turned(2, 0.0, 0.0)])
    first, negative = seen[0], seen[len(seen) // 2]
    assert first.shape == negative.shape
    assert (float((first - negative).abs().max()) < 1e-3) == edges

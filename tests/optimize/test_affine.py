"""The affine start survives large turns and shifts."""

from __future__ import annotations

import pytest
import torch

from geogrid.losses.similarity import Similarity
from geogrid.optimize import AffineConfig, register_affine
from geogrid.optimize.pipeline import CLEARLY, OptimizeConfig, best_start, optimize_pair
from geogrid.optimize.starts import rotation as rotation_of_vector
from geogrid.spatial import Image
from geogrid.spatial.cut import is_cut
from geogrid.transforms import AffineTransform
from tests.optimize.cases import affine_pair, errors_mm, on_grid
from tests.spatial.cases import centered, flipped, homogeneous, make_grid, rotation

CASES = {
    2: [((30.0,), (32.0, -24.0)), ((-30.0,), (-40.0, 0.0))],
    3: [((30.0, 0.0, 0.0), (24.0, -24.0, 21.0)), ((0.0, -30.0, 0.0), (0.0, 40.0, 0.0)), ((0.0, 0.0, 30.0), (-40.0, 0.0, 0.0))],
}


def _motion(angles: tuple[float, ...], shift: tuple[float, ...]) -> AffineTransform:
    return AffineTransform(homogeneous(rotation(angles), shift))


@pytest.mark.parametrize(("angles", "shift"), [*CASES[2], *CASES[3]])
def test_thirty_degrees_and_forty_millimetres_to_a_fraction_of_a_voxel(angles: tuple[float, ...], shift: tuple[float, ...]):
    true = _motion(angles, shift)
    fixed, moving = affine_pair(true)
    assert errors_mm(AffineTransform.identity(true.dim), true, fixed.grid).mean() > 39
    found, history = register_affine(fixed, moving, "rigid")
    assert errors_mm(found, true, fixed.grid).max() < 1
    identity = torch.eye(true.dim, dtype=torch.float64)
    torch.testing.assert_close(found.linear.T @ found.linear, identity, atol=1e-6, rtol=0)
    assert torch.linalg.det(found.linear) > 0
    assert {entry.stage for entry in history} == {"affine"}
    levels = [entry.level for entry in history]
    assert levels == sorted(levels, reverse=True)
    assert set(levels) == {2, 1, 0}
    for level in (2, 1, 0):
        losses = [entry.loss for entry in history if entry.level == level]
        assert min(losses) <= losses[0]


@pytest.mark.parametrize("dim", [2, 3])
def test_stretch_is_found_as_no_rigid_map_could(dim: int):
    linear = rotation(CASES[dim][0][0]) @ torch.diag(torch.tensor([1.12, 0.92, 1.05], dtype=torch.float64)[:dim])
    true = AffineTransform(homogeneous(linear, CASES[dim][0][1]))
    fixed, moving = affine_pair(true)
    found = register_affine(fixed, moving, "affine")[0]
    assert errors_mm(found, true, fixed.grid).max() < 4
    nearest_rigid = homogeneous(rotation(CASES[dim][0][0]), CASES[dim][0][1])
    assert errors_mm(AffineTransform(nearest_rigid), true, fixed.grid).max() > 4


@pytest.mark.parametrize("seed", [3, 5, 9])
def test_a_wrong_turn_does_not_win_before_the_stretch_is_found(seed: int):
    """Longer by 1.4 along one of three oblique axes, shorter by as much along another."""
    generator = torch.Generator().manual_seed(seed)
    axes = rotation_of_vector(0.6 * torch.randn(3, generator=generator, dtype=torch.float64), 3)
    stretch = torch.tensor([1.4, 1.0, 1 / 1.4], dtype=torch.float64)[torch.randperm(3, generator=generator)]
    true = AffineTransform(homogeneous(axes @ torch.diag(stretch) @ axes.T, (5.0, -4.0, 3.0)))
    fixed, moving = affine_pair(true, size=36, spacing=5.0)
    assert errors_mm(register_affine(fixed, moving)[0], true, fixed.grid).mean() < 1


def test_auto_is_affine_and_none_trusts_the_headers():
    fixed, moving = affine_pair(_motion(*CASES[2][0]))
    auto, affine = (register_affine(fixed, moving, kind)[0] for kind in ("auto", "affine"))
    assert torch.equal(auto.matrix, affine.matrix)
    found, history = register_affine(fixed, moving, "none")
    assert torch.equal(found.matrix, torch.eye(3, dtype=torch.float64))
    assert history == []


def test_intensity_scale_and_storage_do_not_matter():
    true = _motion(*CASES[2][0])
    fixed, moving = affine_pair(true)
    other = Image((0.7 * moving.data + 0.1).flip(0), flipped(moving.grid, 0))
    assert errors_mm(register_affine(fixed, other, "rigid")[0], true, fixed.grid).max() < 1


def test_the_same_pair_twice_gives_the_same_bits():
    fixed, moving = affine_pair(_motion(*CASES[2][1]))
    assert torch.equal(register_affine(fixed, moving)[0].matrix, register_affine(fixed, moving)[0].matrix)


def test_what_has_no_weight_is_not_looked_at():
    true = _motion((10.0,), (8.0, -4.0))
    fixed, moving = affine_pair(true)
    left = (fixed.grid.points()[:, 0] < -10).reshape(fixed.grid.shape)
    noise = torch.rand(fixed.grid.shape, generator=torch.Generator().manual_seed(0))
    spoilt = Image(torch.where(left, noise, fixed.data), fixed.grid)
    found = register_affine(spoilt, moving, "rigid", Image((~left).float(), fixed.grid))[0]
    assert errors_mm(found, true, fixed.grid).max() < 2


def test_settings_reach_the_search():
    fixed, moving = affine_pair(_motion(*CASES[2][0]))
    config = AffineConfig(scales=(1.0,), iterations=(5,), angles=(), num_starts=1)
    history = register_affine(fixed, moving, "rigid", config=config)[1]
    assert {entry.level for entry in history} == {0}
    assert len(history) < len(register_affine(fixed, moving, "rigid")[1])


def test_an_optimisation_ends_when_iterations_bring_no_more_than_the_tolerance():
    fixed, moving = affine_pair(_motion(*CASES[2][1]))
    short = register_affine(fixed, moving, config=AffineConfig(tolerance=1e-2))[1]
    assert len(short) < len(register_affine(fixed, moving, config=AffineConfig(tolerance=1e-5))[1])


def _windows() -> tuple[Image, Image, AffineTransform]:
    """Two windows of one phantom, aside of each other, and the shift that brings the first into the second's world."""
    grid = centered(make_grid((20, 22, 18), (3.0, 3.0, 3.0)))
    aside, true = torch.eye(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    aside[0, -1], true[:-1, -1] = 24, 3
    motion = AffineTransform(true)
    return on_grid(grid), on_grid(grid.transformed(aside), motion.inverse()), motion


def test_auto_begins_from_the_headers_where_images_are_cut():
    fixed, moving, true = _windows()
    assert is_cut(fixed)
    assert is_cut(moving)
    found, _ = register_affine(fixed, moving)
    assert errors_mm(found, true, fixed.grid).mean() < 1


@pytest.mark.parametrize("similarity", ["mind", "edges"])
def test_right_headers_of_images_that_are_cut_are_kept(similarity: Similarity):
    fixed, moving, true = _windows()
    found = optimize_pair(fixed, moving, OptimizeConfig(similarity=similarity))
    assert found.start == best_start(found.losses, CLEARLY) == "headers"
    assert errors_mm(found.trajectory.transform(found.domain), true, fixed.grid).mean() < 1.5

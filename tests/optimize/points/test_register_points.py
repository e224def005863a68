"""Point registration end to end: known answers, symmetries, odd clouds."""

from __future__ import annotations

import warnings

import pytest
import torch

from geogrid.data import PointPairConfig, random_point_pair
from geogrid.errors import GeogridError, GeogridWarning
from geogrid.optimize import PointsConfig, register_points
from tests.optimize.points.clouds import mean_error, scattered, shuffled, wave
from tests.spatial.cases import rotation

ANGLES = {2: (40.0,), 3: (40.0, -15.0, 100.0)}


@pytest.mark.parametrize("dim", [2, 3])
def test_a_wave_is_found_and_every_point_matched(dim):
    fixed = scattered(dim, 200)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    found = register_points(fixed, wave(fixed)[order])
    assert mean_error(found.transform(fixed), wave(fixed)) < 0.5
    assert found.mean_support > 0.9
    right = order[found.matches.clamp_min(0)] == torch.arange(200)
    assert float((right & (found.matches >= 0)).double().mean()) > 0.9
    assert found.matches.shape == found.confidence.shape == found.match_support.shape == (200,)


@pytest.mark.parametrize("dim", [2, 3])
def test_points_without_partners_on_either_side_are_tolerated(dim):
    config = PointPairConfig(("volume",), dim, (300, 300), motion=(4.0, 6.0), kept=(0.7, 0.7), outliers=0.3, local=0.0)
    pair = random_point_pair(torch.Generator().manual_seed(3), config)
    found = register_points(pair.fixed, pair.moving)
    before = mean_error(pair.landmarks, pair.landmarks_moved)
    assert mean_error(found.transform(pair.landmarks), pair.landmarks_moved) < before / 2
    has = pair.partner >= 0
    assert float(found.match_support[has].mean()) > float(found.match_support[~has].mean()) + 0.2


@pytest.mark.parametrize("dim", [2, 3])
def test_the_order_of_the_points_changes_nothing(dim):
    fixed, moving = scattered(dim), shuffled(wave(scattered(dim)))
    order = torch.randperm(len(fixed), generator=torch.Generator().manual_seed(2))
    found, again = register_points(fixed, moving), register_points(fixed[order], shuffled(moving))
    assert torch.equal(found.transform(fixed), again.transform(fixed))
    assert torch.equal(found.match_support[order], again.match_support)
    assert torch.equal(moving[found.matches[order]], shuffled(moving)[again.matches])


@pytest.mark.parametrize("dim", [2, 3])
def test_rigid_motions_of_both_worlds_move_the_map_along(dim):
    fixed, moving = scattered(dim), shuffled(wave(scattered(dim)))
    first, second = rotation(ANGLES[dim]), torch.arange(1.0, dim + 1, dtype=torch.float64) * 50
    turned = register_points(fixed @ first.T + second, moving @ first.T + second)
    plain = register_points(fixed, moving).transform(fixed)
    torch.testing.assert_close(turned.transform(fixed @ first.T + second), plain @ first.T + second, atol=1e-3, rtol=0)


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_the_unit_of_length_does_not_matter(unit):
    fixed, moving = scattered(2), wave(scattered(2))
    other = register_points(fixed * unit, moving * unit).transform(fixed * unit)
    torch.testing.assert_close(other / unit, register_points(fixed, moving).transform(fixed), atol=1e-3, rtol=0)


def test_float32_and_float64_give_the_same_and_keep_their_type():
    fixed, moving = scattered(2), wave(scattered(2))
    single = register_points(fixed.float(), moving.float())
    assert single.confidence.dtype == single.transform(fixed.float()).dtype == torch.float32
    exact = register_points(fixed, moving).transform(fixed)
    torch.testing.assert_close(single.transform(fixed), exact, atol=1e-2, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 10])
def test_a_handful_of_points_that_are_shifted(dim, count):
    fixed = scattered(dim, count, seed=count)
    shift = torch.tensor([3.0, -2.0, 5.0], dtype=torch.float64)[:dim]
    found = register_points(fixed, shuffled(fixed + shift))
    assert mean_error(found.transform(fixed), fixed + shift) < 0.1 * float(shift.norm())


@pytest.mark.parametrize("flat", [1, 2])
def test_collinear_and_coplanar_clouds(flat):
    fixed = scattered(3)
    fixed[:, -flat:] = 0
    shift = torch.tensor([2.0, -2.0, 1.0], dtype=torch.float64)
    found = register_points(fixed, shuffled(fixed + shift))
    assert mean_error(found.transform(fixed), fixed + shift) < 0.2
    assert bool(torch.isfinite(found.transform(scattered(3))).all())


def test_duplicates_on_one_side():
    fixed, moving = scattered(3), wave(scattered(3))
    found = register_points(torch.cat([fixed, fixed[:40], fixed[:40]]), moving)
    assert mean_error(found.transform(fixed), moving) < 1


def test_far_outliers_do_not_move_the_cloud():
    fixed, far = scattered(3), 3000 * torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = register_points(torch.cat([fixed, far[:20]]), torch.cat([wave(fixed), far[20:]]))
    assert mean_error(found.transform(fixed), wave(fixed)) < 1


def test_one_place_each_is_a_shift():
    fixed, moving = torch.ones(20, 3), torch.full((30, 3), 4.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeogridWarning)
        found = register_points(fixed, moving)
    torch.testing.assert_close(found.transform(fixed), torch.full((20, 3), 4.0), atol=0.05, rtol=0)


def test_clouds_that_lie_far_apart_are_brought_together():
    fixed = scattered(2)
    found = register_points(fixed, fixed + 5000)
    assert mean_error(found.transform(fixed), fixed + 5000) < 0.5


def test_features_settle_what_positions_cannot():
    """A circle turned by 72 degrees: positions alone do not tell by how much."""
    angle = torch.linspace(0, 2 * torch.pi, 101, dtype=torch.float64)[:100]
    circle = 50 * torch.stack([angle.cos(), angle.sin()], 1)
    features = torch.stack([angle.cos(), angle.sin()], 1)
    turned = circle @ rotation((72.0,)).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeogridWarning)
        blind = register_points(circle, turned)
    seeing = register_points(circle, turned, features=(features, features))
    assert mean_error(seeing.transform(circle), turned) < 2 < mean_error(blind.transform(circle), turned)


def test_unrelated_clouds_give_a_warning():
    with pytest.warns(GeogridWarning, match="match support is 0"):
        register_points(scattered(3, 200), scattered(3, 200, seed=77))


def test_more_points_than_are_asked_still_get_matches():
    fixed = scattered(2, 300)
    found = register_points(fixed, wave(fixed), PointsConfig(sparse_points=150))
    assert mean_error(found.transform(fixed), wave(fixed)) < 1
    assert float((found.matches == torch.arange(300)).double().mean()) > 0.8


def test_the_history_names_the_stages():
    found = register_points(scattered(2), wave(scattered(2)))
    assert list(dict.fromkeys(entry.stage for entry in found.history)) == ["affine", "dense", "sparse", "settle"]


def test_inputs_are_not_changed():
    fixed, moving = scattered(2), wave(scattered(2))
    kept = fixed.clone(), moving.clone()
    register_points(fixed, moving)
    assert torch.equal(fixed, kept[0])
    assert torch.equal(moving, kept[1])


REFUSED = {
    "empty": (torch.zeros(0, 3), torch.rand(5, 3), "at least one point"),
    "nan": (torch.rand(5, 3), torch.full((5, 3), torch.nan), "finite"),
    "dimensions": (torch.rand(5, 3), torch.rand(5, 2), "3-D points like the fixed"),
    "shape": (torch.rand(5, 4), torch.rand(5, 4), "shape"),
    "integers": (torch.ones(5, 3, dtype=torch.long), torch.rand(5, 3), "float32 or float64"),
    "size": (torch.rand(50, 3) * 200, torch.rand(50, 3) * 0.65, "bring both into one unit"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_registered_is_told_in_one_line(name):
    fixed, moving, words = REFUSED[name]
    with pytest.raises(GeogridError, match=words) as caught:
        register_points(fixed, moving)
    assert "\n" not in str(caught.value)


def test_known_partners_turn_what_positions_alone_cannot():
    """A circle turned by 72 degrees, told by five pairs."""
    angle = torch.linspace(0, 2 * torch.pi, 101, dtype=torch.float64)[:100]
    circle = 50 * torch.stack([angle.cos(), angle.sin()], 1)
    turned, order = circle @ rotation((72.0,)).T, torch.randperm(100, generator=torch.Generator().manual_seed(0))
    pairs = torch.stack([order[::20], torch.arange(0, 100, 20)], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeogridWarning)
        blind = register_points(circle, turned[order])
        told = register_points(circle, turned[order], correspondences=pairs)
    assert mean_error(told.transform(circle), turned) < 2 < mean_error(blind.transform(circle), turned)


def test_pairs_of_rows_that_are_not_there_are_refused():
    with pytest.raises(GeogridError, match="rows below"):
        register_points(torch.rand(5, 3), torch.rand(6, 3), correspondences=torch.tensor([[4, 6]]))
    with pytest.raises(GeogridError, match="int64"):
        register_points(torch.rand(5, 3), torch.rand(6, 3), correspondences=torch.rand(2, 2))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_metres_against_mm_are_told_and_registered_as_if_in_one_unit(dim, unit):
    fixed = scattered(dim)
    with pytest.warns(GeogridWarning, match="another unit"):
        found = register_points(fixed, shuffled(wave(fixed)) * unit)
    assert mean_error(found.transform(fixed) / unit, wave(fixed)) < 0.5
    back = found.transform.inverse_of(wave(fixed) * unit)
    assert mean_error(back.points, fixed) < 0.5
    assert mean_error(found.affine_start(fixed) / unit, wave(fixed)) < 10


def test_features_that_do_not_fit_are_refused():
    fixed, moving = torch.rand(5, 3), torch.rand(6, 3)
    with pytest.raises(GeogridError, match="moving features"):
        register_points(fixed, moving, features=(torch.rand(5, 2), torch.rand(5, 2)))
    with pytest.raises(GeogridError, match="same channels"):
        register_points(fixed, moving, features=(torch.rand(5, 2), torch.rand(6, 1)))


@pytest.mark.parametrize(
    "settings",
    [
        {"outliers": 0.0},
        {"voting": "loud"},
        {"passes": 0},
        {"widths": (1.0, -1.0, 1.0)},
        {"widths": (1.0,)},
        {"closing_widths": (1.0,)},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(GeogridError, match="expected"):
        PointsConfig(**settings)

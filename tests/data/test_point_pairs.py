"""Synthetic point pairs: what was asked for, and the same from the same seed."""

from __future__ import annotations

import pytest
import torch

from geogrid.data import PointPairConfig, random_point_pair
from geogrid.data.point_shapes import SHAPES, random_shape
from geogrid.errors import GeogridError


def draw(seed: int = 0, **settings: object) -> torch.Tensor:
    config = PointPairConfig(num_points=(200, 300), **settings)
    return random_point_pair(torch.Generator().manual_seed(seed), config)


def test_the_same_seed_gives_the_same_pair():
    first, second = draw(), draw()
    assert torch.equal(first.fixed, second.fixed)
    assert torch.equal(first.partner, second.partner)
    assert not torch.equal(first.fixed[:50], draw(1).fixed[:50])


@pytest.mark.parametrize("dim", [2, 3])
def test_partners_are_the_same_point(dim):
    pair = draw(dim=dim, noise=(0.0, 0.0), texture=(0.0, 0.0))
    has = pair.partner >= 0
    nearest = torch.cdist(pair.fixed[has], pair.landmarks, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
    torch.testing.assert_close(pair.landmarks_moved[nearest], pair.moving[pair.partner[has]], atol=1e-3, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_the_displacement_of_each_point_leads_to_its_partner(dim):
    pair = draw(dim=dim, noise=(0.0, 0.0), outliers=0.3)
    has = pair.partner >= 0
    torch.testing.assert_close((pair.fixed + pair.displacement)[has], pair.moving[pair.partner[has]], atol=1e-3, rtol=0)
    outliers = (torch.cdist(pair.fixed, pair.landmarks, compute_mode="donot_use_mm_for_euclid_dist").amin(1) > 0).nonzero()
    assert len(outliers) > 0
    assert bool(pair.displacement[outliers[:, 0]].isnan().all())


@pytest.mark.parametrize("dim", [2, 3])
def test_turns_and_shifts_are_as_large_as_asked_and_change_nothing_else(dim):
    asked = {"texture": (0.0, 0.0), "motion": (0.0, 0.0)}
    still = draw(dim=dim, **asked)
    turned = draw(dim=dim, turn_degrees=(40.0, 40.0), shift=(7.0, 7.0), **asked)
    torch.testing.assert_close(turned.landmarks, still.landmarks)
    before, after = (p - p.mean(0) for p in (turned.landmarks, turned.landmarks_moved))
    first, _, second = torch.linalg.svd(before.T @ after)
    rotation = first @ second
    torch.testing.assert_close(before @ rotation, after, atol=1e-3, rtol=0)
    cosine = (rotation.trace() - (dim - 2)) / 2
    assert float(cosine.acos().rad2deg()) == pytest.approx(40, abs=0.1)
    assert float((turned.landmarks_moved - turned.landmarks).mean(0).norm()) == pytest.approx(7, abs=1e-3)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_pair_that_is_not_oriented_is_turned_as_a_whole(dim):
    exact = {"noise": (0.0, 0.0), "kept": (1.0, 1.0), "outliers": 0.0}
    upright, turned = (draw(dim=dim, oriented=oriented, **exact) for oriented in (True, False))
    for name in ("landmarks", "landmarks_moved"):
        first, second = getattr(upright, name), getattr(turned, name)
        torch.testing.assert_close(torch.pdist(first), torch.pdist(second), atol=1e-2, rtol=0)
    turn = torch.linalg.lstsq(upright.landmarks, turned.landmarks).solution
    torch.testing.assert_close(turn.T @ turn, torch.eye(dim), atol=1e-3, rtol=0)
    assert float(torch.linalg.det(turn)) == pytest.approx(1, abs=1e-3)
    assert float((turn - torch.eye(dim)).abs().max()) > 0.1


def test_no_moving_point_is_the_partner_of_two():
    partner = draw().partner
    used = partner[partner >= 0]
    assert len(used) == len(used.unique()) > 0


def test_shares_of_kept_points_and_outliers_are_as_asked():
    pair = draw(kept=(0.5, 0.5), outliers=0.0)
    assert len(pair.fixed) == len(pair.moving) == round(0.5 * len(pair.landmarks))
    many = draw(kept=(0.5, 0.5), outliers=0.3)
    assert len(pair.fixed) < len(many.fixed) <= 1.3 * len(pair.fixed)


def test_the_motion_is_as_large_as_asked():
    lengths = [(p.landmarks_moved - p.landmarks).norm(dim=1).mean() for p in (draw(s, motion=(5.0, 7.0)) for s in range(4))]
    assert all(float(length) < 8 for length in lengths)
    assert any(float(length) > 4 for length in lengths)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_have_as_many_points_as_asked(shape, dim):
    points = random_shape(shape, 150, dim, torch.Generator().manual_seed(0))
    assert points.shape == (150, dim)
    assert bool(torch.isfinite(points).all())
    assert 20 < float(points.std()) < 200


def test_an_unknown_shape_is_refused():
    with pytest.raises(GeogridError, match="expected one of volume, tree, surface"):
        random_shape("cube", 10, 3, torch.Generator())

"""A trained model beside the classical stages: one more proposal, an answer of its own, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geogrid.data import PointPairConfig, random_point_pair
from geogrid.errors import GeogridError, GeogridWarning
from geogrid.models import GeoReg, GeoRegConfig, load_weights
from geogrid.optimize import PointsConfig, register_points
from geogrid.optimize.points.cloud import OrderedCloud
from geogrid.optimize.points.fit import SmoothFit
from geogrid.optimize.points.network import network_map
from tests.optimize.points.clouds import mean_error, scattered, shuffled, wave

QUICK = PointsConfig(control_points=60)


def model(dim: int = 3, in_channels: int = 0) -> GeoReg:
    torch.manual_seed(0)
    return GeoReg(GeoRegConfig(dim=dim, channels=(8, 16), steps=(1, 1), in_channels=in_channels, num_blocks=1)).eval()


@pytest.mark.parametrize("dim", [2, 3])
def test_an_untrained_models_proposal_does_no_harm(dim: int):
    fixed = scattered(dim, 300)
    moving = shuffled(wave(fixed))
    alone, both = (register_points(fixed, moving, QUICK, model=one) for one in (None, model(dim)))
    assert set(alone.followed) == {"affine", "dense", "sparse"}
    assert set(both.followed) == {"affine", "dense", "sparse", "network"}
    assert sum(both.followed.values()) == pytest.approx(1)
    assert mean_error(both.transform(fixed), wave(fixed)) < mean_error(alone.transform(fixed), wave(fixed)) + 0.1


def test_a_proposal_that_alone_is_right_is_followed():
    """A turn of 90 degrees, which annealing from where the clouds are does not find."""
    fixed = scattered(3, 300)
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    moved = (fixed - 50) @ turn.T + 50
    with pytest.warns(GeogridWarning, match="match support"):
        assert mean_error(register_points(fixed, moved, QUICK).transform(fixed), moved) > 20
    found = register_points(fixed, shuffled(moved), QUICK, model=Knowing(turn))
    assert found.followed["network"] > 0.95
    assert mean_error(found.transform(fixed), moved) < 1


class Knowing(GeoReg):
    """Turns what it sees by a known turn about the middle of the fixed points."""

    def __init__(self, turn: Tensor) -> None:
        super().__init__(GeoRegConfig(dim=3, channels=(8,), steps=(1,), in_channels=0, num_blocks=1))
        self.turn = turn

    def forward(self, fixed, moving, scale=None, starts=()):  # type: ignore[no-untyped-def]
        trajectory = super().forward(fixed, moving, scale, starts)
        step = trajectory.last
        middles = [cloud.pos.double().mean(0) for cloud in (fixed, moving)]
        place = (step.points.pos.double() - middles[0]) @ self.turn.T + middles[1]
        return replace(trajectory, steps=(replace(step, displacement=place - step.points.pos),))


def test_the_order_of_the_points_changes_nothing():
    fixed, network = scattered(3, 200), model()
    moving = wave(fixed)
    one, two = (register_points(*pair, QUICK, model=network) for pair in ((fixed, moving), (shuffled(fixed), shuffled(moving))))
    torch.testing.assert_close(one.transform(fixed), two.transform(fixed), atol=1e-3, rtol=0)


@pytest.mark.parametrize("unit", [0.001, 30.0])
def test_the_unit_of_length_does_not_matter_to_the_model(unit: float):
    fixed, moving, network = scattered(3, 150), scattered(3, 150, seed=1), model()
    maps = []
    for factor in (1.0, unit):
        first, second = (OrderedCloud.of(factor * cloud) for cloud in (fixed, moving))
        scale = first.radius
        first, second = (cloud.centred(factor * torch.full((3,), 50.0), scale) for cloud in (first, second))
        fit = SmoothFit(first.spread_points(40), QUICK.widths, QUICK.amplitudes)
        maps.append(network_map(network, first, second, first.spacing(), fit))
    torch.testing.assert_close(maps[0], maps[1], atol=1e-3, rtol=1e-3)


def test_the_model_alone_answers_without_an_optimisation():
    fixed = scattered(3, 200)
    found = register_points(fixed, wave(fixed), model=model(), optimize=False)
    assert found.history == []
    assert found.followed == {"network": 1.0}
    assert bool(found.transform(fixed).isfinite().all())
    assert found.matches.shape == found.match_support.shape == (200,)


@pytest.mark.parametrize("count", [200, 20])
def test_alone_needs_a_model_and_points_enough(count: int):
    fixed = scattered(3, count)
    network = model() if count == 20 else None
    with pytest.raises(GeogridError, match=r"optimize: .* expected one and at least 50 points"):
        register_points(fixed, fixed, model=network, optimize=False)


@pytest.mark.parametrize(("dim", "channels"), [(2, 0), (3, 1)])
def test_models_of_other_points_are_refused(dim: int, channels: int):
    fixed = scattered(3)
    with pytest.raises(GeogridError, match=r"expected one for 3-D points without features"):
        register_points(fixed, fixed, model=model(dim, channels))


def test_a_handful_of_points_do_not_ask_the_model():
    fixed = scattered(3, 12)
    assert "network" not in register_points(fixed, fixed + 2, model=model()).followed


@pytest.mark.filterwarnings("ignore::geogrid.errors.GeogridWarning")
def test_the_shipped_weights_answer_most_pairs_alone_and_do_no_harm_as_a_proposal():
    """Pairs that no training has seen, turned by 25 degrees."""
    config = PointPairConfig(turn_degrees=(25.0, 25.0), num_points=(700, 900))
    network = load_weights("points-3d")
    errors: list[list[float]] = []
    for seed in range(5):
        pair = random_point_pair(torch.Generator().manual_seed(5000 + seed), config)
        found = [
            register_points(pair.fixed, pair.moving, model=one, optimize=optimize)
            for one, optimize in ((None, True), (network, True), (network, False))
        ]
        maps = [*(one.transform(pair.landmarks) for one in found), pair.landmarks]
        errors.append([mean_error(places, pair.landmarks_moved) for places in maps])
    plain, beside, alone, before = torch.tensor(errors).T
    assert before.mean() > 20
    assert alone.median() < before.median() / 6
    assert (beside < plain + 0.1).all()

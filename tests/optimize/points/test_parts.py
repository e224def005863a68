"""The parts of point registration: units, assignment, fit, evidence, votes."""

from __future__ import annotations

import math

import pytest
import torch

from geogrid.graph import compiled
from geogrid.models import load_vote_scorer
from geogrid.optimize.points.agreement import vote_by_agreement
from geogrid.optimize.points.anneal import falling
from geogrid.optimize.points.assign import LEAST_VOTE, Assigner
from geogrid.optimize.points.ballot import AROUND, LEVEL, SLOPE, Ballot, nearest_others
from geogrid.optimize.points.cloud import OrderedCloud, geometric_median
from geogrid.optimize.points.config import PointsConfig
from geogrid.optimize.points.evidence import evidence_fit
from geogrid.optimize.points.fit import SmoothFit
from geogrid.optimize.points.learned import vote_by_scorer
from geogrid.optimize.points.matches import Matches
from tests.optimize.points.clouds import scattered, shuffled
from tests.spatial.cases import rotation

AMPLITUDES, WIDTHS = (0.3, 0.5), (0.3, 1.0)


def test_the_geometric_median_is_not_dragged_away():
    points = torch.cat([scattered(2), torch.full((20, 2), 1e5, dtype=torch.float64)])
    assert float((geometric_median(points) - 50).norm()) < 20 < float((points.mean(0) - 50).norm())
    square = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(geometric_median(square), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("dim", [2, 3])
def test_the_order_of_a_cloud_is_its_own(dim):
    points = scattered(dim)
    cloud, again = OrderedCloud.of(points), OrderedCloud.of(shuffled(points))
    assert torch.equal(cloud.points, again.points)
    assert torch.equal(points[cloud.order], cloud.points)
    turn = rotation((30.0,) if dim == 2 else (30.0, 10.0, -70.0))
    assert torch.equal(OrderedCloud.of(points @ turn.T + 7).order, cloud.order)


def test_spacing_and_radius_are_lengths():
    cloud, larger = OrderedCloud.of(scattered(3)), OrderedCloud.of(1000 * scattered(3))
    assert larger.radius == pytest.approx(1000 * cloud.radius)
    assert larger.spacing() == pytest.approx(1000 * cloud.spacing())
    grid = torch.cartesian_prod(*[torch.arange(9.0)] * 2)
    assert OrderedCloud.of(grid).spacing() == 1.0
    assert OrderedCloud.of(torch.cat([grid, grid, grid])).spacing() == 1.0


def test_spread_points_leave_duplicates_and_far_ones_out():
    points = torch.cat([scattered(2, 30), scattered(2, 30), torch.full((3, 2), 1e6, dtype=torch.float64)])
    taken = OrderedCloud.of(points).spread_points(50)
    assert len(taken) == 30
    assert float(taken.max()) <= 100


def test_a_subset_has_the_density_of_the_whole():
    points = torch.cat([scattered(2, 900), scattered(2, 300, seed=1) + 300])
    part = OrderedCloud.of(points).subset(200).points
    assert len(part) == 200
    assert float((part[:, 0] > 200).double().mean()) == pytest.approx(0.25, abs=0.02)


def test_soft_assignment_is_the_formula_written_out():
    fixed = OrderedCloud.of(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
    moving = OrderedCloud.of(torch.tensor([[1.0, 0.0], [4.0, 1.0], [50.0, 0.0]]))
    found = Assigner(fixed, moving, outliers=0.2)(fixed.points, 2.0)
    for row, place in enumerate(fixed.points):
        weight, target = 0.0, torch.zeros(2, dtype=torch.float64)
        for point in moving.points:
            likely = [math.exp(-float((p - point).square().sum()) / 8) for p in fixed.points]
            share = math.exp(-float((place - point).square().sum()) / 8) / (0.2 + sum(likely))
            weight, target = weight + share, target + share * point
        assert float(found.weight[row]) == pytest.approx(weight, rel=1e-5)
        torch.testing.assert_close(found.target[row], target / weight, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dim", [2, 3])
def test_near_neighbours_suffice_when_sigma_is_small(dim):
    fixed, moving = OrderedCloud.of(scattered(dim, 60)), OrderedCloud.of(scattered(dim, 70, seed=1))
    everyone = Assigner(fixed, moving, 0.15)(fixed.points, 4.0)
    near = Assigner(fixed, moving, 0.15, neighbors=20)(fixed.points, 4.0)
    torch.testing.assert_close(near.weight, everyone.weight, rtol=1e-4, atol=1e-5)
    moved = everyone.weight > 1e-3
    torch.testing.assert_close(near.target[moved], everyone.target[moved], rtol=1e-4, atol=1e-3)
    assert near.loss == pytest.approx(everyone.loss, rel=1e-4)


def test_features_decide_between_points_at_the_same_distance():
    fixed = OrderedCloud.of(torch.zeros(1, 2), torch.tensor([[1.0]]))
    moving = OrderedCloud.of(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([[1.0], [0.0]]))
    wanted = float(moving.points[moving.features[:, 0] == 1][0, 0])
    for neighbors in (None, 2):
        target = Assigner(fixed, moving, 0.1, feature_sigma=0.1, neighbors=neighbors)(fixed.points, 1.0).target
        assert float(target[0, 0]) == pytest.approx(wanted, abs=1e-3)


def _fit(dim: int, count: int = 30) -> tuple[SmoothFit, torch.Tensor]:
    points = scattered(dim, count, size=2.0) - 1
    return SmoothFit(points[:12], WIDTHS, AMPLITUDES), points


@pytest.mark.parametrize("dim", [2, 3])
def test_an_affine_motion_is_found_and_needs_no_kernels(dim):
    fit, points = _fit(dim)
    matrix = 0.3 * torch.randn(dim, dim, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    motion = points @ matrix + 0.4
    theta = fit.solve(fit.basis(points), motion, torch.full((len(points),), 1e8, dtype=torch.float64))
    far = 10 * points
    torch.testing.assert_close(fit.transform(theta)(far), far + far @ matrix + 0.4, rtol=0.02, atol=0.1)


@pytest.mark.parametrize("dim", [2, 3])
def test_the_fit_is_the_minimum_of_its_objective(dim):
    fit, points = _fit(dim)
    draw = torch.Generator().manual_seed(3)
    motion = torch.randn(len(points), dim, generator=draw, dtype=torch.float64)
    weight = torch.rand(len(points), generator=draw, dtype=torch.float64)
    basis = fit.basis(points)
    theta = fit.solve(basis, motion, weight).requires_grad_()
    loss = (weight[:, None] * (basis @ theta - motion).square()).sum() + (theta * (fit.precision @ theta)).sum()
    (gradient,) = torch.autograd.grad(loss, theta)
    assert float(gradient.abs().max()) < 1e-5


def test_the_transform_is_the_basis():
    fit, points = _fit(3)
    theta = torch.randn(16, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.1
    torch.testing.assert_close(fit.transform(theta)(points), points + fit.basis(points) @ theta)


def test_evidence_is_the_marginal_likelihood_written_out():
    """Against the density of a Gaussian with the full covariance: the same noise and stiffness come out best."""
    fit, points = _fit(2)
    basis, draw = fit.basis(points), torch.Generator().manual_seed(4)
    covariance = basis @ torch.linalg.inv(fit.precision) @ basis.T
    root = torch.linalg.cholesky(covariance + 1e-6 * torch.eye(len(points), dtype=torch.float64))
    motion = 0.5 * root @ torch.randn(len(points), 2, generator=draw, dtype=torch.float64)
    motion = motion + 0.1 * torch.randn(len(points), 2, generator=draw, dtype=torch.float64)
    noises = torch.tensor([0.025, 0.05, 0.1, 0.2, 0.4], dtype=torch.float64)
    found = evidence_fit(fit, basis, motion, torch.ones(len(points), dtype=torch.float64), noises)
    scores = {}
    for noise in noises.tolist():
        for stiffness in (2.0**k for k in range(-4, 5)):
            full = covariance / stiffness + noise**2 * torch.eye(len(points), dtype=torch.float64)
            density = torch.distributions.MultivariateNormal(torch.zeros(len(points), dtype=torch.float64), full)
            scores[noise, stiffness] = float(density.log_prob(motion.T).sum())
    assert (found.noise, found.stiffness) == max(scores, key=scores.__getitem__)
    expected = fit.solve(basis, motion, torch.full((30,), 1 / (found.noise**2 * found.stiffness), dtype=torch.float64))
    torch.testing.assert_close(basis @ found.theta, basis @ expected, rtol=1e-4, atol=1e-5)


def test_falling_sequences_never_rise():
    assert falling(8.0, 1.0, 4) == pytest.approx([8.0, 4.0, 2.0, 1.0])
    assert falling(1.0, 8.0, 3) == [1.0, 1.0, 1.0]
    assert falling(3.0, 1.0, 1) == [3.0]


def _ballot(fixed, place, moving, **settings):
    clouds = (OrderedCloud(p, torch.arange(len(p)), p.mean(0), 1.0) for p in (fixed, moving))
    first, second = clouds
    return Ballot.of(first, place, second, 10.0, PointsConfig(**settings))


def test_nobody_votes_on_himself_even_among_duplicates():
    points = torch.cat([scattered(2, 30), scattered(2, 30)])
    ballot = _ballot(points, points, points, voters=7)
    assert ballot.voters.shape == (60, 7)
    assert not (ballot.voters == torch.arange(60)[:, None]).any()
    assert torch.equal(nearest_others(points, 7), ballot.voters)
    assert nearest_others(points[:1], 7).shape == (1, 0)


def test_shares_sum_to_at_most_one_on_either_side():
    fixed = scattered(2, 40)
    ballot = _ballot(fixed, fixed, scattered(2, 15, seed=1))
    score = 5 * torch.randn(ballot.candidates.shape, generator=torch.Generator().manual_seed(0))
    shares = ballot.shares(score, 0.1)
    assert float(shares.sum(1).max()) <= 1 + 1e-6
    taken = torch.zeros(15).index_add(0, ballot.candidates.flatten(), shares.flatten())
    assert float(taken.max()) <= 1 + 1e-5


def test_disagreement_is_the_squared_difference_of_offsets():
    fixed = scattered(3, 20)
    ballot = _ballot(fixed, fixed, scattered(3, 25, seed=1), voters=5, candidates=4)
    i, j, k, m = 7, 2, 1, 3
    expected = (ballot.offset[i, k] - ballot.offset[ballot.voters[i, j], m]).square().sum()
    torch.testing.assert_close(ballot.disagreement[i, j, k, m], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_consensus_is_the_regression_written_out(dim):
    fixed = scattered(dim, 40)
    ballot = _ballot(fixed, fixed, scattered(dim, 50, seed=1), voters=9, candidates=5)
    shares = torch.rand(40, 5, generator=torch.Generator().manual_seed(0)).softmax(1)
    aside, weight = ballot.consensus(shares)
    point, normal, right = 11, torch.diag(torch.tensor([LEVEL] + [SLOPE] * dim)), torch.zeros(dim + 1, dim)
    for j, voter in enumerate(ballot.voters[point]):
        row = torch.cat([torch.ones(1), ballot.toward[point, j]])
        near = torch.exp(-ballot.toward[point, j].square().sum() / (2 * AROUND**2))
        for share, offset in zip(shares[voter], ballot.offset[voter], strict=True):
            normal += near * share**2 * row[:, None] * row
            right += near * share**2 * row[:, None] * offset
    expected = torch.linalg.solve(normal, right)[0]
    torch.testing.assert_close(aside[point], (ballot.offset[point] - expected).norm(dim=1), atol=1e-4, rtol=1e-4)
    assert float(weight[point]) == pytest.approx(1 / float(torch.linalg.inv(normal)[0, 0]), rel=1e-4)


def test_a_consensus_of_sure_voters_follows_a_slope():
    fixed = scattered(2, 200)
    ballot = _ballot(fixed, fixed, 1.05 * fixed + 1.0, candidates=12)
    right = (ballot.candidates == torch.arange(200)[:, None]).float()
    aside, _ = ballot.consensus(right)
    inner = ((fixed - 50).abs() < 30).all(1)
    assert float((aside * right).sum(1)[inner].max()) < 0.05
    nobody, weight = ballot.consensus(torch.zeros_like(right))
    torch.testing.assert_close(nobody, ballot.offset.norm(dim=-1), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(weight, torch.full_like(weight, LEVEL))


def test_votes_weigh_beside_distance():
    """Two candidates equally near: without votes both draw alike, with votes by the root of what they got."""
    fixed = OrderedCloud.of(torch.zeros(1, 2))
    moving = OrderedCloud.of(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assigner = Assigner(fixed, moving, outliers=0.1, neighbors=2)
    torch.testing.assert_close(assigner(fixed.points, 1.0).target, torch.tensor([[0.5, 0.5]], dtype=torch.float64))
    votes = torch.tensor([[0.9, 0.0]], dtype=torch.float64)
    found = assigner(fixed.points, 1.0, Matches(torch.tensor([[0, 1]]), votes))
    likely = math.exp(-0.5) * (votes[0] + LEAST_VOTE).sqrt()
    share = likely / (likely + 0.1)
    torch.testing.assert_close(found.target[0], share @ moving.points / share.sum())
    torch.testing.assert_close(found.weight[0], share.sum())


@pytest.mark.parametrize("dim", [2, 3])
def test_votes_find_a_common_motion_that_the_nearest_point_hides(dim):
    """Everything is off by most of a spacing, so the nearest candidate is mostly wrong; only neighbours can tell."""
    fixed = scattered(dim, 150)
    moving = torch.cat([fixed + torch.tensor([9.0, 4.0, 3.0][:dim] if dim == 3 else [6.0, 3.0]), scattered(dim, 30, seed=8)])
    ballot = _ballot(fixed, fixed, moving)
    nearest = float((ballot.candidates[:, 0] == torch.arange(150)).double().mean())
    rows, _ = Matches(ballot.candidates, vote_by_agreement(ballot, 6)).best()
    assert nearest < 0.6
    assert float((rows == torch.arange(150)).double().mean()) > 0.97


@pytest.mark.skipif(not compiled.available(), reason="needs Numba (pip install 'geogrid[fast]')")
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_compiled_votes_are_those_of_plain_operations(dim, threads, monkeypatch):
    fixed = scattered(dim, 600)
    moving = torch.cat([fixed[:400] + 2.0, scattered(dim, 150, seed=1)])
    found = []
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for there in (True, False):
            monkeypatch.setattr(compiled, "available", lambda there=there: there)
            found.append(vote_by_agreement(_ballot(fixed, fixed, moving), 6))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)
    assert float(found[0].amax(1).mean()) > 0.3, "most have a partner"


@pytest.mark.parametrize("learned", [False, True])
def test_votes_reject_points_without_a_partner(learned):
    fixed = torch.cat([scattered(2, 150), scattered(2, 50, seed=3), scattered(2, 20, seed=4) + 1000])
    moving = fixed[:150] + 2.0
    ballot = _ballot(fixed, fixed, moving)
    with torch.no_grad():
        shares = vote_by_scorer(ballot, load_vote_scorer(), 6)[-1] if learned else vote_by_agreement(ballot, 6)
    support = Matches(ballot.candidates, shares).support
    assert float(support[:150].mean()) > float(support[150:200].mean()) + 0.5
    assert float(support[200:].max()) < 1e-3, "far away"

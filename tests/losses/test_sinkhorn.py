"""The Sinkhorn divergence: closed forms, invariances, gradients, and one line when it cannot be had."""

from __future__ import annotations

import sys

import pytest
import torch

from geogrid.errors import GeogridError
from geogrid.losses import sinkhorn_loss


def _points(count: int = 40, dim: int = 3, seed: int = 0) -> torch.Tensor:
    return 30 * torch.rand(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def transport() -> None:
    pytest.importorskip("geomloss")


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("dim", [2, 3])
def test_a_shift_costs_its_square_and_nothing_costs_nothing(dim: int):
    points, shift = _points(dim=dim), torch.arange(2.0, 2.0 + dim, dtype=torch.float64)
    assert float(sinkhorn_loss(points, points, blur=0.5)) == pytest.approx(0.0, abs=1e-6)
    assert float(sinkhorn_loss(points, points + shift, blur=0.5)) == pytest.approx(float(shift.square().sum()), rel=1e-3)


@pytest.mark.usefixtures("transport")
def test_two_points_on_either_side_find_the_nearer_partners():
    points = torch.tensor([[0.0, 0.0], [10.0, 0.0]], dtype=torch.float64)
    others = torch.tensor([[10.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
    assert float(sinkhorn_loss(points, others, blur=0.2)) == pytest.approx((1 + 4) / 2, rel=1e-2)


@pytest.mark.usefixtures("transport")
def test_order_does_not_matter_and_a_double_point_is_one_of_twice_the_measure():
    points, others = _points(seed=1), _points(50, seed=2)
    value = sinkhorn_loss(points, others, blur=1.0)
    torch.testing.assert_close(sinkhorn_loss(points.flip(0), others, blur=1.0), value)
    torch.testing.assert_close(sinkhorn_loss(others, points, blur=1.0), value, rtol=1e-3, atol=0)
    measure = torch.ones(40)
    measure[0] = 2
    doubled = torch.cat([points, points[:1]])
    torch.testing.assert_close(sinkhorn_loss(doubled, others, blur=1.0), sinkhorn_loss(points, others, measure, blur=1.0))


@pytest.mark.usefixtures("transport")
def test_descent_carries_points_onto_the_others():
    points, others = _points(seed=3).requires_grad_(), _points(seed=4)
    before = sinkhorn_loss(points, others, blur=0.5)
    (slope,) = torch.autograd.grad(before, points)
    after = sinkhorn_loss(points.detach() - 0.5 * len(points) * slope, others, blur=0.5)
    assert float(after) < 0.2 * float(before.detach())


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"points": torch.rand(3)}, "points: expected"),
        ({"others": torch.rand(0, 3)}, "others: expected"),
        ({"others": torch.rand(5, 2)}, "3-D"),
        ({"measure": -torch.ones(40)}, "measure of points"),
        ({"blur": 0.0}, "blur"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], says: str):
    arguments: dict[str, object] = {"points": _points(), "others": _points(), "blur": 1.0}
    with pytest.raises(GeogridError, match=says):
        sinkhorn_loss(**(arguments | change))  # type: ignore[arg-type]


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("geogrid.losses.sinkhorn.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "geomloss", raising=False)
    with pytest.raises(GeogridError, match=r"geogrid\[transport\]"):
        sinkhorn_loss(_points(), _points(), blur=1.0)

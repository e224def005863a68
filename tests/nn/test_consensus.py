"""The affine motion that points agree on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geogrid.nn.consensus import RIDGE, affine_consensus
from geogrid.spatial import PointCloud

DIMS = pytest.mark.parametrize("dim", [2, 3])


def cloud(dim: int, counts: tuple[int, ...] = (40, 25), seed: int = 0, dtype: torch.dtype = torch.float64) -> PointCloud:
    generator = torch.Generator().manual_seed(seed)
    batch = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    pos = 30 * torch.rand(sum(counts), dim, generator=generator, dtype=dtype) + 5
    return PointCloud.from_points(pos, torch.ones(len(pos)), batch=batch, num_entries=len(counts))


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def affine(points: PointCloud, seed: int = 2) -> Tensor:
    """Another affine displacement for each entry."""
    matrices, shifts = draw(points.num_entries, points.dim, points.dim, seed=seed) - 0.5, draw(points.num_entries, points.dim)
    return torch.einsum("nd,nde->ne", points.pos, matrices[points.batch]) + shifts[points.batch]


@DIMS
def test_affine_motion_is_kept_but_for_the_ridge(dim: int) -> None:
    points = cloud(dim)
    u = affine(points)
    found = affine_consensus(points, u, 0.1 + draw(len(u)))
    assert float((found - u).norm(dim=1).max()) < 20 * RIDGE * float(u.norm(dim=1).max())


@DIMS
def test_points_without_trust_have_no_say(dim: int) -> None:
    points = cloud(dim)
    u, weight = affine(points), torch.ones(65, dtype=torch.float64)
    weight[::3] = 0
    wild = u.clone()
    wild[::3] += 100 * draw(len(u[::3]), dim, seed=5)
    torch.testing.assert_close(affine_consensus(points, wild, weight), affine_consensus(points, u, weight))


@DIMS
def test_a_turn_of_the_world_turns_the_answer(dim: int) -> None:
    points, u, weight = cloud(dim), 3 * draw(65, dim), draw(65)
    turn = torch.linalg.qr(draw(dim, dim, seed=7))[0]
    turned = PointCloud.from_points(points.pos @ turn.T + 11, points.measure, batch=points.batch, num_entries=2)
    expected = affine_consensus(points, u, weight) @ turn.T
    torch.testing.assert_close(affine_consensus(turned, u @ turn.T, weight), expected, atol=1e-9, rtol=1e-9)


@DIMS
def test_entries_are_on_their_own_and_the_order_of_points_does_not_matter(dim: int) -> None:
    points, u, weight = cloud(dim), 3 * draw(65, dim), draw(65)
    whole = affine_consensus(points, u, weight)
    for entry in range(2):
        rows = points.rows(entry)
        order = torch.randperm(len(u[rows]), generator=torch.Generator().manual_seed(3))
        alone = PointCloud.from_points(points.pos[rows][order], points.measure[rows])
        found = affine_consensus(alone, u[rows][order], weight[rows][order])
        torch.testing.assert_close(found, whole[rows][order], atol=1e-9, rtol=1e-9)


@DIMS
@pytest.mark.parametrize("kind", ["one point", "a line", "no trust"])
def test_where_points_do_not_tell_the_motion_stays_bounded(dim: int, kind: str) -> None:
    points = cloud(dim, (1,) if kind == "one point" else (6,))
    if kind == "a line":
        line = torch.zeros(6, dim, dtype=torch.float64)
        line[:, 0] = torch.arange(6)
        points = PointCloud.from_points(line, torch.ones(6))
    u = draw(points.num_points, dim)
    found = affine_consensus(points, u, torch.zeros(len(u)) if kind == "no trust" else torch.ones(len(u)))
    assert bool(torch.isfinite(found).all())
    if kind == "no trust":
        assert not bool(found.any())
    else:
        assert float(found.norm(dim=1).max()) < 2 * float(u.norm(dim=1).max())
    if kind == "one point":
        torch.testing.assert_close(found, u)


def test_gradcheck() -> None:
    points = cloud(2, (6, 5))
    u, weight = draw(11, 2).requires_grad_(), (0.2 + draw(11)).requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: affine_consensus(points, *given), (u, weight))

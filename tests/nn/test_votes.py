"""The learned votes: symmetries, blocks, gradients, and that they learned something."""

from __future__ import annotations

import pytest
import torch

from geogrid.graph import Neighborhood, compiled
from geogrid.models import load_vote_scorer
from geogrid.nn import VoteScorer
from tests.spatial.cases import rotation

POINTS, K, VOTERS = 12, 4, 5


def scene(dim: int = 3, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(dim)
    return {
        "offset": torch.randn(POINTS, K, dim, generator=draw, dtype=dtype),
        "cost": torch.rand(POINTS, K, generator=draw, dtype=dtype),
        "shares": 0.9 * torch.rand(POINTS, K, generator=draw, dtype=dtype).softmax(1),
        "wanted": torch.rand(POINTS, K, generator=draw, dtype=dtype),
        "aside": torch.rand(POINTS, K, generator=draw, dtype=dtype),
        "weight": torch.rand(POINTS, generator=draw, dtype=dtype),
        "state": torch.randn(POINTS, K, 8, generator=draw, dtype=dtype),
        "distance": torch.rand(POINTS, VOTERS, generator=draw, dtype=dtype),
    }


def table() -> torch.Tensor:
    return (torch.arange(POINTS)[:, None] + torch.arange(1, VOTERS + 1)) % POINTS


def scores(
    scorer: VoteScorer, parts: dict[str, torch.Tensor], rows: torch.Tensor | None = None, voters: torch.Tensor | None = None
) -> torch.Tensor:
    rows = torch.arange(POINTS) if rows is None else rows
    index = (table() if voters is None else voters)[rows]
    voting = Neighborhood(index, torch.ones_like(index, dtype=torch.bool), POINTS)
    own = {name: parts[name][rows] for name in ("offset", "cost", "wanted", "aside", "weight", "state", "distance")}
    agreement = scorer.agreement(parts["offset"], rows, voting)
    return scorer(agreement, shares=parts["shares"], voters=voting, rows=rows, **own)[0]


@pytest.fixture
def scorer() -> VoteScorer:
    torch.manual_seed(0)
    return VoteScorer().double()


@pytest.mark.parametrize("dim", [2, 3])
def test_a_rotation_changes_nothing(scorer: VoteScorer, dim: int) -> None:
    parts = scene(dim)
    turn = rotation((50.0,) if dim == 2 else (50.0, 20.0, -10.0))
    turned = parts | {"offset": parts["offset"] @ turn.T}
    torch.testing.assert_close(scores(scorer, turned), scores(scorer, parts))


def test_candidates_and_voters_have_no_order(scorer: VoteScorer) -> None:
    parts, order = scene(), torch.tensor([2, 0, 3, 1])
    swapped = {name: part if name in ("distance", "weight") else part[:, order] for name, part in parts.items()}
    torch.testing.assert_close(scores(scorer, swapped), scores(scorer, parts)[:, order])
    back = parts | {"distance": parts["distance"].flip(1)}
    torch.testing.assert_close(scores(scorer, back, voters=table().flip(1)), scores(scorer, parts))


def test_some_of_the_points_get_what_all_of_them_get(scorer: VoteScorer) -> None:
    rows = torch.tensor([3, 7, 8])
    torch.testing.assert_close(scores(scorer, scene(), rows), scores(scorer, scene())[rows])


def test_agreement_is_the_kernel_written_out(scorer: VoteScorer) -> None:
    parts = scene()
    voting = Neighborhood(table(), torch.ones(POINTS, VOTERS, dtype=torch.bool), POINTS)
    found = scorer.agreement(parts["offset"], torch.arange(POINTS), voting)
    edge, k, m = 17, 2, 3
    context, query = voting.edge_index[:, edge]
    squared = (parts["offset"][query, k] - parts["offset"][context, m]).square().sum()
    torch.testing.assert_close(found[edge, k, m], torch.exp(-squared / (2 * scorer.tolerance**2)))


@pytest.mark.skipif(not compiled.available(), reason="needs Numba (pip install 'geogrid[fast]')")
@pytest.mark.parametrize("threads", [1, 2])
def test_compiled_passes_are_those_of_messages(scorer: VoteScorer, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(5)
    parts = {name: torch.cat([part] * 50) for name, part in scene().items()}
    parts["offset"] = torch.randn(parts["offset"].shape, generator=draw, dtype=torch.float64)
    voters, rows = torch.randint(len(parts["cost"]), (len(parts["cost"]), VOTERS), generator=draw), torch.arange(20, 570)
    voting = Neighborhood(voters[rows], torch.ones(len(rows), VOTERS, dtype=torch.bool), len(voters))
    own = {name: part[rows] for name, part in parts.items() if name not in ("shares", "offset")} | {
        "offset": parts["offset"][rows]
    }
    found, before = [], torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for there in (True, False):
            monkeypatch.setattr(compiled, "available", lambda there=there: there)
            with torch.no_grad():
                agreement = scorer.agreement(parts["offset"], rows, voting)
                found.append((agreement, *scorer(agreement, shares=parts["shares"], voters=voting, rows=rows, **own)))
    finally:
        torch.set_num_threads(before)
    for compiled_part, plain in zip(*found, strict=True):
        torch.testing.assert_close(compiled_part, plain, atol=1e-10, rtol=1e-8)


def test_gradients_are_those_of_differences(scorer: VoteScorer) -> None:
    parts = scene()

    def of_shares(shares: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        return scores(scorer, parts | {"shares": shares, "offset": offset}, torch.tensor([0, 4]))

    assert torch.autograd.gradcheck(of_shares, (parts["shares"].requires_grad_(), parts["offset"].requires_grad_()))


def test_the_shipped_weights_prefer_what_neighbours_agree_with() -> None:
    """Candidate 1 of every point lies at the same offset, the others anywhere."""
    draw = torch.Generator().manual_seed(0)
    offset = 0.8 * torch.randn(POINTS, K, 3, generator=draw)
    offset[:, 1] = torch.tensor([0.3, -0.4, 0.2])
    parts = scene(dtype=torch.float32) | {"offset": offset, "cost": torch.zeros(POINTS, K)}
    parts |= {
        "shares": torch.full((POINTS, K), 0.2),
        "state": torch.zeros(POINTS, K, 8),
        "wanted": torch.full((POINTS, K), 0.3),
    }
    assert bool((scores(load_vote_scorer(), parts).argmax(1) == 1).all())

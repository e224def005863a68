"""Trains the scorer that votes on point matches, on synthetic deformations only, and writes its weights.

    python examples/train_vote_scorer.py --steps 900 --seed 0 --out vote_scorer.safetensors

The scorer sees what registration leaves for it: candidates around a place that is wrong by a smooth displacement, here and
there by much. Nothing but numbers drawn from the seed enters.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from geogrid.data import PointPairConfig, random_point_pair
from geogrid.nn import VoteScorer
from geogrid.optimize.points.ballot import Ballot
from geogrid.optimize.points.cloud import OrderedCloud
from geogrid.optimize.points.config import PointsConfig
from geogrid.optimize.points.learned import vote_by_scorer

PASSES = 6
SETTINGS = PointsConfig(candidates=10, voters=14)


def problem(generator: torch.Generator) -> tuple[Ballot, Tensor]:
    """A ballot and the column of the right candidate of each point, k where there is none."""
    dim = 2 if _uniform(generator, 0, 1) < 0.2 else 3
    count = (250, 500) if dim == 2 else (400, 900)
    config = PointPairConfig(dim=dim, num_points=count, kept=(0.55, 0.95), outliers=0.3, motion=(5.0, 20.0))
    pair = random_point_pair(generator, config)
    fixed, moving = OrderedCloud.of(pair.fixed), OrderedCloud.of(pair.moving)
    spacing = (fixed.spacing() + moving.spacing()) / 2
    back = torch.cat([moving.order.argsort(), torch.tensor([-1])])
    partner = back[pair.partner[fixed.order]]
    place = _true_place(pair.fixed, pair.landmarks, pair.landmarks_moved)[fixed.order]
    place = place + spacing * _error(fixed.points / fixed.radius, generator)
    ballot = Ballot.of(fixed, place, moving, spacing, SETTINGS)
    right = (ballot.candidates == partner[:, None]) & (partner >= 0)[:, None]
    return ballot, torch.where(right.any(1), right.long().argmax(1), right.shape[1])


def _true_place(points: Tensor, landmarks: Tensor, moved: Tensor) -> Tensor:
    """Where points would be, by the mean displacement of the three nearest landmarks."""
    nearest = torch.cdist(points, landmarks).topk(3, largest=False).indices
    return points.double() + (moved - landmarks)[nearest].mean(1).double()


def _error(points: Tensor, generator: torch.Generator) -> Tensor:
    """What registration may be wrong by, in spacings: a smooth field, and in one place much more."""
    waves = torch.randn(points.shape[1], 16, generator=generator, dtype=torch.float64) / _uniform(generator, 0.15, 0.6)
    phase = 2 * math.pi * torch.rand(16, generator=generator, dtype=torch.float64)
    field = torch.cos(points @ waves + phase) @ torch.randn(16, points.shape[1], generator=generator, dtype=torch.float64) / 2.8
    center = points[int(torch.randint(len(points), (), generator=generator))]
    bump = torch.exp(-0.5 * ((points - center).norm(dim=1) / _uniform(generator, 0.2, 0.6)) ** 2)
    size = 0.02 * 10 ** _uniform(generator, 0, 1.4) + bump * _uniform(generator, 0.0, 1.2)
    return size[:, None] * field


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def loss_of(found: list[Tensor], right: Tensor) -> Tensor:
    """Mean negative log-probability of the right answer, later passes counting more."""
    total = found[0].new_zeros(())
    for number, shares in enumerate(found):
        every = torch.cat([shares, (1 - shares.sum(1, keepdim=True)).clamp_min(0)], 1)
        total = total - (number + 1) * (every.gather(1, right[:, None]) + 1e-4).log().mean()
    return total / sum(range(1, len(found) + 1))


def train(steps: int, seed: int) -> VoteScorer:
    """Adam with a cosine rate, one synthetic pair per step."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        scorer = VoteScorer()
    adam = torch.optim.Adam(scorer.parameters(), lr=4e-3)
    running, began = math.nan, time.process_time()
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = 4e-3 * min(1, (step + 1) / 20) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        ballot, right = problem(generator)
        loss = loss_of(vote_by_scorer(ballot, scorer, PASSES), right)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
        adam.step()
        running = float(loss.detach()) if math.isnan(running) else 0.97 * running + 0.03 * float(loss.detach())
        if step % 25 == 24:
            print(f"step {step + 1}: loss {running:.3f}, {time.process_time() - began:.0f} CPU s", flush=True)
    return scorer


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("vote_scorer.safetensors"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    scorer = train(chosen.steps, chosen.seed)
    note = {
        "seed": str(chosen.seed),
        "steps": str(chosen.steps),
        "recipe": "examples/train_vote_scorer.py",
        "data": "synthetic",
    }
    save_file(scorer.state_dict(), chosen.out, metadata=note)


if __name__ == "__main__":
    main()

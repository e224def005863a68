"""Trains the scorer that votes on point matches, on synthetic deformations only, and writes its weights.

    python examples/train_vote_scorer.py --pairs 150 --steps 1500 --seed 0 --out vote_scorer.safetensors

The scorer sees what registration leaves for it: candidates about the maps that the stages of registration find, right in some
parts and bent to wrong neighbours in others. Nothing but numbers drawn from the seed enters.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from geogrid.data import PointPairConfig, random_point_pair
from geogrid.models import GeoReg, choose_model
from geogrid.nn import VoteScorer
from geogrid.optimize.points.ballot import Ballot
from geogrid.optimize.points.cloud import OrderedCloud
from geogrid.optimize.points.config import PointsConfig
from geogrid.optimize.points.learned import vote_by_scorer
from geogrid.optimize.points.pins import Pins
from geogrid.optimize.points.stages import Stages

PASSES = 6
CROP = 320
"""Points of a ballot that one step learns from: a random one and the nearest around it."""
STAGES = PointsConfig(voting="agreement", candidates=12)
SEEN = PointsConfig(voters=16, candidates=12)
KINDS = {
    2: PointPairConfig(dim=2, num_points=(300, 600), motion=(5.0, 25.0), kept=(0.55, 0.95), outliers=0.2, texture=(0.2, 1.2)),
    3: PointPairConfig(num_points=(600, 1800), motion=(5.0, 25.0), kept=(0.55, 0.95), outliers=0.2, texture=(0.2, 1.2)),
}


@dataclass(frozen=True, eq=False)
class Problem:
    """Two clouds, the places where a map carries the fixed points, and the truth; in radii of the fixed cloud.

    Args:
        fixed: points.
        moving: points.
        place: ``(num_fixed, dim)`` where the fixed points are carried.
        partner: ``(num_fixed,)`` row of the moving point that is the same, -1 where there is none.
        spacing: of both on average.
    """

    fixed: OrderedCloud
    moving: OrderedCloud
    place: Tensor
    partner: Tensor
    spacing: float

    def crop(self, generator: torch.Generator, count: int) -> Problem:
        """The ``count`` points around a random one, and all moving points."""
        points = self.fixed.points
        center = points[int(torch.randint(len(points), (), generator=generator))]
        rows = (points - center).norm(dim=1).argsort()[:count].sort().values
        fixed = replace(self.fixed, points=points[rows], order=self.fixed.order[rows])
        return replace(self, fixed=fixed, place=self.place[rows], partner=self.partner[rows])

    def ballot(self) -> tuple[Ballot, Tensor]:
        """The ballot, and the column of the right candidate of each point, k where there is none."""
        ballot = Ballot.of(self.fixed, self.place, self.moving, self.spacing, SEEN)
        right = (ballot.candidates == self.partner[:, None]) & (self.partner >= 0)[:, None]
        return ballot, torch.where(right.any(1), right.long().argmax(1), right.shape[1])


def problems(generator: torch.Generator, model: GeoReg | None) -> list[Problem]:
    """What votes are taken about in the registration of one synthetic pair: an early map, the last, the fused and the voted."""
    dim = 2 if _uniform(generator, 0, 1) < 0.15 else 3
    pair = random_point_pair(generator, KINDS[dim])
    fixed, moving = OrderedCloud.of(pair.fixed), OrderedCloud.of(pair.moving)
    middle, unit = fixed.middle, fixed.radius
    partner = torch.cat([moving.order.argsort(), torch.tensor([-1])])[pair.partner[fixed.order]]
    fixed, moving = fixed.centred(middle, unit), moving.centred(middle, unit)
    spacing = (fixed.spacing() + moving.spacing()) / 2
    stages = Stages(fixed, moving, spacing, STAGES, Pins.of(fixed, moving, None, spacing))
    maps = stages.deform(stages.affine())
    if dim == 3 and model is not None:
        maps = {"network": stages.learned(model)} | maps
    early = list(maps.values())[int(torch.randint(len(maps) - 1, (), generator=generator))]
    fused, _ = stages.fuse(maps)
    votes = stages.vote(stages.place(fused))
    voted = stages.refit(fused, votes.target(moving.points), votes.support)
    seen = [early, maps["sparse"], fused, voted]
    basis = stages.fit.basis(fixed.points)
    return [Problem(fixed, moving, fixed.points + basis @ theta, partner, spacing) for theta in seen]


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def loss_of(found: list[Tensor], right: Tensor) -> Tensor:
    """Mean negative log-probability of the right answer, later passes counting more."""
    total = found[0].new_zeros(())
    for number, shares in enumerate(found):
        every = torch.cat([shares, (1 - shares.sum(1, keepdim=True)).clamp_min(0)], 1)
        total = total - (number + 1) * (every.gather(1, right[:, None]) + 1e-4).log().mean()
    return total / sum(range(1, len(found) + 1))


def train(pool: list[Problem], steps: int, seed: int) -> VoteScorer:
    """Adam with a cosine rate, a part of one ballot per step."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        scorer = VoteScorer()
    adam = torch.optim.Adam(scorer.parameters(), lr=4e-3)
    running, began = math.nan, time.process_time()
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = 4e-3 * min(1, (step + 1) / 20) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        problem = pool[int(torch.randint(len(pool), (), generator=generator))]
        ballot, right = problem.crop(generator, CROP).ballot()
        loss = loss_of(vote_by_scorer(ballot, scorer, PASSES), right)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
        adam.step()
        running = float(loss.detach()) if math.isnan(running) else 0.98 * running + 0.02 * float(loss.detach())
        if step % 50 == 49:
            print(f"step {step + 1}: loss {running:.3f}, {time.process_time() - began:.0f} CPU s", flush=True)
    return scorer


def collect(count: int, seed: int) -> list[Problem]:
    """The problems of ``count`` synthetic pairs."""
    chosen = choose_model("auto", 3, in_channels=0)
    model = None if chosen is None else chosen.model
    generator = torch.Generator().manual_seed(50_000 + seed)
    found: list[Problem] = []
    for number in range(count):
        found += problems(generator, model)
        if number % 10 == 9:
            print(f"{number + 1} pairs", flush=True)
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=150)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("vote_scorer.safetensors"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    scorer = train(collect(chosen.pairs, chosen.seed), chosen.steps, chosen.seed)
    note = {
        "seed": str(chosen.seed),
        "pairs": str(chosen.pairs),
        "steps": str(chosen.steps),
        "recipe": "examples/train_vote_scorer.py",
        "data": "synthetic",
    }
    save_file(scorer.state_dict(), chosen.out, metadata=note)


if __name__ == "__main__":
    main()

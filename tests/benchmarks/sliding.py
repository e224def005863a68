"""What the learned interpolation is worth at a sliding border: slabs that slip past each other by 6 mm, in 2-D.

    python -m tests.benchmarks.sliding [--steps 600] [--seeds 3] [--workers 2]

The same small model is trained on the same pairs with and without h; the error is the distance in mm between the displacement
found and the true one, at the middles of the fixed pixels.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geogrid.data import ContrastConfig, DeformationConfig, PairBatch, SyntheticConfig, SyntheticPair, WorldConfig
from geogrid.data.synthetic import SlidingMotion, pair_fields, synthesize, synthetic_batch
from geogrid.graph import inherit_displacement
from geogrid.losses import TrajectoryLossConfig, displacement_loss
from geogrid.models import GeoReg, GeoRegConfig
from geogrid.training import LossConfig, PairLoss
from tests.benchmarks.anchors import Check
from tests.benchmarks.tables import check_list, markdown_table

ROOT = Path(__file__).resolve().parents[2]
TITLE = "Sliding border: learned interpolation against naive inheritance"
SLIP_MM, NEAR_MM, ASKED_SHARE = 6.0, 5.0, 2 / 3
POOL, BATCH, RATE = 512, 8, 5e-3
STEPS_PER_LEVEL = {"interpolation only at the finest level": (0, 1, 2), "a step at every level": (1, 1, 2)}
CHOICE_RADIUS = 3.0
VARIANTS = {"naive": {"learned_interpolation": False}, "learned h": {"choice_radius": CHOICE_RADIUS}}
GIVEN = "h alone"
EVALUATION_SEED = 424_242_001
Found = dict[str, dict[str, dict[str, float]]]


def pairs_of(slip: tuple[float, float]) -> SyntheticConfig:
    """32 x 32 pixels of 2 mm in two or three tissues, the same contrast with noise; the other side shows other tissue."""
    world = WorldConfig(kinds=("blobs",), num_labels=(2, 3))
    contrast = ContrastConfig(relation=("same",), missing=0)
    return SyntheticConfig((32, 32), (2.0, 2.0), world=world, contrast=contrast, deformation=DeformationConfig(slip_mm=slip))


@functools.cache
def pool_of(seed: int) -> list[SyntheticPair]:
    """What all trainings of a seed draw from: pairs that slip by 2 to 10 mm."""
    return synthetic_batch(pairs_of((2.0, 10.0)), POOL, torch.Generator().manual_seed(seed))


@functools.cache
def unseen(count: int) -> list[SyntheticPair]:
    """What all are judged by: pairs that slip by 6 mm."""
    generator = torch.Generator().manual_seed(EVALUATION_SEED)
    return [synthesize(pairs_of((SLIP_MM, SLIP_MM)), generator) for _ in range(count)]


def optimize(model: GeoReg, loss_of: Callable[[list[SyntheticPair]], Tensor], steps: int, seed: int) -> float:
    """Trains on random batches of a seed's pool; seconds."""
    pool, generator, began = pool_of(seed), torch.Generator().manual_seed(seed), time.perf_counter()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        chosen = torch.randperm(POOL, generator=generator)[:BATCH].tolist()
        optimizer.zero_grad()
        loss_of([pool[k] for k in chosen]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return time.perf_counter() - began


def run(variant: str, steps_per_level: tuple[int, ...], steps: int, seed: int, pairs: int) -> dict[str, float]:
    """A small model, taught the true displacement without any smoothness, and its errors."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = VARIANTS[variant]
    model = GeoReg(GeoRegConfig(dim=2, channels=(16, 32, 32), steps=steps_per_level, num_blocks=1, hidden=16, **sizes))
    loss = PairLoss(LossConfig(TrajectoryLossConfig(diffusion=0.0, folding=0.0), image=0.0, displacement=1.0))

    def loss_of(chosen: list[SyntheticPair]) -> Tensor:
        batch = PairBatch(**pair_fields(chosen))
        return loss(model(batch.fixed, batch.moving), batch)["loss"]

    seconds = optimize(model, loss_of, steps, seed)
    return {"training s": seconds} | evaluate(model.eval(), pairs)


def given(steps: int, seed: int, pairs: int) -> dict[str, dict[str, float]]:
    """Errors where the level above the finest is given the truth: naive inheritance, and h taught to do better with it."""
    torch.manual_seed(seed)
    model = GeoReg(GeoRegConfig(dim=2, channels=(16, 32), steps=(0, 1), num_blocks=1, hidden=16, choice_radius=CHOICE_RADIUS))

    def loss_of(chosen: list[SyntheticPair]) -> Tensor:
        truth = torch.cat([pair.displacement for pair in chosen])
        return displacement_loss(handed_down(model, chosen)[1], truth, torch.ones_like(truth[:, 0]), 2.0)

    seconds = optimize(model, loss_of, steps, seed)
    with torch.no_grad():
        return {
            name: {"training s": seconds} | errors(lambda pair, number=number: handed_down(model, [pair])[number], pairs)
            for number, name in enumerate(VARIANTS)
        }


def handed_down(model: GeoReg, pairs: list[SyntheticPair]) -> tuple[Tensor, Tensor]:
    """What the finest points get from the true displacement of the level above: inherited as it is, and by h."""
    fields = pair_fields(pairs)
    pyramid, _ = model.encode(fields["fixed"], fields["moving"], 2.0)
    fine, coarse = pyramid.levels
    truth = torch.cat([pair.truth(pos) - pos for pair, pos in zip(pairs, coarse.points.pos.chunk(len(pairs)), strict=True)])
    features = pyramid.features[1], pyramid.features[0]
    return inherit_displacement(coarse, fine.points, truth), model.interpolate[0](features, coarse, fine, truth)


@torch.no_grad()
def evaluate(model: GeoReg, count: int) -> dict[str, float]:
    """Mean errors over pairs that slip by 6 mm: near the border, and beyond."""

    def find(pair: SyntheticPair) -> Tensor:
        fields = pair_fields([pair])
        found: Tensor = model(fields["fixed"], fields["moving"]).last.displacement
        return found

    return errors(find, count)


def errors(find: Callable[[SyntheticPair], Tensor], count: int) -> dict[str, float]:
    """Mean errors of the displacement that is found for the fixed pixels."""
    sums: dict[str, list[float]] = {"near mm": [], "far mm": []}
    for pair in unseen(count):
        near, error = distance_to_border(pair) <= NEAR_MM, (find(pair) - pair.displacement).norm(dim=1)
        sums["near mm"].append(float(error[near].mean()))
        sums["far mm"].append(float(error[~near].mean()))
    return {name: statistics.mean(values) for name, values in sums.items()}


def distance_to_border(pair: SyntheticPair) -> Tensor:
    """Distance in mm of the fixed pixels' middles from the border."""
    motion = next(part for part in pair.truth.transforms if isinstance(part, SlidingMotion))
    return motion.distance(pair.fixed.grid.points()).abs()


def section(steps: int, seeds: int, pairs: int = 200, workers: int = 2) -> str:
    """The table of the page."""
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(_process, [(steps, seed, pairs) for seed in range(seeds)]))
    lines, checks = [], []
    for title in found[0]:
        rows = {name: [of_seed[title][name] for of_seed in found] for name in VARIANTS}
        lines += _lines(title, rows)
        checks.append(_check(title, rows))
    explanation = (
        f"Worlds of 32 x 32 pixels of 2 mm whose halves slip past each other by {SLIP_MM:g} mm along a straight border of "
        f"random place and direction; {pairs} of them that no training saw. Models of three levels, {steps} steps of {BATCH} "
        f"out of {POOL} pairs that slip by 2 to 10 mm, taught the true displacement; mean (least to most) of {seeds} seeds. "
        f"*near*: mean error within {NEAR_MM:g} mm of the border; *far*: elsewhere. Standing still is an error of "
        f"{SLIP_MM / 2:g} mm everywhere. *{GIVEN}*: nothing but h is taught, and judged by what the finest points, 2 mm apart, "
        "make of the true displacement of points 4 mm apart. *learned h*: `Choose` with a radius of "
        f"{CHOICE_RADIUS:g} (decision 18). One thread per training."
    )
    table = markdown_table(["", "near mm", "far mm", "training s"], lines)
    return "\n\n".join([f"## {TITLE}", explanation, table, check_list(checks)])


def spread(values: list[float], digits: int) -> str:
    """Mean, least and most."""
    return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _lines(title: str, rows: dict[str, list[dict[str, Any]]]) -> list[list[str]]:
    return [
        [
            f"{title}: {name}",
            *(spread([row[k] for row in own], n) for k, n in (("near mm", 3), ("far mm", 3), ("training s", 0))),
        ]
        for name, own in rows.items()
    ]


def _check(title: str, rows: dict[str, list[dict[str, Any]]]) -> Check:
    learned, naive = (statistics.mean(row["near mm"] for row in rows[name]) for name in ("learned h", "naive"))
    share = learned / naive
    return Check(f"{title}: near the border at least a third smaller; share", f"{share:.2f}", share <= ASKED_SHARE)


def all_of(steps: int, seed: int, pairs: int) -> Found:
    """All trainings of a seed, each with its errors; they are also written to the standard error as they come."""
    torch.set_num_threads(1)
    found: Found = {GIVEN: given(steps, seed, pairs)}
    print(json.dumps([seed, found]), file=sys.stderr, flush=True)
    for title, levels in STEPS_PER_LEVEL.items():
        found[title] = {}
        for name in VARIANTS:
            found[title][name] = run(name, levels, steps, seed, pairs)
            print(json.dumps([seed, title, name, found[title][name]]), file=sys.stderr, flush=True)
    return found


def _process(job: tuple[int, int, int]) -> Found:
    command = [sys.executable, "-m", "tests.benchmarks.sliding", "--job", json.dumps(job)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """A job of :func:`section`, or the whole section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if args.job:
        print(json.dumps(all_of(*json.loads(args.job))))
    else:
        print(section(args.steps, args.seeds, workers=args.workers))


if __name__ == "__main__":
    main()

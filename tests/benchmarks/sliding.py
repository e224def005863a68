"""What the learned interpolation is worth at a sliding border: slabs that slip past each other by 6 mm, in 2-D.

    python -m tests.benchmarks.sliding [--steps 600] [--seeds 3] [--workers 2]

The same small model is trained on the same pairs with and without h; the error is the distance in mm between the displacement
found and the true one, at the middles of the fixed pixels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
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
VARIANTS = {"naive": False, "learned h": True}
GIVEN = "h alone"
EVALUATION_SEED = 424_242_001


def pairs_of(slip: tuple[float, float]) -> SyntheticConfig:
    """32 x 32 pixels of 2 mm in two or three tissues, the same contrast with noise; the other side shows other tissue."""
    world = WorldConfig(kinds=("blobs",), num_labels=(2, 3))
    contrast = ContrastConfig(relation=("same",), missing=0)
    return SyntheticConfig((32, 32), (2.0, 2.0), world=world, contrast=contrast, deformation=DeformationConfig(slip_mm=slip))


def run(learned: bool, steps_per_level: Sequence[int], steps: int, seed: int, pairs: int) -> dict[str, Any]:
    """Trains a model and measures it."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    model = trained(learned, tuple(steps_per_level), steps, seed)
    return {"seed": seed, "training s": time.perf_counter() - began} | evaluate(model, pairs)


def trained(learned: bool, steps_per_level: tuple[int, ...], steps: int, seed: int) -> GeoReg:
    """A small model, taught the true displacement of a pool of pairs that slip by 2 to 10 mm, without any smoothness."""
    generator = torch.Generator().manual_seed(seed)
    pool = synthetic_batch(pairs_of((2.0, 10.0)), POOL, generator)
    torch.manual_seed(seed)
    model = GeoReg(
        GeoRegConfig(
            dim=2, channels=(16, 32, 32), steps=steps_per_level, num_blocks=1, hidden=16, learned_interpolation=learned
        )
    )
    smooth = TrajectoryLossConfig(diffusion=0.0, folding=0.0)
    loss = PairLoss(LossConfig(smooth, image=0.0, displacement=1.0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        chosen = torch.randperm(POOL, generator=generator)[:BATCH].tolist()
        batch = PairBatch(**pair_fields([pool[k] for k in chosen]))
        optimizer.zero_grad()
        loss(model(batch.fixed, batch.moving), batch)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def given(steps: int, seed: int, pairs: int) -> dict[str, Any]:
    """Errors where the level above the finest is given the truth: naive inheritance, and h taught to do better with it."""
    torch.set_num_threads(1)
    began, generator = time.perf_counter(), torch.Generator().manual_seed(seed)
    pool = synthetic_batch(pairs_of((2.0, 10.0)), POOL, generator)
    torch.manual_seed(seed)
    model = GeoReg(GeoRegConfig(dim=2, channels=(16, 32), steps=(0, 1), num_blocks=1, hidden=16))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        chosen = [pool[k] for k in torch.randperm(POOL, generator=generator)[:BATCH].tolist()]
        truth = torch.cat([pair.displacement for pair in chosen])
        optimizer.zero_grad()
        displacement_loss(handed_down(model, chosen)[1], truth, torch.ones_like(truth[:, 0]), 2.0).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    found: dict[str, Any] = {"seed": seed, "training s": time.perf_counter() - began}
    with torch.no_grad():
        for number, name in enumerate(VARIANTS):
            found[name] = errors(lambda pair, number=number: handed_down(model, [pair])[number], pairs)
    return found


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
    config, generator = pairs_of((SLIP_MM, SLIP_MM)), torch.Generator().manual_seed(EVALUATION_SEED)
    sums: dict[str, list[float]] = {"near mm": [], "far mm": []}
    for _ in range(count):
        pair = synthesize(config, generator)
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
    jobs: list[tuple[Any, ...]] = [
        (VARIANTS[name], levels, steps, seed, pairs)
        for levels in STEPS_PER_LEVEL.values()
        for seed in range(seeds)
        for name in VARIANTS
    ]
    alone = [(steps, seed, pairs) for seed in range(seeds)]
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(_process, [*jobs, *alone]))
    lines, checks = [], []
    for title, levels in STEPS_PER_LEVEL.items():
        rows = {
            name: [row for job, row in zip(jobs, found, strict=False) if job[:2] == (VARIANTS[name], levels)]
            for name in VARIANTS
        }
        lines += _lines(title, rows)
        checks.append(_check(title, rows))
    last = found[len(jobs) :]
    rows = {name: [{**row[name], "training s": row["training s"]} for row in last] for name in VARIANTS}
    lines += _lines(GIVEN, rows)
    checks.append(_check(GIVEN, rows))
    explanation = (
        f"Worlds of 32 x 32 pixels of 2 mm whose halves slip past each other by {SLIP_MM:g} mm along a straight border of "
        f"random place and direction; {pairs} of them that no training saw. Models of three levels, {steps} steps of {BATCH} "
        f"out of {POOL} pairs that slip by 2 to 10 mm, taught the true displacement; mean (least to most) of {seeds} seeds. "
        f"*near*: mean error within {NEAR_MM:g} mm of the border; *far*: elsewhere. Standing still is an error of "
        f"{SLIP_MM / 2:g} mm everywhere. *{GIVEN}*: nothing but h is taught, and judged by what the finest points, 2 mm apart, "
        "make of the true displacement of points 4 mm apart. One thread per training."
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


def _process(job: tuple[Any, ...]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.sliding", "--job", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found = dict(json.loads(done.stdout.splitlines()[-1]))
    print(json.dumps([*job, found]), file=sys.stderr, flush=True)
    return found


def main() -> None:
    """A job of :func:`section`, or the whole section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if args.job:
        job = json.loads(args.job)
        print(json.dumps(given(*job) if len(job) == 3 else run(*job)))
    else:
        print(section(args.steps, args.seeds, workers=args.workers))


if __name__ == "__main__":
    main()

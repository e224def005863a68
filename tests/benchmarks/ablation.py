"""What each part of GeoReg is worth on hard pairs: the same short training without it, on synthetic worlds in 2-D.

    python -m tests.benchmarks.ablation [--steps 250] [--seeds 3] [--workers 2]

The worlds, their contrasts and motions are those of the preset ``synth-2d`` that need no data; so are loss and optimiser. Every
training is a process of one thread. Errors are those of the network alone, one look, over the object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from geogrid.data import PairBatch, collate_pairs
from geogrid.models import GeoReg, load_weights
from geogrid.training import DataConfig, TrainingConfig, WorldsConfig, read_config, scores, train
from geogrid.training.worlds import WorldPairs
from tests.benchmarks.tables import markdown_table

ROOT = Path(__file__).resolve().parents[2]
TITLE = "What the parts of GeoReg are worth: short trainings on synthetic worlds, 2-D"
RELATIONS = {"same contrast": ("same",), "other contrast": ("inverted", "random")}
SCALE, FIRST_PAIR, NUM_PAIRS, BATCH = 4.0, 10_000_000, 60, 4
"""Numbers of the validation pairs; a training draws from 0 up, from a stream of another seed."""


@dataclass(frozen=True)
class Variant:
    """A change to the preset's network."""

    changes: dict[str, Any]
    architecture: str = "georeg"


VARIANTS = {
    "the preset's network": Variant({}),
    "no learned h (naive inheritance)": Variant({"learned_interpolation": False}),
    "plain operator (no matcher at the start)": Variant({"matcher": False}),
    "feature warp": Variant({}, "feature_warp"),
    "finest level interpolation only": Variant({"steps": (0, 2, 2, 2)}),
    "one step per level": Variant({"steps": (1, 1, 1, 1)}),
    "three steps per level, one at the finest": Variant({"steps": (1, 3, 3, 3)}),
    "windows of radius 1": Variant({"radius": 1.0}),
    "windows of radius 3 at coarse levels": Variant({"radius": (1.5, 1.5, 3.0, 3.0)}),
    "one head": Variant({"heads": 1}),
    "four heads": Variant({"heads": 4}),
    "coarse levels not affine": Variant({"affine_levels": 0}),
}


def configured(variant: Variant, steps: int, seed: int) -> TrainingConfig:
    """The preset ``synth-2d`` with worlds alone, fewer steps, and the change."""
    preset = read_config("synth-2d")
    model = replace(preset.model, **variant.changes)
    return replace(
        preset, model=model, architecture=variant.architecture, data=DataConfig(synthetic=worlds(None)), validation=None,
        steps=steps, batch=BATCH, seed=seed, val_interval=steps, about="an ablation",
    )  # fmt: skip


def worlds(relation: tuple[str, ...] | None) -> WorldsConfig:
    """The first kind of the preset that needs no label maps; with other contrasts than its own, where they are given."""
    preset = read_config("synth-2d").data.synthetic
    assert preset is not None
    kind = next(kind for kind in preset.kinds if "maps" not in kind.world.kinds)
    contrast = kind.contrast if relation is None else replace(kind.contrast, relation=relation)
    return WorldsConfig((replace(kind, contrast=contrast),), group=BATCH, labels=True)


def run(name: str, steps: int, seed: int) -> dict[str, Any]:
    """Trains a variant and measures it."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        weights = train(configured(VARIANTS[name], steps, seed), Path(folder), quiet=True)
        seconds, model = time.perf_counter() - began, load_weights(weights)
    found: dict[str, Any] = {"variant": name, "seed": seed, "training s": seconds}
    found["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    for contrast, relation in RELATIONS.items():
        pairs = WorldPairs(worlds(relation), seed=1)
        batch = collate_pairs([pairs.draw(FIRST_PAIR + number) for number in range(NUM_PAIRS)])
        found[contrast] = measured(model, batch)
    return found


@torch.no_grad()
def measured(model: GeoReg, batch: PairBatch) -> dict[str, float]:
    """Mean error in mm over the object, Dice of all labels, and folding."""
    trajectory = model(batch.fixed, batch.moving, scale=SCALE)
    assert batch.displacement is not None
    assert batch.fixed_labels is not None
    error, inside = (trajectory.last.displacement - batch.displacement).norm(dim=1), batch.fixed_labels > 0
    found = scores(trajectory, batch)
    lengths = {"before mm": batch.displacement.norm(dim=1), "error mm": error}
    means = {name: float(length[inside].mean()) for name, length in lengths.items()}
    return means | {"Dice": found["dice"], "folding %": found["folding_percent"]}


def section(steps: int, seeds: int, workers: int = 2) -> str:
    """The table of the page."""
    jobs = [(name, steps, seed) for seed in range(seeds) for name in VARIANTS]
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(lambda job: _process(*job), jobs))
    explanation = (
        f"{steps} steps of {BATCH} pairs, {seeds} seeds each, {NUM_PAIRS} validation pairs with the same and as many with "
        "inverted or random contrast; shifts to 30 mm, turns to 25 degrees, scales to 1.35, 10 mm RMS smooth, in "
        "192 mm. Mean (least to most) over the seeds. Two networks differ for certain where their ranges do not overlap."
    )
    return "\n\n".join([f"## {TITLE}", explanation, table(found)])


def table(found: list[dict[str, Any]]) -> str:
    """A line per variant."""
    lines = [["before", "", *(f"{found[0][contrast]['before mm']:.2f}" for contrast in RELATIONS), "", "", ""]]
    for name in VARIANTS:
        rows = [row for row in found if row["variant"] == name]
        cells = [_spread([row[contrast]["error mm"] for row in rows], 2) for contrast in RELATIONS]
        cells += [
            _spread([row["same contrast"][key] for row in rows], digits) for key, digits in (("Dice", 3), ("folding %", 2))
        ]
        seconds = f"{statistics.mean(row['training s'] for row in rows):.0f}"
        lines.append([name, str(rows[0]["parameters"]), *cells, seconds])
    errors = [f"error mm, {contrast}" for contrast in RELATIONS]
    return markdown_table(["variant", "parameters", *errors, "Dice, same", "folding %, same", "training s"], lines)


def _process(name: str, steps: int, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.ablation", "--job", json.dumps([name, steps, seed])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _spread(values: list[float], digits: int) -> str:
    return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    """A job of :func:`section`, or the whole section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if args.job:
        print(json.dumps(run(*json.loads(args.job))))
    else:
        print(section(args.steps, args.seeds, args.workers))


if __name__ == "__main__":
    main()

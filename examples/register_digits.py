"""Trains GeoReg on handwritten digits and registers digits that it has never seen.

    python examples/register_digits.py --out digits

trains for about five minutes on two cores, prints figures of 500 unseen pairs and writes pictures.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from geogrid.data import Digits, mnist, random_affine, same_digit_pairs
from geogrid.graph import Level, inherit_displacement
from geogrid.metrics import folding_percent, foreground_dice
from geogrid.models import GeoReg, attended, load_weights
from geogrid.report import alignment_figure, attention_figure, level_displacements_figure, pairs_figure
from geogrid.spatial import PointCloud, to_cloud, to_images
from geogrid.spatial.sampling import sample_cloud
from geogrid.training import read_config
from geogrid.transforms import DisplacementField, StepBatch, TrajectoryBatch, own_displacement_lengths

SETTINGS = ("devices=2", "batch=8", "accelerator=cpu", "validation=null")
"""Changes to the preset ``mnist``: its 16 pairs a step are shared out over two processes."""


def train(out: Path, steps: int, seed: int = 0) -> GeoReg:
    """Runs ``geogrid train`` on random pairs of the same digit, with a progress bar; gives the model that it writes."""
    changes = [f"--set={setting}" for setting in (*SETTINGS, f"steps={steps}", f"seed={seed}")]
    done = subprocess.run([sys.executable, "-m", "geogrid", "train", "--config", "mnist", "--out", str(out), *changes])
    if done.returncode:
        sys.exit(done.returncode)
    return load_weights(out / "weights.safetensors")


@torch.no_grad()
def register(model: GeoReg, fixed: PointCloud, moving: PointCloud) -> tuple[TrajectoryBatch, Tensor]:
    """The trajectories, and the moving intensities where the last step has brought the fixed points."""
    trajectory = model(fixed, moving)
    return trajectory, read(moving, trajectory, trajectory.last)


def read(moving: PointCloud, trajectory: TrajectoryBatch, step: StepBatch) -> Tensor:
    """Moving intensities at the moved points of a step, ``(num_pairs, *shape)``."""
    return step.points.to_lattice(sample_cloud(moving, trajectory.moved(step), step.points.batch))[:, 0]


def evaluate(model: GeoReg, digits: Digits, count: int = 500, seed: int = 1) -> dict[str, float]:
    """Mean Dice of the digits before and after, folding, seconds a pair, and how far each level moves points."""
    pairs = same_digit_pairs(digits, count, torch.Generator().manual_seed(seed))
    before, after, folding, lengths, seconds = [], [], [], [], 0.0
    for first, second in (part.T for part in pairs.split(50)):
        images = digits.images[first], digits.images[second]
        start = time.perf_counter()
        trajectory, warped = register(model, *map(to_cloud, images))
        seconds += time.perf_counter() - start
        before.append(foreground_dice(*images))
        after.append(foreground_dice(images[0], warped))
        everywhere = torch.ones(images[0].shape[1:], dtype=torch.bool)
        folding += [folding_percent(deformation(trajectory, b), everywhere) for b in range(len(first))]
        lengths.append(list(own_displacement_lengths(trajectory).values()))
    means = torch.tensor(lengths).mean(0).tolist()
    levels = ("coarse", "middle", "fine")[-len(means) :]
    return {
        "pairs": count, "Dice before": float(torch.cat(before).mean()), "Dice after": float(torch.cat(after).mean()),
        "folding %": sum(folding) / count, "ms a pair": 1000 * seconds / count,
        **{f"median mm, {level}": mean for level, mean in zip(levels, means, strict=True)},
    }  # fmt: skip


def deformation(trajectory: TrajectoryBatch, pair: int) -> DisplacementField:
    """The displacement of one pair on the pixels of its fixed image."""
    return trajectory.entry(pair).deformation(trajectory.last.points.lattices[pair])


def draw(model: GeoReg, digits: Digits, out: Path, seed: int = 2) -> None:
    """Pairs, what each level adds, what a point looks at, and copies of one digit falling into line."""
    generator = torch.Generator().manual_seed(seed)
    first, second = same_digit_pairs(digits, 6, generator).T
    fixed, moving = to_cloud(digits.images[first]), to_cloud(digits.images[second])
    trajectory, warped = register(model, fixed, moving)
    fields = [deformation(trajectory, b) for b in range(len(first))]
    pictures = {
        "pairs": pairs_figure(to_images(fixed), to_images(moving), to_images(to_cloud(warped)), fields),
        "levels": level_displacements_figure(trajectory),
        "alignment": alignment_figure(alignment(model, digits.images[first[0]], generator), fixed.lattices[0]),
    }
    one, other = fixed.entry(0), moving.entry(0)
    brightest = one.pos[one.x[:, 0].argmax()]
    for look in attended(model, one, other, brightest)[-1:]:
        pictures["attention"] = attention_figure(
            to_images(one)[0], to_images(other)[0], look.point, look.place, look.neighbors, look.weights
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, figure in pictures.items():
        figure.savefig(out / f"{name}.png", dpi=120)


def alignment(model: GeoReg, image: Tensor, generator: torch.Generator, copies: int = 40) -> dict[str, Tensor]:
    """Affinely augmented copies of one digit, before and after each level of their registration to it."""
    moving = to_cloud(random_affine(image.expand(copies, *image.shape), generator))
    fixed = to_cloud(image.expand(copies, *image.shape))
    trajectory, _ = register(model, fixed, moving)
    stages = {"before": to_stack(moving)}
    for step in trajectory.steps:
        if not step.learned or step.level == 0:
            continue
        carried = inherit_displacement(Level(step.points, step.scale), fixed, step.displacement)
        stages[f"after level {step.level}"] = read(moving, trajectory, StepBatch(0, 1.0, fixed, carried))
    return stages | {"after level 0": read(moving, trajectory, trajectory.last)}


def to_stack(cloud: PointCloud) -> Tensor:
    """Intensities ``(num_images, *shape)``."""
    return cloud.to_lattice(cloud.x)[:, 0]


def main() -> None:
    """Trains, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=read_config("mnist").steps, help="of training, 16 pairs each")
    parser.add_argument("--pairs", type=int, default=500, help="to evaluate on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("digits"), help="folder for the training and the pictures")
    args = parser.parse_args()
    digits = mnist()
    start = time.perf_counter()
    model = train(args.out / "training", args.steps, args.seed)
    figures = {
        "parameters": sum(p.numel() for p in model.parameters()), "training s": time.perf_counter() - start,
        **evaluate(model, digits.test, args.pairs),
    }  # fmt: skip
    draw(model, digits.test, args.out)
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4g}")
    Console().print(table)


if __name__ == "__main__":
    main()

"""Five families of known deformations in three sizes: what each program makes of them, without any affine stage of its user's.

The moving image is the MNI152 template (nilearn), or a scan of your own; the fixed image is the same seen through a known map,
with noise: a fractal Brownian displacement, alone or together with a turn, scales, a shift or an affine map. Told are the
average endpoint error (AEE) in mm, the 95th percentile of the distance of the labels' surfaces (HD95) in mm, and folding in %.

    python examples/large_deformations.py --resolution 2
    python examples/large_deformations.py --data scan.nii.gz labels.nii.gz --models synth-3d my/feature_warp.safetensors

Families and measures are those of arXiv 2412.13294, Appendix 15. SyN and greedy run where their packages are installed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import torch
from rich.console import Console
from rich.table import Table

import geogrid
from geogrid.data import DeformationConfig, mni152, mni152_tissues, random_deformation
from geogrid.io import as_image_file, read_displacement, read_labels
from geogrid.metrics import content_mask, endpoint_error, folding_percent, surface_distances
from geogrid.models import load_weights
from geogrid.optimize import register_learned
from geogrid.spatial import Image, scale_intensities
from geogrid.transforms import (
    AffineTransform,
    Composition,
    DisplacementField,
    Transform,
    to_displacement,
    warp_image,
    warp_labels,
)

PEERS = Path(__file__).resolve().parents[1] / "tests" / "benchmarks" / "peers.py"
PEER_PACKAGES = {"SyN": ("syn", "ants", "antspyx"), "greedy": ("greedy", "picsl_greedy", "picsl-greedy SimpleITK")}
PAD_MM, NOISE, BROWNIAN = 40.0, 0.02, (4.0, 4.0)

SIZES = {"small": 1, "medium": 2, "large": 3}
FAMILIES: dict[str, Callable[[int], DeformationConfig]] = {
    "Brownian": lambda k: DeformationConfig(brownian_mm=(4.0 * k, 4.0 * k)),
    "rotation": lambda k: DeformationConfig(rotation_degrees=(15.0 * k, 15.0 * k), brownian_mm=BROWNIAN),
    "scaling": lambda k: DeformationConfig(scale=1 + 0.15 * k, brownian_mm=BROWNIAN),
    "translation": lambda k: DeformationConfig(shift_mm=(12.0 * k, 12.0 * k), brownian_mm=BROWNIAN),
    "affine": lambda k: DeformationConfig(
        rotation_degrees=(10.0 * k, 10.0 * k),
        shift_mm=(6.0 * k, 6.0 * k),
        scale=1 + 0.1 * k,
        shear=0.05 * k,
        brownian_mm=BROWNIAN,
    ),
}
"""All but the first come with a Brownian displacement of 4 mm root mean square."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A pair whose answer is known.

    Args:
        fixed: the moving image seen through ``truth``, with noise.
        moving: intensities.
        fixed_labels: likewise without noise.
        moving_labels: integers.
        truth: of fixed to moving space.
    """

    fixed: Image
    moving: Image
    fixed_labels: Image
    moving_labels: Image
    truth: Composition


def main() -> None:
    """Runs the programs on all problems and prints a table."""
    chosen, console = arguments(), Console()
    moving, labels = source(chosen.data, chosen.resolution)
    programs = {"before": lambda problem: AffineTransform.identity(problem.fixed.dim), **own_programs(chosen.models)}
    for name in chosen.programs:
        if missing(name, chosen.peer_python):
            console.print(f"{name}: skipped, {chosen.peer_python} lacks it; pip install {PEER_PACKAGES[name][2]}")
        else:
            programs[name] = lambda problem, name=name: by_peer(problem, name, chosen.peer_python)
    found = []
    for number, (family, size) in enumerate((f, s) for f in chosen.families for s in chosen.sizes):
        problem = make_problem(moving, labels, FAMILIES[family](SIZES[size]), chosen.seed + number)
        for name, program in programs.items():
            found.append({"family": family, "size": size, "program": name, **judge(problem, program(problem))})
    console.print(table(found, list(programs)))
    if chosen.out:
        chosen.out.write_text(json.dumps(found, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", nargs=2, metavar=("IMAGE", "LABELS"), help="a scan of your own; default the MNI152 template")
    options.add_argument("--resolution", type=int, default=2, help="voxel size of the template in mm")
    options.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    options.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    options.add_argument("--programs", nargs="*", choices=PEER_PACKAGES, default=list(PEER_PACKAGES), help="beside geogrid")
    options.add_argument("--models", nargs="*", default=[], help="names or files of weights, alone and as a start; or none")
    options.add_argument("--peer-python", default=sys.executable, help="interpreter in which SyN and greedy are looked for")
    options.add_argument("--seed", type=int, default=0, help="of the deformations and the noise")
    options.add_argument("--out", type=Path, help="JSON file for the figures")
    return options.parse_args()


def source(data: tuple[str, str] | None, resolution: int) -> tuple[Image, Image]:
    """The moving image, from 0 to about 1, and its labels."""
    files = (mni152(resolution), mni152_tissues(resolution)) if data is None else (as_image_file(data[0]), read_labels(data[1]))
    return scale_intensities(files[0].image), files[1].image


def make_problem(moving: Image, labels: Image, config: DeformationConfig, seed: int) -> Problem:
    """The image seen through a random map, on a grid with a margin, so that little of it leaves the view."""
    generator = torch.Generator().manual_seed(seed)
    pad = [math.ceil(PAD_MM / s) for s in moving.grid.spacing.tolist()]
    grid = moving.grid.crop(tuple(-p for p in pad), tuple(n + 2 * p for n, p in zip(moving.grid.shape, pad, strict=True)))
    truth = random_deformation(config, grid, moving.grid, generator)
    seen = warp_image(moving, truth, grid).data
    noise = NOISE * torch.randn(seen.shape, generator=generator)
    return Problem(Image((seen + noise).clamp_min(0), grid), moving, warp_labels(labels, truth, grid), labels, truth)


def own_programs(models: list[str]) -> dict[str, Callable[[Problem], Transform]]:
    """Registration with the defaults, and for each model its answer alone and the registration with it as a start."""
    programs: dict[str, Callable[[Problem], Transform]] = {"geogrid": lambda problem: registered(problem, "auto")}
    for model in models:
        name = Path(model).stem
        if model != "none":
            programs[f"{name} alone"] = lambda problem, model=model: alone(problem, model)
        programs[f"geogrid, {name}"] = lambda problem, model=model: registered(problem, model)
    return programs


def registered(problem: Problem, model: str) -> Transform:
    """The whole registration."""
    sources = [(image.data, image.grid.affine) for image in (problem.fixed, problem.moving)]
    return geogrid.register(*sources, model=model).transform


def alone(problem: Problem, model: str) -> Transform:
    """What a network finds, without any optimisation."""
    return register_learned(load_weights(model), problem.fixed, problem.moving).transform(problem.fixed.grid)


def missing(name: str, python: str) -> bool:
    """Whether an interpreter lacks the package of a program."""
    command = [python, "-c", f"import {PEER_PACKAGES[name][1]}"]
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


def by_peer(problem: Problem, name: str, python: str) -> Transform:
    """SyN or greedy, each with its affine, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / f"{side}.nii") for side in ("fixed", "moving")]
        for path, image in zip(files, (problem.fixed, problem.moving), strict=True):
            nib.Nifti1Image(image.data.numpy(), image.grid.affine.numpy()).to_filename(path)
        threads = str(torch.get_num_threads())
        subprocess.run(
            [python, str(PEERS), PEER_PACKAGES[name][0], *files, "-", folder, threads], capture_output=True, check=True
        )
        return DisplacementField(*read_displacement(next(Path(folder).glob("total.nii*"))), outside="extend")


def judge(problem: Problem, found: Transform) -> dict[str, float]:
    """AEE and HD95 in mm, folding in percent."""
    grid, content = problem.fixed.grid, content_mask(problem.fixed)
    warped = warp_labels(problem.moving_labels, found, grid).data
    with torch.no_grad():
        errors = endpoint_error(found, problem.truth, grid.points()[content.flatten()])
    present = problem.fixed_labels.data.unique()
    spacing = grid.spacing.tolist()
    hd95 = [surface_distances(problem.fixed_labels.data, warped, spacing, int(k)).hd95_mm for k in present if k > 0]
    folding = folding_percent(to_displacement(found, grid), content)
    return {"AEE mm": float(errors.mean()), "HD95 mm": statistics.mean(hd95), "folding %": folding}


def table(found: list[dict[str, float | str]], programs: list[str]) -> Table:
    """AEE, HD95 and folding of each program on each problem."""
    shown = Table("family", "size", *programs, box=None, title="AEE mm / HD95 mm / folding %")
    for family, size in dict.fromkeys((row["family"], row["size"]) for row in found):
        rows = {row["program"]: row for row in found if (row["family"], row["size"]) == (family, size)}
        cells = [" / ".join(f"{rows[name][key]:.2f}" for key in ("AEE mm", "HD95 mm", "folding %")) for name in programs]
        shown.add_row(str(family), str(size), *cells)
    return shown


if __name__ == "__main__":
    main()

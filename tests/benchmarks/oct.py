"""Retinal layers in optical coherence tomography: two b-scans, each against itself moved and made noisy, and against the other.

Pixels count as 1 x 1: how many mm one is the files don't say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import torch

from geogrid.data.synthetic import DeformationConfig, random_deformation
from geogrid.spatial import Grid, Image
from geogrid.transforms import Transform, warp_image
from tests.benchmarks.anchors import Check, Row, column
from tests.benchmarks.datasets import Problem

LAYERS, STEP = tuple(range(1, 9)), 30
MOTION = DeformationConfig(rotation_degrees=(5.0, 5.0), shift_mm=(20.0, 20.0), smooth_mm=(6.0, 6.0))
SPECKLE, NOISE = 0.25, 0.04


def oct_scans(data: Path, folder: Path) -> Iterator[Problem]:
    """The four pairs; files are written into ``folder``."""
    scans = {k: (bscan(data, k), layers(data, k)) for k in (1, 2)}
    files = {str(k): write(folder / f"bscan{k}", *scan) for k, scan in scans.items()}
    for k, (image, labels) in scans.items():
        generator = torch.Generator().manual_seed(k)
        back = random_deformation(MOTION, image.grid, image.grid, generator)
        files[f"{k} moved"] = write(folder / f"moved{k}", noisy(moved(image, back), generator), moved(labels, back, True))
    for fixed, moving in (("1", "1 moved"), ("2", "2 moved"), ("1", "2"), ("2", "1")):
        (image, labels), (other, other_labels) = files[fixed], files[moving]
        yield Problem(f"{fixed}, {moving}", image, other, labels, other_labels, LAYERS)


def bscan(data: Path, k: int) -> Image:
    """A b-scan from 0 to 1, width by depth."""
    picture = np.asarray(PIL.Image.open(data / "oct" / f"bscan{k}.png"), dtype=np.float32).T / 255
    return Image(torch.from_numpy(picture.copy()), Grid(picture.shape, torch.eye(3, dtype=torch.float64)))


def layers(data: Path, k: int) -> Image:
    """Layers 1 to 8 from the vitreous inwards, 0 elsewhere; the file has 0, 30, ... 210, and 240 elsewhere."""
    picture = np.asarray(PIL.Image.open(data / "oct" / f"bscan{k}_layers.png"), dtype=np.int32).T
    values = np.where(picture == STEP * len(LAYERS), 0, picture // STEP + 1).astype(np.float32)
    return Image(torch.from_numpy(values), Grid(picture.shape, torch.eye(3, dtype=torch.float64)))


def moved(image: Image, back: Transform, labels: bool = False) -> Image:
    """What is seen through a map, on the same pixels."""
    return warp_image(image, back, image.grid, "nearest" if labels else "linear")


def noisy(image: Image, generator: torch.Generator) -> Image:
    """Speckle, which grows with brightness, and even noise."""
    first, second = (torch.randn(image.data.shape, generator=generator) for _ in range(2))
    return Image((image.data * (1 + SPECKLE * first) + NOISE * second).clamp_min(0), image.grid)


def write(stem: Path, image: Image, labels: Image) -> tuple[Path, Path]:
    """Both as NIfTI files of two dimensions."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = stem.with_name(f"{stem.name}.nii.gz"), stem.with_name(f"{stem.name}_layers.nii.gz")
    for path, one, kind in zip(paths, (image, labels), (np.float32, np.int16), strict=True):
        nib.Nifti1Image(one.data.numpy().astype(kind), np.eye(4)).to_filename(path)
    return paths


def check_oct(rows: Sequence[Row]) -> list[Check]:
    """Mean Dice beside SyN in the same run; folding."""
    own, peer = (float(np.mean(column(rows, name, "score"))) for name in ("geogrid", "SyN"))
    demand = "mean Dice at least that of SyN in this run; gain"
    folding = float(np.max(column(rows, "geogrid", "folding")))
    return [
        Check(demand, "not run" if np.isnan(peer) else f"{own - peer:.4f}", None if np.isnan(peer) else own >= peer),
        Check("folding below .1 % on every pair; worst", f"{folding:.4g}", folding < 0.1),
    ]

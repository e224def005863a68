"""Registration of less than the whole: thick slices, random voxels, and scans with odd fields of view.

    python tests/benchmarks/thinned.py [--slabs 5] [--heads 10]

Real scans are averaged along one axis, or keep a random part of their voxels; the labels that judge stay whole. Settings were
chosen on tuning pairs, which are not reported (decisions 12 and 17).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import geogrid  # noqa: E402
from geogrid.io import ImageFile, PointTable, Storage, as_image_file, read_labels  # noqa: E402
from geogrid.spatial import Image  # noqa: E402
from geogrid.spatial.pyramid import pool_values  # noqa: E402
from geogrid.transforms import AffineTransform, Transform, warp_labels  # noqa: E402
from tests.benchmarks.anchors import Check  # noqa: E402
from tests.benchmarks.contrast import overlap_judge  # noqa: E402
from tests.benchmarks.datasets import HEAD_PAIRS, SLAB_PAIRS, Problem, data_folder, heads, slabs  # noqa: E402
from tests.benchmarks.tables import check_list, markdown_table  # noqa: E402

TITLE = "Thick slices, subsets and odd fields of view"
TABLES = ("slabs", "cords", "prostates", "heads")
NOTE = (
    "`geogrid.register` with its defaults. *moving 2*, *both 4*: that many voxels averaged along one axis; *25 %*: a random "
    "quarter of the voxels of both, as positions with intensities. The labels stay whole. *s*: CPU seconds of a call with its "
    'metrics. *headers*: `affine="none"`, for headers that are trusted; *stiff*: ten '
    "times the smoothness."
)
KEPT = 0.25
SLAB_AXIS, HEAD_AXIS = 0, 2
FALLS = {"moving 2": 0.01, "moving 4": 0.02, "both 2": 0.01, "both 4": 0.02, "both 25 %": 0.03}
VARIANTS = ("whole", *FALLS)
PROSTATES = (*(("train", k) for k in range(8)), ("test", 25), ("test", 26))
SETTINGS: dict[str, dict[str, Any]] = {
    "mind": {"similarity": "mind"},
    "nmi": {"similarity": "nmi"},
    "edges": {"similarity": "edges"},
    "edges, headers": {"similarity": "edges", "affine": "none"},
    "mind, headers": {"similarity": "mind", "affine": "none"},
    "mind, headers, stiff": {"similarity": "mind", "affine": "none", "smoothness": 10.0},
}
Judge = Callable[[Transform], float]


@dataclass(frozen=True)
class Found:
    """Overlap and CPU seconds of one registration."""

    dice: float
    seconds: float


def thick(image: Image, axis: int, factor: int) -> ImageFile:
    """An image averaged over ``factor`` voxels along an axis; the last slice averages what is left."""
    factors = [factor if a == axis else 1 for a in range(image.dim)]
    grid = image.grid.pool(factors)
    pooled = Image(pool_values(image.data, tuple(factors)), grid)
    return ImageFile(pooled, Storage(grid.shape, grid.affine), f"slices of {factor} voxels")


def subset(image: Image, share: float, seed: int) -> PointTable:
    """Positions and intensities of a random part of the voxels."""
    kept = torch.rand(image.grid.num_points, generator=torch.Generator().manual_seed(seed)) < share
    values = image.data.flatten()[kept].double()
    return PointTable(image.grid.points()[kept].double(), features=values[:, None], feature_names=("intensity",))


def variant(name: str, file: ImageFile, axis: int, seed: int, side: str) -> ImageFile | PointTable:
    """One side of a pair, made worse where that is asked of it."""
    which, _, how = name.partition(" ")
    if which not in (side, "both"):
        return file
    return subset(file.image, KEPT, seed) if how == "25 %" else thick(file.image, axis, int(how))


def measure(fixed: ImageFile | PointTable, moving: ImageFile | PointTable, judge: Judge, **options: Any) -> Found:
    """Registers a pair on the CPU."""
    began = time.process_time()
    if isinstance(fixed, PointTable) and isinstance(moving, PointTable):
        options["intensity"] = "intensity"
    found = geogrid.register(fixed, moving, device="cpu", **options)
    return Found(1 - judge(found.transform), time.process_time() - began)


def thinned_table(name: str, problems: Iterable[Problem], axis: int, variants: Sequence[str] = VARIANTS) -> str:
    """Both sides made worse in the same way, pair by pair."""
    lines, rows = [], []
    for number, problem in enumerate(problems):
        files = [(as_image_file(getattr(problem, side)), side) for side in ("fixed", "moving")]
        judge = overlap_judge(problem.fixed_labels, problem.moving_labels, problem.labels)
        sides = {v: [variant(v, f, axis, 2 * number + k, side) for k, (f, side) in enumerate(files)] for v in variants}
        found = {v: measure(*sides[v], judge) for v in variants}
        rows.append(found)
        lines.append(
            [problem.name, *(f"{found[v].dice:.3f}" for v in variants), *(f"{found[v].seconds:.1f}" for v in variants)]
        )
        say(name, lines[-1])
    means = {v: statistics.mean(row[v].dice for row in rows) for v in variants}
    seconds = {v: statistics.mean(row[v].seconds for row in rows) for v in variants}
    lines.append(["mean", *(f"{means[v]:.3f}" for v in variants), *(f"{seconds[v]:.1f}" for v in variants)])
    checks = [
        Check(f"{v}: mean Dice falls by at most {most}", f"{means['whole'] - means[v]:.4f}", means["whole"] - means[v] <= most)
        for v, most in FALLS.items()
        if v in variants
    ]
    table = markdown_table(["pair", *variants, *(f"s {v}" for v in variants)], lines)
    return "\n\n".join([f"{name}:", table, check_list(checks)])


def cords(data: Path) -> str:
    """The spinal cord of one person, T1 to T2 and to T2*, whose slices are 7.5 mm thick."""
    folder = data / "anisotropic/spinal_cord"
    t1, t1_labels = folder / "t1w.nii.gz", folder / "t1w_seg-manual.nii.gz"
    cases = []
    for name, labels in (("t2", "t2_seg-manual"), ("t2s", "t2s_seg")):
        judge = overlap_judge(folder / f"{labels}.nii.gz", t1_labels, (1,))
        cases.append((f"t1 to {name}", folder / f"{name}.nii.gz", t1, judge))
    return settings_table("Spinal cord of one person, 1 mm and 0.5 x 0.5 x 7.5 mm: Dice of the cord", cases, 2)


def prostates(data: Path) -> str:
    """MR to ultrasound of ten men; the overlap of the gland."""
    cases = []
    for part, number in PROSTATES:
        folder, case = data / "anisotropic/prostate" / part, f"case{number:06d}.nii.gz"
        judge = gland_judge(folder / "us_labels" / case, folder / "mr_labels" / case)
        cases.append((f"{part} {number}", folder / "us_images" / case, folder / "mr_images" / case, judge))
    return settings_table("Prostate, MR to ultrasound, 0.4 mm, fields of view of 18 to 26 mm: Dice of the gland", cases, 8)


def settings_table(title: str, cases: Sequence[tuple[str, Path, Path, Judge]], wanted: int) -> str:
    """Pairs of different contrast, with every setting."""
    lines, better = [], dict.fromkeys(SETTINGS, 0)
    for name, fixed, moving, judge in cases:
        before = 1 - judge(AffineTransform.identity(3))
        files = as_image_file(fixed), as_image_file(moving)
        found = {s: measure(*files, judge, **options).dice for s, options in SETTINGS.items()}
        for setting, dice in found.items():
            better[setting] += dice > before
        lines.append([name, f"{before:.3f}", *(f"{dice:.3f}" for dice in found.values())])
        say(title, lines[-1])
    checks = [Check(f"improves in at least {wanted} of {len(cases)}, {s}", str(n), n >= wanted) for s, n in better.items()]
    return "\n\n".join([f"{title}.", markdown_table(["pair", "before", *SETTINGS], lines), check_list(checks)])


def gland_judge(fixed: Path, moving: Path) -> Judge:
    """One minus the Dice of the first channel of two files of labels."""
    maps = []
    for path in (fixed, moving):
        stored = nib.load(path)
        values = np.rint(np.asarray(stored.dataobj)).astype(np.int32)
        maps.append(read_labels((values if values.ndim == 3 else values[..., 0], stored.affine)).image)

    def judge(found: Transform) -> float:
        first, second = maps[0].data == 1, warp_labels(maps[1], found, maps[0].grid).data == 1
        return 1 - 2 * count(first & second) / (count(first) + count(second))

    return judge


def count(mask: Tensor) -> int:
    """How many are True."""
    return int(mask.sum())


def say(name: str, line: list[str]) -> None:
    """A line about progress."""
    print(name, *line, file=sys.stderr, flush=True)


def section(num_slabs: int = 5, num_heads: int = 10, tables: Sequence[str] = TABLES, variants: Sequence[str] = VARIANTS) -> str:
    """All tables of the page."""
    data = data_folder()
    if data is None:
        return f"## {TITLE}\n\nGEOGRID_TEST_DATA names no folder."
    parts = [f"## {TITLE}", NOTE]
    if "slabs" in tables:
        problems = slabs(data, SLAB_PAIRS[:num_slabs])
        parts.append(thinned_table("Brain slabs, mean Dice of four tissues", problems, SLAB_AXIS, variants))
    if "cords" in tables:
        parts.append(cords(data))
    if "prostates" in tables:
        parts.append(prostates(data))
    if "heads" in tables:
        with tempfile.TemporaryDirectory() as work:
            problems = heads(data, Path(work), HEAD_PAIRS[:num_heads])
            parts.append(thinned_table("Heads at 2 mm, mean Dice of 27 structures", problems, HEAD_AXIS, variants))
    return "\n\n".join(parts)


def main() -> None:
    """Prints the section."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--slabs", type=int, default=5, help="pairs")
    options.add_argument("--heads", type=int, default=10, help="pairs")
    options.add_argument("--tables", default=",".join(TABLES), help="which ones, separated by commas")
    options.add_argument("--variants", default=",".join(VARIANTS), help="which ones, separated by commas; whole among them")
    chosen = options.parse_args()
    print(section(chosen.slabs, chosen.heads, chosen.tables.split(","), chosen.variants.split(",")))


if __name__ == "__main__":
    main()

"""Images of changed contrast: what each similarity reaches; the last line of output is JSON.

    python contrast.py DATA_FOLDER [reported|tuning]

The moving image is a scan whose intensities were changed by a map of intensities, or a scan of another sequence in the same
space. The fixed image is the scan itself, seen through a known map of fixed to moving space (a turn, a stretch, a shift and
smooth waves); the error is the mean distance in mm, over the fixed content, between that map and the one found. Settings were
chosen on the tuning cases only.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import process_time

import numpy as np
import PIL.Image
import torch
from scipy import ndimage
from torch import Tensor

from geogrid.io import as_image_file, read_labels
from geogrid.optimize.pipeline import OptimizeConfig, optimize_pair
from geogrid.spatial import Grid, Image, scale_intensities
from geogrid.spatial.intensity import CONTENT_LEVEL
from geogrid.transforms import AffineTransform, Transform, warp_image, warp_labels
from tests.benchmarks.datasets import SLAB_PAIRS, SLAB_TUNING, SLICE_PAIRS, SLICE_TUNING, Problem, slabs, slices

SIMILARITIES = ("lncc", "nmi", "mind", "edges")
KINDS = ("same", "inverted", "random")


@dataclass(frozen=True, eq=False)
class Case:
    """A pair with a judge.

    Args:
        name: shown in tables.
        group: over which errors are averaged.
        fixed: scaled intensities.
        moving: likewise.
        judge: of a map of fixed to moving space.
    """

    name: str
    group: str
    fixed: Image
    moving: Image
    judge: Callable[[Transform], float]


class Waves:
    """A known map: an affine one, then smooth waves of some mm over 90 mm and more."""

    def __init__(self, center: Tensor, seed: int, degrees: float = 8.0, shift: float = 6.0, height: float = 4.0) -> None:
        self.dim, draw = len(center), torch.Generator().manual_seed(seed)
        normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
        skew = torch.triu(normal(self.dim, self.dim), 1)
        skew = skew - skew.T
        stretch = torch.diag(0.06 * normal(self.dim).clamp(-1.5, 1.5))
        linear = torch.matrix_exp(skew / skew.norm() * math.sqrt(2) * math.radians(degrees)) @ torch.matrix_exp(stretch)
        shift_mm = normal(self.dim)
        matrix = torch.eye(self.dim + 1, dtype=torch.float64)
        matrix[:-1, :-1] = linear
        matrix[:-1, -1] = center - linear @ center + shift_mm / shift_mm.norm() * shift
        self.affine = AffineTransform(matrix)
        vectors = normal(5, self.dim)
        self.vectors = (
            vectors / vectors.norm(dim=1, keepdim=True) * (2 * math.pi / torch.linspace(70, 130, 5))[:, None].double()
        )
        self.heights, self.phases = normal(5, self.dim), 2 * math.pi * torch.rand(5, generator=draw, dtype=torch.float64)
        self.heights *= height / self.heights.square().sum(1).mean().sqrt() / math.sqrt(2.5)

    def __call__(self, points: Tensor) -> Tensor:
        """Carries world points."""
        moved = points.double() + torch.sin(points.double() @ self.vectors.T + self.phases) @ self.heights
        return self.affine(moved).to(points)


def remap(image: Image, kind: str, seed: int) -> Image:
    """A scan with other intensities: ``same``, ``inverted`` or a ``random``, not monotone, curve; background stays dark."""
    v = image.data.clamp(0, 1)
    if kind == "same":
        return image
    if kind == "inverted":
        changed = 1.1 - v
    else:
        rng = np.random.default_rng(seed)
        heights = rng.permutation(np.linspace(0.15, 1, 6))
        knots = np.linspace(0, 1, 6)
        changed = torch.from_numpy(np.interp(v.numpy(), knots, heights)).to(v)
    noise = 0.01 * torch.randn(v.shape, generator=torch.Generator().manual_seed(seed)).to(v)
    return Image((changed * (v / 0.1).clamp_max(1) + noise).clamp_min(0), image.grid)


def endpoint_judge(fixed: Image, truth: Transform) -> Callable[[Transform], float]:
    """Mean distance in mm to the truth over the fixed content."""
    points = fixed.grid.points()[(fixed.data > CONTENT_LEVEL).flatten()][::5]
    return lambda found: float((found(points) - truth(points)).norm(dim=1).mean())


def load(path: Path, spacing: float | None = None) -> Image:
    """A scan with scaled intensities in canonical storage, smoothed and resampled when a spacing in mm is given."""
    image = as_image_file(path, name="image", nan_outside=True).image
    if spacing is None:
        return scale_intensities(image)
    factors = spacing / image.grid.spacing.numpy()
    data = ndimage.gaussian_filter(image.data.numpy(), 0.42 * factors)
    shape = tuple(int(n / f) for n, f in zip(data.shape, factors, strict=True))
    data = ndimage.affine_transform(data, np.diag(factors), output_shape=shape, order=1)
    affine = image.grid.affine @ torch.diag(torch.tensor([*factors, 1.0], dtype=torch.float64))
    return scale_intensities(Image(torch.from_numpy(data), Grid(shape, affine)))


def known(name: str, group: str, source: Image, moving: Image, seed: int) -> Case:
    """A case whose fixed image is the source seen through a known map into the moving image's space."""
    truth = Waves(source.grid.center, seed)
    fixed = Image(warp_image(source, truth, source.grid).data.clamp_min(0), source.grid)
    return Case(name, group, fixed, moving, endpoint_judge(fixed, truth))


def labelled(problem: Problem, kind: str, seed: int) -> Case:
    """A case of another person; the judge is one minus the mean Dice."""
    fixed, moving = load(problem.fixed), remap(load(problem.moving), kind, seed)
    judge = overlap_judge(problem.fixed_labels, problem.moving_labels, problem.labels)
    return Case(f"{problem.name} {kind}", f"{problem.fixed.parent.name} {kind} (1 - Dice)", fixed, moving, judge)


def overlap_judge(fixed: Path | None, moving: Path | None, labels: tuple[int, ...]) -> Callable[[Transform], float]:
    """One minus the mean Dice of the labels that either map contains."""
    maps = [read_labels(path, name="labels").image for path in (fixed, moving) if path is not None]

    def judge(found: Transform) -> float:
        warped = warp_labels(maps[1], found, maps[0].grid).data
        scores = []
        for label in labels:
            a, b = maps[0].data == label, warped == label
            if a.any() or b.any():
                scores.append(2 * float((a & b).sum()) / float(a.sum() + b.sum()))
        return 1 - float(np.mean(scores))

    return judge


def cord(folder: Path) -> Case:
    """A spinal cord, T2 to T1 of the same person on different grids."""
    judge = overlap_judge(folder / "t1w_seg-manual.nii.gz", folder / "t2_seg-manual.nii.gz", (1,))
    return Case("cord", "spinal cord T2 to T1 (1 - Dice)", load(folder / "t1w.nii.gz"), load(folder / "t2.nii.gz"), judge)


def histology(folder: Path) -> Case:
    """Two stains of a rat's kidney on white ground, in pixels; the judge is the mean landmark error."""
    images, points = [], []
    for stain in ("HE", "PanCytokeratin"):
        picture = np.asarray(PIL.Image.open(folder / f"Rat-Kidney_{stain}.jpg").convert("L"), dtype=np.float32).T
        grid = Grid(picture.shape, torch.eye(3, dtype=torch.float64))
        images.append(scale_intensities(Image(torch.from_numpy(picture.copy()), grid)))
        rows = np.loadtxt(folder / f"Rat-Kidney_{stain}.csv", delimiter=",", skiprows=1)
        points.append(torch.from_numpy(rows[:, 1:]).float())
    number = min(len(p) for p in points)
    fixed, moving = (p[:number] for p in points)
    return Case(
        "kidney", "kidney, two stains (pixels)", *images, lambda found: float((found(fixed) - moving).norm(dim=1).mean())
    )


def tuning(data: Path) -> Iterator[Case]:
    """On which settings were chosen."""
    head = load(data / "brain_heads" / "oasis_A.nii.gz", 2.0)
    for seed, kind in enumerate(KINDS):
        yield known(f"oasis_A {kind}", f"head {kind} (mm)", head, remap(head, kind, seed), seed)
    for seed, kind in enumerate(KINDS):
        for problem in slabs(data, SLAB_TUNING[:1]):
            yield labelled(problem, kind, 20 + seed)
        for problem in slices(data, SLICE_TUNING[:3]):
            yield labelled(problem, kind, 20 + seed)


def reported(data: Path) -> Iterator[Case]:
    """On which nothing was chosen."""
    folder = data / "brain_heads"
    averages = {name: load(folder / f"avg152{name}.nii.gz") for name in ("T1", "T2", "PD")}
    for seed, (a, b) in enumerate((("T1", "T1"), ("T1", "T2"), ("T1", "PD"), ("T2", "PD"), ("T2", "T1"), ("PD", "T1"))):
        yield known(f"{b} to {a}", f"average {b} to {a} (mm)", averages[a], averages[b], 100 + seed)
    for number, name in enumerate(("colin27_t1_head", "oasis_B")):
        head = load(folder / f"{name}.nii.gz", 2.0)
        for seed, kind in enumerate(KINDS):
            moving = remap(head, kind, 200 + 10 * number + seed)
            yield known(f"{name} {kind}", f"head {kind} (mm)", head, moving, 200 + 10 * number)
    yield cord(data / "anisotropic" / "spinal_cord")
    yield histology(data / "slices2d" / "histology")
    for seed, kind in enumerate(KINDS):
        for problem in slices(data, SLICE_PAIRS):
            yield labelled(problem, kind, 300 + seed)
        for problem in slabs(data, SLAB_PAIRS[:2]):
            yield labelled(problem, kind, 300 + seed)


@cache
def cases(folder: str, which: str) -> list[Case]:
    """All cases of a set."""
    return list((tuning if which == "tuning" else reported)(Path(folder)))


def measure(case: Case, config: OptimizeConfig) -> dict[str, float]:
    """Error before, of the start alone and of the whole, and seconds of processor time."""
    began = process_time()
    solution = optimize_pair(case.fixed, case.moving, config)
    seconds = process_time() - began
    found = solution.trajectory.transform(solution.domain)
    return {
        "before": case.judge(AffineTransform.identity(case.fixed.dim)), "start": case.judge(solution.trajectory.start),
        "after": case.judge(found), "seconds": seconds,
    }  # fmt: skip


def table(rows: list[dict[str, object]]) -> str:
    """Means per group and similarity."""
    lines = [f"{'':<34}{'':>8}{'before':>9}{'start':>9}{'after':>9}{'worst':>9}{'s':>7}"]
    for group in dict.fromkeys(row["group"] for row in rows):
        for similarity in dict.fromkeys(row["similarity"] for row in rows):
            found = [row for row in rows if row["group"] == group and row["similarity"] == similarity]
            if found:
                means = [float(np.mean([row[key] for row in found])) for key in ("before", "start", "after")]
                worst, seconds = max(row["after"] for row in found), float(np.mean([row["seconds"] for row in found]))
                lines.append(f"{group:<34}{similarity:>8}" + "".join(f"{v:9.3f}" for v in (*means, worst)) + f"{seconds:7.1f}")
    return "\n".join(lines)


def main() -> None:
    """Measures every similarity on every case."""
    rows: list[dict[str, object]] = []
    for case in cases(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "reported"):
        for similarity in SIMILARITIES:
            found = measure(case, OptimizeConfig(similarity=similarity))  # type: ignore[arg-type]
            rows.append({"name": case.name, "group": case.group, "similarity": similarity, **found})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(table(rows), file=sys.stderr)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()

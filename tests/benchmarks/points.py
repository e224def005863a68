"""Registration of point sets without correspondences: lung keypoints, landmarks and vessel clouds.

    python -m tests.benchmarks.points [--draws 3] [--large 1000000] [--plot] [--page docs/benchmarks.md]

Each is registered in several ways: as it comes, without a model, by the model alone, and with votes by hand. The real sets are
found by ``GEOGRID_TEST_DATA``. Settings were chosen on synthetic pairs (decision 9), never on these.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from geogrid.data import PointPairConfig, random_point_pair  # noqa: E402
from geogrid.data.point_shapes import random_shape  # noqa: E402
from geogrid.errors import GeogridWarning  # noqa: E402
from geogrid.models import choose_model  # noqa: E402
from geogrid.optimize import PointRegistration, PointsConfig, register_points  # noqa: E402
from geogrid.transforms import Transform  # noqa: E402
from tests.benchmarks import page  # noqa: E402
from tests.benchmarks.datasets import data_folder  # noqa: E402
from tests.benchmarks.tables import markdown_table  # noqa: E402

TITLE = "Points without correspondences"
KEPT, NOISE = 0.7, 0.5
PROTOTYPE = (1.09, 1.43, 0.91, 0.93, 1.25, 1.09, 0.85, 1.03, 1.31, 1.06, 0.95, 1.32, 0.88, 1.13)
TPS_RPM = (1.41, 3.46, 1.34, 1.24, 2.89, 1.87, 1.07, 2.22, 5.79, 1.16, 1.02, 2.94, 0.92, 1.37)
TPS_RPM_COPD = (3.2, 3.2, 1.9, 3.3, 3.2)
NLST_MEAN, NLST_WORST, NLST_SECONDS, COPD_MEAN = 1.05, 1.5, 1.5, 2.5
Case = tuple[Tensor, Tensor, Tensor, Tensor]
Row = tuple[float, float, float]


@dataclass(frozen=True)
class Way:
    """How points are registered."""

    config: PointsConfig = field(default_factory=PointsConfig)
    with_model: bool = True
    optimize: bool = True

    def __call__(self, fixed: Tensor, moving: Tensor) -> PointRegistration:
        """Registers without warnings: the support is in the tables."""
        chosen = choose_model("auto", fixed.shape[1], in_channels=0) if self.with_model else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GeogridWarning)
            return register_points(
                fixed, moving, self.config, model=None if chosen is None else chosen.model, optimize=self.optimize
            )


WAYS = {
    "geogrid": Way(),
    "without a model": Way(with_model=False),
    "network alone": Way(optimize=False),
    "votes by hand": Way(PointsConfig(voting="agreement")),
}
"""The first one is judged."""


def keypoints(data: Path, case: int, draw: int) -> Case:
    """A lung keypoint case: a random 70 % of each side with noise, shuffled; all keypoints as they are, in voxels."""
    both = _table(data / f"lung_points/nlst{case:02d}_keypoints.csv")
    return _subsets(both, 1000 * draw + case, NOISE)


def landmarks(data: Path, case: int, draw: int) -> Case:
    """Expert landmarks of a lung, mm: a random 70 % of each side, shuffled; all of them."""
    return _subsets(_table(data / f"lung_points/copd{case:02d}_landmarks.csv"), 1000 * draw + case, 0.0)


def vessels(data: Path) -> tuple[Tensor, Tensor]:
    """Two clouds of 60,000 points: the target is fixed, the source moves."""
    return _vtk(data / "lung_points/copd1_target.vtk"), _vtk(data / "lung_points/copd1_source.vtk")


def chamfer(first: Tensor, second: Tensor) -> float:
    """Mean distance to the nearest point of the other cloud, both ways averaged."""
    a, b = first.double().numpy(), second.double().numpy()
    return float(cKDTree(b).query(a)[0].mean() + cKDTree(a).query(b)[0].mean()) / 2


def volume_changes(transform: Transform, points: Tensor, step: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Determinant and largest stretch of the derivative at points, by central differences of ``step`` units."""
    points = points.double()
    offsets = step * torch.eye(points.shape[1], dtype=torch.float64)
    derivative = torch.stack([(transform(points + one) - transform(points - one)) / (2 * step) for one in offsets], -1)
    return torch.linalg.det(derivative), torch.linalg.svdvals(derivative)[:, 0]


def solve(case: Case, way: Way) -> Row:
    """Mean error at all points, match support, CPU seconds."""
    fixed, moving, places, truth = case
    began = time.process_time()
    found = way(fixed, moving)
    seconds = time.process_time() - began
    return float((found.transform(places) - truth).norm(dim=1).mean()), found.mean_support, seconds


def _table(path: Path) -> Tensor:
    return torch.from_numpy(np.loadtxt(path, delimiter=",", skiprows=1))


def _subsets(both: Tensor, seed: int, noise: float) -> Case:
    draw = torch.Generator().manual_seed(seed)
    count = round(KEPT * len(both))
    sides = both[:, :3], both[:, 3:]
    chosen = [side[torch.randperm(len(both), generator=draw)[:count]] for side in sides]
    fixed, moving = (side + noise * torch.randn(side.shape, generator=draw, dtype=side.dtype) for side in chosen)
    return fixed, moving, *sides


def _vtk(path: Path, count: int = 60_000) -> Tensor:
    content = path.read_bytes()
    start = content.index(b"float\n") + 6
    return torch.from_numpy(np.frombuffer(content, ">f4", 3 * count, start).reshape(-1, 3).astype(np.float32))


def keypoint_table(data: Path, draws: int) -> str:
    """The NLST table."""
    header = ["case", "before", *WAYS, "worst draw", "support", "CPU s", "prototype", "TPS-RPM"]
    lines, means, seconds = [], [], []
    for number in range(1, 15):
        cases = [keypoints(data, number, draw) for draw in range(draws)]
        found = [[solve(case, way) for case in cases] for way in WAYS.values()]
        means.append(_means(found, 0))
        seconds.append(_means(found, 2)[0])
        before = float((cases[0][2] - cases[0][3]).norm(dim=1).mean())
        numbers = [*means[-1], max(row[0] for row in found[0]), _means(found, 1)[0], seconds[-1]]
        anchors = f"{PROTOTYPE[number - 1]:.2f}", f"{TPS_RPM[number - 1]:.2f}"
        lines.append([str(number), f"{before:.1f}", *(f"{value:.2f}" for value in numbers), *anchors])
        print(lines[-1], file=sys.stderr, flush=True)
    overall = [statistics.mean(column) for column in zip(*means, strict=True)]
    lines.append(
        ["mean", "", *(f"{value:.3f}" for value in overall), "", "", f"{statistics.mean(seconds):.2f}", "1.09", "2.05"]
    )
    checks = [
        _check(f"mean at most {NLST_MEAN}", overall[0], NLST_MEAN),
        _check(f"none above {NLST_WORST}", max(row[0] for row in means), NLST_WORST),
        _check(f"at most {NLST_SECONDS} s a pair", max(seconds), NLST_SECONDS),
    ]
    note = f"NLST keypoints, voxels: {draws} draws of {KEPT:.0%} of each side, noise {NOISE}; mean error at all keypoints."
    return "\n\n".join([note, markdown_table(header, lines), "\n".join(checks)])


def landmark_table(data: Path, draws: int) -> str:
    """The COPD table."""
    lines, means = [], []
    for number in range(1, 6):
        cases = [landmarks(data, number, draw) for draw in range(draws)]
        found = [[solve(case, way) for case in cases] for way in WAYS.values()]
        means.append(_means(found, 0))
        numbers = [*means[-1], _means(found, 1)[0]]
        lines.append([str(number), *(f"{value:.2f}" for value in numbers), f"{TPS_RPM_COPD[number - 1]}"])
    overall = [statistics.mean(column) for column in zip(*means, strict=True)]
    lines.append(["mean", *(f"{value:.2f}" for value in overall), "", "3.0"])
    note = f"COPD landmarks, mean TRE in mm: {draws} draws of {KEPT:.0%} of each side."
    check = _check(f"mean at most {COPD_MEAN} mm", overall[0], COPD_MEAN)
    return "\n\n".join([note, markdown_table(["case", *WAYS, "support", "TPS-RPM"], lines), check])


def synthetic_table(count: int = 8, first: int = 7000) -> str:
    """Turned and bent clouds that no training has seen; the network alone from where the clouds are."""
    kinds = {
        "as the settings were chosen on": PointPairConfig(),
        "30 % outliers": PointPairConfig(outliers=0.3),
        "turned by 25 degrees": PointPairConfig(turn_degrees=(25.0, 25.0)),
        "turned by 50 degrees": PointPairConfig(turn_degrees=(50.0, 50.0)),
        "any orientation, turned by 25 degrees": PointPairConfig(oriented=False, turn_degrees=(25.0, 25.0)),
        "twice the motion": PointPairConfig(motion=(10.0, 40.0)),
    }
    lines = []
    for name, kind in kinds.items():
        pairs = [random_point_pair(torch.Generator().manual_seed(first + number), kind) for number in range(count)]
        cases = [(pair.fixed, pair.moving, pair.landmarks, pair.landmarks_moved) for pair in pairs]
        before = statistics.mean(float((case[3] - case[2]).norm(dim=1).mean()) for case in cases)
        cells = []
        for way in WAYS.values():
            errors = [solve(case, way)[0] for case in cases]
            cells.append(f"{statistics.mean(errors):.2f} ({statistics.median(errors):.2f})")
        lines.append([name, f"{before:.1f}", *cells])
        print(lines[-1], file=sys.stderr, flush=True)
    note = f"Synthetic clouds, `random_point_pair` with seeds from {first} on, {count} pairs each: mean (median) error in mm."
    return "\n\n".join([note, markdown_table(["clouds", "before", *WAYS], lines)])


def _means(found: list[list[Row]], column: int) -> list[float]:
    return [statistics.mean(row[column] for row in rows) for rows in found]


def vessel_table(data: Path) -> str:
    """The pair of vessel clouds."""
    fixed, moving = vessels(data)
    began = time.process_time()
    found = Way()(fixed, moving)
    seconds = time.process_time() - began
    before, affine, after = (chamfer(part, moving) for part in (fixed, found.affine_start(fixed), found.transform(fixed)))
    numbers = [f"{before:.4f}", f"{affine:.4f}", f"{after:.4f}", f"{after / affine:.2f}", f"{seconds:.1f}"]
    volume, stretch = volume_changes(found.transform, fixed[::10])
    folded = float((volume <= 0).double().mean())
    numbers += [f"{folded:.2%}", f"{float(stretch.quantile(0.99)):.2f}", f"{float(stretch.max()):.2f}"]
    header = ["points", "before", "affine", "after", "ratio", "CPU s", "folded", "stretch of 99 %", "largest"]
    table = markdown_table(header, [["60,000", *numbers]])
    half, other = register_halves(fixed, moving)
    table += f"\n\nFound from every second point, judged on the others: affine {half:.4f}, after {other:.4f}."
    checks = [_check("ratio at most 0.5", after / affine, 0.5), _check("at most 30 s", seconds, 30)]
    return "\n\n".join(["Vessel clouds of one lung, Chamfer distance in units of the files:", table, "\n".join(checks)])


def register_halves(fixed: Tensor, moving: Tensor) -> tuple[float, float]:
    """Chamfer distances of the affine map and of the answer at points that were not shown."""
    found = Way()(fixed[::2], moving[::2])
    unseen = fixed[1::2], moving[1::2]
    affine, after = (chamfer(part, unseen[1]) for part in (found.affine_start(unseen[0]), found.transform(unseen[0])))
    return affine, after


def branches(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two independent samples of one tree of vessels, mm; no point is in both."""
    tree = random_shape("tree", 20_000, 3, generator)
    rows = torch.randint(len(tree), (2, count), generator=generator)
    first, second = (tree[part] + 0.7 * torch.randn(count, 3, generator=generator) for part in rows)
    return first, second


def large_table(largest: int, path: Path | None) -> str:
    """Time and memory against the number of points: two samples of a tree, of which one is moved."""
    lines, points = [], []
    for count in (largest // 64, largest // 16, largest // 4, largest):
        draw = torch.Generator().manual_seed(0)
        fixed, other = branches(count, draw)
        truth, moving = (part + 5 * torch.sin(part.roll(1, dims=1) / 30) + 3 for part in (fixed, other))
        began = time.process_time()
        found = Way()(fixed, moving)
        seconds = time.process_time() - began
        before, error = (float((part - truth).norm(dim=1).mean()) for part in (fixed, found.transform(fixed)))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        points.append((count, seconds))
        lines.append(
            [f"{count:,}", f"{seconds:.1f}", f"{1e3 * seconds / count:.2f}", f"{peak:.1f}", f"{before:.2f}", f"{error:.2f}"]
        )
        print(lines[-1], file=sys.stderr, flush=True)
    table = markdown_table(["points", "CPU s", "ms a point", "GB", "before", "error"], lines)
    parts = ["A tree of vessels, sampled anew on each side; errors in mm:", table]
    if path is not None:
        plot(points, path)
        parts.append(f"![CPU seconds against points](images/{path.name})")
    return "\n\n".join(parts)


def plot(points: list[tuple[int, float]], path: Path) -> None:
    """CPU seconds against points, beside a line through the origin and the largest cloud."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    counts, seconds = zip(*points, strict=True)
    figure, axes = pyplot.subplots(figsize=(5, 3.4), layout="constrained")
    axes.plot(counts, seconds, "o-", label="register_points")
    axes.plot(counts, [seconds[-1] * n / counts[-1] for n in counts], ":", color="gray", label="linear")
    axes.set(xscale="log", yscale="log", xlabel="points on each side", ylabel="CPU seconds", title="Two samples of one tree")
    axes.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _check(demand: str, found: float, most: float) -> str:
    return f"* {demand}: {found:.3g}, {'met' if found <= most else '**not met**'}"


def section(draws: int = 3, large: int = 0, path: Path | None = None) -> str:
    """All tables of the page."""
    data, chosen = data_folder(), choose_model("auto", 3, in_channels=0)
    parts = [f"## {TITLE}"]
    if chosen is not None:
        parts.append(f"Model `{chosen.name}`, SHA-256 `{chosen.sha256[:12]}`. CPU seconds of one thread.")
    if data is not None:
        parts += [keypoint_table(data, draws), landmark_table(data, draws), vessel_table(data)]
    parts.append(synthetic_table())
    return "\n\n".join([*parts, large_table(large, path)] if large else parts)


def main() -> None:
    """Prints the section, and writes it into a page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--draws", type=int, default=3)
    options.add_argument("--large", type=int, default=0, help="points of the largest cloud; 0: none")
    options.add_argument(
        "--plot", type=Path, nargs="?", const=ROOT / "docs/images/points_cost.png", help="picture of the cost of large clouds"
    )
    options.add_argument("--page", type=Path, help="page whose section is written anew")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    found = section(chosen.draws, chosen.large, chosen.plot)
    print(found)
    if chosen.page:
        dated = page.dated(found, page.machine({}, 1))
        chosen.page.write_text(page.updated(chosen.page.read_text(), [dated]))


if __name__ == "__main__":
    main()

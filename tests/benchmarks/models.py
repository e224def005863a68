"""Time and memory of the models, each case in a process of its own.

    python -m tests.benchmarks.models [--threads 2]

Times are given in units of one ``torch.nn.Conv3d`` (16 to 16 channels, 3x3x3, batch 1) of the same size in the same process, so
that machines compare.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from geogrid.models import GeoReg, presets
from geogrid.spatial import PointCloud, to_cloud
from tests.benchmarks.tables import markdown_table

ROOT = Path(__file__).resolve().parents[2]
TITLE = "GeoReg: time and memory"
CASES = [
    ("paper3d", (32, 32, 32), True), ("paper3d", (48, 48, 48), True), ("paper3d", (64, 64, 64), True),
    ("light3d", (64, 64, 64), True), ("paper3d", (160, 192, 224), False),
]  # fmt: skip
ANCHOR = (
    "The paper's research code on a machine of this kind (ANCHORS.md): 64^3 forward 3.0 s and 1.0 GB, with backward 7.5 s and "
    "2.2 GB."
)
KEYS = ("forward s", "convs", "forward MB", "both s", "both convs", "both MB")


def run(preset: str, shape: tuple[int, ...], backward: bool, threads: int) -> dict[str, Any]:
    """Seconds and peak memory of one case."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = GeoReg(getattr(presets, preset)())
    fixed, moving = (to_cloud(torch.rand(1, *shape)) for _ in range(2))
    before, conv = _peak_mb(), _convolution(shape)
    rounds = 3 if backward else 1
    with torch.no_grad():
        forward = _seconds(lambda: model(fixed, moving), rounds)
    found = {"forward s": forward, "forward MB": _peak_mb() - before, "convs": forward / conv[0]}
    if backward:
        both = _seconds(lambda: _train(model, fixed, moving), rounds)
        found |= {"both s": both, "both MB": _peak_mb() - before, "both convs": both / conv[1]}
    return found


def _convolution(shape: tuple[int, ...]) -> tuple[float, float]:
    layer, x = nn.Conv3d(16, 16, 3, padding=1), torch.rand(1, 16, *shape)
    with torch.no_grad():
        forward = _seconds(lambda: layer(x), 3)
    if max(shape) > 64:
        return forward, float("nan")
    x.requires_grad_()
    return forward, _seconds(lambda: layer(x).sum().backward(), 3)


def _train(model: GeoReg, fixed: PointCloud, moving: PointCloud) -> None:
    model(fixed, moving).last.displacement.square().mean().backward()


def _seconds(call: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def section(threads: int) -> str:
    """The table of the page."""
    lines = []
    for preset, shape, backward in CASES:
        one = _process(preset, shape, backward, threads)
        size = "x".join(map(str, shape))
        cells = [f"{one[key]:.3g}" if key in one else "" for key in KEYS]
        lines.append([preset, size, *cells])
    header = ["preset", "size", "forward s", "in convolutions", "MB", "with backward s", "in convolutions", "MB"]
    explanation = f"Random pair, {threads} threads, batch 1; memory above that of the loaded libraries and images. {ANCHOR}"
    return "\n\n".join([f"## {TITLE}", explanation, markdown_table(header, lines)])


def _process(*job: Any) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.models", "--job", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """A job of :func:`section`, or the whole section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.job:
        preset, shape, backward, threads = json.loads(args.job)
        print(json.dumps(run(preset, tuple(shape), backward, threads)))
    else:
        print(section(args.threads))


if __name__ == "__main__":
    main()

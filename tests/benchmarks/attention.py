"""Compares the fused attention with the formula as written, PyG's propagate and a careful plain version, in one run.

    python tests/benchmarks/attention.py [--points 48] [--neighbors 27,125] [--heads 1,4] [--threads 2] [--plot]

Every entry is measured in a process of its own: the best of several runs in seconds, and the peak of the process's memory above
what it held before the layer was first called. The last line of a worker's output is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from geogrid.graph import Neighborhood  # noqa: E402
from geogrid.nn import NeighborAttention, neighbor_attention_reference  # noqa: E402
from geogrid.nn.fourier import fourier_features, turn  # noqa: E402
from tests.benchmarks.run import run_json, say  # noqa: E402
from tests.benchmarks.tables import markdown_table  # noqa: E402

TITLE = "Neighbour attention: time and memory"
CHANNELS = 32
NAMES = {"formula": "formula as written", "propagate": "PyG propagate", "careful": "careful plain", "fused": "fused"}
FASTER, SMALLER = 1.5, 5.0
RUNS = 3
STORING, MOST_EDGES = ("formula", "propagate"), 5_000_000
Points = tuple[Tensor, Tensor]
Method = Callable[[NeighborAttention, Points, Points, Neighborhood], Tensor]


def lattice(size: int, neighbors: int) -> tuple[Tensor, Neighborhood]:
    """The points of a cubic lattice and, for each, its window of ``neighbors`` (an odd number cubed)."""
    half = round(neighbors ** (1 / 3)) // 2
    index = torch.cartesian_prod(*[torch.arange(size)] * 3)
    near = index[:, None] + torch.cartesian_prod(*[torch.arange(-half, half + 1)] * 3)
    mask = ((near >= 0) & (near < size)).all(-1)
    flat = (near * torch.tensor([size * size, size, 1])).sum(-1)
    return index.float(), Neighborhood(flat * mask, mask, size**3)


def formula(layer: NeighborAttention, x: Points, pos: Points, table: Neighborhood) -> Tensor:
    """Everything over edges is stored."""
    return neighbor_attention_reference(layer, x, pos, table).update


def propagate(layer: NeighborAttention, x: Points, pos: Points, table: Neighborhood) -> Tensor:
    """The layer on an ``edge_index``."""
    return layer(x, pos, table.edge_index)


def fused(layer: NeighborAttention, x: Points, pos: Points, table: Neighborhood) -> Tensor:
    """The layer on a table."""
    return layer(x, pos, table)


def careful(layer: NeighborAttention, x: Points, pos: Points, table: Neighborhood, chunk: int = 4096) -> Tensor:
    """What a careful user of plain PyTorch writes: one projection per point, terms of one point, chunks, autograd."""
    heads, own = layer.heads, layer.out_channels // layer.heads
    context, query = (fourier_features(p.double(), layer.frequencies, p.dtype) for p in pos)
    asks = layer.lin_query(x[1]).unflatten(1, (heads, own)) / own**0.5
    keys, values = (lin(x[0]).unflatten(1, (heads, own)) for lin in (layer.lin_key, layer.lin_value))
    turned = turn(torch.einsum("nhd,hdm->nhm", asks, layer.position_key), query[:, None], forward=True)
    sums = []
    for rows in torch.arange(len(query)).split(chunk):
        index, wave = table.index[rows], context[table.index[rows]]
        logits = torch.einsum("nhd,nkhd->nkh", asks[rows], keys[index]) + torch.einsum("nhm,nkm->nkh", turned[rows], wave)
        weights = logits.masked_fill(~table.mask[rows][..., None], float("-inf")).softmax(1)
        parts = [torch.einsum("nkh,nkhd->nhd", weights, values[index]), torch.einsum("nkh,nkm->nhm", weights, wave)]
        sums.append(torch.cat(parts, 2))
    total = torch.cat(sums)
    relative = turn(total[..., own:], query[:, None], forward=False)
    return (total[..., :own] + torch.einsum("nhm,hmd->nhd", relative, layer.position_value)).flatten(1)


METHODS: dict[str, Method] = {"formula": formula, "propagate": propagate, "careful": careful, "fused": fused}


def problem(size: int, neighbors: int, heads: int) -> tuple[NeighborAttention, Points, Points, Neighborhood]:
    """A layer, and a lattice whose queries lie up to half a step beside it."""
    generator = torch.Generator().manual_seed(0)
    pos, table = lattice(size, neighbors)
    layer = NeighborAttention(CHANNELS, CHANNELS, dim=3, heads=heads, generator=generator)
    shifted = pos + torch.rand(pos.shape, generator=generator) - 0.5
    x = tuple(torch.randn(len(pos), CHANNELS, generator=generator) for _ in range(2))
    leaves = [tensor.requires_grad_() for tensor in (*x, pos, shifted)]
    return layer, (leaves[0], leaves[1]), (leaves[2], leaves[3]), table


def memory_now(field: str) -> float:
    """MB of this process: ``VmRSS`` now, ``VmHWM`` at most since :func:`forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def forget_peak() -> None:
    """Starts the peak anew (Linux), so that making the inputs does not hide what the layer takes."""
    Path("/proc/self/clear_refs").write_text("5")


def work(method: str, size: int, neighbors: int, heads: int, backward: bool) -> dict[str, float]:
    """Measures one entry in this process."""
    tiny = problem(4, 27, heads)
    METHODS[method](*tiny).sum().backward()
    given = problem(size, neighbors, heads)
    forget_peak()
    before, seconds = memory_now("VmRSS"), []
    for _ in range(RUNS):
        began = time.perf_counter()
        with torch.set_grad_enabled(backward):
            update = METHODS[method](*given)
            if backward:
                update.square().sum().backward()
        seconds.append(time.perf_counter() - began)
    return {"seconds": min(seconds), "memory": memory_now("VmHWM") - before}


def measure(method: str, size: int, neighbors: int, heads: int, backward: bool, threads: int) -> dict[str, float] | None:
    """Measures one entry in a process of its own; None when it failed, for want of memory for instance."""
    entry = [method, str(size), str(neighbors), str(heads), str(int(backward))]
    found: dict[str, float] | None = run_json([sys.executable, str(Path(__file__)), "--work", ",".join(entry)], threads)
    say(f"  {', '.join(entry)}: {found}")
    return found


def section(size: int, neighbors: Sequence[int], heads: Sequence[int], threads: int) -> str:
    """The table, with ratios to the careful version, and what is asked of the fused operation."""
    lines, checks = [], []
    for k, h, backward in ((k, h, b) for k in neighbors for h in heads for b in (False, True)):
        small = size**3 * k <= MOST_EDGES
        run = [name for name in METHODS if small or name not in STORING]
        found = dict.fromkeys(METHODS) | {name: measure(name, size, k, h, backward, threads) for name in run}
        name = f"K = {k}, heads {h}, {'with backward' if backward else 'forward'}"
        lines.append([name, *(_entry(found[method], found["careful"]) for method in METHODS)])
        checks += _checks(name, found["fused"], found["careful"], backward)
    explanation = (
        f"{size}^3 points, {CHANNELS} channels, {threads} threads. Seconds (times faster than the careful plain version) / "
        "peak MB above the inputs (times smaller). A dash: failed, or not run (it stores every edge's features, over 10 GB)."
    )
    parts = [f"## {TITLE}", explanation, markdown_table(["", *NAMES.values()], lines), "\n".join(checks)]
    return "\n\n".join(parts)


def _entry(found: dict[str, Any] | None, careful: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    if careful is None:
        return f"{found['seconds']:.2f} / {found['memory']:.0f}"
    speed, size = careful["seconds"] / found["seconds"], careful["memory"] / max(found["memory"], 1.0)
    return f"{found['seconds']:.2f} ({speed:.1f}x) / {found['memory']:.0f} ({size:.1f}x)"


def _checks(name: str, fused: dict[str, Any] | None, careful: dict[str, Any] | None, backward: bool) -> list[str]:
    if fused is None or careful is None:
        return [f"* {name}: cannot tell"]
    demands = [("times faster", careful["seconds"] / fused["seconds"], FASTER)]
    if backward:
        demands.append(("times smaller", careful["memory"] / max(fused["memory"], 1.0), SMALLER))
    words = {True: "met", False: "**not met**"}
    return [f"* {name}: at least {least:g} {what}: {ratio:.1f}, {words[ratio >= least]}" for what, ratio, least in demands]


def plot(sizes: Sequence[int], threads: int, path: Path) -> None:
    """Seconds against points, which should lie on a line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 3.4), layout="constrained")
    for backward, label in ((False, "forward"), (True, "with backward")):
        found = [measure("fused", size, 27, 4, backward, threads) for size in sizes]
        axes.plot([s**3 / 1000 for s in sizes], [f["seconds"] if f else float("nan") for f in found], "o-", label=label)
    axes.set(xlabel="thousand points", ylabel="seconds", title="Fused attention, K = 27, 4 heads, 32 channels")
    axes.set_xlim(0)
    axes.set_ylim(0)
    axes.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Measures what the command line names and prints the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--points", type=int, default=48, help="along each axis of the lattice")
    options.add_argument("--neighbors", default="27,125", help="window sizes, separated by commas")
    options.add_argument("--heads", default="1,4", help="separated by commas")
    options.add_argument("--threads", type=int, default=2, help="for every version")
    options.add_argument(
        "--plot", type=Path, nargs="?", const=ROOT / "docs/images/attention_cost.png", help="picture of the cost"
    )
    options.add_argument("--work", help="METHOD,POINTS,NEIGHBORS,HEADS,BACKWARD: measure one entry in this process")
    chosen = options.parse_args()
    if chosen.work:
        method, *numbers = chosen.work.split(",")
        size, neighbors, heads, backward = map(int, numbers)
        print(json.dumps(work(method, size, neighbors, heads, bool(backward))))
        return
    numbers = [[int(n) for n in text.split(",")] for text in (chosen.neighbors, chosen.heads)]
    print(section(chosen.points, *numbers, chosen.threads))
    if chosen.plot:
        plot([chosen.points * n // 4 for n in (1, 2, 3, 4)], chosen.threads, chosen.plot)


if __name__ == "__main__":
    main()

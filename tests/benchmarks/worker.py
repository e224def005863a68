"""Runs geogrid on one pair in a process of its own, so that its peak memory is its own; its last line of output is JSON.

    python worker.py FIXED MOVING MOVING_LABELS|- OUT_FOLDER [geogrid|classical|network]

``geogrid`` is :func:`geogrid.register` as it is, ``classical`` the same without a model, ``network`` the shipped model alone.
Writes ``warped.nii`` (linear), ``labels.nii`` (nearest neighbour) and ``warp.nii`` (the total map) into the folder. The time is
that of ``metrics.json``: everything between having read the images and having the transform.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import geogrid
from geogrid.io import read_image, read_labels, write_displacement, write_image
from geogrid.transforms import DisplacementField, warp_image


def registered(fixed: str, moving: str, way: str) -> tuple[DisplacementField, float]:
    """The transform and the seconds."""
    model = "none" if way == "classical" else "auto"
    result = geogrid.register(fixed, moving, device="cpu", model=model, optimize=way != "network")
    return result.transform, result.metrics["seconds"]


def main() -> None:
    """Registers the pair named on the command line."""
    fixed, moving, labels, folder = sys.argv[1:5]
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    transform, seconds = registered(fixed, moving, sys.argv[5] if len(sys.argv) > 5 else "geogrid")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    fixed_file, moving_file = read_image(fixed), read_image(moving)
    storage, grid = fixed_file.storage, fixed_file.image.grid
    write_image(out / "warped.nii", warp_image(moving_file.image, transform, grid), storage)
    write_displacement(out / "warp.nii", transform.displacement, storage)
    if labels != "-":
        write_image(out / "labels.nii", warp_image(read_labels(labels).image, transform, storage.grid(), "nearest"), storage)
    print(json.dumps({"seconds": seconds, "peak_memory_mb": memory}))


if __name__ == "__main__":
    main()

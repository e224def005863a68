"""Runs geogrid on one pair in a process of its own, so that its peak memory is its own; its last line of output is JSON.

    python worker.py FIXED MOVING MOVING_LABELS|- OUT_FOLDER

Writes ``warped.nii`` (linear), ``labels.nii`` (nearest neighbour) and ``warp.nii`` (the total map) into the folder. The time is
that of ``metrics.json``: everything between having read the images and having the transform.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import geogrid
from geogrid.io import read_labels, write_displacement, write_image
from geogrid.transforms import warp_image


def main() -> None:
    """Registers the pair named on the command line."""
    fixed, moving, labels, folder = sys.argv[1:5]
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    result = geogrid.register(fixed, moving, device="cpu")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    storage = result.pair.fixed.storage
    write_image(out / "warped.nii", result.warped_image, storage)
    write_displacement(out / "warp.nii", result.transform.displacement, storage)
    if labels != "-":
        nearest = warp_image(read_labels(labels).image, result.transform, storage.grid(), "nearest")
        write_image(out / "labels.nii", nearest, storage)
    print(json.dumps({"seconds": result.metrics["seconds"], "peak_memory_mb": memory}))


if __name__ == "__main__":
    main()

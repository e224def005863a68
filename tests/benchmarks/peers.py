"""Runs one peer program on one pair, in the peers' own environment; its last line of output is JSON.

    python peers.py greedy|syn FIXED MOVING MOVING_LABELS|- OUT_FOLDER THREADS

Writes ``warped.nii`` (linear), ``labels.nii`` (nearest neighbour), ``warp.nii`` or ``warp.nii.gz`` (the deformable part) and
``total.nii`` or ``total.nii.gz`` (affine included) into the folder. The time is that between having read the images and having
the transform.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path


def greedy(fixed: str, moving: str, labels: str | None, out: Path, threads: str) -> float:
    """Affine and deformable greedy, NCC with windows of 2 voxels (4 in 2-D), 100x50x10 iterations (100x50x20)."""
    import SimpleITK as sitk
    from picsl_greedy import Greedy2D, Greedy3D

    images = {"fixed": sitk.ReadImage(fixed, sitk.sitkFloat32), "moving": sitk.ReadImage(moving, sitk.sitkFloat32)}
    flat = images["fixed"].GetDimension() == 2
    program = Greedy2D() if flat else Greedy3D()
    common = f"-threads {threads} -V 0"
    search = f"{common} -m NCC {'4x4' if flat else '2x2x2'} -n {'100x50x20' if flat else '100x50x10'} -i fixed moving"
    began = time.perf_counter()
    program.execute(f"{search} -a -dof 12 -ia-identity -o affine", **images, affine=None)
    program.execute(f"{search} -it affine -o warp", warp=None)
    seconds = time.perf_counter() - began
    sitk.WriteImage(program["warp"], str(out / "warp.nii"))
    program.execute(f"{common} -rf fixed -rm moving warped -r warp affine", warped=None)
    sitk.WriteImage(program["warped"], str(out / "warped.nii"))
    program.execute(f"{common} -rf fixed -r warp affine -rc total", total=None)
    sitk.WriteImage(program["total"], str(out / "total.nii"))
    if labels:
        read = sitk.ReadImage(labels, sitk.sitkFloat32)
        program.execute(f"{common} -rf fixed -ri NN -rm labels nearest -r warp affine", labels=read, nearest=None)
        sitk.WriteImage(program["nearest"], str(out / "labels.nii"))
    return seconds


def syn(fixed: str, moving: str, labels: str | None, out: Path, threads: str) -> float:
    """ANTs ``SyN``: affine and symmetric deformable, mutual information, default settings."""
    import ants

    fixed_image, moving_image = ants.image_read(fixed), ants.image_read(moving)
    began = time.perf_counter()
    found = ants.registration(fixed_image, moving_image, type_of_transform="SyN", outprefix=str(out / "syn_"))
    seconds = time.perf_counter() - began
    ants.image_write(found["warpedmovout"], str(out / "warped.nii"))
    if labels:
        read = ants.image_read(labels)
        warped = ants.apply_transforms(fixed_image, read, found["fwdtransforms"], interpolator="nearestNeighbor")
        ants.image_write(warped, str(out / "labels.nii"))
    total = ants.apply_transforms(fixed_image, moving_image, found["fwdtransforms"], compose=str(out / "total_"))
    Path(total).replace(out / "total.nii.gz")
    Path(found["fwdtransforms"][0]).replace(out / "warp.nii.gz")
    return seconds


def main() -> None:
    """Runs the program named on the command line."""
    program, fixed, moving, labels, folder, threads = sys.argv[1:7]
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = threads
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    seconds = {"greedy": greedy, "syn": syn}[program](fixed, moving, None if labels == "-" else labels, out, threads)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_memory_mb": memory}))


if __name__ == "__main__":
    main()

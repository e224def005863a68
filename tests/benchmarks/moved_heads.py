"""Real heads under known maps without any affine stage before: a shift, a turn, a stretch, and all three, each bent too.

The fixed image is a scan at 2 mm (in 2-D a slice of 1 mm), the moving one the same head under the map, on a larger grid, with
another contrast and noise. Nothing was tuned on these cases and no weights were trained on these heads; ``TUNING_HEADS`` are
for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import nibabel as nib
import torch

from geogrid.data.synthetic import DeformationConfig, random_deformation
from geogrid.io import read_image
from geogrid.spatial import Image
from geogrid.transforms import Composition, invert
from tests.benchmarks.capture import around, head_at_2mm, moved, template

AVERAGE = "avg152T1"
HEADS = ("chris_t1_0.88mm", "colin27_t1_head", "colin27_t1_brain", "oasis_B", AVERAGE)
TUNING_HEADS = ("oasis_A", "MNI152")
SEQUENCES = ("T2", "PD")
SLICES = ("brain01", "brain04", "brain07", "brain10", "brain12")
BENT = DeformationConfig(smooth_mm=(8.0, 8.0))
KINDS = {
    "28 mm": replace(BENT, shift_mm=(28.0, 28.0)),
    "45 degrees": replace(BENT, rotation_degrees=(45.0, 45.0)),
    "scales": replace(BENT, scale=1.4),
    "30 degrees, 15 mm, scales": replace(BENT, rotation_degrees=(30.0, 30.0), shift_mm=(15.0, 15.0), scale=1.4),
}
"""Sizes of the maps: random directions and axes; scales of 1/1.4 to 1.4 along each axis; 8 mm root mean square, smooth."""


@dataclass(frozen=True, eq=False)
class MovedHead:
    """A head and the same head under a known map.

    Args:
        name: of head, kind and draw.
        kind: one of ``KINDS``.
        fixed: the head.
        truth: of fixed to moving space.
        seed: of noise and random contrast.
        contrast: of the moving image to ``scan``.
        scan: what the moving image is made of: the head, or another sequence of it in the same space.
        file: where the moving image is kept between runs; None for nowhere.
    """

    name: str
    kind: str
    fixed: Image
    truth: Composition
    seed: int
    contrast: str
    scan: Image
    file: Path | None

    @cached_property
    def moving(self) -> Image:
        """The head moved."""
        if self.file is not None and self.file.exists():
            return read_image(self.file).image
        grid = around(self.fixed.grid)
        back, residual = invert(self.truth, grid, self.fixed.grid)
        if residual.nan_to_num().max() > 0.1:
            raise RuntimeError(f"{self.name}: the known map was inverted to {float(residual.nan_to_num().max()):.2g} mm only")
        image = moved(self.scan, back, self.seed, self.contrast)
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            save(image, self.file)
        return image


def moved_heads(
    data: Path | None,
    heads: Sequence[str] = HEADS,
    draws: int = 2,
    contrast: str = "same",
    work: Path | None = None,
) -> Iterator[MovedHead]:
    """The cases, one after the other; a part of them is what it is in the whole.

    Args:
        data: folder of the real scans.
        heads: files of ``brain_heads`` without ending, ``MNI152``, or ``SLICES``.
        draws: maps per head and kind.
        contrast: of the moving image: ``same``, ``inverted`` or ``random``; or ``T2`` or ``PD``, for ``avg152T1`` alone, of
            which there are these sequences in the same space.
        work: folder to keep moving images in.
    """
    sequence = contrast in SEQUENCES
    if sequence and tuple(heads) != (AVERAGE,):
        raise SystemExit(f"--contrast {contrast}: only {AVERAGE} has other sequences; add --heads {AVERAGE}")
    for draw in range(draws):
        for number, (kind, config) in enumerate(KINDS.items()):
            for name in heads:
                seed = 1000 * draw + 100 * number + (HEADS + TUNING_HEADS + SLICES).index(name)
                fixed, generator = head(data, name), torch.Generator().manual_seed(seed)
                truth = random_deformation(config, fixed.grid, around(fixed.grid), generator)
                file = None if work is None else work / f"{name}_{seed}_{contrast}.nii"
                scan, relation = (head(data, name.replace("T1", contrast)), "same") if sequence else (fixed, contrast)
                yield MovedHead(f"{name}, {kind}, {draw + 1}", kind, fixed, truth, seed, relation, scan, file)


@cache
def head(data: Path | None, name: str) -> Image:
    """A head at 2 mm; ``MNI152`` needs no folder."""
    if name == "MNI152":
        return template()
    if data is None:
        raise SystemExit(f"GEOGRID_TEST_DATA names no folder, and {name} is in it; --heads MNI152 runs without")
    if name in SLICES:
        return read_image(data / "slices2d" / f"{name}_t1.nii.gz").image
    return head_at_2mm(data / "brain_heads" / f"{name}.nii.gz")


def save(image: Image, path: Path) -> str:
    """An image as a file; returns its name."""
    nib.Nifti1Image(image.data.numpy(), image.grid.affine.numpy()).to_filename(path)
    return str(path)

"""The problems of the benchmarks, from the folder that ``GEOGRID_TEST_DATA`` names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SLAB_PAIRS = ((1, 10), (3, 17), (9, 28), (12, 25), (14, 33))
SLICE_PAIRS = ((1, 5), (2, 7), (3, 9), (4, 11), (6, 12))
HEAD_PAIRS = tuple((k, k + 1) for k in range(1, 20, 2))

# Pairs on which settings were chosen; none of them is reported.
SLAB_TUNING = ((2, 13), (5, 20), (8, 24), (15, 29), (18, 35))
SLICE_TUNING = ((1, 8), (2, 10), (3, 12), (5, 9), (7, 11), (8, 4), (10, 6), (12, 2), (9, 1), (11, 5))
HEAD_TUNING = ((2, 3), (6, 9), (12, 15), (17, 4), (20, 11))

STRUCTURES = (2, 3, 4, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 28, 41, 42, 43, 46, 47, 49, 50, 51, 52, 53, 54, 60)
SMALLEST_SLICE_LABEL = 20

_WHITE, _GRAY, _FLUID, _BONE = 1.0, 0.65, 0.18, 0.12
_SKIN, _SOFT, _SKULL, _MARROW, _MUCOSA, _VEINS, _ARTERIES, _EYES, _LENSES = 511, 507, 515, 516, 509, 514, 502, 506, 508
_SPINAL_CORD, _OPTIC_NERVES, _CHIASM = 512, 530, 85
_BRIGHTNESS = {
    **dict.fromkeys((2, 41, 7, 46), _WHITE), **dict.fromkeys((16, 28, 60), 0.92), **dict.fromkeys((3, 42, 8, 47), _GRAY),
    **dict.fromkeys((4, 5, 14, 15, 24, 43, 44), _FLUID), **dict.fromkeys((10, 49), 0.82), **dict.fromkeys((11, 50), 0.7),
    **dict.fromkeys((12, 51), 0.75), **dict.fromkeys((13, 52), 0.88), **dict.fromkeys((17, 18, 26, 53, 54, 58), 0.66),
    **dict.fromkeys((136, 137, 163, 164, _CHIASM, _OPTIC_NERVES, _SPINAL_CORD), 0.85),
    _SKIN: 0.5, _SOFT: 0.55, _SKULL: _BONE, _MARROW: 0.7, _MUCOSA: 0.5, _VEINS: 0.3, _ARTERIES: 0.3, _EYES: 0.22, _LENSES: 0.5,
}  # fmt: skip
_OTHER_TISSUE = 0.5


@dataclass(frozen=True)
class Problem:
    """Two files to register and the labels that judge the result.

    Args:
        name: shown in tables.
        fixed: image.
        moving: image.
        fixed_labels: label map; None where there are none.
        moving_labels: likewise.
        labels: the labels whose Dice is averaged.
    """

    name: str
    fixed: Path
    moving: Path
    fixed_labels: Path | None = None
    moving_labels: Path | None = None
    labels: tuple[int, ...] = ()


def data_folder() -> Path | None:
    """The folder of real test data, or None."""
    name = os.environ.get("GEOGRID_TEST_DATA")
    return Path(name) if name and Path(name).is_dir() else None


def slabs(data: Path, pairs: tuple[tuple[int, int], ...] = SLAB_PAIRS) -> Iterator[Problem]:
    """T1 slabs of children, 1 mm, four tissues."""
    for a, b in pairs:
        fixed, moving = (data / "brain_slabs" / f"slab{k:02d}" for k in (a, b))
        yield Problem(f"{a}, {b}", *_files(fixed, moving, "_t1", "_labels"), labels=(1, 2, 3, 4))


def slices(data: Path, pairs: tuple[tuple[int, int], ...] = SLICE_PAIRS) -> Iterator[Problem]:
    """Brain slices, 1 mm; DKT31 labels with at least 20 pixels in the fixed slice."""
    for a, b in pairs:
        fixed, moving = (data / "slices2d" / f"brain{k:02d}" for k in (a, b))
        files = _files(fixed, moving, "_t1", "_dkt31")
        values, counts = np.unique(load_labels(files[2]), return_counts=True)
        labels = tuple(int(v) for v, c in zip(values, counts, strict=True) if v > 0 and c >= SMALLEST_SLICE_LABEL)
        yield Problem(f"{a}, {b}", *files, labels=labels)


def heads(data: Path, folder: Path, pairs: tuple[tuple[int, int], ...] = HEAD_PAIRS, seed: int = 0) -> Iterator[Problem]:
    """Whole heads at 2 mm, rendered from label maps into ``folder``; 27 structures."""
    for a, b in pairs:
        rendered = []
        for k in (a, b):
            stem = folder / f"head{k:02d}"
            if not stem.with_name(stem.name + "_labels.nii.gz").exists():
                _render(data / "brain_labels" / f"labels_{k:02d}.nii.gz", stem, seed + k)
            rendered.append(stem)
        yield Problem(f"{a}, {b}", *_files(rendered[0], rendered[1], "_t1", "_labels"), labels=STRUCTURES)


def whole_heads(data: Path) -> Iterator[Problem]:
    """The two skull-stripped heads at 1 mm, without labels."""
    yield Problem("A, B", data / "brain_heads/oasis_A.nii.gz", data / "brain_heads/oasis_B.nii.gz")


def load_labels(path: Path) -> NDArray[np.int32]:
    """A label map in its own storage."""
    return np.rint(np.asarray(nib.load(path).dataobj)).astype(np.int32)


def mean_dice(fixed: NDArray[np.int32], warped: NDArray[np.int32], labels: tuple[int, ...]) -> float:
    """Mean Dice over the labels that either map contains."""
    scores = []
    for label in labels:
        a, b = fixed == label, warped == label
        if a.any() or b.any():
            scores.append(2 * float((a & b).sum()) / float(a.sum() + b.sum()))
    return float(np.mean(scores))


def _files(fixed: Path, moving: Path, image: str, labels: str) -> tuple[Path, Path, Path, Path]:
    stems = ((fixed, image), (moving, image), (fixed, labels), (moving, labels))
    found = tuple(stem.with_name(f"{stem.name}{suffix}.nii.gz") for stem, suffix in stems)
    return found[0], found[1], found[2], found[3]


def _render(source: Path, stem: Path, seed: int) -> None:
    """A T1-like image at 2 mm: tissue brightness with texture, blur, partial volume, bias field and noise."""
    rng = np.random.default_rng(seed)
    stored = nib.as_closest_canonical(nib.load(source))
    labels = np.rint(np.asarray(stored.dataobj)).astype(np.int32)
    box = tuple(slice(max(0, s.start - 8) // 2 * 2, (min(n, s.stop + 8)) // 2 * 2) for s, n in zip(
        ndimage.find_objects((labels > 0).astype(np.int8))[0], labels.shape, strict=True))  # fmt: skip
    labels = labels[box]
    table = np.zeros(labels.max() + 1, dtype=np.float32)
    for value in np.unique(labels[labels > 0]):
        table[value] = _BRIGHTNESS.get(int(value), _OTHER_TISSUE) * (1 + 0.04 * rng.standard_normal())
    texture = ndimage.gaussian_filter(rng.standard_normal(labels.shape, dtype=np.float32), 1.0)
    image = ndimage.gaussian_filter(table[labels] * (1 + 0.05 / 0.15 * texture), 0.6)
    half = tuple(n // 2 for n in image.shape)
    image = image.reshape(half[0], 2, half[1], 2, half[2], 2).mean((1, 3, 5))
    bias = ndimage.zoom(rng.standard_normal((4, 4, 4)), [n / 4 for n in half], order=3)[: half[0], : half[1], : half[2]]
    image = image * np.exp(0.12 * bias) + 0.02 * rng.standard_normal(half)
    affine = stored.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ([s.start for s in box] + np.full(3, 0.5))
    affine[:3, :3] *= 2
    stem.parent.mkdir(parents=True, exist_ok=True)
    _save(np.abs(image).astype(np.float32), affine, stem.with_name(f"{stem.name}_t1.nii.gz"))
    _save(_most_frequent(labels), affine, stem.with_name(f"{stem.name}_labels.nii.gz"))


def _most_frequent(labels: NDArray[np.int32]) -> NDArray[np.int16]:
    """The commonest of each eight voxels, so that labels and image describe the same 2 mm voxel; the smaller one at a tie."""
    a, b, c = (n // 2 for n in labels.shape)
    eight = np.sort(labels.reshape(a, 2, b, 2, c, 2).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 8), axis=1)
    best, longest, run = eight[:, 0].copy(), np.ones(len(eight), int), np.ones(len(eight), int)
    for k in range(1, 8):
        run = np.where(eight[:, k] == eight[:, k - 1], run + 1, 1)
        best, longest = np.where(run > longest, eight[:, k], best), np.maximum(run, longest)
    return best.reshape(a, b, c).astype(np.int16)


def _save(values: NDArray[np.generic], affine: NDArray[np.float64], path: Path) -> None:
    nib.Nifti1Image(values, affine).to_filename(path)

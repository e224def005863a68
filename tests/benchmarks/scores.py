"""How a result is judged: one rule for every program, applied to the files that it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from geogrid.io import read_displacement, read_image
from geogrid.metrics import content_mask, folding_percent
from geogrid.transforms import DisplacementField
from tests.benchmarks.datasets import Problem, load_labels, mean_dice


@dataclass(frozen=True)
class Outcome:
    """What one program reached on one pair.

    Args:
        score: mean Dice, or local correlation where there are no labels.
        folding: percentage of the fixed content where the Jacobian determinant is <= 0.
        seconds: between having read the images and having the transform.
        memory: peak of the whole process, libraries included, in MB.
        process_seconds: of the whole process: interpreter, libraries, reading and writing included.
    """

    score: float
    folding: float
    seconds: float
    memory: float
    process_seconds: float


def score_before(problem: Problem) -> float:
    """Dice or local correlation when the moving file is put on the fixed grid by the headers alone."""
    if problem.fixed_labels and problem.moving_labels:
        warped = np.rint(resample(problem.moving_labels, problem.fixed_labels, order=0)).astype(np.int32)
        return mean_dice(load_labels(problem.fixed_labels), warped, problem.labels)
    return _correlation(problem, resample(problem.moving, problem.fixed, order=1))


def score_after(problem: Problem, folder: Path, seconds: float, memory: float, process_seconds: float) -> Outcome:
    """The outcome of a program from ``labels.nii`` or ``warped.nii`` and ``warp.nii`` in its folder."""
    if problem.fixed_labels:
        score = mean_dice(load_labels(problem.fixed_labels), load_labels(folder / "labels.nii"), problem.labels)
    else:
        score = _correlation(problem, _values(folder / "warped.nii"))
    return Outcome(score, folding(problem.fixed, folder), seconds, memory, process_seconds)


def folding(fixed: Path, folder: Path) -> float:
    """Percentage of folded voxels of a program's ``warp.nii`` or ``warp.nii.gz`` inside the fixed image's content.

    The affine part of a map multiplies the determinant by a positive number, so it does not matter whether the file has it.
    """
    path = next(p for p in (folder / "warp.nii", folder / "warp.nii.gz") if p.exists())
    return folding_percent(DisplacementField(*read_displacement(path)), content_mask(read_image(fixed).image))


def local_correlation(fixed: NDArray[np.float64], warped: NDArray[np.float64], content: NDArray[np.bool_]) -> float:
    """Mean over the content of the correlation in windows of 5 voxels a side; 0 where either image is constant."""

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return ndimage.uniform_filter(values, 5, mode="nearest")

    centre_f, centre_w = mean(fixed), mean(warped)
    covariance = mean(fixed * warped) - centre_f * centre_w
    variances = mean(fixed * fixed) - centre_f**2, mean(warped * warped) - centre_w**2
    varies = np.logical_and(*(v > 1e-6 * image.var() for v, image in zip(variances, (fixed, warped), strict=True)))
    product = np.sqrt(np.where(varies, variances[0] * variances[1], 1.0))
    return float(np.where(varies, covariance / product, 0.0)[content].mean())


def resample(moving: Path, reference: Path, order: int) -> NDArray[np.float64]:
    """A file's values on another file's grid, in that file's storage; 0 outside."""
    target = nib.load(reference)
    dim = len(target.shape)
    affine = np.linalg.inv(_affine(nib.load(moving), dim)) @ _affine(target, dim)
    return np.asarray(
        ndimage.affine_transform(
            _values(moving), affine[:dim, :dim], affine[:dim, dim], target.shape, order=order, mode="grid-constant"
        )
    )


def _correlation(problem: Problem, warped: NDArray[np.float64]) -> float:
    image = read_image(problem.fixed)
    content = image.storage.from_canonical(content_mask(image.image).numpy())
    return local_correlation(_values(problem.fixed), warped, np.asarray(torch.as_tensor(content.copy())))


def _values(path: Path) -> NDArray[np.float64]:
    return np.asarray(nib.load(path).dataobj, dtype=np.float64).reshape([n for n in nib.load(path).shape if n > 1])


def _affine(image: nib.Nifti1Image, dim: int) -> NDArray[np.float64]:
    keep = [*range(dim), 3]
    return np.asarray(image.affine, dtype=np.float64)[np.ix_(keep, keep)]

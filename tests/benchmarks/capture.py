"""How far the affine start reaches: heads moved by a known rigid map; the last line of output is JSON.

    python capture.py DATA_FOLDER|-

The fixed image is a head at 2 mm, the moving one the same head after a turn, a shift or both, on a larger grid, darker, with
another contrast and noise. The endpoint error is the mean distance in mm, over the head, between where a transform puts a
point and where the known map puts it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage
from torch import Tensor

import geogrid
from geogrid.spatial import Grid, Image, scale_intensities
from geogrid.transforms import AffineTransform, Transform, warp_image
from tests.benchmarks.contrast import remap

TURN_DEGREES, SHIFT_MM, SPACING_MM = 30.0, 40.0, 2.0
PAD_VOXELS = 30
AXES = ("R", "A", "S")


def movements(center: Tensor) -> Iterator[tuple[str, AffineTransform]]:
    """Turns about each axis through a centre, shifts along each axis, and both at once."""
    diagonal = np.ones(3) * SHIFT_MM / np.sqrt(3)
    for k, name in enumerate(AXES):
        yield f"{TURN_DEGREES:g} degrees about {name}", rigid(k, TURN_DEGREES, np.zeros(3), center)
    for k, name in enumerate(AXES):
        yield f"{SHIFT_MM:g} mm along {name}", rigid(k, 0.0, SHIFT_MM * np.eye(3)[k], center)
    for k, name in enumerate(AXES):
        yield f"{TURN_DEGREES:g} degrees about {name} and {SHIFT_MM:g} mm", rigid(k, TURN_DEGREES, diagonal, center)


def rigid(axis: int, degrees: float, shift: np.ndarray, center: Tensor) -> AffineTransform:
    """The turn about a world axis through a centre, followed by a shift in mm."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[second, first], matrix[first, second] = sine, -sine
    matrix[:3, 3] = center + torch.as_tensor(shift) - matrix[:3, :3] @ center
    return AffineTransform(matrix)


def around(grid: Grid) -> Grid:
    """A grid with some centimetres more on every side."""
    return grid.crop((-PAD_VOXELS,) * grid.dim, tuple(n + 2 * PAD_VOXELS for n in grid.shape))


def moved(fixed: Image, back: Transform, seed: int, contrast: str = "same") -> Image:
    """The head read where a map of moving to fixed space says, on a larger grid, with another scale, contrast and noise.

    Args:
        fixed: the head.
        back: moving to fixed space.
        seed: of the noise and of random contrast.
        contrast: ``same`` (a little darker), ``inverted`` or ``random`` as :func:`tests.benchmarks.contrast.remap` has them.
    """
    grid = around(fixed.grid)
    if contrast != "same":
        seen = warp_image(scale_intensities(fixed), back, grid)
        return Image(700 * remap(seen, contrast, seed).data, grid)
    data = warp_image(fixed, back, grid).data.clamp_min(0) / fixed.data.max()
    noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(seed))
    return Image(700 * (data**1.2 + 0.02 * noise).abs(), grid)


def endpoint_error(transform: Transform, motion: Transform, fixed: Image) -> float:
    """Mean distance in mm between two maps over the head (:func:`head_mask`)."""
    points = fixed.grid.points()[head_mask(fixed).flatten()][::7]
    return float((transform(points) - motion(points)).norm(dim=1).mean())


def head_mask(image: Image) -> Tensor:
    """The head in a scan: what lies above half of Otsu's threshold, filled plane by plane along every axis; its largest piece.

    Half of the threshold keeps tissue that is dark in T1; filling takes in the skull. ``content_mask`` would not do here: the
    air around SPM's average heads is bright enough for it, and nothing there tells how it moved.
    """
    values = image.data.numpy()
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(sitk.GetImageFromArray(values.astype(np.float32)))
    mask: np.ndarray = values > otsu.GetThreshold() / 2
    for axis in range(mask.ndim if mask.ndim > 2 else 0):
        for plane in np.moveaxis(mask, axis, 0):
            plane |= ndimage.binary_fill_holes(plane)
    pieces, _ = ndimage.label(ndimage.binary_fill_holes(mask))
    return torch.from_numpy(pieces == 1 + np.bincount(pieces.ravel())[1:].argmax())


def head_at_2mm(path: Path) -> Image:
    """A scan smoothed and resampled to 2 mm, in canonical storage."""
    stored = nib.as_closest_canonical(nib.load(path))
    factors = SPACING_MM / np.asarray(stored.header.get_zooms()[:3], dtype=float)
    data = ndimage.gaussian_filter(np.asarray(stored.dataobj, dtype=np.float32), 0.42 * factors)
    shape = tuple(int(n / f) for n, f in zip(data.shape, factors, strict=True))
    data = ndimage.affine_transform(data, np.diag(factors), output_shape=shape, order=1)
    affine = stored.affine @ np.diag([*factors, 1.0])
    return Image(torch.from_numpy(data.clip(0)), Grid(shape, torch.from_numpy(affine)))


def template() -> Image:
    """The MNI152 template at 2 mm, without its skull."""
    from nilearn.datasets import load_mni152_template

    stored = nib.as_closest_canonical(load_mni152_template(resolution=2))
    data = np.asarray(stored.dataobj, dtype=np.float32)
    return Image(torch.from_numpy(data), Grid(data.shape, torch.from_numpy(stored.affine)))


def measure(fixed: Image, motion: AffineTransform, seed: int) -> dict[str, float]:
    """Endpoint errors: before, after the rigid and the affine start alone, and of the whole registration with defaults."""
    moving = moved(fixed, motion.inverse(), seed)
    sources = [(image.data, image.grid.affine) for image in (fixed, moving)]
    errors = {"before": endpoint_error(AffineTransform.identity(3), motion, fixed)}
    for kind in ("rigid", "affine", "auto"):
        result = geogrid.register(*sources, affine=kind, device="cpu")
        transform = result.transform if kind == "auto" else result.trajectory.start
        errors["registered" if kind == "auto" else kind] = endpoint_error(transform, motion, fixed)
    return errors


def main() -> None:
    """Measures all movements of the template, and of a real head where the data are."""
    heads = {"MNI152": template()}
    if sys.argv[1] != "-":
        heads["head"] = head_at_2mm(Path(sys.argv[1]) / "brain_heads" / "chris_t1_0.88mm.nii.gz")
    found = []
    for name, fixed in heads.items():
        for seed, (movement, motion) in enumerate(movements(fixed.grid.center)):
            found.append({"name": f"{name}, {movement}", **measure(fixed, motion, seed)})
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

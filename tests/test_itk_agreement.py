"""Other programs apply our displacement files and get what we get: SimpleITK and ANTsPy, from files alone."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.ndimage import gaussian_filter

from geogrid.io import ImageFile, read_displacement, read_image, write_displacement, write_image
from geogrid.transforms import DisplacementField, warp_image
from tests.io.cases import make_affine, restore

OBLIQUE_3D, OBLIQUE_2D = (25, -15, 20), (25,)
FIXED = {
    "RAS": ((0, 0, 0), (1.2, 1.2, 1.2), (0, 1, 2), (False, False, False)),
    "LAS": ((0, 0, 0), (1.2, 1.2, 1.2), (0, 1, 2), (True, False, False)),
    "LPS": ((0, 0, 0), (1.2, 1.2, 1.2), (0, 1, 2), (True, True, False)),
    "LIA": ((0, 0, 0), (1.2, 1.1, 1.3), (0, 2, 1), (True, True, False)),
    "oblique": (OBLIQUE_3D, (1.2, 1.2, 1.2), (0, 1, 2), (False, False, False)),
    "anisotropic": ((0, 0, 0), (0.9, 1.1, 3.5), (0, 1, 2), (False, True, False)),
    "oblique anisotropic PSR": (OBLIQUE_3D, (0.9, 1.1, 3.5), (1, 2, 0), (True, False, False)),
    "2-D RA": ((0,), (1.2, 1.2), (0, 1), (False, False)),
    "2-D LP": ((0,), (1.2, 1.2), (0, 1), (True, True)),
    "2-D AR": ((0,), (0.9, 1.7), (1, 0), (False, False)),
    "2-D oblique anisotropic PR": (OBLIQUE_2D, (0.9, 1.7), (1, 0), (True, False)),
}


def smooth(shape: tuple[int, ...], seed: int, width: float = 2.0) -> np.ndarray:
    """Smooth noise of standard deviation 1."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), width)
    return (noise / noise.std()).astype("f4")


def centred(shape: tuple[int, ...], angles: tuple[float, ...], spacing: tuple[float, ...], center: float) -> np.ndarray:
    """An affine that puts the middle of the image at ``center`` on every axis."""
    affine = make_affine(angles, spacing, (0,) * len(shape))
    affine[:-1, -1] = center - affine[:-1, :-1] @ ((np.array(shape) - 1) / 2)
    return affine


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> ImageFile:
    whole, dim = np.eye(4), array.ndim
    whole[:dim, :dim], whole[:dim, 3] = affine[:-1, :-1], affine[:-1, -1]
    image = nib.Nifti1Image(array, whole)
    image.set_sform(whole, 1)
    image.set_qform(whole, 1)
    nib.save(image, path)
    return read_image(path)


@pytest.fixture(params=FIXED)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, ImageFile, ImageFile, DisplacementField]:
    """A folder with fixed.nii.gz, moving.nii.gz (another grid) and displacement.nii.gz of several mm, and what they hold."""
    angles, spacing, axes, flips = FIXED[request.param]
    dim = len(spacing)
    shape = tuple(round(36 / s) for s in spacing)
    array, affine = restore(smooth(shape, 1), centred(shape, angles, spacing, 5.0), axes, flips)
    fixed = save(tmp_path / "fixed.nii.gz", array, affine)
    shape = (31, 29, 23)[:dim]
    array, affine = restore(
        smooth(shape, 2), centred(shape, (8, 5, -6)[: len(angles)], (1.3, 1.2, 1.7)[:dim], 6.5), (1, 0, 2)[:dim], (True,) * dim
    )
    moving = save(tmp_path / "moving.nii.gz", array, affine)
    grid = fixed.image.grid
    components = [smooth(grid.shape, 10 + axis, width=4) * (2 + axis) + axis for axis in range(dim)]
    displacement = torch.from_numpy(np.stack(components, -1))
    write_displacement(tmp_path / "displacement.nii.gz", displacement, fixed.storage)
    return tmp_path, fixed, moving, DisplacementField(displacement, grid)


def written_warp(folder: Path, fixed: ImageFile, moving: ImageFile, field: DisplacementField) -> np.ndarray:
    """Our warped image, as it is in its file."""
    write_image(folder / "warped.nii.gz", warp_image(moving.image, field, fixed.image.grid), fixed.storage)
    return np.asarray(nib.load(folder / "warped.nii.gz").dataobj)


def assert_agree(ours: np.ndarray, theirs: np.ndarray) -> None:
    """99.9 % of the voxels within 1 % of the range, on images that have something in them."""
    assert ours.shape == theirs.shape
    assert (ours != 0).mean() > 0.3
    near = np.abs(ours - theirs) <= 0.01 * (ours.max() - ours.min())
    assert near.mean() >= 0.999, f"only {100 * near.mean():.2f} % of the voxels agree"


def itk_transform(folder: Path) -> sitk.DisplacementFieldTransform:
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(folder / "displacement.nii.gz"), sitk.sitkVectorFloat64))


def test_simpleitk_warps_as_we_do(case: tuple[Path, ImageFile, ImageFile, DisplacementField]) -> None:
    folder, ours = case[0], written_warp(*case)
    reference, image = sitk.ReadImage(str(folder / "fixed.nii.gz")), sitk.ReadImage(str(folder / "moving.nii.gz"))
    theirs = sitk.Resample(image, reference, itk_transform(folder), sitk.sitkLinear, 0.0)
    assert_agree(ours, sitk.GetArrayFromImage(theirs).T)


def test_ants_warps_as_we_do(case: tuple[Path, ImageFile, ImageFile, DisplacementField]) -> None:
    ants = pytest.importorskip("ants")
    folder, ours = case[0], written_warp(*case)
    fixed, moving = (ants.image_read(str(folder / f"{name}.nii.gz")) for name in ("fixed", "moving"))
    theirs = ants.apply_transforms(fixed, moving, [str(folder / "displacement.nii.gz")], interpolator="linear")
    assert_agree(ours, theirs.numpy())


def test_points_go_where_simpleitk_sends_them(case: tuple[Path, ImageFile, ImageFile, DisplacementField]) -> None:
    folder, fixed, _, field = case
    grid, dim = fixed.image.grid, fixed.image.dim
    share = torch.from_numpy(np.random.default_rng(5).uniform(-0.3, 1.3, (400, dim)))
    points = grid.index_to_world(share * (torch.tensor(grid.shape) - 1))
    inside = field.contains(points)
    assert 40 < int(inside.sum()) < 360
    signs, transform = np.array([-1, -1, 1])[:dim], itk_transform(folder)
    theirs = np.array([transform.TransformPoint((p * signs).tolist()) for p in points.numpy()]) * signs
    np.testing.assert_allclose(field(points), theirs, atol=2e-3)
    assert torch.equal(field(points)[~inside], points[~inside])


def test_the_field_survives_its_file(case: tuple[Path, ImageFile, ImageFile, DisplacementField]) -> None:
    folder, _, _, field = case
    displacement, grid = read_displacement(folder / "displacement.nii.gz")
    assert torch.equal(displacement, field.displacement)
    assert grid.same_space(field.grid)

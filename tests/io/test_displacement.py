from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from geogrid.io import Storage, as_image_file, read_displacement, write_displacement
from tests.io.cases import make_affine, orientations, refused, restore, values_of

CASES = [(2, *o) for o in orientations(2)] + [(3, *o) for o in orientations(3)[::7]]
LPS = np.array([-1, -1, 1])


def storage_of(dim: int, axes: tuple[int, ...], flips: tuple[bool, ...]) -> Storage:
    affine = make_affine((25,) if dim == 2 else (25, 8, -12), (1, 2, 3)[:dim], (-9, 30, 4)[:dim])
    array, affine = restore(np.zeros((5, 6, 7)[:dim]), affine, axes, flips)
    return Storage(array.shape, torch.from_numpy(affine))


def field_on(storage: Storage) -> torch.Tensor:
    return torch.from_numpy(values_of((*storage.grid().shape, storage.dim), seed=3)) * 4 - 6


@pytest.mark.parametrize(("dim", "axes", "flips"), CASES)
def test_round_trip(tmp_path: Path, dim: int, axes: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    storage = storage_of(dim, axes, flips)
    field = field_on(storage)
    write_displacement(tmp_path / "d.nii.gz", field, storage)
    read, grid = read_displacement(tmp_path / "d.nii.gz")
    assert torch.equal(read, field)
    assert grid.same_space(storage.grid(), tolerance=1e-4)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize(("dim", "axes", "flips"), CASES[::3])
def test_simpleitk_carries_points_as_the_field_says(
    tmp_path: Path, dim: int, axes: tuple[int, ...], flips: tuple[bool, ...], suffix: str
) -> None:
    storage = storage_of(dim, axes, flips)
    field, grid = field_on(storage), storage.grid()
    write_displacement(tmp_path / "d.nii.gz", field, storage)
    image = sitk.ReadImage(str(tmp_path / "d.nii.gz"), sitk.sitkVectorFloat64)
    assert image.GetDimension() == image.GetNumberOfComponentsPerPixel() == dim
    assert image.GetSize() == storage.shape
    sitk.WriteImage(image, str(tmp_path / f"e{suffix}"))
    transform = sitk.DisplacementFieldTransform(image)
    for index in ([0] * dim, [n - 1 for n in grid.shape], [1, 3, 2][:dim]):
        point = grid.index_to_world(torch.tensor(index, dtype=torch.float64)).numpy()
        moved = np.array(transform.TransformPoint((point * LPS[:dim]).tolist())) * LPS[:dim]
        np.testing.assert_allclose(moved - point, field[tuple(index)], atol=1e-3)
    read, read_grid = read_displacement(tmp_path / f"e{suffix}")
    assert read_grid.same_space(grid)
    assert torch.equal(read, field)


def test_layout_and_form_codes(tmp_path: Path) -> None:
    header = nib.Nifti1Image(np.zeros((5, 6, 7)), np.eye(4))
    header.set_sform(np.eye(4), 4)
    header.set_qform(np.eye(4), 0)
    storage = Storage((5, 6, 7), torch.eye(4), header.header)
    write_displacement(tmp_path / "d.nii.gz", torch.ones(5, 6, 7, 3), storage)
    written = nib.load(tmp_path / "d.nii.gz")
    assert written.shape == (5, 6, 7, 1, 3)
    assert written.get_data_dtype() == np.float32
    assert (int(written.header["intent_code"]), int(written.header["sform_code"]), int(written.header["qform_code"])) == (
        1007,
        4,
        1,
    )
    np.testing.assert_array_equal(written.get_fdata()[0, 0, 0, 0], [-1, -1, 1])
    np.testing.assert_array_equal(written.header.get_qform(), written.header.get_sform())


def test_intent_1006_holds_ras_components_as_in_itk(tmp_path: Path) -> None:
    storage = storage_of(3, (0, 1, 2), (False, False, False))
    field = field_on(storage)
    write_displacement(tmp_path / "d.nii", field, storage)
    image = nib.load(tmp_path / "d.nii")
    image.header["intent_code"] = 1006
    nib.save(image, tmp_path / "e.nii")
    itk = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "e.nii"))).transpose(2, 1, 0, 3)
    read, _ = read_displacement(tmp_path / "e.nii")
    np.testing.assert_array_equal(read, itk * LPS.astype("f4"))


def test_refuses_what_is_not_a_displacement(tmp_path: Path) -> None:
    def save(name: str, shape: tuple[int, ...], intent: str = "vector", value: float = 1.0) -> Path:
        image = nib.Nifti1Image(np.full(shape, value, dtype="f4"), np.eye(4))
        image.header.set_intent(intent)
        nib.save(image, tmp_path / name)
        return tmp_path / name

    for path, word in [
        (save("image.nii.gz", (5, 5, 5)), "(5, 5, 5)"),
        (save("series.nii.gz", (5, 5, 5, 3)), "(5, 5, 5, 3)"),
        (save("four.nii.gz", (5, 5, 5, 1, 4)), "(5, 5, 5, 1, 4)"),
        (save("two.nii.gz", (5, 5, 5, 1, 2)), "(5, 5, 5, 1, 2)"),
        (save("plain.nii.gz", (5, 5, 5, 1, 3), "none"), "intent code 0"),
        (save("nan.nii.gz", (5, 5, 5, 1, 3), value=np.nan), "375 of 375"),
        (tmp_path / "missing.nii.gz", "no such file"),
    ]:
        with refused(path, word):
            read_displacement(path)
    sitk.WriteImage(sitk.Image([5, 5, 5], sitk.sitkFloat32), str(tmp_path / "a.mha"))
    with refused(tmp_path / "a.mha", "1 numbers per voxel"):
        read_displacement(tmp_path / "a.mha")
    (tmp_path / "a.h5").write_text("x")
    with refused(tmp_path / "a.h5", ".nii.gz"):
        read_displacement(tmp_path / "a.h5")


def test_refuses_to_write_another_shape(tmp_path: Path) -> None:
    storage = as_image_file((values_of((4, 5, 6)), np.eye(4)), name="fixed").storage
    with refused("displacement", "(4, 5, 6, 3)", "(4, 5, 6)"):
        write_displacement(tmp_path / "d.nii.gz", torch.zeros(4, 5, 6), storage)
    with refused("d.mha", ".nii.gz"):
        write_displacement(tmp_path / "d.mha", torch.zeros(4, 5, 6, 3), storage)
    assert not list(tmp_path.iterdir())

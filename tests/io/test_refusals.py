"""Bad files: one line that names the file, says what is wrong and what to do."""

from __future__ import annotations

import gzip
import sys
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from geogrid.errors import GeogridWarning
from geogrid.io import as_image_file, read_image, read_labels
from tests.io.cases import make_affine, ordinary_user, refused, values_of

CORONAL = np.array([[2.0, 0, 0, 10], [0, 0, -1, 20], [0, 3, 0, 30], [0, 0, 0, 1]])


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def test_missing_directory_and_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.nii.gz").touch()
    for name, word in [("none.nii.gz", "no such file"), ("", "directory"), ("empty.nii.gz", "0 bytes")]:
        with refused(tmp_path / name, "fixed image", word):
            read_image(tmp_path / name, name="fixed image")


def test_unreadable_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", values_of((4, 5, 6)))
    path.chmod(0)
    with ordinary_user(), refused(path, "Permission denied"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".png"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.95])
def test_truncated_file(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix.startswith(".nii"):
        save(path, values_of((12, 13, 14)))
    elif suffix == ".png":
        sitk.WriteImage(sitk.GetImageFromArray((values_of((60, 70)) * 99).astype("u1")), str(path))
    else:
        sitk.WriteImage(sitk.GetImageFromArray(values_of((12, 13, 14))), str(path))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with refused(path, "truncated"):
        read_image(path)


def test_corrupt_compression(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", values_of((12, 13, 14)))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(bytes(content))
    with refused(path, "corrupt"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".png", ".tif", ".img"])
def test_text_under_an_image_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("not an image, only some words\n" * 40)
    with refused(path, "not a readable", suffix):
        read_image(path)


def test_text_in_a_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(b"words " * 400))
    with refused(path, "not a readable .nii.gz image"):
        read_image(path)


@pytest.mark.parametrize("name", ["notes.txt", "noname", "scan.dcm.gz"])
def test_unknown_suffix(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("words")
    with refused(tmp_path / name, "not an image file", ".nii.gz", ".png"):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((5, 5, 5, 7), ["7 frames", "extract one"]),
        ((5, 5, 5, 1, 3), ["3 numbers per voxel", "displacement"]),
        ((1, 1, 1), ["single voxel"]),
        ((1, 1), ["single voxel"]),
        ((9, 8, 1), ["single slice", "2-D"]),
        ((9, 1, 8), ["single slice", "2-D"]),
        ((9, 8, 1, 1), ["single slice", "2-D"]),
        ((9, 3, 8), ["too thin", "at least 4", "(9, 3, 8)"]),
        ((9, 2), ["too thin", "at least 4", "(9, 2)"]),
        ((9,), ["2-D or 3-D", "(9,)"]),
    ],
)
def test_shapes(tmp_path: Path, shape: tuple[int, ...], words: list[str]) -> None:
    path = save(tmp_path / "a.nii.gz", values_of(shape))
    with refused(path, *words):
        read_image(path)
    with refused(path, *words):
        read_labels(path)


def test_four_voxels_are_enough() -> None:
    assert as_image_file((values_of((4, 4)), np.eye(3)), name="a").image.grid.shape == (4, 4)


def test_constant_and_non_finite_values(tmp_path: Path) -> None:
    array = np.full((4, 5, 6), 3.5, dtype="f4")
    path = save(tmp_path / "constant.nii.gz", array)
    with refused(path, "constant", "3.5"):
        read_image(path)
    array[0, 0, 0] = np.nan
    path = save(tmp_path / "nan.nii.gz", array)
    with refused(path, "constant"):
        read_image(path, nan_outside=True)
    array[:] = np.nan
    path = save(tmp_path / "all.nii.gz", array)
    with refused(path, "all 120"):
        read_image(path, nan_outside=True)
    array = values_of((4, 5, 6))
    array[0, 0, :3] = np.inf, -np.inf, np.nan
    path = save(tmp_path / "inf.nii.gz", array)
    with refused(path, "2 of 120", "infinite"):
        read_image(path, nan_outside=True)


def test_numbers_too_large_for_float32_are_infinite() -> None:
    array = values_of((4, 5, 6)).astype("f8")
    array[1, 1, 1] = 1e300
    with refused("fixed image", "1 of 120", "infinite"):
        as_image_file((array, np.eye(4)), name="fixed image")


def test_colour_and_complex(tmp_path: Path) -> None:
    rgb = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with refused(save(tmp_path / "rgb.nii.gz", rgb), "RGB", "single channel"):
        read_image(tmp_path / "rgb.nii.gz")
    with refused(save(tmp_path / "c.nii.gz", values_of((4, 5, 6)).astype("c8")), "complex", "magnitude"):
        read_image(tmp_path / "c.nii.gz")
    with refused("fixed image", "complex"):
        as_image_file((values_of((4, 5, 6)).astype("c8"), np.eye(4)), name="fixed image")
    sitk.WriteImage(sitk.Image([5, 5, 5], sitk.sitkVectorFloat32), str(tmp_path / "v.mha"))
    with refused(tmp_path / "v.mha", "3 numbers per voxel"):
        read_image(tmp_path / "v.mha")


def test_singular_and_sheared_affines(tmp_path: Path) -> None:
    for name, affine, word in [
        ("flat.nii", np.diag([1.0, 1, 0, 1]), "singular"),
        ("shear.nii", np.eye(4) + 0.2 * np.eye(4, k=1) * [[1], [0], [0], [0]], "sheared"),
    ]:
        image = nib.Nifti1Image(values_of((4, 5, 6)), None)
        image.header.set_sform(affine, 1)
        nib.save(image, tmp_path / name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GeogridWarning)
            with refused(tmp_path / name, word):
                read_image(tmp_path / name)
    with refused("moving image", "4x4", "(3, 3)"):
        as_image_file((values_of((4, 5, 6)), np.eye(3)), name="moving image")


def test_what_is_no_image_at_all() -> None:
    with refused("fixed image", "expected a path", "list"):
        as_image_file([[1.0, 2.0]], name="fixed image")  # type: ignore[arg-type]
    with refused("fixed image", "no affine"):
        as_image_file(nib.Nifti1Image(values_of((4, 5, 6)), None), name="fixed image")


def test_simpleitk_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mha").write_text("words")
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with refused(tmp_path / "a.mha", 'pip install "geogrid[itk]"'):
        read_image(tmp_path / "a.mha")


def test_warns_when_no_form_says_where_the_image_is(tmp_path: Path) -> None:
    image = nib.Nifti1Image(values_of((5, 5, 5)), None)
    image.header.set_zooms((2, 3, 4))
    nib.save(image, tmp_path / "a.nii")
    with pytest.warns(GeogridWarning, match=r"a\.nii: has neither sform nor qform.*origin at the centre"):
        read = read_image(tmp_path / "a.nii")
    assert read.image.grid.center.tolist() == [0, 0, 0]
    assert read.image.grid.spacing.tolist() == [2, 3, 4]


def test_warns_of_forms_that_disagree_and_takes_the_sform(tmp_path: Path) -> None:
    def stored(shift: float, sform: int) -> Path:
        image = nib.Nifti1Image(values_of((5, 5, 5)), np.eye(4))
        moved = np.eye(4)
        moved[0, 3] = shift
        image.set_sform(moved, sform)
        image.set_qform(np.eye(4), 1)
        nib.save(image, tmp_path / "a.nii")
        return tmp_path / "a.nii"

    with pytest.warns(GeogridWarning, match=r"a\.nii: sform and qform disagree by up to 7\.0 mm; the sform is used") as caught:
        read = read_image(stored(7, 1))
    assert "ITK" not in str(caught[0].message)
    assert read.image.grid.affine[0, 3] == 7
    assert sitk.ReadImage(str(tmp_path / "a.nii")).GetOrigin()[0] == -7
    with pytest.warns(GeogridWarning, match="ITK-based programs use the qform"):
        read_image(stored(7, 2))
    assert sitk.ReadImage(str(tmp_path / "a.nii")).GetOrigin()[0] == 0
    assert read_image(stored(0.05, 2)).image.grid.affine[0, 3] == pytest.approx(0.05)


def test_warns_of_voxel_sizes_that_disagree(tmp_path: Path) -> None:
    image = nib.Nifti1Image(values_of((5, 5, 5)), None)
    image.header.set_sform(np.diag([2.0, 2, 2, 1]), 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.warns(GeogridWarning, match=r"a\.nii: pixdim \(1, 1, 1\) is not the sform's voxel size \(2, 2, 2\)"):
        assert read_image(tmp_path / "a.nii").image.grid.spacing.tolist() == [2, 2, 2]
    assert sitk.ReadImage(str(tmp_path / "a.nii")).GetSpacing() == (1, 1, 1)


def test_slices_out_of_the_plane_are_treated_as_itk_does(tmp_path: Path) -> None:
    path = save(tmp_path / "coronal.nii.gz", values_of((6, 7)), CORONAL)
    with refused(path, "coronal or sagittal", "diag(dx, dy, 1)"):
        read_image(path)
    with pytest.raises(RuntimeError, match="Bad direction"):
        sitk.ReadImage(str(path))
    tilted = make_affine((20, 0, 0), (1, 1, 1), (4, 5, 6)) @ make_affine((0, 30, 0), (2, 3, 1), (0, 0, 0))
    image = nib.Nifti1Image(values_of((6, 7)), tilted)
    image.set_qform(tilted, 1)
    nib.save(image, tmp_path / "tilted.nii.gz")
    with pytest.warns(GeogridWarning, match=r"tilted\.nii\.gz: .*tilted by 30 degrees"):
        affine = read_image(tmp_path / "tilted.nii.gz").storage.affine
    itk = sitk.ReadImage(str(tmp_path / "tilted.nii.gz"))
    direction = -np.reshape(itk.GetDirection(), (2, 2)) * itk.GetSpacing()
    np.testing.assert_allclose(affine[:2, :2], direction, atol=1e-5)
    np.testing.assert_allclose(affine[:2, 2], -torch.tensor(itk.GetOrigin()), atol=1e-5)

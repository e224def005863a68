from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given
from hypothesis import strategies as st

from geogrid.io import ImageFile, as_image_file, read_image, read_labels, read_mask, to_nifti, write_image
from geogrid.spatial import Grid, Image
from tests.io.cases import affines, make_affine, orientations, refused, restore, values_of

OBLIQUE = make_affine((20, -10, 35), (0.9, 1.1, 4), (-30, 12, 55))


def save(path: Path, array: np.ndarray, affine: np.ndarray = OBLIQUE, sform: int = 1, qform: int = 1) -> Path:
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".img", ".hdr"])
@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "f4", ">f4", "f8", "u4"])
def test_reads_every_number_type_and_byte_order(tmp_path: Path, suffix: str, dtype: str) -> None:
    array = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(dtype)
    header = nib.Nifti1Header(endianness=">" if dtype.startswith(">") else "<")
    image = (nib.Nifti1Pair if suffix in (".img", ".hdr") else nib.Nifti1Image)(array, np.eye(4), header)
    image.set_data_dtype(array.dtype)
    image.set_sform(np.eye(4), 1)
    nib.save(image, tmp_path / f"a{suffix}")
    read = read_image(tmp_path / f"a{suffix}")
    assert read.image.data.dtype == torch.float32
    assert read.valid is None
    np.testing.assert_array_equal(read.image.data, array.astype("f4"))


def test_applies_slope_and_intercept(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(64, dtype="i2").reshape(4, 4, 4), np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "a.nii.gz")
    raw = np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj.get_unscaled())
    slope, inter = nib.load(tmp_path / "a.nii.gz").dataobj.slope, nib.load(tmp_path / "a.nii.gz").dataobj.inter
    assert (slope, inter) == (0.5, -3)
    np.testing.assert_allclose(read_image(tmp_path / "a.nii.gz").image.data, raw * slope + inter)


def test_one_frame_is_squeezed(tmp_path: Path) -> None:
    array = values_of((4, 5, 6, 1))
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.nii", array, np.eye(4))).image.data, array[..., 0])


@pytest.mark.parametrize("dim", [2, 3])
@given(data=st.data())
def test_index_and_world_agree_with_nibabel_and_simpleitk(
    dim: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    affine, shape = data.draw(affines(dim)), (4, 6, 5)[:dim]
    whole = np.eye(4)
    whole[:dim, :dim], whole[:dim, 3] = affine[:dim, :dim], affine[:dim, dim]
    path = save(tmp_path_factory.mktemp("world") / "a.nii.gz", values_of(shape), whole)
    read, itk = read_image(path), sitk.ReadImage(str(path))
    index = np.array(data.draw(st.tuples(*[st.floats(-2, n + 1) for n in shape])))
    world = whole[:dim, :dim] @ index + whole[:dim, 3]
    signs = np.array([-1, -1, 1])[:dim]
    np.testing.assert_allclose(itk.TransformContinuousIndexToPhysicalPoint(index.tolist()) * signs, world, atol=2e-3)
    grid, storage = read.image.grid, read.storage
    canonical = [shape[a] - 1 - index[a] if flip else index[a] for a, flip in zip(storage.axes, storage.flips, strict=True)]
    np.testing.assert_allclose(grid.index_to_world(torch.tensor(canonical, dtype=torch.float64)), world, atol=2e-3)


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd"])
@pytest.mark.parametrize("dim", [2, 3])
def test_itk_files_are_where_nifti_files_are(tmp_path: Path, suffix: str, dim: int) -> None:
    affine = OBLIQUE if dim == 3 else make_affine((0, 0, 0), (0.9, 1.1, 1), (-30, 12, 0))
    path = save(tmp_path / "a.nii.gz", values_of((4, 7, 5)[:dim]), affine)
    sitk.WriteImage(sitk.ReadImage(str(path)), str(tmp_path / f"a{suffix}"))
    one, other = read_image(path), read_image(tmp_path / f"a{suffix}")
    assert one.image.grid.same_space(other.image.grid)
    assert torch.equal(one.image.data, other.image.data)


def test_png_has_one_mm_pixels_and_colours_become_luminance(tmp_path: Path) -> None:
    grey = np.arange(9 * 8, dtype="u1").reshape(9, 8)
    sitk.WriteImage(sitk.GetImageFromArray(grey), str(tmp_path / "a.png"))
    read = read_image(tmp_path / "a.png")
    assert read.storage.shape == (8, 9)
    assert read.image.grid.spacing.tolist() == [1, 1]
    assert read.image.grid.index_to_world(torch.tensor([[7.0, 8.0]])).tolist() == [[0, 0]]
    np.testing.assert_array_equal(read.storage.from_canonical(read.image.data), grey.T)
    colour = np.stack([grey, grey, grey], -1)
    colour[0, 0] = 255, 0, 0
    sitk.WriteImage(sitk.GetImageFromArray(colour, isVector=True), str(tmp_path / "b.png"))
    bright = read_image(tmp_path / "b.png")
    back = bright.storage.from_canonical(bright.image.data).T
    np.testing.assert_allclose(back[1:], grey[1:], atol=1e-4)
    assert back[0, 0] == pytest.approx(0.299 * 255)


def test_pairs_nibabel_images_and_paths_are_the_same(tmp_path: Path) -> None:
    array = values_of((4, 5, 6))
    path = save(tmp_path / "a.nii", array)
    affine = nib.load(path).affine
    expected = read_image(path)
    sources = [str(path), nib.load(path), (array, affine), (torch.from_numpy(array), torch.from_numpy(affine)), expected.image]
    for source in [*sources, expected]:
        got = as_image_file(source, name="fixed image")
        assert torch.equal(got.image.data, expected.image.data)
        assert got.image.grid.same_space(expected.image.grid, tolerance=1e-9)
    assert as_image_file(expected, name="fixed image") is expected
    assert as_image_file(path, name="fixed image").name == f"fixed image {path}"


def test_slices_take_a_3x3_or_4x4_affine() -> None:
    array = values_of((4, 5))
    flat = as_image_file((array, np.diag([2.0, 3.0, 1.0])), name="slice")
    assert flat.image.grid.spacing.tolist() == [2, 3]
    assert flat.image.grid.same_space(as_image_file((array, np.diag([2.0, 3.0, 9.0, 1.0])), name="slice").image.grid)


@pytest.mark.parametrize(("axes", "flips"), orientations(3)[::5])
@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (2, 4), (4, 0), (0, 1)])
def test_written_as_it_came(tmp_path: Path, axes: tuple[int, ...], flips: tuple[bool, ...], sform: int, qform: int) -> None:
    array, affine = restore(values_of((4, 5, 6)), OBLIQUE, axes, flips)
    path = save(tmp_path / "a.nii.gz", array, affine, sform, qform)
    read = read_image(path)
    write_image(tmp_path / "b.nii.gz", read.image, read.storage)
    one, other = nib.load(path), nib.load(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    np.testing.assert_array_equal(one.affine, other.affine)
    for field in ["sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "qoffset_x", "pixdim"]:
        np.testing.assert_array_equal(one.header[field], other.header[field], err_msg=field)


def test_both_forms_survive_when_they_differ(tmp_path: Path) -> None:
    image = nib.Nifti1Image(values_of((4, 5, 6)), OBLIQUE)
    image.set_sform(OBLIQUE, 4)
    image.set_qform(np.diag([0.9, 1.1, 4, 1]), 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.warns(
        match=r"a\.nii: sform and qform disagree by up to .* mm; the sform is used.*ITK-based programs use the q"
    ):
        read = read_image(tmp_path / "a.nii")
    write_image(tmp_path / "b.nii", read.image, read.storage)
    written = nib.load(tmp_path / "b.nii").header
    np.testing.assert_array_equal(written.get_sform(), image.header.get_sform())
    np.testing.assert_array_equal(written.get_qform(), image.header.get_qform())
    assert read.image.grid.same_space(as_image_file((values_of((4, 5, 6)), OBLIQUE), name="a").image.grid)


def test_a_big_endian_nifti2_template_is_followed(tmp_path: Path) -> None:
    image = nib.Nifti2Image(values_of((4, 5, 6)), OBLIQUE, nib.Nifti2Header(endianness=">"))
    image.set_qform(OBLIQUE, 2)
    nib.save(image, tmp_path / "a.nii")
    read = read_image(tmp_path / "a.nii")
    written = to_nifti(read.image, read.storage)
    assert type(written) is nib.Nifti1Image
    np.testing.assert_allclose(written.affine, OBLIQUE, atol=1e-5)
    assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (2, 2)


@pytest.mark.parametrize("dim", [2, 3])
def test_without_header_both_forms_are_set(dim: int) -> None:
    affine = make_affine((30,) if dim == 2 else (30, 5, 10), (1, 2, 3)[:dim], (4, 5, 6)[:dim])
    read = as_image_file((values_of((4, 5, 6)[:dim]), affine), name="array")
    nifti = to_nifti(read.image, read.storage)
    assert nifti.shape == (4, 5, 6)[:dim]
    for matrix, code in (nifti.header.get_sform(coded=True), nifti.header.get_qform(coded=True)):
        assert code == 1
        np.testing.assert_allclose(matrix[:dim, :dim], affine[:dim, :dim], atol=1e-6)
        np.testing.assert_allclose(matrix[:dim, 3], affine[:dim, dim], atol=1e-6)


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    read = as_image_file((values_of((4, 5, 6)), OBLIQUE), name="a")
    for name in ("a.nii.gz", "b.nii.gz"):
        write_image(tmp_path / name, read.image, read.storage)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_number_types_of_written_files() -> None:
    read = as_image_file((values_of((4, 5, 6)) + 0.7, OBLIQUE), name="a")
    grid = read.image.grid
    data = read.storage.from_canonical(read.image.data.numpy())
    for image, dtype, expected in [
        (read.image, None, data),
        (Image(read.image.data.double(), grid), None, data),
        (read.image, np.uint8, np.rint(data)),
        (Image(read.image.data > 2, grid), None, data > 2),
        (Image(read.image.data.long(), grid), None, np.trunc(data)),
    ]:
        written = to_nifti(image, read.storage, dtype)
        np.testing.assert_array_equal(np.asarray(written.dataobj), expected)
    assert to_nifti(Image(read.image.data.long(), grid), read.storage).get_data_dtype() == np.int32


def test_writing_on_another_grid_is_refused(tmp_path: Path) -> None:
    read = as_image_file((values_of((4, 5, 6)), OBLIQUE), name="a")
    other = Image(torch.ones(4, 5, 6), Grid((4, 5, 6), torch.eye(4)))
    with refused("image", "grid"):
        to_nifti(other, read.storage)
    with refused("a.png", ".nii"):
        write_image(tmp_path / "a.png", read.image, read.storage)
    with refused("missing", "No such file"):
        write_image(tmp_path / "missing" / "a.nii.gz", read.image, read.storage)


def test_labels_are_whole_numbers(tmp_path: Path) -> None:
    labels = np.arange(64, dtype="f4").reshape(4, 4, 4) * 7
    read = read_labels(save(tmp_path / "a.nii.gz", labels, np.eye(4)), name="fixed labels")
    assert read.image.data.dtype == torch.int32
    np.testing.assert_array_equal(read.image.data, labels)
    assert torch.equal(read_labels(read, name="again").image.data, read.image.data)
    labels[1, 2, 3] = 2.5
    path = save(tmp_path / "b.nii.gz", labels, np.eye(4))
    with refused(path, "fixed labels", "integer", "1 of 64", "2.5"):
        read_labels(path, name="fixed labels")
    for bad in (np.nan, np.inf):
        labels[1, 2, 3] = bad
        with refused("labels", f"for instance {bad}"):
            read_labels((labels, np.eye(4)), name="labels")
    with refused("labels", "32 bits"):
        read_labels((np.full((4, 4, 4), 2**40), np.eye(4)), name="labels")


def test_masks_are_where_the_value_is_not_zero(tmp_path: Path) -> None:
    mask = np.zeros((4, 5, 6), dtype="f4")
    mask[1, 2, 3], mask[2, 2, 2], mask[0, 0, 0] = 0.2, -1, np.nan
    read = read_mask((mask, np.eye(4)), name="mask")
    assert read.image.data.dtype == torch.bool
    assert read.image.data.nonzero().tolist() == [[1, 2, 3], [2, 2, 2]]
    path = save(tmp_path / "a.nii.gz", mask * 0, np.eye(4))
    with refused(path, "empty mask"):
        read_mask(path, name="fixed mask")


def test_nan_is_refused_or_outside(tmp_path: Path) -> None:
    array, affine = restore(values_of((4, 5, 6)), np.eye(4), (2, 0, 1), (True, False, False))
    array[1, 2, 3] = array[0, 0, 0] = np.nan
    path = save(tmp_path / "a.nii.gz", array, affine)
    with refused(path, "2 of 120", "NaN", "--nan-outside", "nan_outside=True"):
        read_image(path)
    read = read_image(path, nan_outside=True)
    assert isinstance(read, ImageFile)
    assert read.valid is not None
    np.testing.assert_array_equal(read.storage.from_canonical(read.valid), ~np.isnan(array))
    assert torch.equal(read.image.data == 0, ~read.valid)


@pytest.mark.parametrize("frames", [1, 3])
def test_itk_files_of_one_frame_are_squeezed(tmp_path: Path, frames: int) -> None:
    array = values_of((frames, 6, 5, 4))
    image = sitk.GetImageFromArray(array, isVector=False)
    image.SetSpacing([1, 2, 3, 4])
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    if frames == 1:
        read = read_image(tmp_path / "a.nrrd")
        assert read.image.grid.spacing.tolist() == [1, 2, 3]
        np.testing.assert_array_equal(read.storage.from_canonical(read.image.data), array[0].T)
    else:
        with refused(tmp_path / "a.nrrd", "3 frames"):
            read_image(tmp_path / "a.nrrd")

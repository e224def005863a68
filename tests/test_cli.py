"""From files to files, through the installed command: what is written, where it lies, and which way things are carried."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from geogrid.graph import implementation_status
from geogrid.io import read_points
from geogrid.spatial import Grid
from geogrid.transforms import AffineTransform
from tests.data.runs import run, tree
from tests.data.scenes import LIA, centred_grid, head_labels, marked_head, markers, render, save_nifti
from tests.io.cases import make_affine

SCRIPT = Path(sys.executable).with_name("geogrid")
FILES = {
    *("warped.nii.gz", "warped_labels.nii.gz", "displacement.nii.gz", "inverse_displacement.nii.gz"),
    *("metrics.json", "report.html"),
}


def truth(dim: int) -> AffineTransform:
    """Fixed points to moving space: a turn, a stretch and a shift; several mm everywhere but near one point."""
    turn, stretch, shift = ((6, -5, 7), (1.04, 1.0, 0.97), (4, -3, 2)) if dim == 3 else ((7,), (1.04, 0.97), (4, -3))
    return AffineTransform(torch.from_numpy(make_affine(turn, stretch, shift)))


def write_csv(path: Path, points: torch.Tensor) -> Path:
    axes = ",".join("xyz"[: points.shape[1]])
    rows = [f"{','.join(map(str, point))},marker {number}" for number, point in enumerate(points.tolist())]
    path.write_text("\n".join([f"{axes},name", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fixed image in LIA storage, an oblique moving one with thick slices, their labels and landmarks."""
    folder = tmp_path_factory.mktemp("scans")
    fixed = centred_grid((40, 36, 32), (1.6, 1.6, 1.6))
    moving = centred_grid((44, 40, 24), (1.4, 1.4, 2.6), (12, -8, 10), center=2.0)
    moved = truth(3)
    save_nifti(folder / "fixed.nii.gz", render(marked_head, fixed, moved), fixed, LIA, codes=(2, 1))
    save_nifti(folder / "fixed_labels.nii.gz", render(head_labels, fixed, moved), fixed, LIA, codes=(2, 1))
    save_nifti(folder / "moving.nii.gz", render(marked_head, moving), moving)
    save_nifti(folder / "moving_labels.nii.gz", render(head_labels, moving), moving)
    write_csv(folder / "moving.csv", markers(3))
    write_csv(folder / "fixed.csv", moved.inverse()(markers(3)))
    return folder


@pytest.fixture(scope="module")
def done(scans: Path) -> subprocess.CompletedProcess[str]:
    """The registration of the scans by the installed command, into ``result``."""
    options = [f"--{side}-{kind}" for kind in ("labels", "landmarks") for side in ("fixed", "moving")]
    files = ["fixed_labels.nii.gz", "moving_labels.nii.gz", "fixed.csv", "moving.csv"]
    words = [word for pair in zip(options, files, strict=True) for word in pair]
    command = [str(SCRIPT), "register", "fixed.nii.gz", "moving.nii.gz", "--out", "runs/result", "--device", "cpu", *words]
    return subprocess.run(command, cwd=scans, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def result(scans: Path, done: subprocess.CompletedProcess[str]) -> Path:
    assert done.returncode == 0, done.stderr
    return scans / "runs" / "result"


def values(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_all_files_are_there_and_nothing_else(result: Path) -> None:
    assert {p.name for p in result.iterdir()} == FILES
    assert [p.name for p in result.parent.iterdir()] == ["result"]


def test_a_table_is_printed(done: subprocess.CompletedProcess[str], result: Path) -> None:
    for word in ("Dice", "landmark error", "local correlation", "folding", "time", "report: runs/result/report.html"):
        assert word in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["warped", "warped_labels"])
def test_warped_images_lie_on_the_fixed_files_own_grid(scans: Path, result: Path, name: str) -> None:
    fixed, warped = nib.load(scans / "fixed.nii.gz"), nib.load(result / f"{name}.nii.gz")
    assert nib.aff2axcodes(fixed.affine) == ("L", "I", "A")
    assert warped.shape == fixed.shape
    np.testing.assert_array_equal(warped.affine, fixed.affine)
    for field in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "qoffset_x", "pixdim", "xyzt_units"):
        np.testing.assert_array_equal(warped.header[field], fixed.header[field], err_msg=field)
    assert int(warped.header["sform_code"]) == 2


def test_the_warped_image_looks_like_the_fixed_one(scans: Path, result: Path) -> None:
    fixed, warped = values(scans / "fixed.nii.gz"), values(result / "warped.nii.gz")
    inside = (fixed > 20) & (warped != 0)
    assert inside.mean() > 0.2
    assert np.corrcoef(fixed[inside], warped[inside])[0, 1] > 0.9


def test_warped_labels_hold_the_moving_labels_only(scans: Path, result: Path) -> None:
    warped = values(result / "warped_labels.nii.gz")
    assert warped.dtype.kind in "iu"
    assert set(np.unique(warped)) == {0, 1, 5}
    assert (warped == values(scans / "fixed_labels.nii.gz")).mean() > 0.95


@pytest.mark.parametrize(("name", "grid_of"), [("displacement", "fixed"), ("inverse_displacement", "moving")])
def test_displacements_are_what_itk_reads(scans: Path, result: Path, name: str, grid_of: str) -> None:
    field, image = sitk.ReadImage(str(result / f"{name}.nii.gz")), sitk.ReadImage(str(scans / f"{grid_of}.nii.gz"))
    assert field.GetNumberOfComponentsPerPixel() == 3
    assert field.GetSize() == image.GetSize()
    np.testing.assert_allclose(field.GetOrigin(), image.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(field.GetDirection(), image.GetDirection(), atol=1e-5)
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    start, end = (markers(3), truth(3).inverse()(markers(3)))[:: 1 if grid_of == "moving" else -1]
    signs = np.array([-1, -1, 1])
    carried = np.array([transform.TransformPoint((p * signs).tolist()) for p in start.numpy()]) * signs
    assert np.linalg.norm(carried - end.numpy(), axis=1).max() < 0.8


def test_simpleitk_gets_the_same_warped_image(scans: Path, result: Path) -> None:
    field = sitk.ReadImage(str(result / "displacement.nii.gz"), sitk.sitkVectorFloat64)
    fixed, moving = (sitk.ReadImage(str(scans / f"{name}.nii.gz")) for name in ("fixed", "moving"))
    theirs = sitk.GetArrayFromImage(
        sitk.Resample(moving, fixed, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, 0.0)
    ).T
    ours = values(result / "warped.nii.gz")
    assert (np.abs(ours - theirs) <= 0.01 * np.ptp(ours)).mean() >= 0.999


def test_metrics(result: Path) -> None:
    metrics = json.loads((result / "metrics.json").read_text())
    assert metrics["dice_before"] + 0.1 < metrics["dice_after"] <= 1
    assert metrics["dice_after"] > 0.9
    assert set(metrics["dice_per_label_before"]) == set(metrics["dice_per_label_after"]) == {"1", "5"}
    assert metrics["dice_after"] == pytest.approx(np.mean(list(metrics["dice_per_label_after"].values())), abs=1e-4)
    before = (truth(3).inverse()(markers(3)) - markers(3)).norm(dim=1).mean()
    assert metrics["tre_before_mm"] == pytest.approx(float(before), abs=1e-3)
    assert metrics["tre_after_mm"] < 0.6
    assert metrics["folding_percent"] == 0
    assert metrics["lncc_before"] < metrics["lncc_after"] <= 1
    assert 0 < metrics["seconds"] < 60
    assert 100 < metrics["peak_memory_mb"] < 4000
    assert set(metrics["versions"]) >= {"geogrid", "python", "torch"}
    assert "cpu" in metrics["device"]
    assert metrics["parameters"]["resolution_mm"] == pytest.approx(1.6)
    assert metrics["parameters"]["seed"] == 0
    residual = metrics["inverse_residual_mm"]
    assert residual["median"] <= residual["p999"] <= residual["max"]
    assert residual["p999"] < 0.05


def test_the_report_is_one_file(result: Path) -> None:
    html = (result / "report.html").read_text(encoding="utf-8")
    assert len(re.findall(r"data:image/png;base64,", html)) >= 4
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", html) == []
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert str(json.loads((result / "metrics.json").read_text())["dice_after"])[:4] in html


@pytest.mark.parametrize("options", [[], ["--interpolation", "label"]])
def test_apply_gives_what_register_wrote(scans: Path, result: Path, tmp_path: Path, options: list[str]) -> None:
    stem = "_labels" if options else ""
    inputs = [result / "displacement.nii.gz", scans / f"moving{stem}.nii.gz", "--reference", scans / "fixed.nii.gz"]
    assert run("apply", *inputs, "--out", tmp_path / "new" / "a.nii.gz", *options) == 0
    again, first = nib.load(tmp_path / "new" / "a.nii.gz"), nib.load(result / f"warped{stem}.nii.gz")
    np.testing.assert_array_equal(again.dataobj, first.dataobj)
    np.testing.assert_array_equal(again.affine, first.affine)
    assert again.header["sform_code"] == first.header["sform_code"]


def test_the_inverse_brings_fixed_images_to_the_moving_grid(scans: Path, result: Path, tmp_path: Path) -> None:
    inputs = [result / "inverse_displacement.nii.gz", scans / "fixed_labels.nii.gz", "--reference", scans / "moving.nii.gz"]
    assert run("apply", *inputs, "--out", tmp_path / "a.nii", "--interpolation", "label") == 0
    carried, moving = nib.load(tmp_path / "a.nii"), nib.load(scans / "moving_labels.nii.gz")
    np.testing.assert_allclose(carried.affine, moving.affine)
    carried, moving = np.asarray(carried.dataobj), np.asarray(moving.dataobj)
    unmoved = values(scans / "fixed_labels.nii.gz")
    assert unmoved.shape != moving.shape
    assert 2 * ((carried == 5) & (moving == 5)).sum() / ((carried == 5).sum() + (moving == 5).sum()) > 0.93


def test_nearest_reads_existing_values_only(scans: Path, result: Path, tmp_path: Path) -> None:
    inputs = [result / "displacement.nii.gz", scans / "moving.nii.gz", "--reference", scans / "fixed.nii.gz"]
    assert run("apply", *inputs, "--out", tmp_path / "a.nii.gz", "--interpolation", "nearest") == 0
    assert set(np.unique(values(tmp_path / "a.nii.gz"))) <= {0, *np.unique(values(scans / "moving.nii.gz"))}


def test_a_reference_is_only_a_grid(scans: Path, result: Path, tmp_path: Path) -> None:
    fixed = nib.load(scans / "fixed.nii.gz")
    nib.save(nib.Nifti1Image(np.full(fixed.shape, np.nan, "f4"), fixed.affine, fixed.header), tmp_path / "empty.nii.gz")
    inputs = [result / "displacement.nii.gz", scans / "moving.nii.gz", "--reference", tmp_path / "empty.nii.gz"]
    assert run("apply", *inputs, "--out", tmp_path / "a.nii.gz") == 0
    np.testing.assert_array_equal(values(tmp_path / "a.nii.gz"), values(result / "warped.nii.gz"))


def test_apply_treats_nan_as_outside_on_request(
    scans: Path, result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moving = nib.load(scans / "moving.nii.gz")
    array = moving.get_fdata(dtype=np.float32)
    array[array < 1e-3] = np.nan
    nib.save(nib.Nifti1Image(array, moving.affine, moving.header), tmp_path / "nan.nii.gz")
    inputs = [result / "displacement.nii.gz", tmp_path / "nan.nii.gz", "--reference", scans / "fixed.nii.gz"]
    assert run("apply", *inputs, "--out", tmp_path / "a.nii.gz") == 2
    assert "--nan-outside" in capsys.readouterr().err
    assert run("apply", *inputs, "--out", tmp_path / "a.nii.gz", "--nan-outside") == 0
    np.testing.assert_allclose(values(tmp_path / "a.nii.gz"), values(result / "warped.nii.gz"), atol=2e-3)


def carry(displacement: Path, points: Path, out: Path, *options: str) -> torch.Tensor:
    assert run("apply-points", displacement, points, "--out", out, *options) == 0
    return read_points(out).points


def test_points_land_where_the_content_lands_and_come_back(scans: Path, result: Path, tmp_path: Path) -> None:
    forward, backward = result / "displacement.nii.gz", result / "inverse_displacement.nii.gz"
    fixed, moving = read_points(scans / "fixed.csv").points, markers(3)
    carried = carry(forward, scans / "fixed.csv", tmp_path / "a.csv")
    assert (fixed - moving).norm(dim=1).mean() > 4
    assert (carried - moving).norm(dim=1).max() < 0.8
    assert (carry(backward, scans / "moving.csv", tmp_path / "b.csv") - fixed).norm(dim=1).max() < 0.8
    assert (carry(forward, scans / "moving.csv", tmp_path / "c.csv", "--inverse") - fixed).norm(dim=1).max() < 0.8
    assert (carry(backward, tmp_path / "a.csv", tmp_path / "d.csv") - fixed).norm(dim=1).max() < 0.1
    assert (carry(forward, tmp_path / "a.csv", tmp_path / "e.csv", "--inverse") - fixed).norm(dim=1).max() < 0.1


def test_points_keep_their_other_columns(scans: Path, result: Path, tmp_path: Path) -> None:
    carry(result / "displacement.nii.gz", scans / "fixed.csv", tmp_path / "a.csv")
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert rows[0] == "x,y,z,name"
    assert [row.split(",")[3] for row in rows[1:]] == [f"marker {n}" for n in range(8)]


def test_lps_points_are_ras_points_with_x_and_y_turned(scans: Path, result: Path, tmp_path: Path) -> None:
    signs = torch.tensor([-1.0, -1, 1], dtype=torch.float64)
    write_csv(tmp_path / "lps.csv", read_points(scans / "fixed.csv").points * signs)
    ras = carry(result / "displacement.nii.gz", scans / "fixed.csv", tmp_path / "a.csv")
    lps = carry(result / "displacement.nii.gz", tmp_path / "lps.csv", tmp_path / "b.csv", "--coordinates", "lps")
    torch.testing.assert_close(lps * signs, ras)


@pytest.mark.parametrize("options", [[], ["--inverse"]])
def test_points_outside_stay_and_are_counted(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    points = torch.tensor([[500.0, 0, 0], [1, 2, 3], [0, -400, 0]], dtype=torch.float64)
    carried = carry(result / "displacement.nii.gz", write_csv(tmp_path / "p.csv", points), tmp_path / "a.csv", *options)
    assert torch.equal(carried[[0, 2]], points[[0, 2]])
    assert (carried[1] - points[1]).norm() > 1
    assert capsys.readouterr().err.strip() == "2 of 3 points lie outside the displacement's grid and stayed"


def test_help_says_which_file_carries_which_landmarks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("apply-points", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "displacement.nii.gz carries FIXED landmarks to the moving image" in text
    assert "inverse_displacement.nii.gz" in text
    assert "outside the displacement's grid stay where they are" in text


def test_info_on_an_image(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", scans / "moving.nii.gz") == 0
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["shape"] == "44 x 40 x 24"
    assert lines["spacing"] == "1.4 x 1.4 x 2.6 mm"
    assert lines["orientation"].startswith("RAS")
    grid = centred_grid((44, 40, 24), (1.4, 1.4, 2.6), (12, -8, 10))
    angle = math.degrees(math.acos(float(grid.frame.diagonal().min())))
    assert lines["obliqueness"] == f"{angle:.1f} degrees"
    assert re.fullmatch(r"\S+ to \S+", lines["intensities"])
    assert float(lines["intensities"].split(" to ")[1]) == pytest.approx(values(scans / "moving.nii.gz").max(), rel=1e-4)
    assert "finest scale 1.4 mm" in lines["registration"]
    assert run("info", scans / "fixed.nii.gz") == 0
    assert "LIA (stored), RAS (in memory)" in capsys.readouterr().out


def test_info_on_a_displacement_and_on_nan(
    scans: Path, result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("info", result / "displacement.nii.gz") == 0
    out = capsys.readouterr().out
    assert "displacement field, 3-D" in out
    assert "40 x 36 x 32" in out
    array = np.random.default_rng(0).random((5, 6, 7)).astype("f4")
    array[0, 0, :3] = np.nan
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "nan.nii")
    assert run("info", tmp_path / "nan.nii") == 0
    assert "3 voxels are NaN" in capsys.readouterr().out


def test_doctor_tells_versions_devices_and_searches(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor") == 0
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["torch"] == torch.__version__
    assert lines["python"].startswith(sys.version.split()[0])
    assert lines["device cpu"] == f"{torch.get_num_threads()} threads"
    assert any(name.startswith("device cuda") for name in lines)
    for name, reason in implementation_status().items():
        assert lines[f"neighbours by {name}"] == (reason or "ready")
    assert lines["neighbours by scipy"] == "ready"
    assert lines["attention on cpu"].startswith("compiled" if find_spec("numba") else "torch operations; pip install")


def test_doctor_tells_what_is_missing_and_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch_cluster", None)
    assert run("doctor") == 0
    out = capsys.readouterr().out
    assert re.search(r"neighbours by torch_cluster +torch_cluster is not installed; get it with: pip install --no-build", out)


def test_python_m_geogrid_is_the_same_command(scans: Path) -> None:
    done = [
        subprocess.run([*command, "info", scans / "fixed.nii.gz"], capture_output=True, text=True, check=True).stdout
        for command in ([SCRIPT], [sys.executable, "-m", "geogrid"])
    ]
    assert done[0] == done[1]
    assert "40 x 32 x 36" in done[0]


def test_without_arguments_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    out = capsys.readouterr().out
    assert "Usage: geogrid" in out
    for command in ("register", "apply", "apply-points", "info", "doctor"):
        assert re.search(rf"^  {command} ", out, re.MULTILINE)


def write_slice(path: Path, array: np.ndarray, grid: Grid) -> Path:
    if path.suffix != ".gz":
        image = sitk.GetImageFromArray(np.ascontiguousarray(array.T.astype("u1" if path.suffix == ".png" else "f4")))
        if path.suffix != ".png":
            image.SetSpacing(grid.spacing.tolist())
        sitk.WriteImage(image, str(path))
        return path
    return save_nifti(path, array, grid)


@pytest.mark.parametrize(("fixed_name", "moving_name"), [("f.nii.gz", "m.png"), ("f.nrrd", "m.mha"), ("f.png", "m.png")])
def test_two_dimensional_pairs(tmp_path: Path, capfd: pytest.CaptureFixture[str], fixed_name: str, moving_name: str) -> None:
    """A PNG has 1 mm and lies at the world's origin with x to the left and y to the back, so the content is put there."""
    place = AffineTransform(torch.tensor([[1.0, 0, 20], [0, 1, 18], [0, 0, 1]]))
    grid = Grid((41, 37), torch.tensor([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]]).double())
    other = (
        grid if fixed_name.endswith("png") else Grid((30, 27), torch.tensor([[-1.4, 0, 0], [0, -1.4, 0], [0, 0, 1]]).double())
    )
    shift = AffineTransform(torch.tensor([[1.0, 0, 3], [0, 1, -2], [0, 0, 1]]).double())

    def content(points: torch.Tensor) -> torch.Tensor:
        return marked_head(place(points), 40.0)

    fixed = write_slice(tmp_path / fixed_name, render(content, other, shift).clip(0, 255), other)
    moving = write_slice(tmp_path / moving_name, render(content, grid).clip(0, 255), grid)
    assert run("register", fixed, moving, "--out", tmp_path / "out", "--device", "cpu", "--quiet") == 0
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES - {"warped_labels.nii.gz"}
    warped = nib.load(tmp_path / "out" / "warped.nii.gz")
    assert warped.shape == other.shape
    np.testing.assert_allclose(warped.affine[:2, :2], other.affine[:2, :2], atol=1e-6)
    assert sitk.ReadImage(str(tmp_path / "out" / "displacement.nii.gz")).GetDimension() == 2
    there = place.inverse()(markers(2, 40.0))
    write_csv(tmp_path / "p.csv", there)
    back = carry(tmp_path / "out" / "inverse_displacement.nii.gz", tmp_path / "p.csv", tmp_path / "a.csv")
    assert (back - shift.inverse()(there)).norm(dim=1).max() < 0.8


def test_existing_results_are_kept_or_replaced_as_one(scans: Path, result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = ["register", scans / "fixed.nii.gz", scans / "moving.nii.gz", "--out", result.parent / "again", "--quiet"]
    options = ["--resolution", "4", "--affine", "none", "--device", "cpu"]
    labels = ["--fixed-labels", scans / "fixed_labels.nii.gz", "--moving-labels", scans / "moving_labels.nii.gz"]
    assert run(*inputs, *options, *labels) == 0
    (result.parent / "again" / "notes.txt").write_text("mine")
    before = tree(result.parent / "again")
    assert set(before) == FILES | {"notes.txt"}
    assert run(*inputs, *options) == 2
    assert "exists already" in capsys.readouterr().err
    assert tree(result.parent / "again") == before
    assert run(*inputs, *options, "--overwrite") == 0
    after = tree(result.parent / "again")
    assert set(after) == FILES - {"warped_labels.nii.gz"} | {"notes.txt"}, "labels of the older registration stayed"
    assert after["notes.txt"] == b"mine"
    assert "dice_after" not in json.loads(after["metrics.json"])

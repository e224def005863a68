"""``geogrid synth``: files that the other commands take, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from geogrid.data.synthetic import PAIR_FILES
from geogrid.io import read_displacement, read_image, read_labels, read_points
from geogrid.transforms import DisplacementField
from tests.data.runs import run, tree

SMALL = ("--dim", 2, "--size", "40,36", "--spacing", "1.5,2")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_files_and_a_line_per_pair(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("synth", "--out", "a", *SMALL, "--number", 2, "--size-mm", 3) == 0
    assert set(tree(folder / "a")) == {f"pair00{n}_{name}" for n in (0, 1) for name in PAIR_FILES}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["pair000", "pair001"]
    assert all("40x36" in line and "3.00 mm RMS" in line for line in lines)


def test_the_seed_decides_the_bytes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("synth", "--out", name, *SMALL, "--seed", seed, "--quiet") == 0
    assert capsys.readouterr().out == ""
    first, again, other = (tree(folder / name) for name in "abc")
    assert first == again
    assert all(first[name] != other[name] for name in first)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("deformation", ["smooth", "mixed"])
def test_the_other_commands_take_the_files(folder: Path, dim: int, deformation: str) -> None:
    sizes = SMALL if dim == 2 else ("--size", "24,24,12", "--spacing", "3,3,6", "--oblique", 60)
    options = ("--world", "ellipsoids", "--deformation", deformation, "--contrast", "same", "--quiet", "--seed", 4)
    assert run("synth", "--out", "a", *sizes, *options) == 0
    files = {name: f"a/pair000_{name}" for name in PAIR_FILES}
    command = ["apply", files["displacement.nii.gz"], files["moving_labels.nii.gz"], "--reference", files["fixed.nii.gz"]]
    assert run(*command, "--interpolation", "label", "--out", "warped.nii.gz") == 0
    warped, fixed = (read_labels(name).image.data for name in ("warped.nii.gz", files["fixed_labels.nii.gz"]))
    moving = read_labels(files["moving_labels.nii.gz"]).image.data
    agreement = float((warped == fixed)[warped > 0].float().mean())
    assert agreement > 0.85
    if moving.shape == fixed.shape:
        assert agreement > float((moving == fixed)[warped > 0].float().mean())
    table = [read_points(files[f"{side}_landmarks.csv"], dim=dim).points for side in ("fixed", "moving")]
    assert len(table[0]) == len(table[1]) == 50
    field = DisplacementField(*read_displacement(files["displacement.nii.gz"]))
    torch.testing.assert_close(field(table[0].float()), table[1].float(), atol=1e-3, rtol=0)
    assert float((table[0] - table[1]).norm(dim=1).mean()) > 1


def test_given_label_maps(folder: Path) -> None:
    data = np.zeros((20, 20, 20), np.int16)
    data[5:15, 4:16, 6:14] = 7
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1])), folder / "map.nii.gz")
    command = ["synth", "--out", "a", "--size", 16, "--spacing", 3, "--labels", "map.nii.gz", "--quiet"]
    assert run(*command) == 0
    assert read_labels("a/pair000_moving_labels.nii.gz").image.data.unique().tolist() == [0, 1]
    assert read_image("a/pair000_fixed.nii.gz").image.grid.shape == (16, 16, 16)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--size 3", ["shape", "at least 4"]),
        ("--size 64,64", ["--size", "one number above 0 or 3", "'64,64'"]),
        ("--size big", ["--size", "numbers", "'big'"]),
        ("--spacing 0", ["--spacing", "above 0", "'0'"]),
        ("--spacing 1,nan,1", ["--spacing", "above 0"]),
        ("--number 0", ["--number", "1<=x<=10000", "synth --help"]),
        ("--dim 4", ["--dim", "'4'", "'2'"]),
        ("--world cubes", ["--world", "'cubes'", "'sheets'"]),
        ("--deformation warp", ["--deformation", "'warp'", "'sliding'"]),
        ("--size-mm -3", ["deformation", "mm from 0 up", "-3"]),
        ("--oblique 200", ["oblique_degrees", "180"]),
        ("--labels none.nii.gz", ["none.nii.gz", "no such file"]),
        ("--labels none.nii.gz --world blobs", ["--labels, --world", "one or the other"]),
        ("--colour red", ["--colour", "No such option"]),
    ],
)
def test_refusals(folder: Path, capfd: pytest.CaptureFixture[str], options: str, words: list[str]) -> None:
    assert run("synth", "--out", "new", *options.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("geogrid: error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err
    assert tree(folder) == {}


def test_existing_pairs_are_kept(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "pair001_moving.nii.gz").write_text("mine")
    assert run("synth", "--out", "a", *SMALL, "--number", 2) == 2
    assert "exists already" in capfd.readouterr().err
    assert run("synth", "--out", "a", *SMALL, "--number", 2, "--overwrite") == 0

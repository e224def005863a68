"""Points from files to files, on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from geogrid.io import read_points
from tests.data.runs import run, tree
from tests.io.test_point_files import write_surface
from tests.test_register_points import FILES, cloud, truth

SCRIPT = Path(sys.executable).with_name("geogrid")


def write(path: Path, points: torch.Tensor, header: str, order: str) -> Path:
    columns = {axis: points[:, n].tolist() for n, axis in enumerate("xyz")} | {"name": [f"p{n}" for n in range(len(points))]}
    rows = zip(*(columns[name] for name in order.split(",")), strict=True)
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fixed points, moving ones in another order of rows and columns, landmarks, and the result."""
    place = tmp_path_factory.mktemp("points")
    fixed = cloud()
    write(place / "fixed.csv", fixed, "name,z,x,y", "name,z,x,y")
    write(place / "moving.csv", truth()(fixed).flip(0), "X,Y,Z,name", "x,y,z,name")
    write(place / "f_marks.csv", fixed[:9] + 1, "x,y,z", "x,y,z")
    write(place / "m_marks.csv", truth()(fixed[:9] + 1), "x,y,z", "x,y,z")
    return place


@pytest.fixture(scope="module")
def done(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPT), "register", "fixed.csv", "moving.csv", "--out", "out"]
    marks = ["--fixed-landmarks", "f_marks.csv", "--moving-landmarks", "m_marks.csv"]
    return subprocess.run([*command, *marks], cwd=folder, capture_output=True, text=True, timeout=300)


def test_register_writes_everything_and_prints_a_table(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (folder / "out").iterdir()} == FILES
    for words in ("Chamfer distance", "landmark error", "match support", "time", "report: out/report.html"):
        assert words in done.stdout
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    assert metrics["tre_after_mm"] < 0.2 * metrics["tre_before_mm"]


def test_results_keep_the_layout_of_their_input(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    for name, source in (("warped", "moving"), ("fixed_in_moving", "fixed")):
        result = (folder / "out" / f"{name}.csv").read_text().splitlines()
        given = (folder / f"{source}.csv").read_text().splitlines()
        assert result[0] == given[0]
        column = given[0].split(",").index("name")
        assert [row.split(",")[column] for row in result] == [row.split(",")[column] for row in given]
    assert float((read_points(folder / "out" / "warped.csv").points.flip(0) - cloud()).norm(dim=1).mean()) < 1


def test_the_transform_carries_any_points_both_ways(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    transform, there, back = folder / "out" / "transform.json", folder / "there.csv", folder / "back.csv"
    assert run("apply-points", transform, folder / "fixed.csv", "--out", there) == 0
    torch.testing.assert_close(read_points(there).points, read_points(folder / "out" / "fixed_in_moving.csv").points)
    assert run("apply-points", transform, folder / "moving.csv", "--inverse", "--out", back) == 0
    torch.testing.assert_close(read_points(back).points, read_points(folder / "out" / "warped.csv").points)


def test_surfaces_are_carried_to_surfaces(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    surface, moved = write_surface(folder / "left.surf.gii"), folder / "moved.surf.gii"
    assert run("apply-points", folder / "out" / "transform.json", surface, "--out", moved) == 0
    carried = folder / "moved.csv"
    assert run("apply-points", folder / "out" / "transform.json", surface, "--out", carried) == 0
    np.testing.assert_allclose(read_points(moved).points, read_points(carried).points, atol=1e-4)
    assert not torch.equal(read_points(moved).points, read_points(surface).points)


def test_info_on_points(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", folder / "fixed.csv") == 0
    told = capsys.readouterr().out
    for words in ("120 points, 3-D", "range of z", "duplicates", "to the nearest neighbour"):
        assert words in told
    assert run("info", write_surface(folder / "left.gii")) == 0
    assert "sulc" in capsys.readouterr().out


def test_known_partners_are_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("fixed,moving\n0,119\n7,112\n")
    pair = folder / "fixed.csv", folder / "moving.csv"
    assert run("register", *pair, "--correspondences", tmp_path / "pairs.csv", "--out", tmp_path / "out", "--quiet") == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["num_correspondences"] == 2


@pytest.mark.parametrize("text", ["fixed,moving\n0,1,2\n", "0,1.5\n", "0,500\n", "3\n"])
def test_bad_partners_end_in_one_line(folder: Path, text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    pair = folder / "fixed.csv", folder / "moving.csv"
    assert run("register", *pair, "--correspondences", tmp_path / "pairs.csv", "--out", tmp_path / "out") == 2
    err = capfd.readouterr().err
    assert err.startswith("geogrid: error: ")
    assert "expected" in err
    assert err.count("\n") == 1


BAD = {
    "nan.csv": ("x,y,z\n1,2,3\n4,nan,6\n", ["nan.csv, line 3", "finite number"]),
    "ragged.csv": ("x,y,z\n1,2,3\n4,5\n", ["ragged.csv, line 3", "3 columns"]),
    "empty.csv": ("", ["empty.csv", "no points"]),
    "bare.csv": ("x,y,z\n", ["bare.csv", "header but no points"]),
    "words.csv": ("1,2,3\n4,five,6\n", ["words.csv, line 2", "'five'"]),
    "names.csv": ("a,b,c\n1,2,3\n", ["names.csv", "x,y", "a,b,c"]),
    "flat.csv": ("x,y\n1,2\n3,4\n", ["3-D", "2-D", "same dimension"]),
    "size.csv": ("x,y,z\n0,0,0\n.075,0,0\n0,.15,0\n0,0,.15\n.15,.15,.15\n", ["one unit"]),
    "cut.ply": ("ply\n", ["cut.ply", "not a readable .ply file"]),
    "cut.vtk": ("words", ["cut.vtk", "not a readable .vtk file"]),
    "cut.gii": ("words", ["cut.gii", "not a readable GIFTI file"]),
    "cut.nii.gz": ("words", ["fixed.csv", "column intensity"]),
    "missing.csv": (None, ["missing.csv", "no such file"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_points_end_in_one_line(folder: Path, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text, words = BAD[name]
    if text is not None:
        (tmp_path / name).write_text(text)
    before = tree(tmp_path)
    assert run("register", folder / "fixed.csv", tmp_path / name, "--out", tmp_path / "out") == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("geogrid: error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "register fixed.csv moving.csv --out new --fixed-labels a.nii.gz --moving-labels b.nii.gz",
            ["fixed_labels", "for images"],
        ),
        ("register fixed.csv moving.csv --out new --feature size", ["fixed points", "feature size"]),
        ("register fixed.csv moving.csv --out new --model synth-3d", ["synth-3d", "points without features"]),
        ("register fixed.csv moving.csv --out new --model none --no-optimize", ["optimize", "no model"]),
        ("register fixed.csv moving.csv --out out", ["exists already"]),
        ("apply-points fixed.csv moving.csv --out new.csv", ["fixed.csv", "displacement"]),
        ("apply-points broken.json moving.csv --out new.csv", ["broken.json", "transform.json"]),
        ("apply-points out/transform.json moving.csv --out new.vtk", ["new.vtk", "written as .csv"]),
    ],
)
def test_bad_commands_end_in_one_line(
    folder: Path,
    done: subprocess.CompletedProcess[str],
    command: str,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    (folder / "broken.json").write_text('{"format": "something"}')
    assert run(*command.split()) == 2
    err = capfd.readouterr().err
    assert err.startswith("geogrid: error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err

"""Points of GIFTI, PLY and VTK files: what is read, and what is refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from geogrid.io import read_points, write_points
from geogrid.io.gifti import write_gifti
from tests.io.cases import refused

POINTS = np.array([[1.5, -2.0, 3.0], [4.0, 5.25, -6.0], [7.0, 8.0, 9.0], [0.0, 1.0, 2.0]])
VALUES = np.array([[0.5, -1.0], [2.0, 3.0], [4.5, 5.0], [6.0, 7.0]])
VTK_HEAD = "# vtk DataFile Version 5.1\nlung\nASCII\nDATASET POLYDATA\nPOINTS 4 float\n"
PLY_HEAD = (
    "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\nproperty float thick\n"
)


def rows(*blocks: np.ndarray) -> str:
    return "\n".join(" ".join(map(str, row)) for row in np.concatenate(blocks, 1)) + "\n"


def write_surface(path: Path, points: np.ndarray = POINTS, sets: int = 1) -> Path:
    arrays = [
        nib.gifti.GiftiDataArray(points.astype("f4"), intent="NIFTI_INTENT_POINTSET", datatype="NIFTI_TYPE_FLOAT32")
        for _ in range(sets)
    ]
    triangles = np.array([[0, 1, 2], [1, 2, 3]], "i4")
    arrays.append(nib.gifti.GiftiDataArray(triangles, intent="NIFTI_INTENT_TRIANGLE", datatype="NIFTI_TYPE_INT32"))
    arrays.append(
        nib.gifti.GiftiDataArray(
            VALUES[:, 0].astype("f4"), intent="NIFTI_INTENT_SHAPE", datatype="NIFTI_TYPE_FLOAT32", meta={"Name": "sulc"}
        )
    )
    nib.save(nib.GiftiImage(darrays=arrays), path)
    return path


def write_text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def write_binary_ply(path: Path) -> Path:
    cells = np.zeros(4, dtype=[("p", "<f4", 3), ("thick", "<f8")])
    cells["p"], cells["thick"] = POINTS, VALUES[:, 0]
    head = PLY_HEAD.replace("ascii", "binary_little_endian").replace("float thick", "double thick")
    path.write_bytes((head + "end_header\n").encode() + cells.tobytes())
    return path


def ply_mesh() -> str:
    faces = "element face 2\nproperty list uchar int vertex_indices\nend_header\n"
    return PLY_HEAD + faces + rows(POINTS, VALUES[:, :1]) + "3 0 1 2\n3 1 2 3\n"


@pytest.mark.parametrize("suffix", [".surf.gii", ".gii.gz"])
def test_gifti_points_are_ras_whatever_the_coordinates(tmp_path: Path, suffix: str) -> None:
    for coordinates in ("ras", "lps"):
        table = read_points(write_surface(tmp_path / f"left{suffix}"), coordinates=coordinates)  # type: ignore[arg-type]
        assert table.points.tolist() == POINTS.tolist()
        assert table.feature_names == ("sulc",)
        assert table.features is not None
        assert table.features.tolist() == VALUES[:, :1].tolist()


def test_moved_surfaces_keep_their_triangles(tmp_path: Path) -> None:
    path = write_surface(tmp_path / "left.surf.gii")
    write_gifti(tmp_path / "moved.surf.gii", path, POINTS + 1)
    before, after = nib.load(path), nib.load(tmp_path / "moved.surf.gii")
    np.testing.assert_array_equal(after.agg_data("pointset"), (POINTS + 1).astype("f4"))
    np.testing.assert_array_equal(after.agg_data("triangle"), before.agg_data("triangle"))
    np.testing.assert_array_equal(after.agg_data("shape"), before.agg_data("shape"))


@pytest.mark.parametrize("kind", ["text", "binary", "mesh"])
def test_ply_vertices_with_their_properties(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.ply"
    if kind == "binary":
        write_binary_ply(path)
    else:
        write_text(path, ply_mesh() if kind == "mesh" else PLY_HEAD + "end_header\n" + rows(POINTS, VALUES[:, :1]))
    table = read_points(path)
    assert table.points.tolist() == POINTS.tolist()
    assert table.feature_names == ("thick",)
    assert table.features is not None
    assert table.features.tolist() == VALUES[:, :1].tolist()
    assert read_points(path, coordinates="lps").points.tolist() == (POINTS * [-1, -1, 1]).tolist()


def test_vtk_points_with_arrays_of_several_components(tmp_path: Path) -> None:
    data = (
        "POINT_DATA 4\nFIELD FieldData 1\nab 2 4 float\n" + rows(VALUES) + "SCALARS id int 1\nLOOKUP_TABLE default\n1 2 3 4\n"
    )
    table = read_points(write_text(tmp_path / "a.vtk", VTK_HEAD + rows(POINTS) + data))
    assert table.points.tolist() == POINTS.tolist()
    assert table.feature_names == ("ab_0", "ab_1", "id")
    assert table.features is not None
    assert table.features.tolist() == [[*pair, float(n + 1)] for n, pair in enumerate(VALUES.tolist())]


def test_clouds_become_tables_with_their_features(tmp_path: Path) -> None:
    table = read_points(write_surface(tmp_path / "left.gii"))
    write_points(tmp_path / "left.csv", table)
    assert (tmp_path / "left.csv").read_text().splitlines()[:2] == ["x,y,z,sulc", "1.5,-2.0,3.0,0.5"]
    again = read_points(tmp_path / "left.csv")
    assert torch.equal(again.points, table.points)
    assert torch.equal(again.features, table.features)  # type: ignore[arg-type]


def test_csv_features_are_the_columns_of_numbers(tmp_path: Path) -> None:
    table = read_points(write_text(tmp_path / "a.csv", "name,z,x,y,size,age\napex,3,2,1,0.5,\nbase,6,5,4,1.5,7\n"))
    assert table.points.tolist() == [[2, 1, 3], [5, 4, 6]]
    assert table.feature_names == ("size",)
    assert table.features is not None
    assert table.features.tolist() == [[0.5], [1.5]]
    headless = read_points(write_text(tmp_path / "b.csv", "1,2,3,4\n5,6,7,8\n"))
    assert headless.feature_names == ("column_4",)
    assert read_points(write_text(tmp_path / "c.csv", "x,y,z,w\n1,2,3,nan\n")).features is None


def test_flat_clouds_may_be_read_as_2d(tmp_path: Path) -> None:
    flat = write_text(tmp_path / "a.vtk", VTK_HEAD + rows(POINTS * [1, 1, 0]))
    assert read_points(flat, dim=2).points.tolist() == POINTS[:, :2].tolist()
    with refused(tmp_path / "b.vtk", "expected 2-D points", "got 3-D"):
        read_points(write_text(tmp_path / "b.vtk", VTK_HEAD + rows(POINTS)), dim=2)


NAN = POINTS.copy()
NAN[2, 1] = np.nan
BAD = {
    "empty.ply": (lambda p: write_text(p, ""), ["empty (0 bytes)"]),
    "words.ply": (lambda p: write_text(p, "words\n"), ["not a readable .ply file"]),
    "cut.ply": (lambda p: p.write_bytes(write_binary_ply(p).read_bytes()[:-7]), ["not a readable .ply file", "length"]),
    "short.ply": (lambda p: write_text(p, PLY_HEAD + "end_header\n1 2 3 4\n5 6\n"), ["not a readable .ply file"]),
    "none.ply": (lambda p: write_text(p, PLY_HEAD.replace("4", "0") + "end_header\n"), ["no points in it"]),
    "nan.ply": (lambda p: write_text(p, PLY_HEAD + "end_header\n" + rows(NAN, VALUES[:, :1])), ["point 2", "finite", "nan"]),
    "words.vtk": (lambda p: write_text(p, "words\n"), ["not a readable .vtk file", "Unrecognized file type"]),
    "words.vtp": (lambda p: write_text(p, "words <\n"), ["not a readable .vtp file", "XML"]),
    "cut.vtk": (
        lambda p: write_text(p, VTK_HEAD + rows(POINTS)[:-6]),
        ["not a readable .vtk file", "Error reading ascii data"],
    ),
    "none.vtk": (lambda p: write_text(p, VTK_HEAD.replace("POINTS 4", "POINTS 0")), ["No points read"]),
    "nan.vtk": (lambda p: write_text(p, VTK_HEAD + rows(NAN)), ["point 2", "finite", "nan"]),
    "words.gii": (lambda p: write_text(p, "words"), ["not a readable GIFTI file"]),
    "two.gii": (lambda p: write_surface(p, sets=2), ["2 point sets", "expected one"]),
    "values.gii": (lambda p: write_surface(p, sets=0), ["0 point sets", ".surf.gii"]),
    "nan.gii": (lambda p: write_surface(p, NAN), ["point 2", "finite", "nan"]),
    "missing.gii": (lambda p: None, ["no such file"]),
    "missing.vtk": (lambda p: None, ["no such file"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    spoil, words = BAD[name]
    spoil(tmp_path / name)
    with refused(tmp_path / name, *words):
        read_points(tmp_path / name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "module"), [("a.ply", "trimesh.exchange.ply"), ("a.vtk", "vtkmodules.vtkIOLegacy")])
def test_missing_readers_say_how_to_get_them(tmp_path: Path, name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with refused(tmp_path / name, "not installed", "pip install 'geogrid[meshes]'"):
        read_points(write_text(tmp_path / name, "anything"))


def test_the_vessel_clouds(test_data: Path) -> None:
    table = read_points(test_data / "lung_points" / "copd1_source.vtk")
    assert table.points.shape == (60_000, 3)
    assert "weights" in table.feature_names

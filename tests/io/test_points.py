from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geogrid.io import PointTable, read_points, write_points
from tests.io.cases import ordinary_user, refused


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x,y,z\n1,2,3\n4,5,6\n", [[1, 2, 3], [4, 5, 6]]),
        ("1,2,3\n4,5,6\n", [[1, 2, 3], [4, 5, 6]]),
        ("\ufeffX, Y, Z\r\n1, 2, 3\r\n\r\n# the last\r\n4,5,6", [[1, 2, 3], [4, 5, 6]]),
        ("name,z,y,x\napex,3,2,1\nbase,6,5,4\n", [[1, 2, 3], [4, 5, 6]]),
        ("x,y,z,t,label\n1,2,3,0,7\n4,5,6,0,8\n", [[1, 2, 3], [4, 5, 6]]),
        ("1,2,3,tip\n4,5,6,root\n", [[1, 2, 3], [4, 5, 6]]),
        (",X,Y\n1,63,309\n2,77,441\n", [[63, 309], [77, 441]]),
        ("1.5,-2e1\n3,4\n", [[1.5, -20], [3, 4]]),
    ],
)
def test_reads_tables(tmp_path: Path, text: str, expected: list[list[float]]) -> None:
    points = read_points(table(tmp_path / "a.csv", text)).points
    assert points.dtype == torch.float64
    assert points.tolist() == expected


def test_dim_picks_the_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "x,y,z,t,label\n1,2,0,0,7\n")
    assert read_points(path, dim=2).points.tolist() == [[1, 2]]
    assert read_points(table(tmp_path / "b.csv", "1,2,9\n"), dim=2).points.tolist() == [[1, 2]]


def test_lps_changes_the_sign_of_x_and_y(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "x,y,z\n1,2,3\n")
    assert read_points(path, coordinates="lps").points.tolist() == [[-1, -2, 3]]
    write_points(tmp_path / "b.csv", read_points(path, coordinates="lps"), "lps")
    assert (tmp_path / "b.csv").read_text() == "x,y,z\n1.0,2.0,3.0\n"
    assert read_points(table(path, "5,-6\n"), coordinates="lps").points.tolist() == [[-5, 6]]


def test_other_columns_survive(tmp_path: Path) -> None:
    read = read_points(table(tmp_path / "a.csv", 'label,z,x,y,note\n7,3,1,2,"a, b"\n8,6,4,5,\n'))
    write_points(tmp_path / "b.csv", read.with_points(read.points + 10))
    assert (tmp_path / "b.csv").read_text() == 'label,z,x,y,note\n7,13.0,11.0,12.0,"a, b"\n8,16.0,14.0,15.0,\n'
    headless = read_points(table(tmp_path / "c.csv", "1,2,3,tip\n"))
    write_points(tmp_path / "d.csv", headless)
    assert (tmp_path / "d.csv").read_text() == "1.0,2.0,3.0,tip\n"


@given(
    points=st.integers(2, 3).flatmap(
        lambda dim: st.lists(st.lists(st.floats(-1e4, 1e4), min_size=dim, max_size=dim), min_size=1, max_size=5)
    ),
    coordinates=st.sampled_from(["ras", "lps"]),
)
def test_round_trip_is_exact(points: list[list[float]], coordinates: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("points") / "a.csv"
    written = PointTable(torch.tensor(points, dtype=torch.float64))
    write_points(path, written, coordinates)  # type: ignore[arg-type]
    read = read_points(path, coordinates=coordinates)  # type: ignore[arg-type]
    assert torch.equal(read.points, written.points)
    assert read.header == ("x", "y", "z")[: len(points[0])]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no points"]),
        ("\n# nothing\n", ["no points"]),
        ("x,y,z\n", ["header but no points"]),
        ("x,y,z\n1,2,3\n4,five,6\n", ["line 3", "'five'"]),
        ("1,2,3\n\n4,5,nan\n", ["line 3", "finite", "nan"]),
        ("1,2,3\n4,5,inf\n", ["line 2", "finite", "inf"]),
        ("x,y,z\n1,2,3\n4,5\n", ["line 3", "3 columns", "got 2"]),
        ("x,y,z\n1,2,\n", ["line 2", "''"]),
        ("1\n2\n", ["at least 2 columns", "got 1"]),
        ("a,b,c\n1,2,3\n", ["x,y", "a,b,c"]),
        ("x,y,x\n1,2,3\n", ["x,y", "x,y,x"]),
    ],
)
def test_refuses_bad_tables(tmp_path: Path, text: str, words: list[str]) -> None:
    path = table(tmp_path / "a.csv", text)
    with refused(path, *words):
        read_points(path)


def test_refuses_bad_files_and_options(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "1,2\n")
    with refused(path, "at least 3 columns (x,y,z)", "got 2"):
        read_points(path, dim=3)
    with refused("coordinates", "ras or lps", "'RAI'"):
        read_points(path, coordinates="RAI")  # type: ignore[arg-type]
    with refused(tmp_path / "none.csv", "no such file"):
        read_points(tmp_path / "none.csv")
    with refused(tmp_path, "directory"):
        read_points(tmp_path)
    (tmp_path / "b.csv").write_bytes(bytes(range(256)))
    with refused(tmp_path / "b.csv", "not a text file"):
        read_points(tmp_path / "b.csv")
    with refused(tmp_path / "none" / "a.csv", "cannot be written"):
        write_points(tmp_path / "none" / "a.csv", read_points(path))
    with refused("points", "(1, 2)", "(3, 2)"):
        read_points(path).with_points(torch.zeros(3, 2))
    path.chmod(0)
    with ordinary_user(), refused(path, "Permission denied"):
        read_points(path)

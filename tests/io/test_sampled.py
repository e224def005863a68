"""Samples from files and clouds: which column is the intensity, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

from geogrid.errors import GeogridError
from geogrid.io import PointTable, as_sampled_image, read_points, with_column, write_points
from geogrid.spatial import PointCloud

PLACES = 30 * torch.rand(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
VALUES = torch.sin(PLACES[:, 0] / 5)


def table(*names: str) -> PointTable:
    return PointTable(PLACES, features=torch.stack([VALUES * (n + 1) for n in range(len(names))], 1), feature_names=names)


def test_every_source_gives_the_same_image(tmp_path: Path) -> None:
    write_points(tmp_path / "samples.csv", table("intensity"))
    write_points(tmp_path / "lps.csv", table("intensity"), "lps")
    graph = Data(x=VALUES[:, None], pos=PLACES)
    cloud = PointCloud.from_points(PLACES, torch.ones(300), VALUES[:, None])
    first = as_sampled_image(table("intensity"))
    assert first.valid is not None
    assert first.storage.grid().same_space(first.image.grid)
    for source, order in ((tmp_path / "samples.csv", "ras"), (tmp_path / "lps.csv", "lps"), (graph, "ras"), (cloud, "ras")):
        found = as_sampled_image(source, coordinates=order)  # type: ignore[arg-type]
        assert found.image.grid.same_space(first.image.grid)
        torch.testing.assert_close(found.image.data, first.image.data, atol=1e-4, rtol=0)


def test_which_column_is_the_intensity() -> None:
    assert as_sampled_image(table("t1")).intensity == "t1"
    assert as_sampled_image(table("t1", "intensity")).intensity == "intensity"
    named = as_sampled_image(table("t1", "t2"), intensity="t2")
    torch.testing.assert_close(named.image.data, 2 * as_sampled_image(table("t1")).image.data, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("source", "column", "words"),
    [
        (table("t1", "t2"), None, "--intensity"),
        (table("t1", "t2"), "pd", "column pd .* got t1, t2"),
        (PointTable(PLACES), None, "column intensity .* got none"),
        (PointTable(PLACES[:9], features=VALUES[:9, None], feature_names=("t1",)), None, "at least 16 samples, got 9"),
        (PointTable(PLACES, features=torch.ones(300, 1), feature_names=("t1",)), None, "every t1 is 1"),
        (PointTable(PLACES * torch.tensor([1, 0]), features=VALUES[:, None], feature_names=("t1",)), None, "an area"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(source: PointTable, column: str | None, words: str) -> None:
    with pytest.raises(GeogridError, match=words) as error:
        as_sampled_image(source, name="moving samples", intensity=column)
    assert str(error.value).startswith("moving samples: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["x,y,name,t1\n1,2,a,5\n3,4,b,6\n", "1,2,0.5\n3,4,0.25\n"])
def test_a_further_column_leaves_the_others_as_they_are(tmp_path: Path, text: str) -> None:
    (tmp_path / "given.csv").write_text(text)
    given = read_points(tmp_path / "given.csv", dim=2)
    write_points(tmp_path / "more.csv", with_column(given, "warped", torch.tensor([7.0, 8.5])))
    lines, expected = (tmp_path / "more.csv").read_text().splitlines(), text.splitlines()
    assert len(lines) == len(expected)
    assert lines[-1].split(",")[2:-1] == expected[-1].split(",")[2:]
    assert lines[-1].endswith(",8.5")
    assert lines[0].endswith(",warped" if "x" in text else ",7.0")
    numbers = read_points(tmp_path / "more.csv", dim=2)
    torch.testing.assert_close(numbers.points, given.points)


def test_a_further_column_of_a_table_without_text() -> None:
    found = with_column(with_column(PointTable(PLACES), "a", VALUES), "b", 2 * VALUES)
    assert found.feature_names == ("a", "b")
    assert found.features is not None
    torch.testing.assert_close(found.features[:, 1], 2 * VALUES)

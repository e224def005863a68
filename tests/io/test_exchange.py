"""Clouds from and to arrays, PyG and PyTorch3D; the latter runs in ``make test-backends``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from geogrid.io import (
    PointTable,
    as_points,
    from_arrays,
    from_pyg,
    from_pytorch3d,
    is_point_source,
    to_arrays,
    to_pyg,
    to_pytorch3d,
)
from geogrid.spatial import Grid, PointCloud
from tests.graph.clouds import usable
from tests.io.cases import refused


def cloud(generator: torch.Generator, dim: int = 3, channels: int = 2) -> PointCloud:
    """Two entries of 12 and 7 points in an oblique frame."""
    batch = torch.arange(2).repeat_interleave(torch.tensor([12, 7]))
    frame = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64)).Q
    pos, x = (torch.randn(19, n, generator=generator) for n in (dim, channels))
    return PointCloud.from_points(pos, torch.rand(19, generator=generator) + 0.5, x, batch, frame, torch.ones(dim))


def same(first: PointCloud, second: PointCloud) -> bool:
    return all(
        torch.equal(getattr(first, part), getattr(second, part))
        for part in ("pos", "x", "batch", "measure", "frame", "spacing")
    )


@pytest.mark.parametrize("dim", [2, 3])
def test_pyg_there_and_back(dim: int, generator: torch.Generator) -> None:
    original = cloud(generator, dim)
    assert same(from_pyg(to_pyg(original)), original)


def test_graphs_batched_by_pyg(generator: torch.Generator) -> None:
    parts = [Data(pos=torch.randn(n, 3, generator=generator), x=torch.randn(n, generator=generator)) for n in (9, 1, 20)]
    together = from_pyg(Batch.from_data_list(parts))
    assert together.counts().tolist() == [9, 1, 20]
    for number, part in enumerate(parts):
        entry, alone = together.entry(number), from_pyg(part)
        assert torch.equal(entry.pos, part.pos)
        assert entry.x is not None
        assert torch.equal(entry.x[:, 0], part.x)
        torch.testing.assert_close(entry.measure, alone.measure)


def test_clouds_batched_by_pyg(generator: torch.Generator) -> None:
    original = cloud(generator)
    graphs = [to_pyg(original.entry(number)) for number in range(2)]
    assert same(from_pyg(Batch.from_data_list(graphs)), original)


def test_arrays_there_and_back(generator: torch.Generator) -> None:
    points, features = np.random.default_rng(0).random((30, 3), "f4"), np.arange(30)
    [(pos, x)] = to_arrays(from_arrays(points, features))
    np.testing.assert_array_equal(pos, points)
    assert x is not None
    np.testing.assert_array_equal(x[:, 0], features)
    assert to_arrays(from_arrays(points))[0][1] is None
    assert [len(part) for part, _ in to_arrays(cloud(generator))] == [12, 7]


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.zeros((4, 4)), ["(4, 4)"]),
        (np.zeros(3), ["(3,)"]),
        (np.zeros((0, 3)), ["no points"]),
        (np.array([[0, 1, 2], [3, np.inf, 5]]), ["row 1", "finite", "inf"]),
        ("a word", ["str"]),
    ],
)
def test_bad_arrays_are_refused(points: Any, words: list[str]) -> None:
    with refused("points", *words):
        from_arrays(points)


def test_data_without_positions_is_refused() -> None:
    with refused("pos", "NoneType"):
        from_pyg(Data(x=torch.zeros(3, 1)))


def test_everything_becomes_a_table(generator: torch.Generator) -> None:
    entry = cloud(generator).entry(0)
    for source in (entry, to_pyg(entry), entry.pos, entry.pos.numpy(), PointTable(entry.pos.double())):
        table = as_points(source)
        assert is_point_source(source)
        assert torch.equal(table.points, entry.pos.double())
    assert torch.equal(as_points(to_pyg(entry)).features, entry.x.double())  # type: ignore[union-attr, arg-type]
    assert as_points(entry).feature_names == ("feature_0", "feature_1")
    assert as_points(PointCloud.on_lattices([Grid((4, 3), torch.eye(3))])).points.shape == (12, 2)


def test_batches_are_refused(generator: torch.Generator) -> None:
    for batch in (cloud(generator), to_pyg(cloud(generator))):
        with refused("moving points", "batch of 2", "one by one"):
            as_points(batch, name="moving points")


def test_what_is_not_a_set_of_points() -> None:
    for other in ("scan.nii.gz", torch.zeros(4, 4, 4), np.zeros((7, 9)), (np.zeros((4, 3)), np.eye(4)), None, 3):
        assert not is_point_source(other)


@pytest.mark.backend
def test_pytorch3d_there_and_back(generator: torch.Generator) -> None:
    usable("pytorch3d")
    original = cloud(generator)
    there = to_pytorch3d(original)
    assert [len(part) for part in there.points_list()] == [12, 7]
    back = from_pytorch3d(there)
    for part in ("pos", "x", "batch"):
        assert torch.equal(getattr(back, part), getattr(original, part))
    assert back.counts().tolist() == [12, 7]
    table = as_points(to_pytorch3d(original.entry(1)))
    assert is_point_source(there)
    assert torch.equal(table.points, original.entry(1).pos.double())
    assert torch.equal(table.features, original.entry(1).x.double())  # type: ignore[union-attr, arg-type]
    with refused("points", "batch of 2"):
        as_points(there)
    assert from_pytorch3d(to_pytorch3d(original.with_features(None))).x is None


def test_pytorch3d_is_asked_for_where_it_is_missing(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pytorch3d.structures", None)
    with refused("to_pytorch3d", "not installed", "geogrid[pytorch3d]"):
        to_pytorch3d(cloud(generator))
    with refused("to_pytorch3d", "3-D", "2-D"):
        to_pytorch3d(cloud(generator, dim=2))

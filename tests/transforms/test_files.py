"""Transforms written and read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geogrid.spatial import Grid
from geogrid.transforms import (
    AffineTransform,
    DisplacementField,
    Inverse,
    InverseTransform,
    KernelTransform,
    carry_points,
    read_transform,
    write_transform,
)
from tests.io.cases import refused


def bumps(dim: int, count: int = 5) -> KernelTransform:
    """A random affine map with a few kernels of two widths, smooth enough to have an inverse."""
    generator = torch.Generator().manual_seed(dim)
    matrix = torch.eye(dim + 1, dtype=torch.float64)
    matrix[:-1] += 0.1 * torch.randn(dim, dim + 1, generator=generator, dtype=torch.float64)
    centers, push = (torch.randn(count, dim, generator=generator, dtype=torch.float64) for _ in range(2))
    return KernelTransform(AffineTransform(matrix), 30 * centers, push, (20.0, 41.0), (1.0, 0.3))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("count", [0, 5])
def test_the_same_map_comes_back(dim: int, count: int, tmp_path: Path, generator: torch.Generator) -> None:
    transform = bumps(dim, count)
    write_transform(tmp_path / "t.json", transform)
    again = read_transform(tmp_path / "t.json")
    assert isinstance(again, KernelTransform)
    points = 100 * torch.randn(40, dim, generator=generator, dtype=torch.float64)
    assert torch.equal(again(points), transform(points))


def detailed(dim: int) -> KernelTransform:
    """With displacements on a lattice that is smaller than the world."""
    affine = torch.diag(torch.tensor([20.0] * dim + [1.0], dtype=torch.float64))
    affine[:-1, -1] = -40
    values = torch.randn(*[5] * dim, dim, generator=torch.Generator().manual_seed(dim))
    return replace(bumps(dim), detail=DisplacementField(values, Grid((5,) * dim, affine), outside="extend"))


@pytest.mark.parametrize("dim", [2, 3])
def test_detail_comes_back(dim: int, tmp_path: Path, generator: torch.Generator) -> None:
    write_transform(tmp_path / "t.json", detailed(dim))
    points = 100 * torch.randn(40, dim, generator=generator, dtype=torch.float64)
    again = read_transform(tmp_path / "t.json")
    assert torch.equal(again(points), detailed(dim)(points))
    assert not torch.equal(again(points), bumps(dim)(points))


@pytest.mark.parametrize("dim", [2, 3])
def test_detail_moves_with_its_world(dim: int, generator: torch.Generator) -> None:
    transform, points = detailed(dim), 60 * torch.randn(40, dim, generator=generator, dtype=torch.float64)
    offset, there = torch.arange(1.0, dim + 1, dtype=torch.float64), transform(points)
    torch.testing.assert_close(transform.scaled(3)(3 * points), 3 * there, atol=1e-4, rtol=0)
    torch.testing.assert_close(transform.shifted(offset)(points + offset), there + offset, atol=1e-4, rtol=0)
    torch.testing.assert_close(transform.into_unit(1e-3)(points), 1e-3 * there, atol=1e-7, rtol=0)
    torch.testing.assert_close(transform.inverse_of(there).points, points, atol=0.01, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_carried_there_and_back(dim: int, generator: torch.Generator) -> None:
    transform = bumps(dim)
    points = 60 * torch.randn(40, dim, generator=generator, dtype=torch.float64)
    there = carry_points(transform, points)
    assert torch.equal(there.points, transform(points))
    assert there.num_outside == 0
    back = carry_points(transform, there.points, inverse=True)
    assert back.num_outside == 0
    torch.testing.assert_close(back.points, points, atol=0.01, rtol=0)
    torch.testing.assert_close(InverseTransform(transform)(there.points), points, atol=0.01, rtol=0)


def test_places_without_a_known_origin_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    transform, points = bumps(2), torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    found = Inverse(points + 7, torch.tensor([0.0, 30.0], dtype=torch.float64))
    monkeypatch.setattr(KernelTransform, "inverse_of", lambda *_: found)
    carried = carry_points(transform, points, inverse=True)
    assert carried.points.tolist() == [[8.0, 9.0], [3.0, 4.0]]
    assert carried.num_outside == 1


def spoiled(path: Path, **changes: object) -> Path:
    write_transform(path, bumps(3))
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 3}, ["expected a transform.json of geogrid, version 1 or 2"]),
        ({"version": 2}, ["not a complete transform", "detail"]),
        ({"format": "ITK"}, ["expected a transform.json"]),
        ({"affine": [[1, 2], [3, 4]]}, ["not a complete transform", "3x3 or 4x4"]),
        ({"affine": "none"}, ["not a complete transform"]),
        ({"centers": [[1, 2, 3]]}, ["not a complete transform", "centers and coefficients"]),
        ({"coefficients": [[float("nan")] * 3] * 5}, ["not a complete transform", "not finite"]),
        ({"widths": [-1.0, 2.0]}, ["not a complete transform", "positive widths"]),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, changes: dict[str, object], words: list[str]) -> None:
    path = spoiled(tmp_path / "t.json", **changes)
    with refused(path, *words):
        read_transform(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with refused(tmp_path / "none.json", "no such file"):
        read_transform(tmp_path / "none.json")
    (tmp_path / "words.json").write_text("words")
    with refused(tmp_path / "words.json", "not a JSON file"):
        read_transform(tmp_path / "words.json")
    with refused(tmp_path / "no" / "t.json", "cannot be written"):
        write_transform(tmp_path / "no" / "t.json", bumps(2))

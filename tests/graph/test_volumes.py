"""Measures against known answers. The bounds here are those the docstring states."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from geogrid import GeogridError
from geogrid.graph import knn, point_volumes
from tests.graph.clouds import lattice, rotation


def assert_within(measure: Tensor, low: float, high: float) -> None:
    assert float(measure.min()) >= low
    assert float(measure.max()) <= high


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("dim", "size", "bound"), [(3, 3, 0.01), (3, 7, 0.01), (2, 3, 0.005), (2, 12, 0.005)])
def test_lattice_inside_faces_edges_and_corners(dim: int, size: int, bound: float, turned: bool) -> None:
    points = lattice((size,) * dim, (2.0,) * dim)
    found = point_volumes(points @ rotation(dim).T if turned else points)
    assert bool((found.dimension == dim).all())
    assert_within(found.measure / 2**dim, 1 - bound, 1 + bound)


def test_the_naive_estimate_fails_where_this_one_does_not() -> None:
    """A k-nearest estimate on the same points, to show that the bound above is not cheap."""
    points = lattice((9, 9, 9), (1.0, 1.0, 1.0))
    reach = (points[knn(points, points, 27).index[:, -1]] - points).norm(dim=1)
    naive = (4 / 3 * math.pi * reach**3 / 26).reshape(9, 9, 9)
    assert naive[0, 4, 4] > 1.5
    assert naive[0, 0, 0] > 4


@pytest.mark.parametrize(("spacing", "bound"), [(1.5, 0.03), (2.0, 0.10)])
def test_anisotropic_lattice(spacing: float, bound: float) -> None:
    points = lattice((7, 7, 7), (1.0, 1.0, spacing))
    assert_within(point_volumes(points).measure / spacing, 1 - bound, 1 + bound)


def test_slices_with_their_spacing_as_metric() -> None:
    points = lattice((8, 8, 6), (1.0, 1.0, 5.0))
    assert_within(point_volumes(points, metric_scale=(1.0, 1.0, 5.0)).measure / 5, 0.99, 1.01)


def test_coinciding_points_share() -> None:
    points = lattice((6, 6, 6), (1.0, 1.0, 1.0))
    copies = torch.arange(216) % 4 * 25 + 1
    found = point_volumes(points.repeat_interleave(copies, 0))
    share = 1 / copies.double().repeat_interleave(copies)
    assert_within(found.measure / share, 0.99, 1.01)
    assert point_volumes(torch.zeros(5, 3)).measure.tolist() == pytest.approx([0.2] * 5)
    assert point_volumes(torch.zeros(5, 3)).dimension.tolist() == [0] * 5


def test_nearly_coinciding_points_are_not_counted_twice() -> None:
    points = lattice((6, 6, 6), (1.0, 1.0, 1.0))
    measure = point_volumes(torch.cat([points, points + 1e-7])).measure
    assert_within(measure[:216] + measure[216:], 0.35, 1.03)


@pytest.mark.parametrize("turned", [False, True])
def test_plane(turned: bool) -> None:
    flat = torch.cat([lattice((15, 15), (0.5, 2.0 / 3)), torch.zeros(225, 1, dtype=torch.float64)], 1)
    found = point_volumes(flat @ rotation(3).T if turned else flat)
    assert bool((found.dimension == 2).all())
    assert_within(found.measure * 3, 0.99, 1.01)


def test_sphere_surface() -> None:
    """3,000 points spread evenly over a sphere of radius 20 mm: 1.68 mm^2 each."""
    place = torch.arange(3000, dtype=torch.float64) + 0.5
    height, turn = 1 - 2 * place / 3000, math.pi * (1 + 5**0.5) * place
    ring = (1 - height**2).sqrt()
    sphere = 20 * torch.stack([ring * turn.cos(), ring * turn.sin(), height], 1)
    found = point_volumes(sphere)
    area = 4 * math.pi * 400
    assert bool((found.dimension == 2).all())
    assert float(found.measure.sum()) == pytest.approx(area, rel=0.01)
    assert_within(found.measure * 3000 / area, 0.92, 1.08)


@pytest.mark.parametrize("dim", [2, 3])
def test_curve_and_its_ends(dim: int) -> None:
    along = torch.arange(60, dtype=torch.float64)[:, None] * 0.5
    line = point_volumes(along @ rotation(dim)[:1])
    assert line.dimension.tolist() == [1] * 60
    assert_within(line.measure, 0.499, 0.501)
    angle = torch.arange(150) * (2 * math.pi / 150)
    circle = torch.nn.functional.pad(10 * torch.stack([angle.cos(), angle.sin()], 1), (0, dim - 2))
    found = point_volumes(circle)
    assert found.dimension.tolist() == [1] * 150
    assert_within(found.measure * 150 / (20 * math.pi), 0.99, 1.01)


def test_density_that_varies_eightfold(generator: torch.Generator) -> None:
    """The integral of the measure over each quarter of a unit cube whose density rises from 1 to 8 is its volume."""
    share = torch.log1p(torch.rand(9000, generator=generator) * 7) / math.log(8)
    cube = torch.cat([share[:, None], torch.rand(9000, 2, generator=generator)], 1)
    measure = point_volumes(cube).measure
    for first in (0.0, 0.25, 0.5, 0.75):
        quarter = (share >= first) & (share < first + 0.25)
        assert float(measure[quarter].sum()) == pytest.approx(0.25, rel=0.06)
    ends = [float(measure[(share >= a) & (share < a + 0.1)].mean()) for a in (0.0, 0.9)]
    assert ends[0] / ends[1] == pytest.approx(8**0.9, rel=0.15)


@pytest.mark.parametrize("dim", [2, 3])
def test_scattered_points_fill_the_domain(dim: int, generator: torch.Generator) -> None:
    cube = torch.rand(4000, dim, generator=generator)
    measure = point_volumes(cube).measure
    assert float(measure.sum()) == pytest.approx(1, rel=0.05)
    inside = ((cube - 0.5).abs() < 0.35).all(1)
    assert float(measure[inside].sum()) == pytest.approx(0.7**dim, rel=0.1)


def test_permutation_translation_and_units(generator: torch.Generator) -> None:
    cloud = torch.randn(300, 3, generator=generator, dtype=torch.float64)
    measure, order = point_volumes(cloud).measure, torch.randperm(300, generator=generator)
    torch.testing.assert_close(point_volumes(cloud[order]).measure, measure[order])
    torch.testing.assert_close(point_volumes(cloud + 100).measure, measure, rtol=1e-4, atol=0)
    torch.testing.assert_close(point_volumes(cloud * 4).measure, measure * 64, rtol=1e-6, atol=0)


def test_a_batch_equals_its_clouds(generator: torch.Generator) -> None:
    cloud = torch.randn(120, 3, generator=generator, dtype=torch.float64)
    batch = torch.tensor([0] * 50 + [2] * 69 + [5])
    found = point_volumes(cloud, batch=batch)
    singles = [point_volumes(c) for c in cloud.split([50, 69, 1])]
    torch.testing.assert_close(found.measure, torch.cat([s.measure for s in singles]))
    assert torch.equal(found.dimension, torch.cat([s.dimension for s in singles]))


def test_a_stray_point_weighs_little(generator: torch.Generator) -> None:
    cloud = torch.cat([torch.rand(500, 3, generator=generator), torch.full((1, 3), 50.0)])
    found = point_volumes(cloud)
    length = found.measure ** (1 / found.dimension)
    assert length[-1] == pytest.approx(4 * float(length.median()), rel=1e-4)
    assert point_volumes(cloud, max_ratio=1e9).measure[-1] > 80


def test_moving_a_point_a_little_changes_measures_a_little(generator: torch.Generator) -> None:
    cloud = torch.rand(400, 3, generator=generator, dtype=torch.float64) * 7.4
    moved = cloud.clone()
    moved[:40] += 1e-4 * torch.nn.functional.normalize(torch.randn(40, 3, generator=generator, dtype=torch.float64), dim=1)
    change = (point_volumes(moved).measure - point_volumes(cloud).measure).abs()
    assert float(change.max()) < 0.02


@pytest.mark.parametrize("num", [0, 1, 2, 3, 4, 5])
def test_few_points(num: int, generator: torch.Generator) -> None:
    found = point_volumes(torch.randn(num, 3, generator=generator))
    assert bool(torch.isfinite(found.measure).all() and (found.measure > 0).all())
    assert found.dimension.tolist() == [{1: 0, 2: 1}.get(num, 2)] * num or num > 3


def test_two_points_are_as_long_as_their_gap() -> None:
    found = point_volumes(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    assert found.measure.tolist() == pytest.approx([5.0, 5.0])


def test_log_measure_has_no_unit() -> None:
    """The same for a solid and a curve when their spacing is the scale."""
    solid = point_volumes(lattice((5, 5, 5), (2.0, 2.0, 2.0)))
    curve = point_volumes(torch.arange(30.0)[:, None] * torch.tensor([[2.0, 0, 0]]))
    assert solid.log_measure(2.0).abs().max() < 0.01
    assert curve.log_measure(2.0).abs().max() < 0.01
    with pytest.raises(GeogridError, match="scale: expected a positive number"):
        solid.log_measure(0.0)


def test_forced_dimension() -> None:
    slices = lattice((12, 12, 5), (1.0, 1.0, 4.0))
    assert bool((point_volumes(slices).dimension == 2).any())
    assert bool((point_volumes(slices, dimension=3).dimension == 3).all())


BAD: list[tuple[dict[str, Any], str]] = [
    ({"k": 0}, "k: expected a whole number from 1 up"),
    ({"dimension": 4}, "dimension: expected 1 to 3, got 4"),
    ({"max_ratio": 0.5}, "max_ratio: expected a number from 1 up, got 0.5"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GeogridError, match=message):
        point_volumes(torch.zeros(3, 3), **options)

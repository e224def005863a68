"""Pictures of points show the points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

from geogrid.report import CloudReport, clouds_figure, point_values_figure
from geogrid.report.clouds import FIXED, MOST


@pytest.mark.parametrize(("dim", "panels"), [(2, 2), (3, 6)])
def test_every_point_is_drawn_at_its_place(dim: int, panels: int, generator: torch.Generator) -> None:
    fixed, before = (100 * torch.rand(n, dim, generator=generator, dtype=torch.float64) for n in (30, 20))
    figure = clouds_figure(fixed, before, before + 1)
    assert len(figure.axes) == panels
    drawn = figure.axes[0].collections[0]
    across, up = (0, 2) if dim == 3 else (0, 1)
    green = (drawn.get_facecolors() == to_rgba(FIXED)).all(1)
    assert green.sum() == 30
    places = np.asarray(drawn.get_offsets())[green]
    expected = fixed[:, [across, up]].numpy()
    np.testing.assert_allclose(places[np.lexsort(places.T)], expected[np.lexsort(expected.T)])


def test_the_nearest_points_are_drawn_last(generator: torch.Generator) -> None:
    fixed = torch.rand(30, 3, generator=generator, dtype=torch.float64)
    axes = clouds_figure(fixed, fixed[:1], fixed[:1]).axes[0]
    last = np.asarray(axes.collections[0].get_offsets())[-1]
    np.testing.assert_allclose(last, fixed[fixed[:, 1].argmin()][[0, 2]].numpy())


def test_slabs_keep_the_middle(generator: torch.Generator) -> None:
    fixed = torch.rand(2000, 3, generator=generator, dtype=torch.float64)
    axes = clouds_figure(fixed, fixed, fixed, slab=0.1).axes[2]
    expected = int(
        ((fixed[:, 2] - np.median(fixed[:, 2])).abs() <= 0.05 * float((fixed.max(0).values - fixed.min(0).values).max())).sum()
    )
    assert len(axes.collections[0].get_offsets()) == 2 * expected


def test_numbers_become_colours(generator: torch.Generator) -> None:
    points = torch.rand(50, 3, generator=generator)
    figure = point_values_figure(points, [("length", points[:, 0])], "mm")
    drawn = figure.axes[0].collections[0]
    places = np.asarray(drawn.get_offsets())
    np.testing.assert_allclose(np.asarray(drawn.get_array()), places[:, 0], rtol=1e-6)
    assert [axes.name for axes in figure.axes].count("3d") == 1


def test_large_clouds_are_thinned_and_say_so() -> None:
    points = torch.rand(2 * MOST + 1, 2)
    figure = point_values_figure(points, [("z", points[:, 0])], "mm")
    assert "1 point in 3 is drawn" in " ".join(text.get_text() for text in figure.texts)
    assert len(figure.axes[0].collections[0].get_offsets()) <= MOST


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("count", [1, 3])
def test_tiny_clouds_have_a_page(dim: int, count: int) -> None:
    points = torch.zeros(count, dim)
    report = CloudReport(points, points, points, points, points, torch.ones(count), {"chamfer_before_mm": 1.0})
    page = report.render("a & b")
    assert "a &amp; b" in page
    assert page.count("data:image/png;base64,") == 4

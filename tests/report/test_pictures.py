"""What pictures show: places, colours and numbers, read back from the figures."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import matplotlib
import numpy as np
import PIL.Image
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from geogrid.errors import GeogridError
from geogrid.report import (
    ReportContents,
    convergence_figure,
    deformed_grid_figure,
    difference_figure,
    figures,
    jacobian_figure,
    overlay_figure,
    write_pictures,
)
from geogrid.report.layout import gray_window, to_unit
from geogrid.report.table import format_number
from geogrid.spatial import Grid, Image
from geogrid.transforms import DisplacementField


def _images(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.get_images()]


def _words(figure: Figure) -> str:
    drawn = figure.findobj(matplotlib.text.Text)
    return " ".join(text.get_text() for text in drawn)


def _lines(figure: Figure) -> list[np.ndarray]:
    collections = [c for axes in figure.axes for c in axes.collections if isinstance(c, LineCollection)]
    return [np.asarray(path) for collection in collections for path in collection.get_segments()]


def test_equal_images_overlay_in_grey_and_differ_nowhere(contents: ReportContents):
    for pixels in _images(overlay_figure(contents.fixed, contents.fixed, contents.fixed)):
        np.testing.assert_array_equal(pixels[..., 0], pixels[..., 1])
        assert pixels.max() == 1
    assert all(not pixels.any() for pixels in _images(difference_figure(contents.fixed, contents.fixed, contents.fixed)))


def test_fixed_is_green_and_moving_is_magenta(contents: ReportContents):
    nothing = Image(torch.zeros_like(contents.fixed.data), contents.fixed.grid)
    green = _images(overlay_figure(contents.fixed, nothing, nothing))[0]
    magenta = _images(overlay_figure(nothing, contents.fixed, contents.fixed))[0]
    assert green.max((0, 1)).tolist() == [0, 1, 0]
    assert magenta.max((0, 1)).tolist() == [1, 0, 1]
    assert _images(difference_figure(contents.fixed, nothing, nothing))[0].max() == 1


def test_before_comes_first(contents: ReportContents):
    found = _images(difference_figure(contents.fixed, contents.fixed, contents.after))
    assert not found[0].any()
    assert np.abs(found[-1]).max() > 0.5


def test_gain_of_one_image_does_not_colour_the_overlay(contents: ReportContents):
    brighter = Image(contents.fixed.data * 7 + 30, contents.fixed.grid)
    for pixels in _images(overlay_figure(contents.fixed, brighter, brighter)):
        np.testing.assert_allclose(pixels[..., 0], pixels[..., 1], atol=1e-6)


def test_panels_have_the_proportions_of_the_world(contents: ReportContents):
    figure = overlay_figure(contents.fixed, contents.before, contents.after)
    width, height = figure.get_size_inches()
    for axes in figure.axes:
        box = axes.get_position()
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        assert (box.width * width) / (box.height * height) == pytest.approx((right - left) / (high - low))


def test_a_still_grid_is_straight_and_a_shift_moves_it():
    grid = Grid((30, 40), torch.diag(torch.tensor([1.0, 2.0, 1.0])))
    fixed = Image(torch.rand(30, 40), grid)
    still = _lines(deformed_grid_figure(DisplacementField(torch.zeros(30, 40, 2), grid), fixed))
    shift = torch.tensor([2.0, -3.0]).expand(30, 40, 2)
    moved = _lines(deformed_grid_figure(DisplacementField(shift, grid), fixed))
    assert {line.shape for line in still} == {(30, 2), (40, 2)}
    for line, other in zip(still, moved, strict=True):
        assert np.ptp(line, axis=0).min() == 0
        np.testing.assert_allclose(other - line, np.broadcast_to([2.0, -3.0], line.shape), atol=1e-5)


def test_the_grid_follows_the_frame_of_the_image():
    turned = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    grid = Grid((20, 20), turned)
    fixed = Image(torch.rand(20, 20), grid)
    still = _lines(deformed_grid_figure(DisplacementField(torch.zeros(20, 20, 2), grid), fixed))
    along_y = DisplacementField(torch.tensor([0.0, 1.5]).expand(20, 20, 2), grid)
    for line, other in zip(still, _lines(deformed_grid_figure(along_y, fixed)), strict=True):
        np.testing.assert_allclose(other - line, np.broadcast_to([1.5, 0.0], line.shape), atol=1e-5)


def test_folded_voxels_are_counted_and_marked(contents: ReportContents):
    jacobian = torch.ones_like(contents.jacobian)
    assert "shown: 0" in _words(jacobian_figure(jacobian, contents.fixed))
    figure = jacobian_figure(contents.jacobian, contents.fixed)
    marks = [c.get_offsets() for axes in figure.axes for c in axes.collections if len(c.get_offsets()) and axes.get_images()]
    shown = int(re.search(r"shown: (\d+)", _words(figure))[1])
    assert shown == sum(len(m) for m in marks) > 0
    spacing = contents.fixed.grid.spacing.tolist()
    centre = [n // 2 * s for n, s in zip(contents.fixed.grid.shape, spacing, strict=True)]
    assert marks[0].tolist() == [centre[:2]]


def test_convergence_has_a_panel_per_stage_and_level(contents: ReportContents):
    figure = convergence_figure(contents.history)
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert titles == ["affine, level 1", "affine, level 0", "deformable, level 1"]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])


def test_no_history_is_said(without_history: ReportContents):
    assert "no iterations" in _words(convergence_figure(without_history.history))


def test_written_pictures_are_light_png_files(contents: ReportContents, tmp_path):
    paths = write_pictures(contents, tmp_path)
    assert (
        {path.name for path in paths} == {f"{name}.png" for name in figures(contents)} == {p.name for p in tmp_path.iterdir()}
    )
    for path in paths:
        with PIL.Image.open(io.BytesIO(path.read_bytes())) as picture:
            assert picture.format == "PNG"
            assert max(picture.size) <= 1200
        assert path.stat().st_size <= 450_000


def test_windows():
    assert gray_window(torch.full((4, 4), 5.0)) == (5.0, 6.0)
    assert gray_window(torch.tensor([float("nan")])) == (0.0, 1.0)
    pixels = np.array([-1, 0, 5, 10, 99, np.nan, np.inf], dtype=np.float32)
    assert to_unit(pixels, (0.0, 10.0)).tolist() == [0, 0, 0.5, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (3, "3"), (2.0, "2"), (None, "–"), (float("nan"), "–"), (float("inf"), "∞"), (12345.67, "12346")],  # noqa: RUF001
)
def test_numbers(value: float | None, text: str):
    assert format_number(value) == text


def test_contents_must_be_on_the_fixed_grid(contents: ReportContents):
    grid = contents.fixed.grid
    scaling = torch.diag(torch.tensor([2.0] * grid.dim + [1.0]))
    elsewhere = Image(contents.before.data, grid.transformed(scaling))
    with pytest.raises(GeogridError, match="report before: expected the fixed grid"):
        replace(contents, before=elsewhere)
    with pytest.raises(GeogridError, match="report jacobian"):
        replace(contents, jacobian=contents.jacobian[1:])

"""What the pictures of a model show, read back from the figures."""

from __future__ import annotations

import math
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from torch import Tensor

from geogrid.graph import pool_cloud
from geogrid.metrics import foreground_dice, image_spread
from geogrid.report import alignment_figure, attention_figure, level_displacements_figure, pairs_figure
from geogrid.spatial import Grid, Image, PointCloud, to_cloud, to_images
from geogrid.transforms import AffineTransform, DisplacementField, StepBatch, TrajectoryBatch, own_displacement_lengths
from tests.spatial.cases import make_grid, refused


def _pixels(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.get_images()]


def _titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def _words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def _square(low: int, high: int, size: int = 16) -> Tensor:
    image = torch.zeros(size, size)
    image[low:high, low:high] = 1
    return image


def _pair(dim: int = 2) -> tuple[Image, Image, Image, DisplacementField]:
    fixed, moving, warped = (to_images(to_cloud(_square(low, low + 6)[None]))[0] for low in (4, 7, 5))
    if dim == 3:
        grid = Grid((16, 16, 3), torch.eye(4))
        fixed, moving, warped = (Image(i.data[..., None].repeat(1, 1, 3), grid) for i in (fixed, moving, warped))
    return fixed, moving, warped, DisplacementField(torch.full((*fixed.grid.shape, dim), 2.0), fixed.grid)


@pytest.mark.parametrize("dim", [2, 3])
def test_pairs_show_their_images_and_dice(dim: int):
    rows = [_pair(dim), _pair(dim)]
    rows[1] = (*rows[1][:2], rows[1][0], rows[1][3])
    figure = pairs_figure(*map(list, zip(*rows, strict=True)))
    fixed, moving, warped, _ = rows[0]
    before, after = (float(foreground_dice(fixed.data[None], other.data[None])) for other in (moving, warped))
    expected = [f"moving, Dice {before:.2f}", "fixed", f"warped, Dice {after:.2f}", "overlay", "deformed grid"]
    assert _titles(figure)[:5] == expected
    assert _titles(figure)[7] == "warped, Dice 1.00"
    shown = _pixels(figure)
    middle = (slice(None), slice(None)) if dim == 2 else (slice(None), slice(None), 1)
    for pixels, image in zip(shown, (moving, fixed, warped), strict=False):
        np.testing.assert_array_equal(pixels, image.data[middle].T.numpy())
    np.testing.assert_array_equal(shown[3][..., 1], shown[1])
    np.testing.assert_array_equal(shown[3][..., 0], shown[2])


def test_pairs_are_upright():
    """A bright pixel at high x and low y is drawn at the lower right: pictures start at their lowest row."""
    data = torch.zeros(1, 8, 8)
    data[0, 6, 1] = 1
    image = to_images(to_cloud(data))[0]
    still = DisplacementField(torch.zeros(8, 8, 2), image.grid)
    axes = pairs_figure([image], [image], [image], [still]).axes[1]
    drawn = axes.get_images()[0]
    assert drawn.origin == "lower"
    row, column = np.argwhere(np.asarray(drawn.get_array()))[0]
    assert (row, column) == (1, 6)


def test_the_grid_of_a_pair_moves_with_its_field():
    fixed, moving, warped, field = _pair()
    lines = {}
    for name, displacement in (("still", torch.zeros(16, 16, 2)), ("moved", field.displacement)):
        figure = pairs_figure([fixed], [moving], [warped], [DisplacementField(displacement, fixed.grid)])
        collections = [c for c in figure.axes[4].collections if isinstance(c, LineCollection)]
        lines[name] = [np.asarray(path) for c in collections for path in c.get_segments()]
    for still, moved in zip(lines["still"], lines["moved"], strict=True):
        np.testing.assert_allclose(moved - still, 2, atol=1e-5)


def test_the_moving_image_is_shown_on_the_fixed_grid():
    fixed, moving, warped, field = _pair()
    elsewhere = to_images(to_cloud(moving.data[None], 2.0))[0]
    pixels = _pixels(pairs_figure([fixed], [elsewhere], [warped], [field]))[0]
    assert pixels.shape == (16, 16)
    assert pixels.sum() > moving.data.sum(), "its pixels are twice as long"


def _waves(cloud: PointCloud, size: float) -> Tensor:
    first, second = (cloud.pos[:, axis] * 2 * math.pi / 30 for axis in (1, 0))
    return size * torch.stack([first.sin(), second.cos(), *[0 * first] * (cloud.dim - 2)], 1)


def _trajectory(dim: int) -> TrajectoryBatch:
    sizes = ((16, 12), (12, 10, 6))[dim - 2]
    fine = PointCloud.on_lattices([make_grid(sizes, [1.0] * dim)] * 2)
    coarse = pool_cloud(fine, 4.0)
    large = _waves(coarse, 3.0)
    first = StepBatch(2, 4.0, coarse, torch.cat([large[: len(large) // 2], 0.5 * large[len(large) // 2 :]]))
    return TrajectoryBatch((AffineTransform.identity(dim),) * 2, (first, StepBatch(0, 1.0, fine, _waves(fine, 3.2))))


@pytest.mark.parametrize("dim", [2, 3])
def test_levels_say_their_median_length(dim: int):
    trajectory = _trajectory(dim)
    figure = level_displacements_figure(trajectory, 0)
    coarse = trajectory.steps[0]
    first = coarse.displacement[: coarse.points.lattices[0].num_points].norm(dim=1)
    assert _titles(figure)[0] == f"level 2 (4 mm): median {float(first.median()):.2g} mm"
    assert _titles(figure)[1].startswith("level 0 (1 mm): median")
    other = level_displacements_figure(trajectory, 1)
    assert _titles(other)[0] != _titles(figure)[0]


def _first_pair(trajectory: TrajectoryBatch) -> TrajectoryBatch:
    counts = [step.points.lattices[0].num_points for step in trajectory.steps]
    steps = [
        replace(step, points=step.points.entry(0), displacement=step.displacement[:count])
        for step, count in zip(trajectory.steps, counts, strict=True)
    ]
    return TrajectoryBatch(trajectory.starts[:1], tuple(steps))


def test_the_numbers_of_a_single_pair_are_those_of_the_metric():
    trajectory = _trajectory(2)
    titles = _titles(level_displacements_figure(trajectory))
    lengths = own_displacement_lengths(_first_pair(trajectory))
    assert list(lengths) == [2, 0]
    for length, title in zip(lengths.values(), titles, strict=True):
        assert title.endswith(f"median {length:.2g} mm")


def test_arrows_point_where_the_level_moves_and_say_how_much_longer_they_are():
    grid = make_grid((8, 6), (1.0, 2.0))
    cloud = PointCloud.on_lattices([grid])
    step = StepBatch(1, 1.0, cloud, torch.tensor([0.3, -0.4]).repeat(48, 1))
    figure = level_displacements_figure(TrajectoryBatch((AffineTransform.identity(2),), (step,)))
    arrows = next(c for c in figure.axes[0].collections if isinstance(c, Quiver))
    factor = float(_words(figure).split("arrows \N{MULTIPLICATION SIGN} ")[1].split()[0])
    np.testing.assert_allclose(arrows.U, 0.3 * factor, rtol=1e-5)
    np.testing.assert_allclose(arrows.V, -0.4 * factor, rtol=1e-5)
    assert 1 <= 0.5 * factor <= 2, "not longer than arrows are apart, nor much shorter"
    np.testing.assert_allclose(arrows.XY.max(0), [7, 10])
    np.testing.assert_allclose(_pixels(figure)[0], 0.5, rtol=1e-6)


def test_a_level_that_moves_nothing_can_be_drawn():
    cloud = to_cloud(torch.zeros(1, 6, 6))
    still = TrajectoryBatch((AffineTransform.identity(2),), (StepBatch(0, 1.0, cloud, torch.zeros(36, 2)),))
    assert "median 0 mm" in _titles(level_displacements_figure(still))[0]


@pytest.mark.parametrize("shape", [(9, 7), (8, 6, 5)])
def test_alignment_shows_mean_and_spread_of_every_stage(shape: tuple[int, ...]):
    grid = Grid(shape, torch.eye(len(shape) + 1))
    before = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    stages = {"before": before, "after level 1": before.mean(0, keepdim=True) + 0.2 * (before - before.mean(0))}
    figure = alignment_figure(stages, grid)
    spread = image_spread(before)
    assert _titles(figure) == ["before", "after level 1", f"spread {spread:.3f}", f"spread {0.2 * spread:.3f}"]
    if len(shape) == 2:
        mean, _, deviation, smaller = _pixels(figure)[:4]
        np.testing.assert_allclose(mean, before.mean(0).T.numpy(), rtol=1e-5)
        np.testing.assert_allclose(deviation, before.std(0, correction=0).T.numpy(), rtol=1e-4)
        np.testing.assert_allclose(smaller, 0.2 * deviation, rtol=1e-3)
    limits = {tuple(image.get_clim()) for axes in figure.axes[2:4] for image in axes.get_images()}
    assert len(limits) == 1


def _attention(heads: int = 2) -> dict[str, Tensor | Image]:
    fixed, moving, *_ = _pair()
    neighbors = torch.tensor([2.5, 1.5]) + torch.cartesian_prod(torch.arange(-1.0, 2), torch.arange(-1.0, 2))
    weights = torch.rand(9, heads, generator=torch.Generator().manual_seed(0)).softmax(0)
    point, position = torch.tensor([0.5, -0.5]), torch.tensor([2.3, 1.6])
    return dict(fixed=fixed, moving=moving, point=point, position=position, neighbors=neighbors, weights=weights)


def test_attention_has_a_panel_per_head_with_its_weights_at_their_places():
    parts = _attention()
    figure = attention_figure(**parts)
    assert _titles(figure) == ["fixed", "moving", "head 1", "head 2"]
    first_pixel = torch.tensor([-7.5, -7.5])
    for number, axes in enumerate(figure.axes[2:4]):
        dots, ring, plus = axes.collections
        np.testing.assert_allclose(dots.get_offsets(), parts["neighbors"] - first_pixel)
        np.testing.assert_allclose(dots.get_array(), parts["weights"][:, number], rtol=1e-6)
        np.testing.assert_allclose(ring.get_offsets(), (parts["position"] - first_pixel)[None], rtol=1e-6)
        expected = parts["weights"][:, number] @ parts["neighbors"] - first_pixel
        np.testing.assert_allclose(plus.get_offsets(), expected[None], rtol=1e-5)
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        assert left < dots.get_offsets()[:, 0].min() < dots.get_offsets()[:, 0].max() < right
        assert low < dots.get_offsets()[:, 1].min() < dots.get_offsets()[:, 1].max() < high
    np.testing.assert_allclose(figure.axes[0].collections[0].get_offsets(), [[8, 7]])


def test_attention_in_a_volume_adds_the_weights_above_each_other():
    fixed, moving, *_ = _pair(3)
    steps = torch.arange(-1.0, 2)
    neighbors = moving.grid.center.float().round() + torch.cartesian_prod(steps, steps, steps)
    weights = torch.rand(27, 2, generator=torch.Generator().manual_seed(0)).softmax(0)
    place = neighbors.mean(0)
    figure = attention_figure(fixed, moving, place, place, neighbors, weights)
    for number, axes in enumerate(figure.axes[2:4]):
        dots = axes.collections[0]
        np.testing.assert_allclose(dots.get_array(), weights[:, number].reshape(9, 3).sum(1), rtol=1e-5)
        np.testing.assert_allclose(dots.get_array().sum(), 1.0, rtol=1e-5)


def test_a_single_head_may_be_a_vector():
    parts = _attention(1)
    figure = attention_figure(**{**parts, "weights": parts["weights"][:, 0]})
    assert _titles(figure) == ["fixed", "moving", "head 1"]


def test_refusals():
    fixed, moving, warped, field = _pair()
    with refused("pairs: expected as many"):
        pairs_figure([fixed], [moving, moving], [warped], [field])
    with refused("pairs: expected as many", "0 fixed"):
        pairs_figure([], [], [], [])
    small = to_images(to_cloud(torch.rand(1, 8, 8)))[0]
    with refused("pairs: expected fixed images of one size"):
        pairs_figure([fixed, small], [moving] * 2, [warped] * 2, [field] * 2)
    with refused("after: expected (num_copies"):
        alignment_figure({"after": torch.rand(3, 4, 4)}, fixed.grid)
    with refused("stages: expected one at least"):
        alignment_figure({}, fixed.grid)
    parts = _attention()
    with refused("attention: expected"):
        attention_figure(**{**parts, "weights": torch.rand(8, 2)})
    with refused("images: expected two of the same dimension"):
        attention_figure(**{**parts, "fixed": _pair(3)[0]})

"""Features at physical scales: one set of weights on any sampling, each entry alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from geogrid.graph import Level
from geogrid.nn import Pyramid, PyramidEncoder, ResidualBlock
from geogrid.spatial import Grid, PointCloud
from tests.nn.sampling import correlation
from tests.spatial.batches import ANGLES, DIMS, KINDS, draw, entries, make_batch, motions, scattered, shuffled
from tests.spatial.cases import make_grid, refused


def encoder(dim: int, channels: Sequence[int] = (4, 6, 8), in_channels: int = 2, blocks: int = 1) -> PyramidEncoder:
    """With random weights and scales of the norms that are not one."""
    made = PyramidEncoder(in_channels, channels, dim, blocks)
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            fan = parameter[0].numel() if parameter.dim() > 1 else 1
            parameter.copy_(torch.randn(parameter.shape, generator=chance) / math.sqrt(fan))
    return made.requires_grad_(False)


def assert_alike(found: Pyramid, expected: Pyramid, atol: float) -> None:
    for ours, theirs in zip(found.features, expected.features, strict=True):
        torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


def waves(points: Tensor, wavelength: float = 14.0) -> Tensor:
    """A smooth field ``(num_points, 1)``: a sum of plane waves."""
    dim = points.shape[1]
    vectors = draw(24, dim, seed=3) * 2 * math.pi / wavelength
    return (torch.cos(points @ vectors.T + 6 * draw(24, seed=4)) * draw(24, seed=5)).sum(-1, keepdim=True)


def sample(grid: Grid) -> PointCloud:
    return PointCloud.on_lattices([grid], waves(grid.points()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_a_batch_equals_its_entries(kind: str, dim: int) -> None:
    cloud, model = make_batch(kind, dim), encoder(dim)
    whole = model(cloud, 1.0)
    for number, entry in enumerate(entries(cloud)):
        single = model(entry, 1.0)
        for level, ours, theirs in zip(whole.levels, whole.features, single.features, strict=True):
            torch.testing.assert_close(ours[level.points.rows(number)], theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_a_rigid_motion_of_the_world_changes_nothing(kind: str, dim: int) -> None:
    cloud, model = make_batch(kind, dim), encoder(dim)
    assert_alike(model(cloud.moved(motions(dim, cloud.num_entries)), 1.0), model(cloud, 1.0), atol=2e-4)


@pytest.mark.parametrize("dim", DIMS)
def test_permuting_scattered_points_permutes_the_finest_features_only(dim: int) -> None:
    cloud, model = make_batch("scattered", dim).entry(0), encoder(dim)
    order = torch.randperm(cloud.num_points, generator=torch.Generator().manual_seed(5))
    found, expected = model(shuffled(cloud, order), 0.5), model(cloud, 0.5)
    assert found.levels[0].points.num_points == cloud.num_points > found.levels[2].points.num_points
    torch.testing.assert_close(found.features[0], expected.features[0][order], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.features[2], expected.features[2], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("shape", "spacing"), [((8, 12, 4), (1.0, 1.0, 1.0)), ((12, 8, 3), (1.0, 1.0, 4.0))])
@pytest.mark.parametrize("dim", DIMS)
def test_a_lattice_and_its_points_scattered_have_the_same_features(
    shape: tuple[int, ...], spacing: tuple[float, ...], dim: int
) -> None:
    take = slice(3) if dim == 3 else slice(1, 3) if spacing[2] == 1 else slice(0, 3, 2)
    grid = make_grid(shape[take], spacing[take], ANGLES[dim], [20.0, -30.0, 10.0][:dim])
    cloud, model = PointCloud.on_lattices([grid], draw(grid.num_points, 2)), encoder(dim)
    found, expected = model(scattered(cloud), 1.0), model(cloud, 1.0)
    assert [len(x) for x in found.features] == [len(x) for x in expected.features]
    assert_alike(found, expected, atol=1e-4)


@pytest.mark.parametrize("dim", DIMS)
def test_odd_lattices_and_their_points_differ_little(dim: int) -> None:
    """Partial cells keep their place on the lattice, scattered points go to the centroid; further cells may then differ."""
    grid = make_grid({2: (23, 21), 3: (15, 13, 11)}[dim], (1.0,) * dim)
    cloud, model = sample(grid), encoder(dim, (4, 6), in_channels=1)
    found, expected = model(scattered(cloud), 1.0), model(cloud, 1.0)
    similar = [correlation(a, b) for a, b in zip(found.features, expected.features, strict=True)]
    assert similar[0] > 0.9999
    assert similar[1] > 0.99, similar


@pytest.mark.parametrize(("dim", "share", "least"), [(2, 0.5, 0.95), (2, 0.25, 0.9), (3, 0.5, 0.95)])
def test_a_random_part_of_the_points_has_nearly_the_features_of_all(dim: int, share: float, least: float) -> None:
    grid = make_grid({2: (33, 33), 3: (21, 19, 17)}[dim], (1.0,) * dim)
    cloud, model = sample(grid), encoder(dim, (4, 6), in_channels=1)
    chosen = (torch.rand(grid.num_points, generator=torch.Generator().manual_seed(6)) < share).nonzero()[:, 0]
    part = PointCloud.from_points(cloud.pos[chosen], torch.full((len(chosen),), 1 / share), cloud.x[chosen])
    index = grid.indices()[chosen]
    inside = ((index >= 4) & (index < torch.tensor(grid.shape) - 4)).all(1)
    found, expected = model(part, 1.0).features[0], model(cloud, 1.0).features[0][chosen]
    similar = correlation(found[inside], expected[inside])
    assert similar > least, similar


@pytest.mark.parametrize(("dim", "thick"), [(2, 2), (3, 2), (3, 4)])
def test_thick_slices_have_nearly_the_features_of_thin_ones(dim: int, thick: int) -> None:
    shape = (32, 32, 33)[-dim:]
    thin = sample(make_grid(shape, (1.0,) * dim))
    slices = sample(make_grid((*shape[:-1], 32 // thick + 1), (*[1.0] * (dim - 1), float(thick))))
    model = encoder(dim, (4, 6), in_channels=1)
    fine, coarse = (model(cloud, 1.0).features[0] for cloud in (thin, slices))
    fine = fine.view(*shape, -1)[..., ::thick, :]
    coarse = coarse.view(*shape[:-1], -1, fine.shape[-1])
    inside = (slice(5, -5),) * (dim - 1) + (slice(1, -1) if thick == 4 else slice(3, -3),)
    similar = correlation(fine[inside], coarse[inside])
    assert similar > {2: 0.98, 4: 0.94}[thick], similar


@pytest.mark.parametrize("dim", DIMS)
def test_finer_images_are_brought_to_the_scale_first(dim: int) -> None:
    """Pooled by the encoder or before it: the same."""
    grid = make_grid((13, 9, 7)[:dim], (0.5, 0.5, 1.0)[:dim], ANGLES[dim])
    fine, model = PointCloud.on_lattices([grid], draw(grid.num_points, 2)), encoder(dim)
    pyramid = model(fine, 1.0)
    assert pyramid.levels[0].points.lattices[0].shape == (7, 5, 7)[:dim]
    assert [level.scale for level in pyramid.levels] == [1.0, 2.0, 4.0]
    assert [level.points.x for level in pyramid.levels] == [None] * 3


@pytest.mark.parametrize("shape", [(7, 5, 3), (13, 11, 2), (1, 9, 4), (2, 1, 1)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.9, 1.3, 5.1)])
@pytest.mark.parametrize("dim", DIMS)
def test_images_of_every_shape_have_normalised_features(shape: tuple[int, ...], spacing: tuple[float, ...], dim: int) -> None:
    grid = make_grid(shape[:dim], spacing[:dim], ANGLES[dim], [300.0, -200.0, 100.0][:dim])
    pyramid = encoder(dim)(PointCloud.on_lattices([grid], draw(grid.num_points, 2)), 1.0)
    assert len(pyramid) == len(pyramid.levels) == 3
    for level, x, width in zip(pyramid.levels, pyramid.features, (4, 6, 8), strict=True):
        assert x.shape == (level.points.num_points, width)
        share = level.points.measure / level.points.measure.sum()
        torch.testing.assert_close(share @ x, torch.zeros(width), atol=1e-4, rtol=0)
        power = share @ x.square()
        assert bool(torch.isfinite(x).all())
        assert float(power.max()) < 1 + 1e-3
        assert len(x) < 20 or float(power.median()) > 0.99


def test_the_shortcut_is_there_and_is_linear_where_channels_change() -> None:
    same, wider = ResidualBlock(4, 4, 2), ResidualBlock(4, 6, 2)
    level = Level.of(make_batch("equal", 2), 1.0)
    x = draw(level.points.num_points, 4)
    for block in (same, wider):
        torch.nn.init.zeros_(block.norm.weight)
    expected = torch.nn.functional.leaky_relu(x, 0.1)
    torch.testing.assert_close(same(x, level), expected)
    torch.testing.assert_close(wider(x, level), torch.nn.functional.leaky_relu(x @ wider.shortcut.weight.T, 0.1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_clouds_without_features_are_seen_by_their_shape(kind: str, dim: int) -> None:
    """Each entry alone, wherever it is in the world; and the shape does matter."""
    cloud, model = make_batch(kind, dim).with_features(None), encoder(dim, in_channels=0)
    whole = model(cloud, 1.0)
    for number, entry in enumerate(entries(cloud)):
        for level, ours, theirs in zip(whole.levels, whole.features, model(entry, 1.0).features, strict=True):
            torch.testing.assert_close(ours[level.points.rows(number)], theirs, atol=1e-3, rtol=0)
    assert_alike(model(cloud.moved(motions(dim, cloud.num_entries)), 1.0), whole, atol=2e-3)
    assert float(whole.features[0].std()) > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_weight_from_the_coarsest_level(kind: str) -> None:
    cloud, model = make_batch(kind, 2), encoder(2).requires_grad_()
    last = model(cloud, 1.0).features[-1]
    found = torch.autograd.grad((last * draw(*last.shape)).sum(), list(model.parameters()))
    assert all(bool(torch.isfinite(g).all()) and float(g.abs().max()) > 0 for g in found)


def test_no_parameter_depends_on_the_sampling() -> None:
    assert sum(p.numel() for p in PyramidEncoder(1, (4, 6), 3, 2).parameters()) == (
        27 * (1 * 4 + 3 * 4 * 4) + 2 * 4 + 2 * 2 * 4 + 1 * 4 + 27 * (4 * 6 + 3 * 6 * 6) + 2 * 6 + 2 * 2 * 6 + 4 * 6
    )


def test_other_clouds_are_refused() -> None:
    model = encoder(3)
    with refused("cloud", "3-D points with 2 features", "2-D with 2"):
        model(make_batch("equal", 2), 1.0)
    with refused("cloud", "got 3-D with 0", "in_channels=0"):
        model(make_batch("equal", 3).with_features(None), 1.0)
    with refused("cloud", "with 0 features, got 3-D with 2"):
        encoder(3, in_channels=0)(make_batch("equal", 3), 1.0)
    with refused("cloud", "got 3-D with 5"):
        model(make_batch("equal", 3, 5), 1.0)
    with refused("scale", "positive"):
        model(make_batch("equal", 3), -1.0)

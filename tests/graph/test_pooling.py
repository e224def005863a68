"""From scale to scale: what is preserved, what stays a lattice, and that entries do not see each other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geogrid.graph import concatenate, pool_cloud
from geogrid.spatial import Grid, Image, PointCloud, pool_image
from tests.spatial.batches import DIMS, KINDS, assert_same, draw, entries, make_batch, motions, scattered, shuffled
from tests.spatial.cases import grids, make_grid, refused


def totals(cloud: PointCloud) -> Tensor:
    """Per entry the sum of measure, and of measure times features and positions, float64."""
    assert cloud.x is not None
    values = torch.cat([torch.ones(cloud.num_points, 1), cloud.x, cloud.pos], 1).double() * cloud.measure.double()[:, None]
    return values.new_zeros(cloud.num_entries, values.shape[1]).index_add(0, cloud.batch, values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("scale", [2.0, 4.0])
def test_a_batch_equals_its_entries(kind: str, dim: int, scale: float) -> None:
    batch = make_batch(kind, dim)
    singles = [pool_cloud(single, scale) for single in entries(batch)]
    pooled = pool_cloud(batch, scale)
    assert_same(pooled, concatenate(singles))
    assert pooled.num_points < batch.num_points
    assert (pooled.num_entries, pooled.is_lattice) == (batch.num_entries, batch.is_lattice)


@pytest.mark.parametrize("dim", DIMS)
def test_a_sparse_entry_is_left_alone_beside_a_dense_one(dim: int) -> None:
    dense = PointCloud.from_points(7 * draw(50, dim).abs(), torch.ones(50), draw(50, 1))
    sparse = PointCloud.from_points(16 * draw(20, dim, seed=1).abs(), torch.full((20,), 4.0**dim), draw(20, 1))
    pooled = pool_cloud(concatenate([dense, sparse]), 2.0)
    assert_same(pooled.entry(1), sparse)
    assert_same(pooled.entry(0), pool_cloud(dense, 2.0))
    assert pooled.counts()[0] < 50


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("scale", [2.0, 3.0])
def test_volume_and_weighted_features_add_up(kind: str, dim: int, scale: float) -> None:
    batch = make_batch(kind, dim)
    before, after = totals(batch), totals(pool_cloud(batch, scale))
    channels = slice(None) if kind == "scattered" else slice(3)  # lattices keep their places in partial cells
    torch.testing.assert_close(after[:, channels], before[:, channels], atol=1e-3, rtol=1e-5)


@given(grids(), st.floats(0.3, 20.0))
def test_volume_and_weighted_features_add_up_on_any_lattice(grid: Grid, scale: float) -> None:
    cloud = PointCloud.on_lattices([grid], draw(grid.num_points, 1))
    before, after = totals(cloud)[0], totals(pool_cloud(cloud, scale))[0]
    assert float(after[0]) == pytest.approx(float(before[0]), rel=1e-5)
    assert float(after[1]) == pytest.approx(float(before[1]), abs=1e-5 * float(before[0]))


def test_anisotropic_lattices_become_isotropic_and_odd_ones_stay_lattices() -> None:
    cloud = PointCloud.on_lattices([make_grid((13, 10, 5), (1, 1, 4))], draw(650, 1))
    found = []
    for scale in (1.0, 2.0, 4.0, 8.0):
        cloud = pool_cloud(cloud, scale)
        found.append((cloud.spacing[0].tolist(), cloud.lattices[0].shape))
        torch.testing.assert_close(cloud.pos, cloud.lattices[0].points(), atol=0, rtol=0)
    assert found == [
        ([1, 1, 4], (13, 10, 5)),
        ([2, 2, 4], (7, 5, 5)),
        ([4, 4, 4], (4, 3, 5)),
        ([8, 8, 8], (2, 2, 3)),
    ]
    assert [float(v) for v in cloud.measure[[0, 2, -1]]] == [8 * 8 * 8, 8 * 8 * 4, 5 * 2 * 4]


@pytest.mark.parametrize("dim", DIMS)
def test_a_partial_cell_by_hand(dim: int) -> None:
    grid = make_grid((3, 1, 1)[:dim], (1.0, 1.0, 1.0)[:dim])
    pooled = pool_cloud(PointCloud.on_lattices([grid], torch.tensor([[1.0], [5.0], [7.0]])), 2.0)
    assert (pooled.measure.tolist(), pooled.x.flatten().tolist()) == ([2, 1], [3, 7])
    assert pooled.pos[:, 0].tolist() == [0.5, 2.5]


@pytest.mark.parametrize("dim", DIMS)
def test_twice_is_once_and_weights_partial_cells_by_their_volume(dim: int) -> None:
    grid = make_grid((13, 11, 9)[:dim], (1, 1, 4)[:dim], {2: [25.0], 3: [25.0, -10.0, 40.0]}[dim])
    cloud = PointCloud.on_lattices([grid], draw(grid.num_points, 2))
    assert_same(pool_cloud(pool_cloud(cloud, 2.0), 4.0), pool_cloud(cloud, 4.0))


@pytest.mark.parametrize("dim", DIMS)
def test_once_is_what_images_do(dim: int) -> None:
    grid = make_grid((9, 7, 5)[:dim], (1, 1.5, 4)[:dim])
    image = Image(draw(*grid.shape), grid)
    pooled, expected = pool_cloud(PointCloud.from_images(image), 3.0), pool_image(image, 3.0)
    torch.testing.assert_close(pooled.to_lattice(pooled.x)[0, 0], expected.data)
    assert pooled.lattices[0].same_space(expected.grid)


@pytest.mark.parametrize("shape", [(8, 6, 4), (8, 8, 3)])
@pytest.mark.parametrize("dim", DIMS)
def test_scattered_points_that_fill_a_lattice_are_pooled_like_it(shape: tuple[int, ...], dim: int) -> None:
    spacing = (1.0, 1.0, 4.0 if shape[2] == 3 else 1.0)[:dim]
    grid = make_grid(shape[:dim], spacing, {2: [25.0], 3: [25.0, -10.0, 40.0]}[dim], [90.0, -80.0, 70.0][:dim])
    cloud = PointCloud.on_lattices([grid], draw(grid.num_points, 2))
    order = torch.randperm(grid.num_points, generator=torch.Generator().manual_seed(3))
    assert_same(pool_cloud(shuffled(scattered(cloud), order), 2.0), scattered(pool_cloud(cloud, 2.0)), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_pooling_and_rigid_motion_commute(kind: str, dim: int) -> None:
    batch = make_batch(kind, dim)
    matrices = motions(dim, batch.num_entries)
    assert_same(pool_cloud(batch.moved(matrices), 2.0), pool_cloud(batch, 2.0).moved(matrices), atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_differentiable(kind: str) -> None:
    batch = make_batch(kind, 2, 1)
    x = batch.x[:, :1].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: pool_cloud(batch.with_features(values), 2.0).x, x)


def test_nothing_to_pool_gives_the_same_cloud() -> None:
    for kind in ("equal", "scattered"):
        cloud = make_batch(kind, 2)
        assert pool_cloud(cloud, 0.1) is cloud


def test_what_cannot_be_put_together_is_refused() -> None:
    lattice, points = make_batch("equal", 2), make_batch("scattered", 2)
    with refused("lattices", "1 of 2"):
        concatenate([lattice, points])
    with refused("features", "1 of 2"):
        concatenate([lattice, lattice.with_features(None)])
    with refused("at least one"):
        concatenate([])
    with refused("scale", "positive"):
        pool_cloud(lattice, 0.0)

"""Point clouds: batches and their entries, images as clouds, rigid motion, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from geogrid.graph import concatenate
from geogrid.spatial import Image, PointCloud, map_points
from tests.spatial.batches import DIMS, KINDS, assert_same, draw, entries, grids, make_batch, motions
from tests.spatial.cases import make_grid, refused


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_entries_put_together_again_are_the_batch(kind: str, dim: int) -> None:
    batch = make_batch(kind, dim)
    singles = entries(batch)
    assert [single.num_points for single in singles] == batch.counts().tolist()
    assert all(single.num_entries == 1 and not single.batch.any() for single in singles)
    assert_same(concatenate(singles), batch, atol=0)
    for number, single in enumerate(singles):
        torch.testing.assert_close(batch.pos[batch.rows(number)], single.pos, atol=0, rtol=0)


@pytest.mark.parametrize("kind", ["equal", "unlike"])
@pytest.mark.parametrize("dim", DIMS)
def test_images_are_their_voxels(kind: str, dim: int) -> None:
    images = [Image(draw(*grid.shape, seed=i), grid) for i, grid in enumerate(grids(kind, dim))]
    cloud = PointCloud.from_images(images)
    for number, image in enumerate(images):
        single = cloud.entry(number)
        assert single.x is not None
        torch.testing.assert_close(single.x[:, 0], image.data.flatten(), atol=0, rtol=0)
        torch.testing.assert_close(single.pos, image.grid.points(), atol=0, rtol=0)
        assert float(single.measure.double().sum()) == pytest.approx(image.grid.num_points * image.grid.voxel_volume)
        torch.testing.assert_close(single.frame[0] * single.spacing[0], image.grid.affine[:-1, :-1])
    assert_same(PointCloud.from_images(images[0]), cloud.entry(0), atol=0)


@pytest.mark.parametrize("dim", DIMS)
def test_rows_and_arrays_are_each_other(dim: int) -> None:
    cloud = make_batch("equal", dim)
    assert cloud.stackable
    assert cloud.x is not None
    array = cloud.to_lattice(cloud.x)
    assert array.shape == (3, 2, *cloud.lattices[0].shape)
    torch.testing.assert_close(cloud.to_rows(array), cloud.x, atol=0, rtol=0)
    index = tuple(n - 2 for n in cloud.lattices[1].shape)
    row = int(torch.arange(cloud.lattices[1].num_points).view(cloud.lattices[1].shape)[index])
    torch.testing.assert_close(array[(1, slice(None), *index)], cloud.entry(1).x[row])


def test_only_equal_shapes_and_spacings_are_stackable() -> None:
    one = make_grid((4, 5), (1.0, 2.0))
    cases = {
        (30.0, 1.0, 5): True,
        (0.0, 1.0001, 5): False,
        (0.0, 1.0, 6): False,
    }
    for (angle, step, size), expected in cases.items():
        other = make_grid((4, size), (step, 2.0), [angle], [9.0, 9.0])
        assert PointCloud.on_lattices([one, other]).stackable == expected
    assert not make_batch("scattered", 2).stackable


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_a_rigid_motion_moves_points_and_frames(kind: str, dim: int) -> None:
    cloud = make_batch(kind, dim)
    matrices = motions(dim, cloud.num_entries)
    moved = cloud.moved(matrices)
    for number, (before, after) in enumerate(zip(entries(cloud), entries(moved), strict=True)):
        expected = map_points(matrices[number], before.pos.double())
        torch.testing.assert_close(after.pos.double(), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(after.frame[0], matrices[number, :-1, :-1] @ before.frame[0])
        for grid in after.lattices:
            torch.testing.assert_close(grid.points(), after.pos, atol=1e-5, rtol=0)
            torch.testing.assert_close(grid.frame, after.frame[0])
    assert_same(moved.moved(torch.linalg.inv(matrices)), cloud)


def test_a_shared_grid_stays_shared_only_where_it_moves_alike() -> None:
    grid = make_grid((4, 5), (1.0, 2.0))
    cloud = PointCloud.on_lattices([grid] * 3)
    first, second, third = cloud.moved(motions(2, 2)[[0, 1, 0]]).lattices
    assert first is third
    assert not first.same_space(second)


@pytest.mark.parametrize("dim", DIMS)
def test_scattered_points_take_the_mean_edge_of_their_own_entry_as_spacing(dim: int) -> None:
    edges = torch.tensor([1.0, 3.0, 0.5, 0.5])
    cloud = PointCloud.from_points(torch.rand(4, dim), edges**dim, batch=torch.tensor([0, 0, 2, 2]), num_entries=4)
    expected = torch.tensor([2.0, 0.5, 0.5, 0.5], dtype=torch.float64)
    torch.testing.assert_close(cloud.spacing, expected[:, None].expand(4, dim), atol=1e-6, rtol=0)
    assert cloud.counts().tolist() == [2, 0, 2, 0]


def test_a_given_spacing_and_frame_count_for_all_entries() -> None:
    pos, batch = torch.rand(3, 2), torch.tensor([0, 1, 1])
    frame = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    cloud = PointCloud.from_points(pos, torch.ones(3), batch=batch, frame=frame, spacing=torch.tensor([1.0, 4.0]))
    assert cloud.spacing.tolist() == [[1, 4], [1, 4]]
    assert cloud.frame.tolist() == [frame.tolist()] * 2


@pytest.mark.parametrize("dim", DIMS)
def test_a_cloud_without_points_is_legal(dim: int) -> None:
    cloud = PointCloud.from_points(torch.zeros(0, dim), torch.zeros(0), torch.zeros(0, 1))
    assert (cloud.num_points, cloud.num_entries, cloud.counts().tolist()) == (0, 1, [0])
    assert cloud.entry(0).moved(motions(dim, 1)).num_points == 0


def test_to_a_device_keeps_everything() -> None:
    cloud = make_batch("unlike", 3)
    assert_same(cloud.to("cpu"), cloud, atol=0)
    meta = cloud.to("meta")
    assert {part.device.type for part in (meta.pos, meta.measure, meta.batch, meta.x)} == {"meta"}
    assert meta.frame.device.type == "cpu"


def test_parts_that_do_not_fit_are_refused() -> None:
    cloud = make_batch("equal", 2)
    pos, ones = torch.rand(3, 2), torch.ones(3)
    with refused("measure", "126 rows", "125"):
        replace(cloud, measure=cloud.measure[:-1])
    with refused("x", "126 rows", "1"):
        cloud.with_features(torch.ones(1, 2))
    with refused("frame", "2-D"):
        replace(cloud, spacing=cloud.spacing[:2])
    with refused("lattices", "3 of 126 points", "[42, 42]"):
        replace(cloud, lattices=cloud.lattices[:2])
    with refused("batch", "sorted"):
        PointCloud.from_points(pos, ones, batch=torch.tensor([0, 1, 0]))
    with refused("batch", "0 to 1"):
        PointCloud.from_points(pos, ones, batch=torch.tensor([0, 1, 2]), num_entries=2)
    with refused("batch", "sorted"):
        PointCloud.from_points(pos, ones, batch=torch.tensor([-1, 0, 0]))
    with refused("entry", "0 to 2", "3"):
        cloud.entry(3)
    with refused("grids", "at least one"):
        PointCloud.on_lattices([])
    with refused("grids", "all 2-D or all 3-D"):
        PointCloud.on_lattices([make_grid((2, 2), (1, 1)), make_grid((2, 2, 2), (1, 1, 1))])

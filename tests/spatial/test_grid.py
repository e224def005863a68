"""Indices, world positions and what is refused."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geogrid.spatial import Grid, Image, map_points
from geogrid.spatial.grid import map_entries
from geogrid.spatial.lattice import inherit
from tests.spatial.cases import flipped, grids, homogeneous, make_grid, permuted, refused, rotation

ANGLES = {2: (20.0,), 3: (20.0, -35.0, 10.0)}


@given(grids(), st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_index_to_world_and_back(grid: Grid, values: list[float]):
    index = torch.tensor([values[: grid.dim]], dtype=torch.float64)
    torch.testing.assert_close(grid.world_to_index(grid.index_to_world(index)), index, atol=1e-8, rtol=0)


@given(grids())
def test_one_step_along_an_axis_is_its_spacing_along_its_frame(grid: Grid):
    for axis in range(grid.dim):
        index = torch.zeros(2, grid.dim, dtype=torch.float64)
        index[1, axis] = 1
        first, second = grid.index_to_world(index)
        torch.testing.assert_close(second - first, grid.spacing[axis] * grid.frame[:, axis], atol=1e-9, rtol=0)
    identity = torch.eye(grid.dim, dtype=torch.float64)
    torch.testing.assert_close(grid.frame.T @ grid.frame, identity, atol=1e-9, rtol=0)


@given(grids())
def test_the_center_is_the_mean_of_the_points(grid: Grid):
    torch.testing.assert_close(grid.points().double().mean(0), grid.center, atol=1e-3, rtol=0)
    assert len(grid.points()) == grid.num_points == math.prod(grid.shape)


def test_positions_by_hand():
    grid = Grid((2, 3), torch.tensor([[0.0, -3.0, 10.0], [2.0, 0.0, 20.0], [0.0, 0.0, 1.0]]))
    assert grid.points().tolist() == [[10, 20], [7, 20], [4, 20], [10, 22], [7, 22], [4, 22]]
    assert grid.spacing.tolist() == [2, 3]
    assert grid.voxel_volume == 6
    assert grid.center.tolist() == [7, 21]


def test_positions_keep_dtype_and_leading_axes():
    grid = make_grid((4, 5, 6), (1, 2, 3), ANGLES[3])
    index = torch.rand(2, 7, 3)
    assert grid.index_to_world(index).dtype == torch.float32
    assert grid.index_to_world(index.double()).dtype == torch.float64
    flat = grid.index_to_world(index.reshape(-1, 3)).reshape(2, 7, 3)
    torch.testing.assert_close(grid.index_to_world(index), flat)
    assert grid.index_to_world(torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("dim", [2, 3])
def test_crop_keeps_points_where_they_are(dim: int):
    grid = make_grid((7, 6, 5)[:dim], (1, 2.5, 4)[:dim], ANGLES[dim], (30, -20, 5)[:dim])
    start, shape = (2, 1, 3)[:dim], (4, 5, 2)[:dim]
    box = tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))
    expected = grid.points().reshape(*grid.shape, dim)[box].reshape(-1, dim)
    torch.testing.assert_close(grid.crop(start, shape).points(), expected)


@pytest.mark.parametrize("dim", [2, 3])
def test_pool_puts_full_cells_at_the_mean_of_their_members(dim: int):
    grid = make_grid((7, 6, 5)[:dim], (1, 2.5, 4)[:dim], ANGLES[dim], (30, -20, 5)[:dim])
    factors = (3, 2, 1)[:dim]
    pooled = grid.pool(factors)
    assert pooled.shape == (3, 3, 5)[:dim]
    points, cells = grid.points().reshape(*grid.shape, dim), pooled.points().reshape(*pooled.shape, dim)
    for cell in product(*[range(n // f) for n, f in zip(grid.shape, factors, strict=True)]):
        box = tuple(slice(c * f, (c + 1) * f) for c, f in zip(cell, factors, strict=True))
        torch.testing.assert_close(cells[cell], points[box].reshape(-1, dim).mean(0), atol=1e-4, rtol=0)
    torch.testing.assert_close(pooled.frame, grid.frame)


@given(grids(max_size=6))
def test_other_storage_of_the_same_points(grid: Grid):
    points = grid.points().reshape(*grid.shape, grid.dim)
    torch.testing.assert_close(flipped(grid, 0).points().reshape(points.shape), points.flip(0), atol=1e-3, rtol=0)
    swapped = permuted(grid, range(grid.dim)[::-1]).points()
    order = (*range(grid.dim)[::-1], grid.dim)
    torch.testing.assert_close(swapped, points.permute(order).reshape(-1, grid.dim), atol=1e-3, rtol=0)


def test_a_rigid_motion_moves_every_point():
    grid = make_grid((3, 4, 5), (1, 2, 3))
    motion = homogeneous(rotation((30, 10, -70)), (5, -6, 7))
    moved = grid.transformed(motion)
    torch.testing.assert_close(moved.points(), map_points(motion, grid.points()), atol=1e-4, rtol=0)
    torch.testing.assert_close(moved.spacing, grid.spacing)


def test_same_space_is_about_all_corners_and_the_shape():
    grid = make_grid((101, 50, 2), (1, 1, 5), ANGLES[3])
    turned = grid.transformed(homogeneous(rotation((0.01, 0, 0)), (0, 0, 0)))
    assert grid.same_space(Grid(grid.shape, grid.affine.clone()))
    assert not grid.same_space(turned)
    assert grid.same_space(turned, tolerance=0.1)
    assert not grid.same_space(grid.crop((0, 0, 0), (101, 50, 1)))
    assert not grid.same_space(make_grid((101, 50), (1, 1)))
    assert not grid.same_space(grid.crop((1, 0, 0), grid.shape))


def test_a_grid_does_not_share_its_matrix():
    affine = torch.eye(3, dtype=torch.float64)
    grid = Grid((2, 2), affine)
    affine[0, -1] = 99
    assert grid.points()[0].tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(4,), (4, 0), (1, 2, 3, 4), (-1, 2)])
def test_refuses_shapes(shape: tuple[int, ...]):
    with refused("grid shape: expected 2 or 3 positive sizes", str(shape)):
        Grid(shape, torch.eye(len(shape) + 1))


def test_refuses_affines():
    with refused("expected a 3x3 matrix", "(4, 4)"):
        Grid((2, 2), torch.eye(4))
    with refused("NaN or infinite"):
        Grid((2, 2), torch.diag(torch.tensor([1.0, math.nan, 1.0])))
    with refused("singular"):
        Grid((2, 2), torch.diag(torch.tensor([1.0, 0.0, 1.0])))
    with refused("singular"):
        Grid((2, 2), torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 1.0]]))
    with refused("last row", "transposed"):
        Grid((2, 2), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [9.0, 0.0, 1.0]]))


def test_refuses_shear_with_its_angle_and_takes_rounding():
    shear = torch.eye(4, dtype=torch.float64)
    shear[0, 1] = math.tan(math.radians(3))
    with refused("sheared", "3 degrees", "resample"):
        Grid((2, 2, 2), shear)
    shear[0, 1] = 5e-5
    assert Grid((2, 2, 2), shear).dim == 3


def test_small_spacings_are_not_singular():
    assert Grid((2, 2, 2), torch.diag(torch.tensor([1e-4, 1e-4, 1e-4, 1.0]))).voxel_volume == pytest.approx(1e-12)


def test_image_fits_its_grid_and_is_cropped_with_it():
    grid = make_grid((6, 5), (2, 3), ANGLES[2])
    image = Image(torch.arange(30.0).reshape(6, 5), grid)
    part = image.crop((1, 2), (3, 2))
    assert part.data.tolist() == [[7, 8], [12, 13], [17, 18]]
    assert part.grid.same_space(grid.crop((1, 2), (3, 2)))
    assert image.to("cpu").dim == 2
    with refused("image data", "(6, 5)", "(5, 6)"):
        Image(torch.zeros(5, 6), grid)


@given(grids())
def test_grids_of_one_shape_and_place_are_one(grid: Grid):
    again = Grid(grid.shape, grid.affine.clone())
    assert again == grid
    assert len({again, grid}) == 1
    moved = grid.affine.clone()
    moved[0, -1] += 1e-6
    assert Grid(grid.shape, moved) != grid
    assert Grid((grid.shape[0] + 1, *grid.shape[1:]), grid.affine) != grid


@given(grids())
def test_what_is_kept_of_a_grid_cannot_be_changed_from_outside(grid: Grid):
    identity = torch.eye(grid.dim + 1, dtype=torch.float64)
    for name in ("spacing", "frame", "to_index"):
        before = getattr(grid, name).clone()
        getattr(grid, name).zero_()
        assert torch.equal(getattr(grid, name), before)
    torch.testing.assert_close(grid.to_index @ grid.affine, identity, atol=1e-9, rtol=0)


def test_what_was_kept_in_inference_mode_serves_gradients():
    grid = make_grid((4, 5), (1.25, 0.75), [12.0], [3.0, 1.0])
    with torch.inference_mode():
        children = grid.pool((2, 2)).straight()
    values = torch.rand(2, *children.shape, requires_grad=True)
    with torch.inference_mode():
        inherit(values, children, children.split((2, 2)))
    inherit(values, children, children.split((2, 2))).sum().backward()
    torch.testing.assert_close(values.grad.sum(), torch.tensor(2.0 * 4 * children.num_points))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.sampled_from([2, 3]))
def test_entries_are_mapped_as_one_by_one(counts: list[int], dim: int):
    generator = torch.Generator().manual_seed(sum(counts))
    matrices = torch.eye(dim + 1, dtype=torch.float64).repeat(len(counts), 1, 1)
    matrices[:, :-1] += torch.rand(len(counts), dim, dim + 1, generator=generator, dtype=torch.float64)
    points = torch.rand(sum(counts), dim, generator=generator, dtype=torch.float64)
    expected = torch.cat([map_points(m, part) for m, part in zip(matrices, points.split(counts), strict=True)])
    torch.testing.assert_close(map_entries(matrices, points, counts), expected, atol=1e-12, rtol=0)

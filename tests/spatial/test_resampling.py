"""Stacks of images as clouds, on other pixels: everything stays where it is in the world."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geogrid.spatial import Grid, Image, PointCloud, resample_cloud, to_cloud, to_images
from geogrid.spatial.pyramid import pool_values
from tests.io.cases import refused
from tests.spatial.cases import make_grid

SHAPES = {2: (8, 6), 3: (6, 4, 8)}


def _linear(points: Tensor) -> Tensor:
    return points @ torch.tensor([0.7, -1.3, 2.1])[: points.shape[1]] + 5


def _inner(cloud: PointCloud, margin: float) -> Tensor:
    """Points at least ``margin`` mm away from the border of the field of view."""
    half = torch.tensor(cloud.lattices[0].shape) * cloud.spacing[0].float() / 2
    return (cloud.pos.abs() < half - margin).all(1)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_stack_and_its_cloud_are_the_same_images(dim: int):
    stack = torch.rand(3, *SHAPES[dim], generator=torch.Generator().manual_seed(0))
    cloud = to_cloud(stack, 2.0)
    assert cloud.num_entries == 3
    assert cloud.measure.unique().tolist() == [2.0**dim]
    torch.testing.assert_close(cloud.to_lattice(cloud.x)[:, 0], stack)
    for image, expected in zip(to_images(cloud), stack, strict=True):
        assert torch.equal(image.data, expected)
        torch.testing.assert_close(image.grid.center, torch.zeros(dim, dtype=torch.float64))


def test_axis_0_is_x_and_axis_1_is_y():
    stack = torch.zeros(1, 5, 5)
    stack[0, 4, 0] = 1
    cloud = to_cloud(stack)
    assert cloud.pos[cloud.x[:, 0] == 1].tolist() == [[2, -2]]


@pytest.mark.parametrize("spacing", [(1.0, 2.0), (2.0, 1.0), 2.0, 1.0, 0.5, (0.25, 1.0), (2.0, 0.5)])
def test_linear_images_keep_their_values_in_the_world(spacing: float | tuple[float, float]):
    cloud = to_cloud(torch.zeros(2, 8, 6))
    resampled = resample_cloud(cloud.with_features(_linear(cloud.pos)[:, None]), spacing)
    inner = _inner(resampled, 0.5)
    assert inner.any()
    torch.testing.assert_close(resampled.x[inner, 0], _linear(resampled.pos[inner]))
    torch.testing.assert_close(resampled.measure.sum(), cloud.measure.sum())


def test_averages_and_readings_between():
    cloud = to_cloud(torch.tensor([[[0.0, 4.0], [8.0, 2.0]]]))
    assert resample_cloud(cloud, (1.0, 2.0)).x[:, 0].tolist() == [2, 5]
    fine = resample_cloud(cloud, (1.0, 0.5))
    assert fine.x[:, 0].tolist() == [0, 1, 3, 4, 8, 6.5, 3.5, 2]
    assert fine.pos[:4, 1].tolist() == [-0.75, -0.25, 0.25, 0.75]


def test_in_three_dimensions_groups_are_those_of_pooling():
    stack = torch.rand(2, 6, 4, 8, generator=torch.Generator().manual_seed(0))
    coarse = resample_cloud(to_cloud(stack, (1.0, 1.0, 0.5)), (2.0, 1.0, 2.0))
    for image, original in zip(to_images(coarse), stack, strict=True):
        torch.testing.assert_close(image.data, pool_values(original, (2, 1, 4)))


@pytest.mark.parametrize("dim", [2, 3])
def test_there_and_back(dim: int):
    """Averages over pairs undo linear reading of a linear image, and the lattice returns to its place."""
    grid = make_grid(SHAPES[dim], (1.0, 2.0, 4.0)[:dim], (20.0,) if dim == 2 else (20.0, -35.0, 10.0))
    cloud = PointCloud.on_lattices([grid], torch.rand(grid.num_points, 3, generator=torch.Generator().manual_seed(0)))
    fine = resample_cloud(cloud, (grid.spacing / 2).tolist())
    back = resample_cloud(fine, grid.spacing.tolist())
    assert back.lattices[0].same_space(grid, 1e-6)
    assert fine.x.shape == (2**dim * grid.num_points, 3)
    mean = back.x.mean(0)
    torch.testing.assert_close(mean, cloud.x.mean(0), atol=1e-5, rtol=0)


def test_features_may_be_missing_and_gradients_pass():
    grid = Grid((4, 4), torch.eye(3))
    assert resample_cloud(PointCloud.on_lattices([grid]), 2.0).x is None
    stack = torch.rand(2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: resample_cloud(to_cloud(values), (2.0, 0.5)).x, stack)


def test_a_batch_equals_its_entries():
    stack = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(0))
    together = resample_cloud(to_cloud(stack), (2.0, 0.5))
    for number in range(3):
        alone = resample_cloud(to_cloud(stack[number : number + 1]), (2.0, 0.5))
        assert torch.equal(together.entry(number).x, alone.x)
        assert torch.equal(together.entry(number).pos, alone.pos)


def test_split_undoes_pool():
    grid = make_grid((4, 6), (2.0, 3.0), (20.0,))
    assert grid.pool((2, 3)).split((2, 3)).same_space(grid, 1e-9)
    assert grid.split((3, 1)).pool((3, 1)).same_space(grid, 1e-9)


def test_refusals():
    cloud = to_cloud(torch.rand(1, 6, 5))
    with refused("whole multiple", "axis 0"):
        resample_cloud(cloud, 1.5)
    with refused("axis 1 has 5 pixels", "groups of 2"):
        resample_cloud(cloud, 2.0)
    with refused("spacing: expected one positive number or 2"):
        resample_cloud(cloud, (1.0, 1.0, 1.0))
    scattered = PointCloud.from_points(torch.rand(4, 2), torch.ones(4))
    with refused("cloud: expected lattices"):
        resample_cloud(scattered, 1.0)
    with refused("cloud: expected features on lattices"):
        to_images(scattered)
    with refused("images, spacing"):
        to_cloud(torch.rand(1, 4, 4), (1.0, 0.0))


def test_other_channels_and_other_lattices():
    grids = [Grid((2, 3), torch.eye(3)), Grid((4, 2), torch.eye(3))]
    cloud = PointCloud.on_lattices(grids, torch.arange(28.0).reshape(14, 2))
    second: Image = to_images(cloud, channel=1)[1]
    assert second.data.reshape(-1).tolist() == list(range(13, 28, 2))
    assert second.grid is grids[1]

"""Statistics that do not depend on the sampling."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import instance_norm

from geogrid.graph import concatenate
from geogrid.nn import MeasureNorm
from geogrid.spatial import PointCloud
from tests.spatial.batches import DIMS, KINDS, draw, entries, make_batch, scattered


def layer(channels: int = 2) -> MeasureNorm:
    """With scale and shift of some size, float64."""
    made = MeasureNorm(channels).double()
    with torch.no_grad():
        made.weight.copy_(draw(channels, seed=8))
        made.bias.copy_(draw(channels, seed=9))
    return made


def features(cloud: PointCloud, channels: int = 2) -> torch.Tensor:
    return 3 * draw(cloud.num_points, channels).double() + 40


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_a_batch_equals_its_entries(kind: str, dim: int) -> None:
    cloud, norm = make_batch(kind, dim), layer()
    x = features(cloud)
    whole = norm(x, cloud)
    for number, entry in enumerate(entries(cloud)):
        rows = cloud.rows(number)
        torch.testing.assert_close(whole[rows], norm(x[rows], entry), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_mean_zero_and_variance_one_over_space(kind: str) -> None:
    cloud = make_batch(kind, 3)
    share = cloud.measure.double() * (1 + torch.rand(cloud.num_points, generator=torch.Generator().manual_seed(4)).double())
    cloud = replace(cloud, measure=share)
    y = MeasureNorm(2, affine=False)(features(cloud), cloud)
    for number in range(cloud.num_entries):
        rows = cloud.rows(number)
        if rows.start == rows.stop:
            continue
        weight = share[rows] / share[rows].sum()
        torch.testing.assert_close(weight @ y[rows], torch.zeros(2).double(), atol=1e-12, rtol=0)
        torch.testing.assert_close(weight @ y[rows].square(), torch.ones(2).double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", DIMS)
def test_splitting_a_point_into_two_halves_changes_nothing(kind: str, dim: int) -> None:
    cloud, norm = scattered(make_batch(kind, dim)), layer()
    x = features(cloud)
    twice = torch.arange(cloud.num_points).repeat_interleave(1 + (torch.arange(cloud.num_points) % 3 == 0).long())
    count = torch.bincount(twice)[twice]
    split = replace(cloud, pos=cloud.pos[twice], measure=cloud.measure[twice] / count, batch=cloud.batch[twice], x=None)
    torch.testing.assert_close(norm(x[twice], split), norm(x, cloud)[twice], atol=1e-6, rtol=0)


def test_points_of_equal_measure_are_normalised_as_instances_are() -> None:
    cloud = make_batch("equal", 3)
    norm = layer()
    x = features(cloud)
    array = instance_norm(cloud.to_lattice(x), weight=norm.weight, bias=norm.bias, eps=norm.eps)
    torch.testing.assert_close(norm(x, cloud), cloud.to_rows(array), atol=1e-6, rtol=0)


def test_the_unit_of_volume_is_of_no_account() -> None:
    cloud, norm = make_batch("scattered", 2), layer()
    x = features(cloud)
    torch.testing.assert_close(norm(x, replace(cloud, measure=1000 * cloud.measure)), norm(x, cloud), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind: str) -> None:
    cloud, norm = make_batch(kind, 2), layer()
    x = features(cloud).requires_grad_()
    leaves = (x, norm.weight, norm.bias)
    assert torch.autograd.gradcheck(lambda *_: norm(x, cloud), leaves, fast_mode=True)


def test_a_lone_point_and_no_point() -> None:
    one = PointCloud.from_points(torch.rand(1, 2), torch.ones(1))
    none = PointCloud.from_points(torch.zeros(0, 2), torch.zeros(0))
    norm = MeasureNorm(3, affine=False)
    assert norm(torch.rand(1, 3), one).tolist() == [[0, 0, 0]]
    assert norm(torch.zeros(0, 3), none).shape == (0, 3)
    both = concatenate([none, one])
    assert norm(torch.rand(1, 3), both).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("kind", KINDS)
def test_sums_under_autocast_keep_their_digits(kind: str) -> None:
    cloud = make_batch(kind, 2)
    norm, x = layer().float(), features(cloud).float()
    with torch.autocast("cpu", torch.bfloat16):
        found, rounded = norm(x, cloud), norm(x.bfloat16(), cloud)
    torch.testing.assert_close(found, norm(x, cloud), atol=0, rtol=0)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded, norm(x.bfloat16().float(), cloud).bfloat16(), atol=0, rtol=0)


def test_what_print_shows() -> None:
    assert str(MeasureNorm(4, affine=False)) == "MeasureNorm(4, affine=False)"

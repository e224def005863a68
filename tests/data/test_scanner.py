"""Simulated scans: what is said to be true of them is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from geogrid.data import Scan, simulate_scan
from geogrid.spatial import Grid, Image
from geogrid.transforms import DisplacementField
from tests.data.scenes import centred_grid, head, head_labels, render

GRID = centred_grid((40, 38, 36), (1.6, 1.6, 1.6), center=3.0)
ORIGINAL = Image(torch.from_numpy(render(lambda p: head(p - 3), GRID)), GRID)
LABELS = Image(torch.from_numpy(render(lambda p: head_labels(p - 3), GRID)).int(), GRID)


def scan(**options: object) -> Scan:
    return simulate_scan(ORIGINAL, LABELS, spacing=(1.6, 1.6, 4.8), **options)  # type: ignore[arg-type]


CLEAN = scan(noise=0.0, bias=0.0, seed=4)


def slab_means(found: Scan) -> np.ndarray:
    """The original, read at three depths of each slice by the true map and averaged."""
    grid = found.image.grid
    means = torch.zeros(grid.num_points)
    for depth in (-1 / 3, 0, 1 / 3):
        index = grid.indices() + torch.tensor([0, 0, depth])
        where = GRID.world_to_index(found.to_original(grid.index_to_world(index))).numpy()
        means += torch.from_numpy(trilinear(ORIGINAL.data.numpy(), where)) / 3
    return means.reshape(grid.shape).numpy()


def trilinear(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    from scipy.ndimage import map_coordinates

    return map_coordinates(values, index.T, order=1, mode="constant", cval=0.0)


def test_the_truth_explains_the_scan() -> None:
    expected = slab_means(CLEAN)
    ratio = CLEAN.image.data.numpy()[expected > 20] / expected[expected > 20]
    assert (expected > 20).mean() > 0.1
    assert np.median(ratio) == pytest.approx(900 / np.quantile(expected, 0.99), rel=0.05)
    assert np.abs(ratio / np.median(ratio) - 1).max() < 0.01


def test_the_labels_follow_the_same_map() -> None:
    where = CLEAN.to_original(CLEAN.image.grid.points())
    expected = head_labels(where - 3).reshape(CLEAN.labels.grid.shape)
    assert set(CLEAN.labels.data.unique().tolist()) == {0, 1, 5}
    assert (CLEAN.labels.data == expected).float().mean() > 0.97


def test_the_deformation_is_as_large_as_stated() -> None:
    for size in (2.0, 4.0):
        warp = scan(displacement_mm=size, seed=1).to_original.transforms[1]
        assert isinstance(warp, DisplacementField)
        assert warp.displacement.square().sum(-1).mean().sqrt() == pytest.approx(size, rel=1e-3)
        assert warp.displacement.diff(dim=0).norm(dim=-1).max() < 0.5 * 1.6


def test_the_scanner_lies_as_stated() -> None:
    found = scan(turn_degrees=20.0, shift_mm=6.0, displacement_mm=1e-6, noise=0.0, bias=0.0)
    torch.testing.assert_close(found.image.grid.spacing, torch.tensor([1.6, 1.6, 4.8], dtype=torch.float64))
    turn = found.image.grid.frame @ GRID.frame.T
    assert math.degrees(math.acos((float(turn.trace()) - 1) / 2)) == pytest.approx(20, abs=1e-3)
    center = GRID.center[None]
    assert (found.to_original(center) - center).norm() == pytest.approx(6, abs=1e-3)


def test_the_whole_original_is_in_the_scan() -> None:
    assert CLEAN.labels.data[[0, -1]].sum() == 0
    still = scan(displacement_mm=1e-6).labels
    volumes = [float((labels.data > 0).sum()) * labels.grid.voxel_volume for labels in (still, LABELS)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.03)


def test_noise_and_bias_are_as_stated() -> None:
    noisy = scan(noise=0.05, bias=0.0, seed=4).image.data
    difference = (noisy - CLEAN.image.data)[CLEAN.image.data > 400]
    assert difference.std() == pytest.approx(0.05 * 900, rel=0.1)
    biased = scan(noise=0.0, bias=0.3, seed=4).image.data
    ratio = (biased / CLEAN.image.data)[CLEAN.image.data > 100]
    assert math.exp(-0.3) - 1e-4 <= ratio.min()
    assert ratio.max() <= math.exp(0.3) + 1e-4
    assert ratio.max() - ratio.min() > 0.03


def test_the_seed_decides() -> None:
    first, same, other = scan(seed=7), scan(seed=7), scan(seed=8)
    assert torch.equal(first.image.data, same.image.data)
    assert torch.equal(first.labels.data, same.labels.data)
    assert torch.equal(first.image.grid.affine, same.image.grid.affine)
    assert not torch.equal(first.image.grid.affine, other.image.grid.affine)


def test_slices_work_too() -> None:
    grid = Grid((40, 38), centred_grid((40, 38), (1.6, 1.6)).affine)
    image = Image(torch.from_numpy(render(head, grid)), grid)
    labels = Image(torch.from_numpy(render(head_labels, grid)).int(), grid)
    found = simulate_scan(image, labels, spacing=(1.6, 3.2), seed=2)
    assert found.image.dim == 2
    torch.testing.assert_close(found.image.grid.spacing, torch.tensor([1.6, 3.2], dtype=torch.float64))

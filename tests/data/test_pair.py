"""What is checked about a pair before any work begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geogrid.data import Pair, read_pair
from tests.data.scenes import LIA, centred_grid, head, head_labels, render, save_nifti
from tests.io.cases import refused, restore

FIXED, MOVING = centred_grid((12, 11, 10), (4.0, 4.0, 4.0)), centred_grid((9, 13, 8), (5.0, 3.0, 6.0), (10, 5, -8))
ARRAYS = (render(head, FIXED), FIXED.affine), (render(head, MOVING), MOVING.affine)
LABELS = (render(head_labels, FIXED), FIXED.affine), (render(head_labels, MOVING), MOVING.affine)
POINTS = torch.tensor([[1.0, -2, 3], [4, 5, -6]])


def read(**more: object) -> Pair:
    return read_pair(*ARRAYS, **more)  # type: ignore[arg-type]


def test_everything_arrives_in_canonical_storage(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "labels.nii.gz", LABELS[0][0], FIXED, LIA)
    mask = restore((LABELS[0][0] > 0).astype("u1"), FIXED.affine.numpy(), *LIA)
    pair = read(fixed_labels=path, moving_labels=LABELS[1], fixed_mask=mask, fixed_landmarks=POINTS, moving_landmarks=POINTS)
    assert pair.dim == 3
    assert pair.fixed_labels is not None
    assert pair.fixed_mask is not None
    assert torch.equal(pair.fixed_labels.image.data, torch.from_numpy(LABELS[0][0]).int())
    assert torch.equal(pair.fixed_mask.image.data, torch.from_numpy(LABELS[0][0] > 0))
    assert pair.fixed_landmarks is not None
    assert pair.fixed_landmarks.dtype == torch.float64
    assert torch.equal(pair.fixed_landmarks, POINTS.double())


def test_weights_join_mask_and_finite_voxels() -> None:
    assert read().weight("fixed") is None
    values = ARRAYS[0][0].copy()
    values[0] = np.nan
    mask = np.ones(values.shape, "u1")
    mask[:, 0] = 0
    pair = read_pair((values, FIXED.affine), ARRAYS[1], fixed_mask=(mask, FIXED.affine), nan_outside=True)
    weight = pair.weight("fixed")
    assert weight is not None
    expected = torch.ones(values.shape, dtype=torch.bool)
    expected[0], expected[:, 0] = False, False
    assert torch.equal(weight, expected)
    assert pair.weight("moving") is None


def test_landmarks_turn_from_lps_and_come_from_anything(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("x,y,z\n-1,2,3\n-4,-5,-6\n")
    turned = (POINTS * torch.tensor([-1.0, -1, 1])).tolist()
    for source in (tmp_path / "p.csv", str(tmp_path / "p.csv"), torch.tensor(turned), np.array(turned)):
        pair = read(fixed_landmarks=source, moving_landmarks=source, coordinates="lps")
        assert pair.moving_landmarks is not None
        assert torch.equal(pair.moving_landmarks, POINTS.double())


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (torch.zeros(2, 2), ["3-D points", "(2, 2)"]),
        (torch.zeros(3), ["(num_points, 2 or 3)", "(3,)"]),
        (torch.full((2, 3), torch.nan), ["row 0", "finite", "nan"]),
    ],
)
def test_landmark_tensors_are_checked(bad: torch.Tensor, words: list[str]) -> None:
    with refused("moving landmarks", *words):
        read(fixed_landmarks=POINTS, moving_landmarks=bad)


def test_grids_that_touch_do_not_overlap() -> None:
    apart = FIXED.affine.clone()
    apart[0, 3] += 12 * 4
    with refused("moving image", "do not overlap", "0 mm apart"):
        read_pair(ARRAYS[0], (ARRAYS[0][0], apart))
    apart[0, 3] -= 0.1
    assert read_pair(ARRAYS[0], (ARRAYS[0][0], apart)).dim == 3


def test_a_label_grid_may_differ_by_a_tenth_of_a_voxel() -> None:
    moved = FIXED.affine.clone()
    moved[0, 3] += 0.3
    assert read(fixed_labels=(LABELS[0][0], moved), moving_labels=LABELS[1]).fixed_labels is not None
    moved[0, 3] += 0.3
    with refused("fixed labels", "another grid"):
        read(fixed_labels=(LABELS[0][0], moved), moving_labels=LABELS[1])


def test_a_mask_must_show_something() -> None:
    mask = np.zeros(FIXED.shape, "u1")
    mask[0, 0, 0] = 1
    with refused("fixed mask", "shows nothing", "1 finite voxels"):
        read(fixed_mask=(mask, FIXED.affine))
    values = ARRAYS[0][0].copy()
    values[0, 0, 0] = np.nan
    with refused("fixed mask", "shows nothing", "0 finite voxels"):
        read_pair((values, FIXED.affine), ARRAYS[1], fixed_mask=(mask, FIXED.affine), nan_outside=True)


def test_label_maps_without_labels_are_refused_one_alone_is_not() -> None:
    zeros = (np.zeros(FIXED.shape, "u1"), FIXED.affine), (np.zeros(MOVING.shape, "u1"), MOVING.affine)
    with refused("fixed labels and moving labels", "every voxel is 0"):
        read(fixed_labels=zeros[0], moving_labels=zeros[1])
    assert read(fixed_labels=zeros[0], moving_labels=LABELS[1]).moving_labels is not None

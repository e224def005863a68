"""Distances between points, with answers in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from geogrid.errors import GeogridError
from geogrid.metrics import endpoint_error, target_registration_error
from geogrid.spatial import Grid
from geogrid.transforms import AffineTransform, to_displacement


def _shift(*offset: float) -> AffineTransform:
    matrix = torch.eye(len(offset) + 1)
    matrix[:-1, -1] = torch.tensor(offset)
    return AffineTransform(matrix)


@pytest.mark.parametrize("offset", [(3.0, -4.0), (2.0, -3.0, 6.0)])
def test_translation_against_identity_is_its_length(offset: tuple[float, ...]):
    points = torch.randn(7, len(offset), generator=torch.Generator().manual_seed(0)) * 30
    length = math.hypot(*offset)
    error = endpoint_error(_shift(*offset), AffineTransform.identity(len(offset)), points)
    torch.testing.assert_close(error, torch.full((7,), length))
    torch.testing.assert_close(target_registration_error(_shift(*offset), points, points), torch.full((7,), length))


def test_fixed_landmarks_go_to_moving_space():
    fixed = torch.tensor([[0.0, 0.0, 0.0], [10.0, -5.0, 2.0]])
    moving = fixed + torch.tensor([5.0, 0.0, 0.0])
    assert target_registration_error(_shift(5, 0, 0), fixed, moving).max() == 0
    assert target_registration_error(_shift(-5, 0, 0), fixed, moving).tolist() == [10.0, 10.0]


def test_each_landmark_has_its_own_error():
    moving = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, -2.0]])
    assert target_registration_error(AffineTransform.identity(2), torch.zeros(3, 2), moving).tolist() == [0.0, 5.0, 2.0]


def test_dense_and_affine_form_of_one_rotation_agree():
    turn = AffineTransform(torch.tensor([[0.8, -0.6, 4.0], [0.6, 0.8, -1.0], [0.0, 0.0, 1.0]]))
    grid = Grid((9, 11), torch.tensor([[2.0, 0.0, -3.0], [0.0, 3.0, 1.0], [0.0, 0.0, 1.0]]))
    assert endpoint_error(to_displacement(turn, grid), turn, grid.points() * 0.9 + 0.5).max() < 1e-4


def test_refuses():
    identity = AffineTransform.identity(3)
    with pytest.raises(GeogridError, match="moving landmarks: expected as many"):
        target_registration_error(identity, torch.zeros(4, 3), torch.zeros(5, 3))
    with pytest.raises(GeogridError, match=r"fixed landmarks: expected shape \(num_points, 3\)"):
        target_registration_error(identity, torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(GeogridError, match="2-D transform"):
        endpoint_error(identity, AffineTransform.identity(2), torch.zeros(4, 3))

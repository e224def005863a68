from __future__ import annotations

import pytest
import torch

from geogrid.models.frames import Frames
from geogrid.spatial import map_points
from geogrid.transforms import AffineTransform
from tests.models.cases import ANGLES, pair
from tests.spatial.cases import homogeneous, rotation


def _start(dim: int) -> AffineTransform:
    linear = (
        rotation(ANGLES[dim]) @ torch.diag(torch.tensor([1.3, 0.8, 1.1], dtype=torch.float64)[:dim]) @ rotation(ANGLES[dim])
    )
    linear[0, 1] += 0.2
    return AffineTransform(homogeneous(linear, [9.0, -7.0, 4.0][:dim]))


@pytest.mark.parametrize("dim", [2, 3])
def test_the_start_is_a_stretch_between_the_frames(dim: int):
    fixed, start = pair(dim, angles=ANGLES[dim])[0], _start(dim)
    frames = Frames.of(fixed, [start])
    world = fixed.pos.double()
    seen = map_points(frames.of_fixed[0], world)
    torch.testing.assert_close(frames.to_moving(seen, fixed), map_points(frames.of_moving[0], start(world)), atol=1e-9, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_displacements_find_their_way_back_to_the_world(dim: int):
    """A motion by v in the moving frame is the motion of the fixed point that the start brings there."""
    fixed, start = pair(dim, angles=ANGLES[dim])[0], _start(dim)
    frames = Frames.of(fixed, [start])
    v = torch.randn(fixed.num_points, dim, dtype=torch.float64)
    u = frames.to_world(frames.from_moving(v, fixed), fixed)
    here, there = fixed.pos.double(), map_points(frames.of_moving[0], start(fixed.pos.double()))
    torch.testing.assert_close(map_points(frames.of_moving[0], start(here + u)), there + v, atol=1e-9, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_rigid_start_leaves_no_stretch(dim: int):
    start = AffineTransform(homogeneous(rotation(ANGLES[dim]), [9.0, -7.0, 4.0][:dim]))
    stretch = Frames.of(pair(dim)[0], [start]).stretch[0]
    torch.testing.assert_close(stretch, torch.eye(dim, dtype=torch.float64), atol=1e-12, rtol=0)

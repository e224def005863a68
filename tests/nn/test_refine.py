from __future__ import annotations

import pytest
import torch

from geogrid.graph import Level
from geogrid.nn import ContinuousConv
from geogrid.nn.convolve import convolve
from geogrid.nn.refine import MotionHead, Refine, WarpedFeatures
from geogrid.spatial import PointCloud
from tests.spatial.cases import make_grid

SHAPES = {2: (9, 8), 3: (6, 5, 6)}


def _level(dim: int, scattered: bool = False) -> Level:
    cloud = PointCloud.on_lattices([make_grid(SHAPES[dim], (2.0,) * dim)])
    return Level.of(PointCloud.from_points(cloud.pos, cloud.measure) if scattered else cloud, 2.0)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("scattered", [False, True])
def test_a_convolution_distributes_over_the_images(dim: int, scattered: bool):
    """Appendix 6: one convolution of both images' channels is the sum of one for each image."""
    torch.manual_seed(0)
    level, head = _level(dim, scattered), MotionHead(3, 4, 5, dim)
    x, y = torch.randn(level.points.num_points, 3), torch.randn(level.points.num_points, 4)
    joint = ContinuousConv(7, 5, dim)
    with torch.no_grad():
        joint.weight.copy_(torch.cat([head.own.weight, head.found.weight], 1))
        joint.bias.copy_(head.own.bias)
    together = convolve(joint, torch.cat([x, y], 1), level)
    torch.testing.assert_close(convolve(head.own, x, level) + convolve(head.found, y, level), together, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_the_untrained_layer_is_a_matcher(dim: int):
    """Features of the moving image are those of the fixed one half a scale further on: points start on their way."""
    torch.manual_seed(0)
    level = _level(dim)
    shift = torch.tensor([0.8, -0.6, 0.7])[:dim]
    waves = 0.4 * torch.randn(dim, 16)
    fixed = (level.points.pos @ waves).sin()
    moving = ((level.points.pos - shift) @ waves).sin()
    layer = Refine(16, dim)
    moved = layer((moving, fixed), level, level, level.points.pos, layer.own(fixed, level))
    inside = (level.points.pos - level.points.pos.mean(0)).abs().amax(1) < 3
    assert ((moved[inside] @ shift) > 0).float().mean() > 0.9
    toward = (moved[inside].mean(0) @ shift) / moved[inside].mean(0).norm() / shift.norm()
    assert toward > 0.9


def test_the_plain_operator_is_no_matcher():
    torch.manual_seed(0)
    level = _level(2)
    layer = Refine(4, 2, matcher=False)
    x = torch.randn(72, 4)
    moved = layer((x, x), level, level, level.points.pos, layer.own(x, level))
    assert moved.shape == (72, 2)
    assert moved.abs().max() < 0.1
    assert layer.direct is None


def test_warped_features_are_read_where_the_points_are():
    torch.manual_seed(0)
    level = _level(2)
    layer = WarpedFeatures(3, 2)
    fixed, moving = torch.randn(72, 3), level.points.pos @ torch.randn(2, 3)
    inner = (level.points.pos - level.points.pos.mean(0)).abs().amax(1) < 3
    shift = torch.tensor([0.5, -0.7])
    one = layer((moving, fixed), level, level, level.points.pos + shift, layer.own(fixed, level))
    shifted = (level.points.pos + shift) @ torch.linalg.lstsq(level.points.pos, moving).solution
    other = layer((shifted, fixed), level, level, level.points.pos, layer.own(fixed, level))
    torch.testing.assert_close(one[inner], other[inner], atol=1e-5, rtol=0)

"""Content, folding and volume change where the answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from geogrid.errors import GeogridError
from geogrid.metrics import content_mask, folding_percent, log_jacobian_spread
from geogrid.spatial import Grid, Image
from geogrid.transforms import AffineTransform, DisplacementField, to_displacement


def _grid(shape: tuple[int, ...], spacing: float = 1.0) -> Grid:
    return Grid(shape, torch.diag(torch.tensor([spacing] * len(shape) + [1.0])))


def _everything(grid: Grid) -> torch.Tensor:
    return torch.ones(grid.shape, dtype=torch.bool)


def _mirrored_stripe(grid: Grid) -> DisplacementField:
    """Positions along the first axis 0 1 2 5 4 3 6 7 8 9: central differences are negative at index 4 alone."""
    place = torch.tensor([0.0, 1, 2, 5, 4, 3, 6, 7, 8, 9])
    displacement = torch.zeros(*grid.shape, grid.dim)
    displacement[..., 0] = (place - torch.arange(10.0)).reshape(-1, *[1] * (grid.dim - 1)) * grid.spacing[0]
    return DisplacementField(displacement, grid)


@pytest.mark.parametrize("shape", [(10, 6), (10, 4, 5)])
@pytest.mark.parametrize("spacing", [1.0, 3.5])
def test_a_fold_by_hand_is_counted_exactly(shape: tuple[int, ...], spacing: float):
    field = _mirrored_stripe(_grid(shape, spacing))
    content = _everything(field.grid)
    assert folding_percent(field, content) == pytest.approx(10)
    content[:4] = False
    assert folding_percent(field, content) == pytest.approx(100 / 6)
    content[4] = False
    assert folding_percent(field, content) == 0


def test_zero_volume_counts_as_folded_and_the_jacobian_may_be_given():
    jacobian = torch.tensor([[1.0, 0.0], [-2.0, 1e-6]])
    assert folding_percent(jacobian, torch.ones(2, 2, dtype=torch.bool)) == 50


@pytest.mark.parametrize("dim", [2, 3])
def test_affine_maps_have_no_spread(dim: int):
    grid = _grid((8,) * dim, 2.0)
    scale = AffineTransform(torch.diag(torch.tensor([1.3] * dim + [1.0])))
    assert log_jacobian_spread(to_displacement(scale, grid), _everything(grid)) == pytest.approx(0, abs=1e-5)
    assert folding_percent(to_displacement(scale, grid), _everything(grid)) == 0


def test_spread_of_two_halves():
    jacobian = torch.tensor([[2.0, 2.0], [0.5, 0.5]])
    content = torch.ones(2, 2, dtype=torch.bool)
    assert log_jacobian_spread(jacobian, content) == pytest.approx(math.log(2))
    jacobian[1] = -7.0
    assert log_jacobian_spread(jacobian, content) == pytest.approx((math.log(2) - math.log(1e-3)) / 2)


def test_content_is_above_a_twentieth_of_the_percentile_range():
    data = torch.zeros(40, 50)
    data[:20] = 100.0
    data[20, 0], data[20, 1] = 4.9, 5.1
    content = content_mask(Image(data, _grid((40, 50))))
    assert content.sum() == 1001
    assert content[20, 1]
    assert not content[20, 0]


def test_content_ignores_gain_offset_nan_and_one_hot_voxel():
    data = torch.rand(30, 30, generator=torch.Generator().manual_seed(1))
    data[:10] = 0
    grid = _grid((30, 30))
    plain = content_mask(Image(data, grid))
    assert torch.equal(content_mask(Image(data * 32 - 7, grid)), plain)
    data[0, 0], data[0, 1] = math.nan, 1e9
    spoilt = content_mask(Image(data, grid))
    assert not spoilt[0, 0]
    assert spoilt[0, 1]
    assert (spoilt != plain).sum() <= 5


def test_content_of_a_speck_uses_minimum_and_maximum():
    data = torch.zeros(100, 100, dtype=torch.uint8)
    data[50, 50] = 9
    assert content_mask(Image(data, _grid((100, 100)))).nonzero().tolist() == [[50, 50]]


def test_a_mask_overrides():
    grid = _grid((6, 5))
    mask = torch.zeros(6, 5, dtype=torch.uint8)
    mask[2:4] = 1
    assert torch.equal(content_mask(Image(torch.rand(6, 5), grid), Image(mask, grid)), mask.bool())
    with pytest.raises(GeogridError, match="mask: expected the grid"):
        content_mask(Image(torch.rand(6, 5), grid), Image(mask, _grid((6, 5), 2.0)))


def test_refuses():
    with pytest.raises(GeogridError, match="at least one voxel"):
        folding_percent(torch.ones(3, 3), content_mask(Image(torch.ones(3, 3), _grid((3, 3)))))
    with pytest.raises(GeogridError, match="bool mask on the deformation's grid"):
        folding_percent(torch.ones(3, 3), torch.ones(3, 4, dtype=torch.bool))

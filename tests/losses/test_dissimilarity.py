"""Dissimilarities of rows: by hand, entry by entry, and the laws they obey."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geogrid.losses import LocalCorrelation, lncc_loss, mse_loss, ncc_loss
from geogrid.spatial import PointCloud
from tests.spatial.cases import make_grid, refused

Rows = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
LOSSES = pytest.mark.parametrize("loss", [mse_loss, ncc_loss])
COUNTS = (7, 0, 4, 9)


def _rows(counts: tuple[int, ...] = COUNTS, channels: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    fixed, warped = torch.rand(2, sum(counts), channels, generator=generator, dtype=torch.float64)
    measure = 0.5 + torch.rand(sum(counts), generator=generator, dtype=torch.float64)
    return fixed, warped, measure, torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


@LOSSES
def test_a_batch_is_the_mean_of_its_entries(loss: Rows):
    """An entry without points is not counted, nor is one without measure."""
    fixed, warped, measure, batch = _rows()
    singles = []
    for entry in (0, 2, 3):
        here = batch == entry
        singles.append(loss(fixed[here], warped[here], measure[here], torch.zeros_like(batch[here])))
    torch.testing.assert_close(loss(fixed, warped, measure, batch), torch.stack(singles).mean())
    weightless = torch.where(batch == 2, 0.0, measure)
    torch.testing.assert_close(loss(fixed, warped, weightless, batch), (singles[0] + singles[2]) / 2)
    assert loss(fixed, warped, 0 * measure, batch) == 0
    assert loss(fixed[:0], warped[:0], measure[:0], batch[:0]) == 0


@LOSSES
def test_gradcheck(loss: Rows):
    fixed, warped, measure, batch = _rows()
    assert torch.autograd.gradcheck(lambda f, w: loss(f, w, measure, batch), (fixed.requires_grad_(), warped.requires_grad_()))


@LOSSES
@given(st.integers(0, 100), st.floats(0.1, 10))
def test_measure_stands_for_that_many_points(loss: Rows, seed: int, unit: float):
    fixed, warped, _, batch = _rows(seed=seed)
    times = torch.randint(0, 4, (len(batch),), generator=torch.Generator().manual_seed(seed))
    times[0] = 2
    repeated = [part.repeat_interleave(times, 0) for part in (fixed, warped, torch.ones(len(batch)).double(), batch)]
    torch.testing.assert_close(loss(fixed, warped, unit * times.double(), batch), loss(*repeated))


@LOSSES
def test_points_without_measure_do_not_matter(loss: Rows):
    fixed, warped, measure, batch = _rows()
    measure[3] = 0
    other = warped.clone()
    other[3] = 1e3
    torch.testing.assert_close(loss(fixed, other, measure, batch), loss(fixed, warped, measure, batch))
    other.requires_grad_()
    loss(fixed, other, measure, batch).backward()
    assert other.grad is not None
    assert (other.grad[3] == 0).all()
    assert (other.grad[[2, 4]] != 0).all()


@LOSSES
def test_equal_intensities_are_the_optimum(loss: Rows):
    fixed, warped, measure, batch = _rows()
    assert loss(fixed, fixed, measure, batch) == pytest.approx(0, abs=1e-12)
    assert loss(fixed, warped, measure, batch) > 0.05
    same = fixed.clone().requires_grad_()
    loss(fixed, same, measure, batch).backward()
    assert same.grad is not None
    assert same.grad.abs().max() < 1e-12


def test_mean_squared_difference_by_hand():
    fixed = torch.tensor([[1.0, 0.0], [3.0, 1.0], [0.0, 2.0]])
    value = mse_loss(fixed, torch.zeros(3, 2), torch.tensor([3.0, 1.0, 5.0]), torch.tensor([0, 0, 1]))
    assert value == pytest.approx(((3 * 0.5 + 1 * 5) / 4 + 2) / 2)


def test_correlation_by_hand():
    """Of numbers and their signs: covariance 1, variances 1 and 2."""
    fixed = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    warped = torch.tensor([[0.0], [2.0], [0.0], [-2.0]]) + 7
    rows = torch.ones(4), torch.zeros(4, dtype=torch.int64)
    assert ncc_loss(fixed, warped, *rows, floor=0.0) == pytest.approx(1 - 2**-0.5)
    assert ncc_loss(fixed, -warped, *rows, floor=0.0) == pytest.approx(1 + 2**-0.5)


@given(st.integers(0, 100), st.floats(0.2, 50), st.floats(-20, 20))
def test_correlation_knows_no_gain_and_no_offset(seed: int, gain: float, offset: float):
    """Nor does it matter that each entry has its own."""
    fixed, warped, measure, batch = _rows(seed=seed)
    gains = torch.tensor([gain, 1.0, 2.0, 0.5], dtype=torch.float64)[batch, None]
    rows = (measure, batch, 1e-6)
    torch.testing.assert_close(
        ncc_loss(fixed, gains * warped + offset, *rows), ncc_loss(fixed, warped, *rows), atol=1e-8, rtol=0
    )
    torch.testing.assert_close(
        ncc_loss(gains * fixed + offset, warped, *rows), ncc_loss(fixed, warped, *rows), atol=1e-8, rtol=0
    )
    assert mse_loss(fixed, gains * warped + offset + 1, measure, batch) != mse_loss(fixed, warped, measure, batch)


def test_flat_images():
    """Both flat: a match. One flat: no correlation, and finite gradients."""
    fixed, _, measure, batch = _rows((6, 5))
    flat = torch.full_like(fixed, 0.3).requires_grad_()
    assert ncc_loss(torch.ones_like(fixed), flat, measure, batch).item() == pytest.approx(0)
    value = ncc_loss(fixed, flat, measure, batch, floor=1e-3)
    assert value.item() == pytest.approx(1, abs=0.02)
    value.backward()
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


@pytest.mark.parametrize("dim", [2, 3])
def test_local_correlation_is_that_of_each_image(dim: int):
    grids = [make_grid((7, 6, 5)[:dim], (1.0, 1.5, 2.0)[:dim]), make_grid((6, 8, 4)[:dim], (1.0, 1.0, 1.0)[:dim])]
    counts = [grid.num_points for grid in grids]
    fixed, warped, _, _ = _rows(tuple(counts))
    cloud = PointCloud.on_lattices(grids, fixed)
    expected = []
    for grid, f, w in zip(grids, fixed.split(counts), warped.split(counts), strict=True):
        for channel in range(2):
            one, other = (rows[:, channel].reshape(grid.shape) for rows in (f, w))
            expected.append(LocalCorrelation(one, grid.spacing.tolist(), 2.0, floor=0.05)(other))
    torch.testing.assert_close(lncc_loss(cloud, warped, 2.0, 0.05, stride=1), torch.stack(expected).mean())
    torch.testing.assert_close(lncc_loss(cloud, 3 * warped - 1, 2.0, 1e-6), lncc_loss(cloud, warped, 2.0, 1e-6))


def test_refusals():
    fixed, warped, measure, batch = _rows()
    with refused("fixed, warped", "(20, 2)", "(20, 1)"):
        mse_loss(fixed, warped[:, :1], measure, batch)
    with refused("measure, batch", "20", "(3,)"):
        ncc_loss(fixed, warped, measure[:3], batch)
    with refused("lattices", "ncc_loss"):
        lncc_loss(PointCloud.from_points(fixed, measure, fixed), warped, 1.0)

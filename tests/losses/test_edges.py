"""Edge tensors against their definition, and the laws they obey."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from geogrid.losses import EdgeTensors, Objective
from geogrid.losses.edge_pair import CELL, EdgePair, Edges, content_cells
from geogrid.losses.edges import edge_products, normalized, pooled, turned
from geogrid.spatial import Grid, Image
from geogrid.spatial.intensity import content_box
from geogrid.transforms import AffineTransform, Step
from tests.spatial.cases import centered, field_on, homogeneous, make_grid, rotation
from tests.transforms.cases import ANGLES, make_wave

DIMS = pytest.mark.parametrize("dim", [2, 3])
SHAPES = {2: (9, 8), 3: (7, 6, 8)}


def _image(dim: int, seed: int = 0) -> Tensor:
    return torch.rand(SHAPES[dim], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _whole(packed: Tensor) -> Tensor:
    """``(..., dim, dim)`` of ``(entries, ...)``."""
    dim = 3 if len(packed) == 6 else 2
    rows, columns = torch.triu_indices(dim, dim)
    whole = packed.new_zeros(*packed.shape[1:], dim, dim)
    for value, i, j in zip(packed, rows.tolist(), columns.tolist(), strict=True):
        whole[..., i, j] = whole[..., j, i] = value if i == j else value / math.sqrt(2)
    return whole


def _slope(slope: list[float], grid: Grid) -> Tensor:
    return (grid.points().double() @ torch.tensor(slope, dtype=torch.float64)).reshape(grid.shape)


@DIMS
def test_neither_sign_nor_size_of_the_contrast_matters(dim: int):
    image = _image(dim)
    loss = EdgeTensors(image, (1.0,) * dim, scale=1.0, floor=1e-5)
    for other in (image, 5 - 3 * image, 0.1 * image):
        assert loss(other) < 1e-6
    assert loss(_image(dim, 1)) > 0.1


@DIMS
def test_the_gradient_is_that_of_the_value(dim: int):
    loss = EdgeTensors(_image(dim), (1.0, 1.5, 2.0)[:dim], 1.0, weight=_image(dim, 2), floor=0.1)
    moving = _image(dim, 1).requires_grad_()
    assert torch.autograd.gradcheck(loss, (moving,))


@DIMS
def test_a_slope_has_the_square_of_its_gradient_in_the_world(dim: int):
    """Whatever the axes and the spacing of the lattice; away from its border, where softening flattens."""
    slope = [0.03, -0.01, 0.02][:dim]
    grid = centered(make_grid((9,) * dim, (1.0, 1.3, 2.0)[:dim], ANGLES[dim]))
    middle = (slice(None), *(4,) * dim)
    found = _whole(edge_products(_slope(slope, grid), grid, 2.0)[middle])
    torch.testing.assert_close(
        found, 4 * torch.tensor(slope).double().outer(torch.tensor(slope).double()), rtol=1e-4, atol=1e-8
    )


@DIMS
def test_packed_tensors_are_as_far_apart_as_whole_ones(dim: int):
    grid = make_grid(SHAPES[dim], (1.0,) * dim)
    first, second = (normalized(edge_products(_image(dim, seed), grid, 1.0)) for seed in (0, 1))
    whole = (_whole(first) - _whole(second)).square().sum((-2, -1))
    torch.testing.assert_close((first - second).square().sum(0), whole)
    assert (_whole(first).diagonal(dim1=-2, dim2=-1).sum(-1) - 1).abs().max() < 0.1


@DIMS
def test_turned_products_are_those_of_the_image_seen_through_the_map(dim: int):
    slope, linear = (
        torch.tensor([0.3, -0.1, 0.2][:dim]).double(),
        torch.randn(dim, dim, generator=torch.Generator().manual_seed(0)),
    )
    linear = linear.double()
    grid = make_grid((9,) * dim, (1.0,) * dim)
    middle = (slice(None), *(4,) * dim)
    seen = _slope((linear.T @ slope).tolist(), grid)
    found = turned(edge_products(_slope(slope.tolist(), grid), grid, 1.0), linear)
    torch.testing.assert_close(found[middle], edge_products(seen, grid, 1.0)[middle], rtol=1e-4, atol=1e-6)


def _textured(points: Tensor) -> Tensor:
    return 0.5 + make_wave(points.shape[1], 1.0, 14.0, count=8, seed=5).displacement(points).sum(1) / 12


@DIMS
@pytest.mark.parametrize("level", [0, 1])
def test_a_pair_is_most_alike_under_its_own_map(dim: int, level: int):
    """A turn in the start, a shift in the step, other axes of the moving image, and the negative."""
    start = AffineTransform(homogeneous(rotation([35.0] * (dim * (dim - 1) // 2)), (1.0, -2.0, 0.5)[:dim]))
    shift = torch.tensor([2.0, -1.5, 1.0][:dim])
    grid = centered(make_grid((30, 26, 24)[:dim], (1.0,) * dim))
    around = centered(make_grid((60,) * dim, (1.0,) * dim, ANGLES[dim]))
    fixed = Image(_textured(start(grid.points() + shift)).float().reshape(grid.shape), grid)
    moving = Image(1 - _textured(around.points()).float().reshape(around.shape), around)
    objective = Objective(fixed, moving, 1.0, similarity="edges")
    points = grid.pool((2,) * dim)

    def score(move: Tensor, begin: AffineTransform = start) -> float:
        step = Step(level, 2.0**level, points, field_on(points, lambda p: move.to(p).expand_as(p)).float())
        return float(objective.dissimilarity(step, begin))

    best = score(shift)
    assert best < 0.4 * min(score(factor * shift) for factor in (0.0, 0.3, 1.7))
    assert best < 0.4 * score(shift, AffineTransform.identity(dim))


def _pattern(dim: int, noise: float = 0.0) -> tuple[Image, Image]:
    """An image, and the same among dark surroundings of 40 points each way."""
    small = centered(make_grid((18, 22, 20)[:dim], (1.0,) * dim))
    image = Image(0.3 + 0.5 * _textured(small.points()).float().reshape(small.shape), small)
    wide = small.crop((-40,) * dim, tuple(n + 80 for n in small.shape))
    data = noise * torch.randn(wide.shape, generator=torch.Generator().manual_seed(3)).abs()
    data[tuple(slice(40, 40 + n) for n in small.shape)] += image.data
    return image, Image(data, wide)


@DIMS
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_box_of_content_leaves_out_dark_surroundings(dim: int, noise: float):
    """Noise above the level of content included, of which some points are anywhere."""
    image, around = _pattern(dim, noise)
    start, shape = content_cells(around, 1.0)
    assert all(s % CELL == 0 and 40 - 3 * CELL <= s <= 40 - 2 * CELL for s in start)
    assert all(40 + n + 2 * CELL <= s + m <= 40 + n + 3 * CELL for s, n, m in zip(start, image.grid.shape, shape, strict=True))
    if noise:
        assert content_box(around)[1] > shape
    assert content_cells(image, 1.0) == ((0,) * dim, image.grid.shape)


@DIMS
@pytest.mark.parametrize("level", [0, 1, 2])
def test_dark_surroundings_change_nothing(dim: int, level: int):
    """Left out, they leave the loss of a turned and bent image as it is, and its gradient, both to 1e-4.

    In single precision places along 100 points are known to 1e-5 of a point.
    """
    image, around = _pattern(dim)
    start = AffineTransform(homogeneous(rotation([20.0] * (dim * (dim - 1) // 2)), (1.0, -2.0, 0.5)[:dim]))
    points = image.grid.pool((2,) * dim)
    moved = field_on(points, lambda p: p.flip(1) / 9).float().requires_grad_()
    step = Step(level, 2.0**level, points, moved)
    cropped = Objective(image, around, 1.0, similarity="edges").level(level)
    whole = EdgePair(Edges.of(image, 1.0), Edges.of(around, 1.0), 2.0**level, 1.0, cropped.gain)
    assert cropped.moving_grid.num_points < 0.4 * whole.moving_grid.num_points
    losses = [pair.dissimilarity(step, start) for pair in (cropped, whole)]
    gradients = [torch.autograd.grad(loss, moved)[0] for loss in losses]
    assert losses[1] > 0.01
    assert abs(losses[0] - losses[1]) < 1e-4 * losses[1]
    assert (gradients[0] - gradients[1]).norm() < 1e-4 * gradients[1].norm()


@DIMS
def test_a_start_turns_the_tensors_of_all_scales(dim: int):
    """Also after another start has been asked for."""
    edges = Edges.of(_pattern(dim)[0], 1.0)
    first, second = (AffineTransform(homogeneous(rotation([a] * (dim * (dim - 1) // 2)), (0.0,) * dim)) for a in (20.0, 50.0))
    for start in (first, second, None, first):
        products = edges.products if start is None else turned(edges.products, start.linear)
        assert torch.equal(edges.tensors(1.0, start), normalized(products))
        assert torch.equal(edges.tensors(2.0, start), pooled(normalized(products), (2,) * dim))


def test_flat_images_match():
    flat = torch.full((6, 7), 0.3)
    assert EdgeTensors(flat, (1.0, 1.0), 1.0)(2 * flat) < 1e-8
    assert EdgeTensors(flat[:1], (1.0, 1.0), 1.0)(flat[:1]) < 1e-8


def test_a_weight_of_zero_hides_a_place():
    first, second = _image(2), _image(2)
    second[0] += 5
    seen = torch.ones(9, 8, dtype=torch.float64)
    seen[:5] = 0
    assert EdgeTensors(first, (1.0, 1.0), 1.0)(second) > 1e-3
    assert EdgeTensors(first, (1.0, 1.0), 1.0, seen)(second) < 1e-12
    assert EdgeTensors(first, (1.0, 1.0), 1.0)(second, seen) < 1e-12

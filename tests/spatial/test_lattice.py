"""Inheritance between lattices and smoothing along axes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geogrid.spatial import Grid
from geogrid.spatial.lattice import apply_per_axis, flat_index, inherit, inheritance_matrices, linear_matrix, smoothing_matrix
from tests.spatial.cases import field_on, make_grid, permuted, refused


@st.composite
def parents_and_children(draw: st.DrawFn) -> tuple[Grid, Grid]:
    """A lattice of odd or even sizes and its pooling, with two parents or more along each axis."""
    dim = draw(st.sampled_from([2, 3]))
    factors = [draw(st.integers(1, 5)) for _ in range(dim)]
    shape = [draw(st.integers(f + 1, 4 * f + 3)) for f in factors]
    spacing = [draw(st.floats(0.3, 6)) for _ in range(dim)]
    children = make_grid(shape, spacing, [draw(st.floats(-90, 90)) for _ in range(dim * (dim - 1) // 2)])
    return children.pool(factors), children


@given(parents_and_children(), st.integers(0, 100))
def test_affine_fields_survive_on_every_child(pair: tuple[Grid, Grid], seed: int):
    parents, children = pair
    generator = torch.Generator().manual_seed(seed)
    linear = torch.randn(parents.dim, parents.dim, generator=generator, dtype=torch.float64)
    inherited = inherit(field_on(parents, lambda x: x @ linear + 3), parents, children)
    torch.testing.assert_close(inherited, field_on(children, lambda x: x @ linear + 3), atol=1e-4, rtol=1e-5)


@given(parents_and_children())
def test_rows_sum_to_one(pair: tuple[Grid, Grid]):
    for matrix, parents, children in zip(inheritance_matrices(*pair), pair[0].shape, pair[1].shape, strict=True):
        assert matrix.shape == (children, parents)
        torch.testing.assert_close(matrix.sum(1), torch.ones(children))


@given(st.lists(st.integers(1, 5), min_size=2, max_size=3))
def test_flat_index_is_the_order_of_the_points(shape: list[int]):
    index = torch.cartesian_prod(*[torch.arange(n) for n in shape])
    assert torch.equal(flat_index(index.unbind(1), shape), torch.arange(len(index)))


@given(st.lists(st.integers(1, 5), min_size=2, max_size=3), st.integers(0, 100))
def test_flat_index_is_linear(shape: list[int], seed: int):
    generator = torch.Generator().manual_seed(seed)
    index, offset = torch.randint(-3, 9, (2, 7, len(shape)), generator=generator)
    total = flat_index(index.unbind(1), shape) + flat_index(offset.unbind(1), shape)
    assert torch.equal(flat_index((index + offset).unbind(1), shape), total)


def test_weights_by_hand():
    position = torch.tensor([-9.0, -0.25, 0.0, 0.5, 2.0, 2.25, 9.0], dtype=torch.float64)
    expected = [[2, -1, 0], [1.25, -0.25, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 0, 1], [0, -0.25, 1.25], [0, -1, 2]]
    assert linear_matrix(3, position).tolist() == expected
    assert linear_matrix(1, position).tolist() == [[1]] * 7


def test_children_on_their_parents_inherit_them_unchanged():
    grid = make_grid((3, 4), (2, 1), (40,))
    for matrix in inheritance_matrices(grid, grid):
        torch.testing.assert_close(matrix, torch.eye(len(matrix)), atol=1e-6, rtol=0)


def test_storage_the_other_way_round_is_followed():
    parents = make_grid((4, 3), (2, 2))
    children = Grid((4, 3), parents.affine @ torch.tensor([[-1.0, 0, 3], [0, 1, 0], [0, 0, 1]], dtype=torch.float64))
    torch.testing.assert_close(inheritance_matrices(parents, children)[0], torch.eye(4).flip(0))


def test_refuses_lattices_that_are_not_parallel():
    grid = make_grid((3, 4), (2, 1))
    for other in (make_grid((3, 4), (2, 1), (1,)), permuted(grid, (1, 0))):
        with refused("parallel axes"):
            inheritance_matrices(grid, other)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_smoothing_keeps_constants_and_sums(size: int):
    matrix = smoothing_matrix(size)
    torch.testing.assert_close(matrix.sum(1), torch.ones(size))
    torch.testing.assert_close(matrix.sum(0), torch.ones(size))


def test_smoothing_by_hand():
    assert smoothing_matrix(3).tolist() == [[0.75, 0.25, 0], [0.25, 0.5, 0.25], [0, 0.25, 0.75]]


def test_matrices_per_axis_are_a_kronecker_product(generator: torch.Generator):
    matrices = [torch.rand(n, m, generator=generator) for n, m in ((2, 3), (5, 4), (3, 2))]
    values = torch.rand(2, 3, 4, 2, generator=generator)
    expected = torch.einsum("ai,bj,ck,nijk->nabc", *matrices, values)
    torch.testing.assert_close(apply_per_axis(matrices, values), expected)

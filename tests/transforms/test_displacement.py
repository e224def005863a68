from __future__ import annotations

import pytest
import torch

from geogrid.transforms import AffineTransform, Composition, DisplacementField, compose, to_displacement
from tests.spatial.cases import make_grid, refused
from tests.transforms.cases import ANGLES, SHAPES, SPACINGS, make_wave, stretch, turn


def test_compose_applies_the_first_first():
    shift = AffineTransform(torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 0, 1]]))
    double = AffineTransform(torch.diag(torch.tensor([2.0, 2.0, 1.0])))
    point = torch.tensor([[3.0, 1.0]])
    assert compose(shift, double)(point).tolist() == [[8, 2]]
    assert compose(double, shift)(point).tolist() == [[7, 2]]
    assert compose(shift, compose(double, shift))(point).tolist() == [[9, 2]]
    assert compose(shift).dim == 2


@pytest.mark.parametrize("transforms", [(), (turn(2), turn(3))])
def test_compose_refuses(transforms: tuple[AffineTransform, ...]):
    with refused("compose", "same dimension"):
        compose(*transforms)


def test_a_field_fits_its_grid():
    with refused("displacement", "(4, 5, 2)", "(2, 4, 5)"):
        DisplacementField(torch.zeros(2, 4, 5), make_grid((4, 5), (1, 1)))


@pytest.mark.parametrize("dim", [2, 3])
def test_to_displacement_is_exact_at_the_points(dim: int):
    grid = make_grid(SHAPES[dim], SPACINGS[dim], ANGLES[dim], (9.0, -4.0, 7.0)[:dim])
    both = compose(make_wave(dim, 2.0, 20.0), turn(dim))
    field = to_displacement(both, grid)
    torch.testing.assert_close(field(grid.points()), both(grid.points()), atol=2e-4, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_an_affine_map_is_exact_between_the_points_too(dim: int, generator: torch.Generator):
    grid = make_grid(SHAPES[dim], SPACINGS[dim], ANGLES[dim])
    index = torch.rand(50, dim, generator=generator) * (torch.tensor(SHAPES[dim]) - 1)
    points = grid.index_to_world(index)
    torch.testing.assert_close(to_displacement(stretch(dim), grid)(points), stretch(dim)(points), atol=2e-4, rtol=0)


def test_between_two_points_by_hand():
    displacement = torch.zeros(3, 2, 2)
    displacement[1] = torch.tensor([4.0, -8.0])
    field = DisplacementField(displacement, make_grid((3, 2), (10, 10)))
    assert field(torch.tensor([[2.5, 0.0], [10.0, 10.0], [17.5, 5.0]])).tolist() == [[3.5, -2], [14, 2], [18.5, 3]]


def test_outside_the_voxels_points_stay_or_go_on_with_the_border():
    field = DisplacementField(torch.full((3, 3, 2), 2.0), make_grid((3, 3), (10, 10)))
    points = torch.tensor([[-4.9, 0.0], [-5.1, 0.0], [24.9, 10.0], [25.1, 10.0], [10.0, 99.0]])
    moved = [[True], [False], [True], [False], [False]]
    assert torch.equal(field(points), points + 2 * torch.tensor(moved))
    assert field.contains(points).tolist() == [m[0] for m in moved]
    extended = DisplacementField(field.displacement, field.grid, outside="extend")
    assert torch.equal(extended(points), points + 2)
    assert extended.to("cpu").outside == "extend"


def test_a_composition_of_fields_goes_through_both():
    grid = make_grid((30, 30), (1, 1))
    wave, shift = make_wave(2, 1.0, 25.0), AffineTransform(torch.tensor([[1.0, 0, 3], [0, 1, -2], [0, 0, 1]]))
    points = torch.rand(40, 2, generator=torch.Generator().manual_seed(0)) * 15 + 6
    fields = Composition((to_displacement(shift, grid), to_displacement(wave, grid)))
    torch.testing.assert_close(fields(points), wave(shift(points)), atol=0.05, rtol=0)
    assert (fields(points) - shift(wave(points))).norm(dim=1).max() > 0.2

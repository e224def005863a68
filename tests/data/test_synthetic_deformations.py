"""Random deformations: of the stated size, without folds, and the border of a sliding motion."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geogrid.data import DeformationConfig, SlidingMotion, deformation_kind, random_deformation
from geogrid.data.synthetic.noise import fractal_noise, smooth_noise
from geogrid.data.synthetic.smooth import least_determinant, smooth_deformation
from geogrid.errors import GeogridError
from geogrid.spatial import Grid
from geogrid.transforms import DisplacementField, fit_affine, jacobian_determinant, to_displacement
from tests.io.cases import make_affine

OBLIQUE = {
    2: Grid((40, 34), torch.tensor(make_affine((25,), (2, 3), (30, -20)))),
    3: Grid((20, 18, 12), torch.tensor(make_affine((20, -15, 30), (2, 2, 4), (40, -30, 10)))),
}


def rms(points: torch.Tensor) -> float:
    return float(points.double().square().sum(1).mean().sqrt())


def draw(config: DeformationConfig, dim: int, seed: int = 0) -> torch.nn.Module:
    return random_deformation(config, OBLIQUE[dim], OBLIQUE[dim], torch.Generator().manual_seed(seed))  # type: ignore[return-value]


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("part", ["smooth_mm", "brownian_mm"])
@given(seed=st.integers(0, 1000), size=st.floats(0.1, 3.0))
def test_displacements_have_the_stated_size_and_do_not_fold(dim: int, part: str, seed: int, size: float) -> None:
    truth = draw(DeformationConfig(**{part: (size, size)}), dim, seed)
    points = OBLIQUE[dim].points()
    assert rms(truth(points) - points) == pytest.approx(size, rel=2e-3)
    assert float(jacobian_determinant(to_displacement(truth, OBLIQUE[dim])).min()) > 0


@pytest.mark.parametrize("dim", [2, 3])
def test_what_would_fold_is_scaled_down(dim: int) -> None:
    grid = OBLIQUE[dim].straight()
    velocity = smooth_noise(grid, 20.0, dim, torch.Generator().manual_seed(1))
    field = smooth_deformation(velocity, grid, grid.points(), 40.0, 0.3)
    size = rms(field(grid.points()) - grid.points())
    assert 1 < size < 39
    assert least_determinant(field) >= 0.3
    assert float(jacobian_determinant(field).min()) > 0


@pytest.mark.parametrize("dim", [2, 3])
def test_between_the_corners_the_determinant_is_no_smaller(dim: int) -> None:
    """Where the checked minimum is reached, at random places inside cells, by central differences of the map itself."""
    grid = OBLIQUE[dim].straight()
    velocity = fractal_noise(grid, (8.0, 32.0), 0.5, dim, torch.Generator().manual_seed(2)).double()
    field = smooth_deformation(velocity, grid, grid.points().double(), 40.0, 0.3)
    shares = torch.rand(20000, dim, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    places = grid.index_to_world(shares * (torch.tensor(grid.shape) - 1))
    columns = [(field(places + 1e-5 * axis) - field(places - 1e-5 * axis)) / 2e-5 for axis in torch.eye(dim).double()]
    assert float(torch.linalg.det(torch.stack(columns, -1)).min()) >= 0.3


@pytest.mark.parametrize("dim", [2, 3])
def test_the_least_determinant_of_an_affine_map_is_its_determinant(dim: int) -> None:
    grid = OBLIQUE[dim]
    matrix = torch.eye(dim) + 0.2 * torch.rand(dim, dim, generator=torch.Generator().manual_seed(0))
    points = grid.points()
    field = DisplacementField((points @ matrix.T - points).reshape(*grid.shape, dim), grid)
    assert least_determinant(field) == pytest.approx(float(torch.linalg.det(matrix)), rel=1e-3)


def test_the_least_determinant_sees_a_fold_of_one_cell() -> None:
    grid = Grid((6, 6), torch.eye(3))
    field = torch.zeros(6, 6, 2)
    field[3, 3, 0] = 1.2
    assert least_determinant(DisplacementField(field, grid)) == pytest.approx(-0.2)
    assert float(jacobian_determinant(DisplacementField(field, grid)).min()) > 0


@pytest.mark.parametrize("dim", [2, 3])
def test_affine_parts_have_the_stated_sizes(dim: int) -> None:
    grid = OBLIQUE[dim]
    for seed in range(5):
        turn = draw(DeformationConfig(rotation_degrees=(30, 30), shift_mm=(7, 7)), dim, seed)
        matrix = fit_affine(turn, grid).matrix
        torch.testing.assert_close(matrix[:-1, :-1] @ matrix[:-1, :-1].T, torch.eye(dim).double(), atol=1e-6, rtol=0)
        cosine = (matrix[:-1, :-1].trace() - (dim - 2)) / 2
        assert math.degrees(math.acos(cosine)) == pytest.approx(30, abs=1e-3)
        assert float((turn(grid.center[None]) - grid.center).norm()) == pytest.approx(7, abs=1e-5)
        stretch = draw(DeformationConfig(scale=1.4), dim, seed).transforms[-1].linear
        factors = torch.linalg.svdvals(stretch)
        assert 1 / 1.4 <= float(factors.min()) < float(factors.max()) <= 1.4


@pytest.mark.parametrize("dim", [2, 3])
def test_the_middle_of_the_fixed_grid_goes_to_the_middle_of_the_moving_one(dim: int) -> None:
    fixed, moving = OBLIQUE[dim], Grid((10,) * dim, torch.eye(dim + 1))
    truth = random_deformation(DeformationConfig(scale=1.3), fixed, moving, torch.Generator().manual_seed(0))
    torch.testing.assert_close(truth(fixed.center[None])[0], moving.center)


@pytest.mark.parametrize("dim", [2, 3])
def test_sides_slip_along_the_border_and_nothing_else_jumps(dim: int) -> None:
    truth = draw(DeformationConfig(slip_mm=(6, 6)), dim, 3)
    motion = truth.transforms[0]
    assert isinstance(motion, SlidingMotion)
    points = OBLIQUE[dim].points().double()
    distance = motion.distance(points)
    assert bool((distance > 1).any())
    assert bool((distance < -1).any())
    moved = motion(points) - points
    assert float((moved @ motion.normal).abs().max()) < 1e-9
    slip = moved[distance >= 0][0] - moved[distance < 0][0]
    assert float(slip.norm()) == pytest.approx(6)
    assert float(moved[distance >= 0].std(0).max()) < 1e-9
    assert float(moved[distance < 0].std(0).max()) < 1e-9
    torch.testing.assert_close(motion.distance(motion(points)), distance)


def test_bent_borders_still_slip_by_the_stated_size() -> None:
    """Next to the border in fixed space the two sides part by the slip, along the border in moving space."""
    config = DeformationConfig(slip_mm=(6, 6), smooth_mm=(4, 4), rotation_degrees=(40, 40))
    truth = draw(config, 2, 1)
    smooth, motion, affine = truth.transforms
    points = OBLIQUE[2].points()
    side = (motion.distance(smooth(points)) >= 0).reshape(OBLIQUE[2].shape)
    moved = truth(points).reshape(*OBLIQUE[2].shape, 2)
    unslipped = affine(smooth(points)).reshape(*OBLIQUE[2].shape, 2)
    axis = int(side.diff(dim=1).sum() > side.diff(dim=0).sum())
    step, plain, crossing = moved.diff(dim=axis), unslipped.diff(dim=axis), side.diff(dim=axis)
    assert 10 < int(crossing.sum()) < 100
    torch.testing.assert_close(step[~crossing], plain[~crossing], atol=1e-4, rtol=0)
    jump = (step - plain)[crossing]
    torch.testing.assert_close(jump.norm(dim=1), torch.full((len(jump),), 6.0), atol=1e-4, rtol=0)
    normal = (affine.linear @ motion.normal).float()
    assert float((jump @ normal).abs().max()) < 1e-3


def test_a_tangent_must_lie_in_the_border() -> None:
    with pytest.raises(GeogridError, match="orthogonal"):
        SlidingMotion(torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([0.6, 0.8]), 6.0)


@pytest.mark.parametrize("dim", [2, 3])
def test_noise_has_unit_variance_and_its_wavelength_in_mm(dim: int) -> None:
    """The same noise on a lattice of half the spacing is as strong, and its neighbours differ half as much."""
    differences = []
    for step in (1.0, 2.0):
        grid = Grid((100 if dim == 2 else 40,) * dim, torch.diag(torch.tensor([step] * dim + [1.0])))
        noise = smooth_noise(grid, 12.0, 6, torch.Generator().manual_seed(0))
        assert float(noise.var()) == pytest.approx(1, abs=0.2)
        differences.append(float(noise.diff(dim=1).square().mean().sqrt()))
    assert differences[1] / differences[0] == pytest.approx(2, rel=0.15)


def test_rough_noise_has_more_at_short_distances() -> None:
    grid = Grid((120, 120), torch.eye(3))
    rough, smooth = (fractal_noise(grid, (4.0, 64.0), hurst, 4, torch.Generator().manual_seed(0)) for hurst in (0.2, 1.0))
    assert float(rough.var()) == pytest.approx(1, abs=0.35)
    assert float(rough.diff(dim=1).var()) > 4 * float(smooth.diff(dim=1).var())


@pytest.mark.parametrize("kind", ["affine", "smooth", "brownian", "sliding", "mixed"])
def test_kinds(kind: str) -> None:
    none, some = (draw(deformation_kind(kind, mm), 2) for mm in (0.0, 5.0))  # type: ignore[arg-type]
    points = OBLIQUE[2].points()
    assert rms(some(points) - points) > 2
    if kind not in ("affine", "mixed"):
        torch.testing.assert_close(none(points), points)


@pytest.mark.parametrize(
    "wrong",
    [
        {"smooth_mm": (3, 2)},
        {"slip_mm": (-1, 2)},
        {"scale": 0.9},
        {"rotation_degrees": (0, 200)},
        {"roughness": 2},
        {"shift_mm": (0, math.nan)},
        {"brownian_wavelength_mm": (0, 1)},
    ],
    ids=lambda w: next(iter(w)),
)
def test_sizes_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(GeogridError, match=next(iter(wrong))):
        DeformationConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(GeogridError, match="expected one of"):
        deformation_kind("smooth", -1.0)

"""Registration of images of which one or both have thick slices."""

from __future__ import annotations

import pytest

from geogrid.models import load_weights
from geogrid.optimize.pipeline import OptimizeConfig, Solution, _comparable, _for_slices, answer_pair, optimize_pair
from geogrid.spatial import Image
from geogrid.spatial.pyramid import pool_values
from tests.optimize.cases import errors_mm, on_grid
from tests.spatial.cases import centered, make_grid, permuted
from tests.transforms.cases import Wave, make_wave

FACTOR = 4
TRUST = OptimizeConfig(affine="none")


def _thick(image: Image) -> Image:
    factors = (1, 1, FACTOR)
    return Image(pool_values(image.data, factors), image.grid.pool(factors))


def _problem() -> tuple[Image, Image, Wave]:
    """The phantom seen through waves of some mm, and the phantom: ``fixed(x) = moving(wave(x))``."""
    wave = make_wave(3, 5.0, 120.0, count=2, seed=1)
    grid = centered(make_grid((36, 44, 40), (4.5,) * 3))
    return on_grid(grid, wave), on_grid(grid), wave


def _error(fixed: Image, moving: Image, wave: Wave, config: OptimizeConfig = TRUST) -> float:
    return _miss(optimize_pair(fixed, moving, config), fixed, wave)


def _miss(solution: Solution, fixed: Image, wave: Wave) -> float:
    return float(errors_mm(solution.trajectory.transform(solution.domain), wave, fixed.grid).mean())


def test_images_of_even_voxels_and_their_settings_stay():
    fixed, moving, _ = _problem()
    seen = _comparable(fixed, moving, 4.5)
    assert seen[0] is fixed
    assert seen[1] is moving
    assert _for_slices(TRUST, 1) == TRUST


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_an_image_seen_through_the_slices_of_the_other_is_placed_better(side: str, monkeypatch: pytest.MonkeyPatch):
    fixed, moving, wave = _problem()
    pair = (_thick(fixed), moving) if side == "fixed" else (fixed, _thick(moving))
    found = _error(*pair, wave)
    monkeypatch.setattr("geogrid.optimize.pipeline._comparable", lambda fixed, moving, scale: (fixed, moving))
    assert found < 0.9 * _error(*pair, wave)


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_a_model_is_shown_the_other_image_seen_through_the_slices(side: str, monkeypatch: pytest.MonkeyPatch):
    fixed, moving, wave = _problem()
    pair = (_thick(fixed), moving) if side == "fixed" else (fixed, _thick(moving))
    model = load_weights("synth-3d")
    found = _miss(answer_pair(model, *pair, TRUST), fixed, wave)
    monkeypatch.setattr("geogrid.optimize.pipeline._comparable", lambda fixed, moving, scale: (fixed, moving))
    assert found < _miss(answer_pair(model, *pair, TRUST), fixed, wave)


def test_thick_slices_get_more_iterations():
    config = _for_slices(TRUST, FACTOR)
    assert config.instance.iterations == (2 * TRUST.instance.iterations[0], *TRUST.instance.iterations[1:])


def test_the_order_of_storage_does_not_matter():
    fixed, moving, wave = _problem()
    thick = _thick(moving)
    turned = Image(thick.data.permute(2, 0, 1), permuted(thick.grid, (2, 0, 1)))
    assert _error(fixed, turned, wave) == pytest.approx(_error(fixed, thick, wave), abs=1e-3)

"""Registration of images of which one or both have thick slices."""

from __future__ import annotations

import pytest

from geogrid.optimize.pipeline import OptimizeConfig, _comparable, _for_slices, optimize_pair
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
    solution = optimize_pair(fixed, moving, config)
    return float(errors_mm(solution.trajectory.transform(solution.domain), wave, fixed.grid).mean())


def test_images_of_even_voxels_and_their_settings_stay():
    fixed, moving, _ = _problem()
    seen = _comparable(fixed, moving, 4.5)
    assert seen[0] is fixed
    assert seen[1] is moving
    assert _for_slices(TRUST, 1) == TRUST


@pytest.mark.parametrize("which", ["fixed", "moving", "both"])
def test_a_smooth_field_is_recovered_from_thick_slices(which: str, monkeypatch: pytest.MonkeyPatch):
    fixed, moving, wave = _problem()
    pair = _thick(fixed) if which != "moving" else fixed, _thick(moving) if which != "fixed" else moving
    found = _error(*pair, wave)
    before = float((wave(fixed.grid.points().double()) - fixed.grid.points()).norm(dim=1).mean())
    assert found < 0.5 * before
    monkeypatch.setattr("geogrid.optimize.pipeline._comparable", lambda fixed, moving, scale: (fixed, moving))
    monkeypatch.setattr("geogrid.optimize.pipeline._for_slices", lambda config, parts: config)
    print(which, before, found, _error(*pair, wave))


def test_the_order_of_storage_does_not_matter():
    fixed, moving, wave = _problem()
    thick = _thick(moving)
    turned = Image(thick.data.permute(2, 0, 1), permuted(thick.grid, (2, 0, 1)))
    assert _error(fixed, turned, wave) == pytest.approx(_error(fixed, thick, wave), abs=1e-3)

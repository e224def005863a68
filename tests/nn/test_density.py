"""Law (c): with measure and taper, a layer of attention gives the same on a cloud of uneven density."""

from __future__ import annotations

from statistics import median

import pytest

from tests.nn.density import MEASURES, RATIO, RIMS, SPARSE, Experiment, Result, compare, medians

SEEDS = range(5)
NEITHER, BOTH = ("hard rim", "no measure"), ("taper", "point_volumes")
MEASURED = {
    2: {
        (40, "hard rim"): (0.153, 0.141, 0.065),
        (40, "taper"): (0.107, 0.105, 0.039),
        (160, "hard rim"): (0.120, 0.063, 0.025),
        (160, "taper"): (0.077, 0.048, 0.0103),
    },
    3: {
        (40, "hard rim"): (0.186, 0.173, 0.119),
        (40, "taper"): (0.157, 0.151, 0.092),
        (160, "hard rim"): (0.118, 0.081, 0.046),
        (160, "taper"): (0.079, 0.067, 0.024),
    },
}
"""Relative errors without a measure, with that of the known density and with that of point_volumes, medians of five seeds."""
CORRELATION = {2: {40: 0.999, 160: 0.9998}, 3: {40: 0.995, 160: 0.9995}}
"""With both; measured .9992, .9999, .9957 and .9997."""
FACTOR = {2: {40: 2.5, 160: 6.0}, 3: {40: 1.8, 160: 4.0}}
"""Error with neither over error with both, in every seed; of ten, medians 3.9, 10.0, 2.2, 4.6, worst 2.5, 6.2, 1.9, 4.0."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[2, 3])
def dim(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def found(dim: int) -> list[Result]:
    return [compare(seed, dim) for seed in SEEDS]


def test_errors_stay_where_they_are(found: list[Result], dim: int) -> None:
    result = medians(found)
    for (sparse, rim), errors in MEASURED[dim].items():
        for measure, error in zip(MEASURES, errors, strict=True):
            assert result[sparse, rim, measure][1] == pytest.approx(error, rel=0.1), (sparse, rim, measure)


@pytest.mark.parametrize("sparse", SPARSE)
def test_with_both_the_features_are_those_of_an_even_sampling(found: list[Result], dim: int, sparse: int) -> None:
    assert medians(found)[sparse, *BOTH][0] >= CORRELATION[dim][sparse]


@pytest.mark.parametrize("sparse", SPARSE)
def test_with_both_the_error_is_several_times_smaller_than_with_neither(found: list[Result], dim: int, sparse: int) -> None:
    for one in found:
        assert one[sparse, *NEITHER][1] >= FACTOR[dim][sparse] * one[sparse, *BOTH][1]


@pytest.mark.parametrize("rim", RIMS)
@pytest.mark.parametrize("sparse", SPARSE)
def test_a_measure_helps_with_either_rim(found: list[Result], sparse: int, rim: str) -> None:
    result = medians(found)
    none, known, volumes = (result[sparse, rim, measure][1] for measure in MEASURES)
    assert 1.4 * volumes < known < none


def test_four_times_the_points_help_only_with_a_measure(found: list[Result]) -> None:
    """Measured with both 3.8 in 2-D and in 3-D, with neither 1.3 and 1.6: what is left there is the density, not chance."""
    gains = {key: median(one[40, *key][1] / one[160, *key][1] for one in found) for key in (NEITHER, BOTH)}
    assert gains[BOTH] > 3
    assert gains[NEITHER] < 1.8


def test_the_cloud_is_as_uneven_as_said(dim: int) -> None:
    points, density = Experiment.draw(0, dim).cloud(160)
    assert float(density.max() / density.min()) == pytest.approx(RATIO, rel=0.02)
    edge = float(points.max()) / 8
    first, last = ((points[:, 0] // edge == part).sum() for part in (0, 7))
    assert float(last / first) == pytest.approx(RATIO ** (7 / 8), rel=0.15)

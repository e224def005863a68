"""Memory is estimated before the work, and refusals name what would fit."""

from __future__ import annotations

import re

import pytest

from geogrid.errors import GeogridError
from geogrid.optimize.memory import check_memory, estimate_bytes
from tests.spatial.cases import make_grid, refused

SMALL, LARGE = make_grid((100, 100, 80), (2, 2, 2)), make_grid((200, 200, 160), (1, 1, 1))
GIB = 2**30


def test_larger_grids_and_finer_scales_need_more():
    sizes = [estimate_bytes(*grids, 2.0) for grids in ((SMALL, SMALL), (SMALL, LARGE), (LARGE, LARGE))]
    assert sizes == sorted(set(sizes))
    scales = [estimate_bytes(LARGE, LARGE, scale) for scale in (8.0, 4.0, 2.0, 1.0)]
    assert scales == sorted(set(scales))


def test_what_fits_passes():
    needed = estimate_bytes(LARGE, SMALL, 1.0)
    assert check_memory(LARGE, SMALL, 1.0, needed) == needed
    with refused("not enough memory"):
        check_memory(LARGE, SMALL, 1.0, needed - 1)


@pytest.mark.parametrize("share", [0.95, 0.8, 0.7])
def test_the_resolution_that_is_named_fits(share: float):
    available = int(share * estimate_bytes(LARGE, LARGE, 1.0))
    with pytest.raises(GeogridError, match=f"{available / GIB:.1f} GiB are free") as caught:
        check_memory(LARGE, LARGE, 1.0, available)
    named = re.search(r"--resolution ([\d.]+)", str(caught.value))
    assert named is not None
    assert float(named[1]) > 1
    assert check_memory(LARGE, LARGE, float(named[1]), available) <= available


def test_where_nothing_fits_no_resolution_is_named():
    with refused("no resolution fits", "crop or downsample"):
        check_memory(LARGE, LARGE, 1.0, GIB // 2)


def test_the_machine_is_asked_by_default():
    tiny = make_grid((8, 8), (1, 1))
    assert check_memory(tiny, tiny, 1.0) == estimate_bytes(tiny, tiny, 1.0)

"""Images against scattered samples of images, either way round, from Python and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
import torch

import geogrid
from geogrid.errors import GeogridError
from geogrid.io import PointTable, read_displacement, read_points, write_points
from geogrid.transforms import DisplacementField, carry_points
from tests.data.runs import run
from tests.samples import errors, fixed_shown, on_grid, scattered, shown

SPACINGS = {2: 1.6, 3: 2.6}
GRIDS = {2: (1.0, 2.0), 3: (2.0, 2.0, 4.0)}


def source(side: str, dim: int, kind: str) -> Any:
    image = fixed_shown if side == "fixed" else shown
    if kind == "samples":
        return scattered(image, dim, SPACINGS[dim], seed=len(side))
    return on_grid(image, GRIDS[dim] if side == "fixed" else GRIDS[dim][::-1], degrees=20 if side == "moving" else 0)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(
    ("fixed", "moving"), [("image", "image"), ("image", "samples"), ("samples", "image"), ("samples", "samples")]
)
def test_the_map_is_found_on_every_sampling(dim: int, fixed: str, moving: str) -> None:
    options = {"intensity": "intensity"} if "image" not in (fixed, moving) else {}
    found = geogrid.register(source("fixed", dim, fixed), source("moving", dim, moving), **options)
    assert isinstance(found, geogrid.Registration)
    error = errors(found.transform, dim)
    assert error.before > 3
    print(dim, fixed, moving, error)
    assert error.after < 0.2 * error.before

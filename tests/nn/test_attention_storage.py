"""The storage order of a grid changes nothing, when the layer computes in the frame of the closest canonical storage."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geogrid.graph import lattice_window
from geogrid.io.storage import Storage
from geogrid.nn import AttentionOutput, NeighborAttention
from geogrid.spatial import Grid
from tests.nn.cases import make_layer
from tests.spatial.cases import flipped, make_grid, permuted

CODES = {2: ["RA", "LP", "AR", "PR"], 3: ["RAS", "LPS", "PSR", "LIA"]}
ANGLES = {2: [(0.0,), (20.0,)], 3: [(0.0, 0.0, 0.0), (12.0, -7.0, 20.0)]}
LETTERS = {"R": (0, False), "L": (0, True), "A": (1, False), "P": (1, True), "S": (2, False), "I": (2, True)}
SCALE = 2.0


def stored_as(code: str, grid: Grid, values: Tensor) -> tuple[Grid, Tensor]:
    """A grid in RAS storage and its values ``(*shape, channels)``, in the storage of the code."""
    order = [LETTERS[letter][0] for letter in code]
    grid, values = permuted(grid, order), values.permute(*order, -1)
    for axis, letter in enumerate(code):
        if LETTERS[letter][1]:
            grid, values = flipped(grid, axis), values.flip(axis)
    return grid, values


def attend(
    layer: NeighborAttention, grid: Grid, values: Tensor, queries: tuple[Tensor, Tensor], canonical: Grid
) -> AttentionOutput:
    """At fixed points of the world, with the image as context."""
    x, pos = queries
    near = lattice_window(grid, pos, 4 * SCALE)
    points = grid.index_to_world(grid.indices().double())
    options = {"frame": canonical.frame, "spacing": canonical.spacing.tolist(), "return_offset": True, "return_cost": True}
    return layer((values.reshape(-1, values.shape[-1]), x), (points, pos), near, scale=SCALE, **options)


@pytest.mark.parametrize(("dim", "code"), [(dim, code) for dim, codes in CODES.items() for code in codes])
@pytest.mark.parametrize("oblique", [False, True])
def test_storage_changes_nothing(dim: int, code: str, oblique: bool, generator: torch.Generator) -> None:
    layer = make_layer("taper", dim, torch.float64, in_channels=(6, 6))
    grid = make_grid((7, 5, 6)[:dim], (1.5, 2.0, 3.0)[:dim], ANGLES[dim][oblique], (3.0, -50.0, 7.0)[:dim])
    values = torch.randn(*grid.shape, 6, generator=generator, dtype=torch.float64)
    index = torch.rand(40, dim, generator=generator, dtype=torch.float64) * (torch.tensor(grid.shape) + 1) - 1
    queries = (torch.randn(40, 6, generator=generator, dtype=torch.float64), grid.index_to_world(index))
    stored, as_stored = stored_as(code, grid, values)
    canonical = Storage(stored.shape, stored.affine).grid()
    expected, found = attend(layer, grid, values, queries, grid), attend(layer, stored, as_stored, queries, canonical)
    for name in ("update", "coverage", "offset", "cost"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-10, rtol=1e-10)
    assert (expected.coverage > 0).sum() > 30
    if code not in ("RA", "RAS"):
        other = attend(layer, stored, as_stored, queries, stored)
        assert (other.update - expected.update).abs().max() > 1e-2


@pytest.mark.parametrize("code", CODES[3])
def test_storage_changes_nothing_at_the_grid_itself(code: str, generator: torch.Generator) -> None:
    """Self-attention of an image: the values move with the voxels."""
    layer = make_layer("taper", 3, torch.float64, in_channels=(6, 6))
    grid = make_grid((5, 4, 6), (1.5, 2.0, 3.0), (12.0, -7.0, 20.0), (3.0, -50.0, 7.0))
    values = torch.randn(*grid.shape, 6, generator=generator, dtype=torch.float64)

    def update(own: Grid, x: Tensor) -> Tensor:
        pos = own.index_to_world(own.indices().double())
        found = attend(layer, own, x, (x.reshape(-1, 6), pos), Storage(own.shape, own.affine).grid())
        return found.update.reshape(*own.shape, -1)

    stored, as_stored = stored_as(code, grid, values)
    torch.testing.assert_close(update(stored, as_stored), stored_as(code, grid, update(grid, values))[1], atol=1e-10, rtol=0)

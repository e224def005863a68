"""Distances between clouds: known answers and laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from geogrid.metrics import cloud_distances
from tests.io.cases import refused


def test_known_answers() -> None:
    found = cloud_distances(torch.tensor([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]]), torch.tensor([[0.0, 3.0, 4.0]]))
    assert found.hausdorff_mm == pytest.approx(125**0.5)
    assert found.chamfer_mm == pytest.approx(((5 + 125**0.5) / 2 + 5) / 2)


@pytest.mark.parametrize("dim", [2, 3])
def test_as_scipy_and_numpy_have_it(dim: int, generator: torch.Generator) -> None:
    first, second = (torch.randn(n, dim, generator=generator, dtype=torch.float64) for n in (301, 97))
    ways = [cKDTree(b.numpy()).query(a.numpy())[0] for a, b in ((first, second), (second, first))]
    found = cloud_distances(first, second)
    assert found.chamfer_mm == pytest.approx(sum(way.mean() for way in ways) / 2)
    assert found.hausdorff_mm == pytest.approx(max(way.max() for way in ways))
    assert found.hd95_mm == pytest.approx(max(np.percentile(way, 95) for way in ways))


def test_laws(generator: torch.Generator) -> None:
    first, second = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (60, 50))
    found = cloud_distances(first, second)
    assert cloud_distances(second, first) == found
    assert cloud_distances(first, first.flip(0)).hausdorff_mm == 0
    assert cloud_distances(3 * first, 3 * second).chamfer_mm == pytest.approx(3 * found.chamfer_mm)
    assert found.chamfer_mm <= found.hd95_mm <= found.hausdorff_mm


def test_clouds_that_do_not_fit_are_refused() -> None:
    with refused("query", "2", "3"):
        cloud_distances(torch.zeros(4, 2), torch.zeros(4, 3))

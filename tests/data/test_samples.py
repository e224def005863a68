"""The brain that nilearn ships."""

from __future__ import annotations

import sys

import pytest
import torch

from geogrid.data import mni152, mni152_tissues
from tests.io.cases import refused


def test_template_and_tissues_share_a_grid() -> None:
    pytest.importorskip("nilearn")
    template, tissues = mni152(4), mni152_tissues(4)
    assert template.image.grid.same_space(tissues.image.grid)
    torch.testing.assert_close(template.image.grid.spacing, torch.full((3,), 4.0, dtype=torch.float64))
    assert tissues.image.data.unique().tolist() == [0, 1, 2]
    gray, white = (float(template.image.data[tissues.image.data == label].mean()) for label in (1, 2))
    assert 0 < gray < white, "white matter is the brightest in T1"
    center = tissues.image.grid.points()[tissues.image.data.reshape(-1) > 0].mean(0)
    assert center.norm() < 40, "MNI space has its origin inside the brain"


def test_without_nilearn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nilearn.datasets", None)
    with refused("MNI152", "nilearn", "pip install 'geogrid[demo]'"):
        mni152()

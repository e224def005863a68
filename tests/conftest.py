"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
import torch

ROOT = Path(__file__).parent.parent

hypothesis.settings.register_profile("geogrid", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.load_profile("geogrid")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project."""
    return ROOT


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of random numbers."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real scans that are not part of the project."""
    folder = os.environ.get("GEOGRID_TEST_DATA")
    if not folder:
        pytest.skip("needs the real scans: set GEOGRID_TEST_DATA to their folder")
    if not Path(folder).is_dir():
        pytest.fail(f"GEOGRID_TEST_DATA: {folder} is not a folder")
    return Path(folder)

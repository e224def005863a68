"""Images of every orientation, and a check of how errors are told."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import strategies as st

from geogrid.errors import GeogridError


def rotation(angles: tuple[float, ...]) -> np.ndarray:
    """A rotation matrix from one angle (2-D) or three (3-D), degrees."""
    planes = [(0, 1)] if len(angles) == 1 else [(0, 1), (1, 2), (0, 2)]
    matrix = np.eye(2 if len(angles) == 1 else 3)
    for angle, (a, b) in zip(np.radians(angles), planes, strict=True):
        turn = np.eye(len(matrix))
        turn[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        matrix = turn @ matrix
    return matrix


def make_affine(angles: tuple[float, ...], spacing: tuple[float, ...], origin: tuple[float, ...]) -> np.ndarray:
    """An oblique, anisotropic affine, ``(dim + 1, dim + 1)``."""
    dim = len(spacing)
    affine = np.eye(dim + 1)
    affine[:dim, :dim] = rotation(angles) @ np.diag(spacing)
    affine[:dim, dim] = origin
    return affine


def restore(
    array: np.ndarray, affine: np.ndarray, axes: tuple[int, ...], flips: tuple[bool, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The same image with its index axes permuted, then flipped: independent of the code under test."""
    dim = len(axes)
    array = np.transpose(array, (*axes, *range(dim, array.ndim)))
    affine = affine[:, [*axes, dim]].copy()
    for axis in range(dim):
        if flips[axis]:
            array = np.flip(array, axis)
            affine[:, dim] += affine[:, axis] * (array.shape[axis] - 1)
            affine[:, axis] *= -1
    return np.ascontiguousarray(array), affine


def orientations(dim: int) -> list[tuple[tuple[int, ...], tuple[bool, ...]]]:
    """All flips and permutations of ``dim`` axes."""
    return list(product(permutations(range(dim)), product((False, True), repeat=dim)))


@st.composite
def affines(draw: st.DrawFn, dim: int) -> np.ndarray:
    """Any orientation, spacing and origin, 45 degrees included."""
    angle = st.one_of(st.sampled_from([0.0, 45.0, 90.0, -135.0, 180.0]), st.floats(-180, 180))
    angles = tuple(draw(angle) for _ in range(1 if dim == 2 else 3))
    spacing = tuple(draw(st.floats(0.3, 8)) for _ in range(dim))
    origin = tuple(draw(st.floats(-200, 200)) for _ in range(dim))
    return make_affine(angles, spacing, origin)


@contextmanager
def refused(name: object, *words: str) -> Iterator[None]:
    """Expects a ``GeogridError`` of one line that names the file and says each of ``words``."""
    with pytest.raises(GeogridError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert str(name) in message
    for word in words:
        assert re.search(re.escape(word), message), f"{word!r} is not in {message!r}"


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Drops root's right to read and write everything, so that permissions mean something."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def values_of(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random float32 values above 1."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32) + np.float32(1)

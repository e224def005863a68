"""How a file lays out the image it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations, product
from typing import Any, TypeVar

import numpy as np
import torch
from nibabel.nifti1 import Nifti1Header
from numpy.typing import NDArray
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial import Grid

Array = TypeVar("Array", NDArray[Any], Tensor)


@dataclass(frozen=True, eq=False)
class Storage:
    """How a file, or the caller's array, lays out an image; and the way to closest-canonical (RAS) storage and back.

    Canonical storage is the flip and permutation of the index axes that brings them closest to right, anterior, superior
    (x, y in 2-D). It moves values without changing them; what obliqueness is left stays in the affine. It depends on where the
    voxels are in the world alone, so two files that differ by a flip or permutation have the same canonical image.

    Args:
        shape: number of voxels along each index axis, as stored, 2 or 3 of them.
        affine: ``(dim + 1, dim + 1)`` index-to-world matrix in mm, RAS+, for the stored index order; kept in float64.
        header: the NIfTI header with the file's sform and qform, or None when it has none.

    Attributes:
        axes: the stored axis that becomes each canonical axis.
        flips: whether each canonical axis runs against the stored one.

    Raises:
        GeogridError: for a singular or sheared affine.

    Example:
        >>> storage = Storage((4, 5), torch.tensor([[-2.0, 0.0, 6.0], [0.0, 3.0, 0.0], [0.0, 0.0, 1.0]]))
        >>> storage.flips, storage.grid().affine[:, 2].tolist()
        ((True, False), [0.0, 0.0, 1.0])
    """

    shape: tuple[int, ...]
    affine: Tensor
    header: Nifti1Header | None = None
    axes: tuple[int, ...] = field(init=False)
    flips: tuple[bool, ...] = field(init=False)

    def __post_init__(self) -> None:
        stored = Grid(self.shape, torch.as_tensor(self.affine))
        axes, flips = _closest_canonical(stored.frame)
        object.__setattr__(self, "shape", stored.shape)
        object.__setattr__(self, "affine", stored.affine)
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "flips", flips)

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        return len(self.shape)

    def grid(self) -> Grid:
        """The canonical grid, mm."""
        affine = self.affine.clone()
        for axis, (stored, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            column = self.affine[:, stored]
            affine[:, axis] = -column if flip else column
            if flip:
                affine[:, -1] += column * (self.shape[stored] - 1)
        return Grid(tuple(self.shape[a] for a in self.axes), affine + 0.0)

    def to_canonical(self, array: Array) -> Array:
        """Brings an array ``(*shape, ...)`` of the file's storage to canonical storage; a view where possible.

        Axes after the space axes (components) stay where they are, and so do the components' values.
        """
        self._check(tuple(array.shape), self.shape)
        return _flip(_permute(array, self.axes), self.flips)

    def from_canonical(self, array: Array) -> Array:
        """Brings an array ``(*grid().shape, ...)`` of canonical storage to the file's; undoes :meth:`to_canonical` exactly."""
        self._check(tuple(array.shape), tuple(self.shape[a] for a in self.axes))
        return _permute(_flip(array, self.flips), tuple(self.axes.index(a) for a in range(self.dim)))

    def _check(self, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
        if shape[: self.dim] != expected:
            raise GeogridError(f"array: expected the storage's shape {expected}, got {shape}")


def _closest_canonical(frame: Tensor) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Of all flipped permutations of the axes the one of the largest trace; ties (45 degrees) go to the first by value."""
    dim = len(frame)
    candidates = []
    for axes, flips in product(permutations(range(dim)), product((False, True), repeat=dim)):
        signs = torch.tensor([-1.0 if f else 1.0 for f in flips], dtype=torch.float64)
        turned = frame[:, list(axes)] * signs
        candidates.append((float(turned.trace()), turned.mul(1e5).round().flatten().tolist(), axes, flips))
    best = max(trace for trace, *_ in candidates)
    _, _, axes, flips = max((c for c in candidates if c[0] > best - 1e-5), key=lambda c: c[1])
    return axes, flips


def _permute(array: Array, axes: Sequence[int]) -> Array:
    order = (*axes, *range(len(axes), array.ndim))
    return array.permute(order) if isinstance(array, Tensor) else np.transpose(array, order)


def _flip(array: Array, flips: Sequence[bool]) -> Array:
    axes = tuple(axis for axis, flip in enumerate(flips) if flip)
    return array.flip(axes) if isinstance(array, Tensor) else np.flip(array, axes)

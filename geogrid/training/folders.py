"""Pairs of images from a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from geogrid.data import Landmarks, PairBatch
from geogrid.errors import GeogridError
from geogrid.io import read_image, read_labels, read_points
from geogrid.io.itk import ITK_SUFFIXES
from geogrid.io.nifti import NIFTI_SUFFIXES
from geogrid.spatial import Grid, Image, PointCloud, scale_intensities
from geogrid.spatial.intensity import content_box
from geogrid.spatial.pyramid import pool_values
from geogrid.training.file_pairs import FilePairs
from geogrid.transforms import AffineTransform, warp_image, warp_labels

IMAGE_ENDINGS = tuple(ending for ending in (*NIFTI_SUFFIXES, *ITK_SUFFIXES) if not ending.startswith(".img"))
"""A .img goes with its .hdr."""


@dataclass(frozen=True)
class ImagesConfig:
    """Pairs of images in a folder, all of them with each other in both directions, or those of a list.

    Intensities are scaled as :func:`geogrid.spatial.scale_intensities` does. Labels and landmarks have the names of their
    images, but for the suffix: ``anna.nii.gz``, ``anna.csv``.

    Args:
        folder: of the images.
        labels: folder of integer label maps on the grids of the images, or None.
        landmarks: folder of CSV tables of points in world mm, row i of all tables the same landmark, or None.
        pairs: CSV table with the columns ``fixed`` and ``moving``, names of files in the folder; default all pairs.
        pattern: of the names of the images.
        coordinates: of the landmarks, ``ras`` or ``lps``.
        spacing: mm to which all images are brought, one number; default each its own.
        shape: points along each axis to which all images are cropped or padded around their content; default as they are.
        placement: ``world``: images stay where their headers put them; ``centre``: the middle of each image's content comes
            to the origin of the world first.
        keep: images that stay in memory.

    Raises:
        GeogridError: for values out of their range.
    """

    folder: str
    labels: str | None = None
    landmarks: str | None = None
    pairs: str | None = None
    pattern: str = "*"
    coordinates: Literal["ras", "lps"] = "ras"
    spacing: float | None = None
    shape: tuple[int, ...] | None = None
    placement: Literal["world", "centre"] = "world"
    keep: int = 256

    def __post_init__(self) -> None:
        if self.spacing is not None and not self.spacing > 0:
            raise GeogridError(f"spacing: expected mm above 0, got {self.spacing}")
        if self.shape is not None and (len(self.shape) not in (2, 3) or min(self.shape) < 1):
            raise GeogridError(f"shape: expected 2 or 3 positive sizes, got {self.shape}")
        if self.keep < 1:
            raise GeogridError(f"keep: expected a whole number from 1 up, got {self.keep}")


class Subject(NamedTuple):
    """One image, ready to be one side of a pair.

    Args:
        cloud: the image.
        labels: ``(num_points,)`` int64, or None.
        landmarks: ``(num_landmarks, dim)`` mm, or None.
    """

    cloud: PointCloud
    labels: Tensor | None
    landmarks: Tensor | None


class ImagePairs:
    """A stream of pairs in rounds: every pair comes once, in random order, before any comes again.

    Args:
        config: the folder, and what is done to its images.
        seed: of the order.

    Raises:
        GeogridError: naming the folder, list or file that cannot be used.
    """

    def __init__(self, config: ImagesConfig, seed: int) -> None:
        self.config = config
        self.pairs = FilePairs(config, IMAGE_ENDINGS, "images", self._read, seed)
        self.files = self.pairs.files
        self.labels = _beside(self.files, config.labels, IMAGE_ENDINGS, "labels")
        self.landmarks = _beside(self.files, config.landmarks, (".csv",), "landmarks")

    @property
    def num_pairs(self) -> int:
        """Number of different pairs."""
        return len(self.pairs)

    def draw(self, number: int) -> PairBatch:
        """The pair of a number."""
        names, fixed, moving = self.pairs.draw(number)
        if fixed.cloud.dim != moving.cloud.dim:
            raise GeogridError(f"{names[0]}, {names[1]}: expected images of one dimension, got 2-D and 3-D")
        return PairBatch(
            fixed.cloud, moving.cloud,
            fixed_labels=fixed.labels, moving_labels=moving.labels,
            landmarks=_paired(names, fixed.landmarks, moving.landmarks),
        )  # fmt: skip

    def _read(self, name: str) -> Subject:
        config = self.config
        image = read_image(self.files[name]).image
        image, labels = scale_intensities(image), self._read_labels(name, image)
        if config.shape is not None and len(config.shape) != image.dim:
            raise GeogridError(f"{self.files[name]}: {image.dim}-D, expected {len(config.shape)}-D as shape {config.shape}")
        landmarks = None
        if self.landmarks:
            landmarks = read_points(self.landmarks[name], coordinates=config.coordinates, dim=image.dim).points
        image, labels = _brought(image, labels, config)
        if config.placement == "centre":
            image, labels, landmarks = _centred(image, labels, landmarks)
        flat = None if labels is None else labels.data.reshape(-1).long()
        return Subject(PointCloud.from_images(image), flat, landmarks)

    def _read_labels(self, name: str, image: Image) -> Image | None:
        if not self.labels:
            return None
        found = read_labels(self.labels[name]).image
        if not found.grid.same_space(image.grid, 0.1 * float(image.grid.spacing.min())):
            raise GeogridError(f"{self.labels[name]}: on another grid than {self.files[name]}; resample it onto the image's")
        return found


def _brought(image: Image, labels: Image | None, config: ImagesConfig) -> tuple[Image, Image | None]:
    """Image and labels at the spacing and in the box of a configuration."""
    if config.spacing is None and config.shape is None:
        return image, labels
    spacing = image.grid.spacing if config.spacing is None else torch.full((image.dim,), config.spacing, dtype=torch.float64)
    size = torch.tensor(image.grid.shape) * image.grid.spacing
    shape = config.shape or tuple(max(1, round(float(n))) for n in (size / spacing).tolist())
    middle = _middle(image) if config.shape else image.grid.center
    grid = _grid_around(middle, image.grid.frame, spacing, shape)
    identity = AffineTransform.identity(image.dim)
    factors = [max(1, int(ratio + 1e-6)) for ratio in (spacing / image.grid.spacing).tolist()]
    pooled = Image(pool_values(image.data, tuple(factors)), image.grid.pool(factors))
    return warp_image(pooled, identity, grid), None if labels is None else warp_labels(labels, identity, grid)


def _centred(image: Image, labels: Image | None, landmarks: Tensor | None) -> tuple[Image, Image | None, Tensor | None]:
    middle = _middle(image)
    matrix = torch.eye(image.dim + 1, dtype=torch.float64)
    matrix[:-1, -1] = -middle
    grid = image.grid.transformed(matrix)
    moved = None if labels is None else Image(labels.data, grid)
    return Image(image.data, grid), moved, None if landmarks is None else landmarks - middle


def _middle(image: Image) -> Tensor:
    """World position of the middle of the content, ``(dim,)`` float64."""
    start, shape = (torch.tensor(part, dtype=torch.float64) for part in content_box(image))
    return image.grid.index_to_world(start + (shape - 1) / 2)


def _grid_around(middle: Tensor, frame: Tensor, spacing: Tensor, shape: tuple[int, ...]) -> Grid:
    affine = torch.eye(len(shape) + 1, dtype=torch.float64)
    affine[:-1, :-1] = frame * spacing
    affine[:-1, -1] = middle - affine[:-1, :-1] @ ((torch.tensor(shape, dtype=torch.float64) - 1) / 2)
    return Grid(shape, affine)


def stem_of(name: str) -> str:
    """A file's name without its suffix, ``.nii.gz`` being one."""
    for ending in sorted((*IMAGE_ENDINGS, ".csv"), key=len, reverse=True):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _beside(files: dict[str, Path], folder: str | None, endings: tuple[str, ...], what: str) -> dict[str, Path]:
    """For each image the file of its name in another folder."""
    if folder is None:
        return {}
    if not Path(folder).is_dir():
        raise GeogridError(f"{folder}: expected a folder of {what}, got none")
    there = {stem_of(path.name): path for path in sorted(Path(folder).iterdir()) if path.name.lower().endswith(endings)}
    for name, path in files.items():
        if stem_of(name) not in there:
            raise GeogridError(f"{folder}: expected {what} of {path} called {stem_of(name)}{endings[0]}, got none")
    return {name: there[stem_of(name)] for name in files}


def _paired(names: tuple[str, str], fixed: Tensor | None, moving: Tensor | None) -> Landmarks | None:
    if fixed is None or moving is None:
        return None
    if len(fixed) != len(moving):
        raise GeogridError(
            f"landmarks of {names[0]} and {names[1]}: expected as many, row by row the same, got {len(fixed)} and {len(moving)}"
        )
    return Landmarks(fixed, moving, torch.zeros(len(fixed), dtype=torch.int64))

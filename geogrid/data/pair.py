"""Two scans and all that was given about them, checked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.io import ImageFile, PointSource, SampledImage, Source, as_image_file, as_points, read_labels, read_mask
from geogrid.io.points import Coordinates
from geogrid.spatial import Grid, inside_lattice


@dataclass(frozen=True, eq=False)
class Pair:
    """A fixed and a moving image with optional labels, masks and landmarks, in canonical storage and world mm.

    Args:
        fixed: the image whose space results live in.
        moving: the image that is brought there.
        fixed_labels: integer labels on the fixed grid.
        moving_labels: integer labels on the moving grid.
        fixed_mask: where the fixed image counts.
        moving_mask: where the moving image counts.
        fixed_landmarks: ``(num_landmarks, dim)`` float64, mm.
        moving_landmarks: the same landmarks in the moving image.
    """

    fixed: ImageFile
    moving: ImageFile
    fixed_labels: ImageFile | None = None
    moving_labels: ImageFile | None = None
    fixed_mask: ImageFile | None = None
    moving_mask: ImageFile | None = None
    fixed_landmarks: Tensor | None = None
    moving_landmarks: Tensor | None = None

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        return self.fixed.image.dim

    def weight(self, side: str) -> Tensor | None:
        """Where the ``fixed`` or ``moving`` image counts: its mask and its finite voxels, bool; None for everywhere."""
        image: ImageFile = getattr(self, side)
        mask: ImageFile | None = getattr(self, f"{side}_mask")
        parts = [part for part in (image.valid, None if mask is None else mask.image.data) if part is not None]
        return torch.stack(parts).all(0) if parts else None

    def support(self, side: str) -> Tensor | None:
        """How much each voxel counts, in [0, 1]: :meth:`weight`, and of scattered samples how well they show it."""
        image, weight = getattr(self, side), self.weight(side)
        if weight is None or not isinstance(image, SampledImage):
            return None if weight is None else weight.float()
        return weight * image.support


def read_pair(
    fixed: Source | ImageFile,
    moving: Source | ImageFile,
    *,
    fixed_labels: Source | None = None,
    moving_labels: Source | None = None,
    fixed_mask: Source | None = None,
    moving_mask: Source | None = None,
    fixed_landmarks: PointSource | None = None,
    moving_landmarks: PointSource | None = None,
    coordinates: Coordinates = "ras",
    nan_outside: bool = False,
) -> Pair:
    """Reads and checks a pair; see :func:`geogrid.register` for the arguments.

    Raises:
        GeogridError: naming the first input that does not fit, and why.
    """
    images = {
        "fixed": as_image_file(fixed, name="fixed image", nan_outside=nan_outside),
        "moving": as_image_file(moving, name="moving image", nan_outside=nan_outside),
    }
    _check_pair(images["fixed"], images["moving"])
    _check_both("labels", fixed_labels, moving_labels)
    _check_both("landmarks", fixed_landmarks, moving_landmarks)
    maps: dict[str, ImageFile] = {}
    for side, labels, mask in (("fixed", fixed_labels, fixed_mask), ("moving", moving_labels, moving_mask)):
        for kind, source, read in (("labels", labels, read_labels), ("mask", mask, read_mask)):
            if source is not None:
                found = maps[f"{side}_{kind}"] = read(source, name=f"{side} {kind}")
                _check_grid(found, images[side])
    _check_any_label(maps)
    landmarks: dict[str, Tensor] = {}
    if fixed_landmarks is not None and moving_landmarks is not None:
        landmarks = _read_landmarks(images, fixed_landmarks, moving_landmarks, coordinates)
    pair = Pair(
        images["fixed"], images["moving"],
        maps.get("fixed_labels"), maps.get("moving_labels"), maps.get("fixed_mask"), maps.get("moving_mask"),
        landmarks.get("fixed"), landmarks.get("moving"),
    )  # fmt: skip
    _check_masked(pair)
    return pair


def _check_both(what: str, fixed: object, moving: object) -> None:
    if (fixed is None) != (moving is None):
        missing = "moving" if moving is None else "fixed"
        raise GeogridError(f"{what}: given for one image only; give {missing} {what} too, or neither")


def _check_pair(fixed: ImageFile, moving: ImageFile) -> None:
    if fixed.image.dim != moving.image.dim:
        raise GeogridError(
            f"{fixed.name} is {fixed.image.dim}-D and {moving.name} is {moving.image.dim}-D; expected two of the same dimension"
        )
    gap = _gaps(fixed.image.grid, moving.image.grid)
    if float(gap.max()) >= 0:
        raise GeogridError(
            f"{fixed.name} and {moving.name} do not overlap in the world (they are {float(gap.clamp_min(0).norm()):.0f} mm "
            "apart); check the headers' origins, or give both images a common one"
        )


def _gaps(first: Grid, second: Grid) -> Tensor:
    """Distance in mm between the world bounding boxes of two grids along each world axis; negative where they overlap."""
    (low_a, high_a), (low_b, high_b) = _bounds(first), _bounds(second)
    return torch.maximum(low_a - high_b, low_b - high_a)


def _bounds(grid: Grid) -> tuple[Tensor, Tensor]:
    last = torch.tensor(grid.shape, dtype=torch.float64) - 0.5
    corners = torch.cartesian_prod(*torch.stack([torch.full_like(last, -0.5), last]).T)
    world = grid.index_to_world(corners)
    return world.min(0).values, world.max(0).values


def _check_grid(found: ImageFile, image: ImageFile) -> None:
    if not found.image.grid.same_space(image.image.grid, tolerance=0.1 * float(image.image.grid.spacing.min())):
        raise GeogridError(
            f"{found.name}: on another grid (shape {found.storage.shape}) than {image.name} (shape {image.storage.shape}), "
            "or placed elsewhere in the world; resample it onto the image's grid"
        )


def _check_any_label(maps: dict[str, ImageFile]) -> None:
    labels = [found for key, found in maps.items() if key.endswith("labels")]
    if labels and not any(bool(found.image.data.any()) for found in labels):
        raise GeogridError(f"{' and '.join(f.name for f in labels)}: every voxel is 0; expected at least one label above 0")


def _check_masked(pair: Pair) -> None:
    """What counts of each image must show something."""
    for side in ("fixed", "moving"):
        image: ImageFile = getattr(pair, side)
        weight = pair.weight(side)
        if weight is None:
            continue
        counted = image.image.data[weight]
        if len(counted) == 0 or bool(counted.min() == counted.max()):
            raise GeogridError(
                f"{side} mask: {image.name} shows nothing inside it ({len(counted)} finite voxels, all of one value); expected "
                "a mask that covers the structures to be matched"
            )


def _read_landmarks(
    images: dict[str, ImageFile], fixed: PointSource, moving: PointSource, coordinates: Coordinates
) -> dict[str, Tensor]:
    dim = images["fixed"].image.dim
    points = {
        "fixed": as_points(fixed, name="fixed landmarks", coordinates=coordinates, dim=dim).points,
        "moving": as_points(moving, name="moving landmarks", coordinates=coordinates, dim=dim).points,
    }
    if len(points["fixed"]) != len(points["moving"]):
        raise GeogridError(
            f"landmarks: {len(points['fixed'])} fixed and {len(points['moving'])} moving ones; expected the same landmarks, in "
            "the same order, in both lists"
        )
    for side, where in points.items():
        grid = images[side].image.grid
        outside = int((~inside_lattice(grid.world_to_index(where), grid.shape)).sum())
        if outside:
            raise GeogridError(
                f"{side} landmarks: {outside} of {len(where)} lie outside {images[side].name}; expected world mm in "
                f"{coordinates.upper()} (see --coordinates), in the order fixed, moving"
            )
    return points

"""What synthetic pairs are like."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from geogrid.errors import GeogridError

Range = tuple[float, float]
WorldKind = Literal["blobs", "sheets", "ellipsoids", "maps"]
Relation = Literal["same", "inverted", "random"]

WORLD_KINDS: tuple[WorldKind, ...] = ("blobs", "sheets", "ellipsoids", "maps")
RELATIONS: tuple[Relation, ...] = ("same", "inverted", "random")


@dataclass(frozen=True)
class WorldConfig:
    """What there is to see; every pair of numbers is a range from which each pair of images draws evenly.

    Args:
        kinds: one is drawn per pair: ``blobs`` (smooth random label maps), ``sheets`` (a head with a folded cortex),
            ``ellipsoids`` (a body with organs and vessels), ``maps`` (label maps that the user gives).
        num_labels: how many labels there are beside the background; of given maps, into how many theirs are merged.
        size: diameter of the body as a share of the field of view; above 1 the images show a part of it.
        zoom: enlargement of given maps.
        turn_degrees: by how much given maps are turned, about a random axis; half of them are mirrored, too.
        drop: probability that a label of a given map becomes background; one always stays.
        people: how many people's maps a pair of given maps shows. 1: both images are of one map. 2: the moving image is of
            another one, brought onto the first by the affine map between the middles of the labels that they share; beyond
            that nobody knows the displacement, and it is NaN. Train on such pairs by labels or by the twins.
        visible_border: whether the two sides of a sliding border show different tissue, as organs that slide do.

    Raises:
        GeogridError: for unknown kinds or ranges that make no sense.
    """

    kinds: tuple[WorldKind, ...] = ("blobs", "sheets", "ellipsoids")
    num_labels: tuple[int, int] = (4, 12)
    size: Range = (0.7, 1.3)
    zoom: Range = (0.9, 1.1)
    turn_degrees: Range = (0.0, 20.0)
    drop: float = 0.05
    people: Literal[1, 2] = 1
    visible_border: bool = True

    def __post_init__(self) -> None:
        _check_choices("world kinds", self.kinds, WORLD_KINDS)
        _check_range("num_labels", self.num_labels, 1, 64)
        _check_range("size", self.size, 0.05, 20)
        _check_range("zoom", self.zoom, 0.05, 20)
        _check_range("turn_degrees", self.turn_degrees, 0, 180)
        _check_range("drop", (self.drop, self.drop), 0, 1)
        if self.people not in (1, 2) or (self.people == 2 and set(self.kinds) != {"maps"}):
            raise GeogridError(f"people: expected 1, or 2 for worlds of kind maps alone, got {self.people} for {self.kinds}")


@dataclass(frozen=True)
class ContrastConfig:
    """How labels become intensities, dark 0 and bright 1; ranges are drawn from evenly, for each image anew.

    Args:
        relation: of the moving image's contrast to the fixed one's, one drawn per pair: ``same``; ``inverted`` (bright tissue
            is dark, the background stays as it is); ``random`` (drawn anew, so in general no monotonic function of
            the other's intensities).
        texture: standard deviation of smooth texture inside tissues.
        bias: the bias field multiplies intensities by between ``exp(-bias)`` and 1.
        noise: standard deviation of the noise.
        blur: standard deviation of a Gaussian blur, in units of the pair's finest spacing.
        missing: largest number of structures (lesions, cavities) that an image shows and the other one does not.
        thickness: thickness of slices, over which intensities are averaged, as a share of their distance.

    Raises:
        GeogridError: for unknown relations or ranges that make no sense.
    """

    relation: tuple[Relation, ...] = ("same", "inverted", "random")
    texture: Range = (0.0, 0.08)
    bias: Range = (0.0, 0.5)
    noise: Range = (0.0, 0.06)
    blur: Range = (0.0, 0.8)
    missing: int = 1
    thickness: float = 1.0

    def __post_init__(self) -> None:
        _check_choices("contrast relation", self.relation, RELATIONS)
        for name in ("texture", "bias", "noise", "blur"):
            _check_range(name, getattr(self, name), 0, 5)
        _check_range("missing", (self.missing, self.missing), 0, 100)
        _check_range("thickness", (self.thickness, self.thickness), 0, 1)


@dataclass(frozen=True)
class DeformationConfig:
    """How the moving world is deformed; ranges are drawn from evenly, (a, a) states a size, (0, 0) leaves a part out.

    Args:
        rotation_degrees: turn about a random axis through the middle of the fixed grid.
        scale: largest factor by which an axis is stretched or shrunk, 1 or more; each axis draws on a logarithmic scale.
        shear: largest entry of a unit upper triangular matrix.
        shift_mm: length of a shift in a random direction.
        smooth_mm: root mean square length of a smooth displacement over the fixed voxels.
        smooth_wavelength_mm: shortest and longest wave in it; default a quarter and all of the field of view.
        brownian_mm: root mean square length of a fractal Brownian displacement over the fixed voxels.
        brownian_wavelength_mm: likewise; default 8 finest spacings and all of the field of view.
        roughness: 1 minus the Hurst exponent of fractal Brownian motion, 0 (smooth) to 1 (rough).
        slip_mm: by how much the two sides of a border slip past each other along it.
        min_determinant: the smooth and the Brownian part each keep the Jacobian determinant of their field at or above this, at
            every corner of every cell; their amplitude is reduced where that is needed.

    Raises:
        GeogridError: for ranges that make no sense.
    """

    rotation_degrees: Range = (0.0, 0.0)
    scale: float = 1.0
    shear: float = 0.0
    shift_mm: Range = (0.0, 0.0)
    smooth_mm: Range = (0.0, 0.0)
    smooth_wavelength_mm: Range | None = None
    brownian_mm: Range = (0.0, 0.0)
    brownian_wavelength_mm: Range | None = None
    roughness: float = 0.5
    slip_mm: Range = (0.0, 0.0)
    min_determinant: float = 0.1

    def __post_init__(self) -> None:
        _check_range("rotation_degrees", self.rotation_degrees, 0, 180)
        _check_range("scale", (self.scale, self.scale), 1, 10)
        _check_range("shear", (self.shear, self.shear), 0, 2)
        for name in ("shift_mm", "smooth_mm", "brownian_mm", "slip_mm"):
            _check_range(name, getattr(self, name), 0, 1e6)
        for name in ("smooth_wavelength_mm", "brownian_wavelength_mm"):
            if getattr(self, name) is not None:
                _check_range(name, getattr(self, name), 1e-6, 1e9)
        _check_range("roughness", (self.roughness, self.roughness), 0, 1)
        _check_range("min_determinant", (self.min_determinant, self.min_determinant), 0, 0.9)


@dataclass(frozen=True)
class SyntheticConfig:
    """A kind of synthetic pairs; plain numbers throughout, so that it can be written to a file.

    Args:
        shape: voxels of the images along each axis, 2 or 3 of them.
        spacing: mm between voxels along each axis.
        moving_shape: of the moving image; default the same.
        moving_spacing: of the moving image; default the same.
        oblique_degrees: by how much each image's axes are turned against the world's; every image draws its own turn.
        world: what there is to see.
        contrast: how it looks.
        deformation: how it is deformed.

    Raises:
        GeogridError: for shapes and spacings that do not fit each other.

    Example:
        >>> SyntheticConfig((64, 64), (1.0, 1.0), deformation=DeformationConfig(smooth_mm=(2.0, 2.0))).dim
        2
    """

    shape: tuple[int, ...] = (48, 48, 48)
    spacing: tuple[float, ...] = (2.0, 2.0, 2.0)
    moving_shape: tuple[int, ...] | None = None
    moving_spacing: tuple[float, ...] | None = None
    oblique_degrees: Range = (0.0, 0.0)
    world: WorldConfig = field(default_factory=WorldConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    deformation: DeformationConfig = field(default_factory=lambda: DeformationConfig(smooth_mm=(0.0, 6.0)))

    def __post_init__(self) -> None:
        parts = (self.shape, self.spacing, self.moving_shape or self.shape, self.moving_spacing or self.spacing)
        if len(self.shape) not in (2, 3) or len({len(part) for part in parts}) != 1:
            raise GeogridError(f"shape, spacing: expected 2 or 3 numbers each, as many for both images, got {parts}")
        if min(min(parts[0]), min(parts[2])) < 4 or min(min(parts[1]), min(parts[3])) <= 0:
            raise GeogridError(f"shape, spacing: expected at least 4 voxels per axis and mm above 0, got {parts}")
        _check_range("oblique_degrees", self.oblique_degrees, 0, 180)

    @property
    def dim(self) -> int:
        """Number of space dimensions, 2 or 3."""
        return len(self.shape)


def _check_choices(name: str, chosen: tuple[str, ...], known: tuple[str, ...]) -> None:
    if not chosen or set(chosen) - set(known):
        raise GeogridError(f"{name}: expected one or more of {', '.join(known)}, got {tuple(chosen)}")


def _check_range(name: str, values: tuple[float, float], least: float, most: float) -> None:
    if len(values) != 2 or not least <= values[0] <= values[1] <= most:
        raise GeogridError(f"{name}: expected rising numbers between {least:g} and {most:g}, got {values}")

"""One door for images, points, and images of which there are scattered samples."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from numpy.typing import NDArray
from torch import Tensor

from geogrid.cloud_registration import CloudRegistration, register_clouds
from geogrid.errors import GeogridError
from geogrid.io import ImageFile, PointSource, PointTable, Source, as_sampled_image, is_point_source
from geogrid.io.correspondences import PairSource
from geogrid.io.points import Coordinates
from geogrid.optimize.history import Progress
from geogrid.optimize.points import PointsConfig
from geogrid.spatial import PointCloud

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result", covariant=True)
PointSet = Tensor | NDArray[Any] | PointTable | PointCloud

OF_VOXELS = ("labels", "mask")
"""What a side of scattered samples cannot have, because it has no voxels."""

ON_THE_CPU = ("device",)
"""Options that points take and have no use for: their optimisation runs on the CPU."""


class RegisterEither(Protocol[Arguments, Result]):
    """What registers images, points, and samples of images."""

    @overload
    def __call__(self, *args: Arguments.args, **options: Arguments.kwargs) -> Result: ...

    @overload
    def __call__(
        self,
        fixed: PointSet,
        moving: PointSet,
        *,
        fixed_landmarks: PointSource | None = None,
        moving_landmarks: PointSource | None = None,
        coordinates: Coordinates = "ras",
        features: Sequence[str] = (),
        correspondences: PairSource | None = None,
        model: str | Path = "auto",
        optimize: bool = True,
        seed: int = 0,
        progress: Progress = ...,
        config: PointsConfig | None = None,
    ) -> CloudRegistration: ...

    @overload
    def __call__(self, fixed: PointSet, moving: Source | ImageFile, **options: Any) -> Result: ...

    @overload
    def __call__(self, fixed: Source | ImageFile, moving: PointSet, **options: Any) -> Result: ...

    @overload
    def __call__(self, fixed: PointSet, moving: PointSet, *, intensity: str, **options: Any) -> Result: ...


def points_too(register_images: Callable[Arguments, Result]) -> RegisterEither[Arguments, Result]:
    """Makes a function that registers images take points: sets of points, and scattered samples of images.

    Points on both sides go to :func:`geogrid.cloud_registration.register_clouds`. Where the other side is an image, or an
    ``intensity`` is named, points are samples of an image and become one (:func:`geogrid.io.as_sampled_image`). Options of the
    other kind must be left at their defaults.
    """
    for_images = inspect.signature(register_images).parameters
    for_points = inspect.signature(register_clouds).parameters

    @functools.wraps(register_images)
    def register(fixed: Any, moving: Any, **options: Any) -> Any:
        sets = is_point_source(fixed) and is_point_source(moving)
        points = sets and options.get("intensity") is None
        if points:
            _check_config(options.get("config"))
        elif is_point_source(fixed) or is_point_source(moving):
            fixed, moving = (_sampled(side, source, options) for side, source in (("fixed", fixed), ("moving", moving)))
        elif options.get("intensity") is not None:
            raise GeogridError("intensity: is for scattered samples, and these are images; leave it out")
        mine, others, what = (for_points, for_images, "images") if points else (for_images, for_points, "points")
        for name, value in options.items():
            if name not in mine and name in others and name not in ON_THE_CPU and not _is_default(others[name], value):
                raise GeogridError(f"{name}: is for {what}, and these are not; leave it out")
        taken = {name: value for name, value in options.items() if name in mine or name not in others}
        return (register_clouds if points else register_images)(fixed, moving, **taken)

    return cast(RegisterEither[Arguments, Result], register)


def _sampled(side: str, source: Any, options: dict[str, Any]) -> Any:
    """An image of scattered samples; other sources as they are."""
    if not is_point_source(source):
        return source
    for what in OF_VOXELS:
        if options.get(f"{side}_{what}") is not None:
            raise GeogridError(f"{side}_{what}: scattered samples have no voxels to say it of; leave out the {what}")
    return as_sampled_image(
        source,
        name=f"{side} samples",
        intensity=options.get("intensity"),
        coordinates=options.get("coordinates", "ras"),
    )


def _is_default(parameter: inspect.Parameter, value: object) -> bool:
    plain = isinstance(value, str | int | float | tuple)
    return value is parameter.default or (plain and value == parameter.default)


def _check_config(config: object) -> None:
    if config is not None and not isinstance(config, PointsConfig):
        raise GeogridError(f"config: expected a PointsConfig for points, got {type(config).__name__}")

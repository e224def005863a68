"""One door for images and points."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from numpy.typing import NDArray
from torch import Tensor

from geogrid.cloud_registration import CloudRegistration, register_clouds
from geogrid.errors import GeogridError
from geogrid.io import PointSource, PointTable, is_point_source
from geogrid.io.correspondences import PairSource
from geogrid.io.points import Coordinates
from geogrid.optimize.history import Progress
from geogrid.optimize.points import PointsConfig
from geogrid.spatial import PointCloud

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result", covariant=True)
PointSet = Tensor | NDArray[Any] | PointTable | PointCloud

ON_THE_CPU = ("device",)
"""Options that points take and have no use for: their optimisation runs on the CPU."""


class RegisterEither(Protocol[Arguments, Result]):
    """What registers images, and points too."""

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
        seed: int = 0,
        progress: Progress = ...,
        config: PointsConfig | None = None,
    ) -> CloudRegistration: ...


def points_too(register_images: Callable[Arguments, Result]) -> RegisterEither[Arguments, Result]:
    """Makes a function that registers images hand points to :func:`geogrid.cloud_registration.register_clouds`.

    Options that only images have must be left at their defaults for points.
    """
    for_images = inspect.signature(register_images).parameters
    for_points = inspect.signature(register_clouds).parameters

    @functools.wraps(register_images)
    def register(fixed: Any, moving: Any, **options: Any) -> Any:
        points = is_point_source(fixed) or is_point_source(moving)
        if points:
            _check_both(fixed, moving)
            _check_config(options.get("config"))
        mine, others, what = (for_points, for_images, "images") if points else (for_images, for_points, "points")
        for name, value in options.items():
            if name not in mine and name in others and name not in ON_THE_CPU and not _is_default(others[name], value):
                raise GeogridError(f"{name}: is for {what}, and these are not; leave it out")
        taken = {name: value for name, value in options.items() if name in mine or name not in others}
        return (register_clouds if points else register_images)(fixed, moving, **taken)

    return cast(RegisterEither[Arguments, Result], register)


def _is_default(parameter: inspect.Parameter, value: object) -> bool:
    plain = isinstance(value, str | int | float | tuple)
    return value is parameter.default or (plain and value == parameter.default)


def _check_config(config: object) -> None:
    if config is not None and not isinstance(config, PointsConfig):
        raise GeogridError(f"config: expected a PointsConfig for points, got {type(config).__name__}")


def _check_both(fixed: object, moving: object) -> None:
    for side, source, other in (("fixed", fixed, moving), ("moving", moving, fixed)):
        if not is_point_source(source):
            raise GeogridError(
                f"{side}: expected points, as {_shown(other)} has them, got {_shown(source)}; give two sets of points"
            )


def _shown(source: object) -> str:
    return str(source) if isinstance(source, str | PathLike) else f"a {type(source).__name__}"

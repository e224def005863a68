"""Registration of two sets of points, from sources to files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.evaluation import machine
from geogrid.io import PointSource, PointTable, as_points, atomic_directory, write_points
from geogrid.io.correspondences import PairSource, as_correspondences
from geogrid.io.points import Coordinates
from geogrid.metrics import cloud_distances, target_registration_error
from geogrid.models import choose_model
from geogrid.optimize.history import Progress, no_progress
from geogrid.optimize.points import PointRegistration, PointsConfig, register_points
from geogrid.report import CloudReport
from geogrid.transforms import AffineTransform, CarriedPoints, InverseTransform, KernelTransform, carry_points, write_transform

CLOUD_OUTPUTS = ("warped.csv", "fixed_in_moving.csv", "transform.json", "metrics.json", "report.html")
"""What :meth:`CloudRegistration.save` writes."""


@dataclass(frozen=True, eq=False)
class CloudRegistration:
    """A finished registration of two sets of points.

    Args:
        fixed: the fixed points.
        moving: the moving points.
        names: of the fixed and the moving points, for the report.
        solution: the transform and what else was found.
        carried: the moving points in fixed space.
        metrics: what ``metrics.json`` holds.
        coordinates: convention in which files are written.
    """

    fixed: PointTable
    moving: PointTable
    names: tuple[str, str]
    solution: PointRegistration
    carried: CarriedPoints
    metrics: dict[str, Any]
    coordinates: Coordinates = "ras"

    @property
    def transform(self) -> KernelTransform:
        """The map of fixed points to moving space, in mm, RAS+; defined everywhere."""
        return self.solution.transform

    @property
    def inverse(self) -> InverseTransform:
        """The map of moving points to fixed space, found anew for the points it is called with."""
        return InverseTransform(self.transform)

    @cached_property
    def fixed_in_moving(self) -> Tensor:
        """The fixed points in moving space, ``(num_fixed, dim)`` float64."""
        return self.transform(self.fixed.points)

    @property
    def warped(self) -> Tensor:
        """The moving points in fixed space, ``(num_moving, dim)`` float64; what has no place there stays where it was."""
        return self.carried.points

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Writes all results into a folder; they appear together, when complete.

        Args:
            folder: made when missing.
            overwrite: whether existing results may be replaced.

        Raises:
            GeogridError: when results exist already or the folder cannot be written.
        """
        with atomic_directory(folder, overwrite, CLOUD_OUTPUTS) as temp:
            self.write(temp)

    def write(self, folder: Path) -> None:
        """Writes all results into an existing folder, one after the other."""
        write_points(folder / "warped.csv", self.moving.with_points(self.warped), self.coordinates)
        write_points(folder / "fixed_in_moving.csv", self.fixed.with_points(self.fixed_in_moving), self.coordinates)
        write_transform(folder / "transform.json", self.transform)
        (folder / "metrics.json").write_text(json.dumps(self.metrics, indent=2, allow_nan=False) + "\n")
        title = f"{self.names[1]} to {self.names[0]}"
        (folder / "report.html").write_text(self.report().render(title), encoding="utf-8")

    def report(self) -> CloudReport:
        """What the report shows."""
        fixed = self.fixed.points
        return CloudReport(
            fixed=fixed,
            before=self.moving.points,
            after=self.warped,
            displacement=self.fixed_in_moving - fixed,
            deformation=self.fixed_in_moving - self.transform.affine(fixed),
            support=self.solution.match_support,
            metrics=self.metrics,
            history=self.solution.history,
        )


def register_clouds(
    fixed: PointSource,
    moving: PointSource,
    *,
    fixed_landmarks: PointSource | None = None,
    moving_landmarks: PointSource | None = None,
    coordinates: Coordinates = "ras",
    features: Sequence[str] = (),
    correspondences: PairSource | None = None,
    model: str | Path = "auto",
    optimize: bool = True,
    seed: int = 0,
    progress: Progress = no_progress,
    config: PointsConfig | None = None,
) -> CloudRegistration:
    """Registers moving points to fixed ones; neither their order nor their number has to agree.

    Args:
        fixed: a path (CSV, GIFTI, PLY, VTK), an array, a ``PointCloud``, a PyG ``Data`` or a PyTorch3D ``Pointclouds``; mm.
        moving: likewise, of the same dimension.
        fixed_landmarks: points like the fixed ones, for the target registration error; they do not drive the registration.
        moving_landmarks: the same landmarks in moving space, in the same order.
        coordinates: convention of files and arrays, ``ras`` or ``lps``; results are written in it.
        features: names of further columns (arrays of a file; ``feature_0``, ... of a cloud) that partners share, such
            as curvature or vessel radius; the others do not drive the registration.
        correspondences: rows of fixed and moving points, counted from 0, that are known to be partners and drive the
            registration: ``(num_pairs, 2)`` or the path of a CSV of two columns.
        model: a trained model whose map is one more proposal that points may follow: ``auto`` (the shipped ``points-3d``, in
            3-D), the name of shipped weights or a file of weights, or ``none``. Dense clouds, which share no points, do not
            ask it.
        optimize: False gives the answer of the model alone: one look, and votes about what it saw.
        seed: recorded; the optimisation draws nothing.
        progress: called with a message and the fraction of the work that is done.
        config: settings of the optimisation.

    Returns:
        The transform, the points carried by it, metrics; ``save(folder)`` writes them.

    Raises:
        GeogridError: for points that cannot be registered, saying why and what to do.

    Example:
        >>> shape = torch.tensor([[0.0, 0.0], [30.0, 0.0], [0.0, 20.0], [10.0, 10.0], [25.0, 5.0], [5.0, 18.0]])
        >>> result = register_clouds(shape, shape.flip(0) + torch.tensor([5.0, -3.0]))
        >>> (result.transform(shape) - shape - torch.tensor([5.0, -3.0])).abs().max() < 0.5
        tensor(True)
    """
    tables = _read_pair(fixed, moving, coordinates)
    landmarks = _read_landmarks(fixed_landmarks, moving_landmarks, coordinates, tables[0].points.shape[1])
    pairs = None if correspondences is None else as_correspondences(correspondences)
    chosen = choose_model(model, tables[0].points.shape[1], in_channels=0)
    progress("points", 0.1)
    began = perf_counter()
    points = tables[0].points, tables[1].points
    network = None if chosen is None else chosen.model
    solution = register_points(*points, config, _shared_features(tables, features), pairs, network, optimize)
    seconds = perf_counter() - began
    progress("metrics", 0.8)
    carried = carry_points(solution.transform, tables[1].points, inverse=True)
    metrics = _evaluate(*tables, solution, landmarks) | {"without_inverse": carried.num_outside, "seconds": round(seconds, 3)}
    metrics |= machine(torch.device("cpu")) | {
        "parameters": {
            "coordinates": coordinates,
            "features": list(features),
            "seed": seed,
            "optimize": optimize,
            "model": None if chosen is None else chosen.stated,
        },
        "num_correspondences": 0 if pairs is None else len(pairs),
        "followed": {name: round(share, 4) for name, share in solution.followed.items()},
    }
    progress("done", 1.0)
    names = _name(fixed, "fixed"), _name(moving, "moving")
    return CloudRegistration(*tables, names, solution, carried, metrics, coordinates)


def _read_pair(fixed: PointSource, moving: PointSource, coordinates: Coordinates) -> tuple[PointTable, PointTable]:
    first = as_points(fixed, name="fixed points", coordinates=coordinates)
    second = as_points(moving, name="moving points", coordinates=coordinates)
    names = _name(fixed, "fixed"), _name(moving, "moving")
    dims = first.points.shape[1], second.points.shape[1]
    if dims[0] != dims[1]:
        raise GeogridError(f"{names[0]} is {dims[0]}-D and {names[1]} is {dims[1]}-D; expected two of the same dimension")
    return first, second


def _shared_features(tables: tuple[PointTable, PointTable], names: Sequence[str]) -> tuple[Tensor, Tensor] | None:
    if not names:
        return None
    return _features(tables[0], names, "fixed"), _features(tables[1], names, "moving")


def _features(table: PointTable, names: Sequence[str], side: str) -> Tensor:
    for name in names:
        if name not in table.feature_names:
            there = ", ".join(table.feature_names) or "none"
            raise GeogridError(f"{side} points: expected a feature {name} with a finite number for every point, got {there}")
    assert table.features is not None
    return table.features[:, [table.feature_names.index(name) for name in names]]


def _read_landmarks(
    fixed: PointSource | None, moving: PointSource | None, coordinates: Coordinates, dim: int
) -> tuple[Tensor, Tensor] | None:
    if fixed is None and moving is None:
        return None
    if fixed is None or moving is None:
        missing = "fixed" if fixed is None else "moving"
        raise GeogridError(f"landmarks: given for one side only; give {missing} landmarks too, or neither")
    first, second = (
        as_points(source, name=f"{side} landmarks", coordinates=coordinates, dim=dim).points
        for side, source in (("fixed", fixed), ("moving", moving))
    )
    if len(first) != len(second):
        raise GeogridError(
            f"landmarks: {len(first)} fixed and {len(second)} moving ones; expected the same landmarks, in the same order, in "
            "both lists"
        )
    return first, second


def _evaluate(
    fixed: PointTable, moving: PointTable, solution: PointRegistration, landmarks: tuple[Tensor, Tensor] | None
) -> dict[str, Any]:
    found: dict[str, Any] = {"num_fixed": len(fixed.points), "num_moving": len(moving.points)}
    for moment, transform in (("before", AffineTransform.identity(fixed.points.shape[1])), ("after", solution.transform)):
        distances = cloud_distances(transform(fixed.points), moving.points)
        for name in ("chamfer", "hausdorff", "hd95"):
            found[f"{name}_{moment}_mm"] = round(getattr(distances, f"{name}_mm"), 5)
        if landmarks is not None:
            found[f"tre_{moment}_mm"] = round(float(target_registration_error(transform, *landmarks).mean()), 5)
    matched = int((solution.matches >= 0).sum())
    return found | {"match_support": round(solution.mean_support, 5), "num_matched": matched}


def _name(source: PointSource, side: str) -> str:
    return str(source) if isinstance(source, str | PathLike) else f"{side} points"

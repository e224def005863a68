"""``register()``: the one call that most users make."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import nibabel as nib
import torch
from torch import Tensor

from geogrid.cloud_registration import CLOUD_OUTPUTS
from geogrid.data import Pair, read_pair
from geogrid.dispatch import points_too
from geogrid.errors import GeogridError
from geogrid.evaluation import evaluate, machine
from geogrid.io import ImageFile, PointSource, Source, atomic_directory, to_nifti, write_displacement, write_image
from geogrid.io.points import Coordinates
from geogrid.losses.similarity import Similarity, check_similarity
from geogrid.models import ChosenModel, choose_model
from geogrid.optimize.affine import AffineKind
from geogrid.optimize.history import HistoryEntry, Progress, no_progress
from geogrid.optimize.memory import check_memory, coarsest_scale
from geogrid.optimize.pipeline import OptimizeConfig, Solution, answer_pair, optimize_pair
from geogrid.report import ReportContents, render_pictures, render_report, write_pictures
from geogrid.sample_files import SAMPLE_OUTPUTS, write_sample_files
from geogrid.spatial import Grid, Image, finest_scale, scale_intensities
from geogrid.spatial.slices import split_grid
from geogrid.transforms import (
    AffineTransform,
    Composition,
    DisplacementField,
    Trajectory,
    invert,
    jacobian_determinant,
    to_displacement,
    warp_image,
    warp_labels,
)

Device = Literal["auto", "cpu", "cuda"]

OUTPUTS = (
    *("warped.nii.gz", "warped_labels.nii.gz", "displacement.nii.gz", "inverse_displacement.nii.gz"),
    *("metrics.json", "report.html", *SAMPLE_OUTPUTS),
)
"""What :meth:`Registration.save` writes; ``warped_labels.nii.gz`` only with labels, CSV files only of scattered samples."""

ALL_OUTPUTS = tuple(dict.fromkeys((*OUTPUTS, *CLOUD_OUTPUTS)))
"""What the registration of images or of points writes."""


@dataclass(frozen=True, eq=False)
class Registration:
    """A finished registration.

    Args:
        pair: what was registered.
        transform: the total map of fixed points to moving space, affine included, on the fixed grid (mm, RAS+; the identity
            outside the grid, as in ITK).
        solution: every intermediate transform and the loss along the way.
        metrics: what ``metrics.json`` holds.
    """

    pair: Pair
    transform: DisplacementField
    solution: Solution
    metrics: dict[str, Any]

    @property
    def trajectory(self) -> Trajectory:
        """The affine start and one step per level, coarse to fine."""
        return self.solution.trajectory

    @property
    def history(self) -> list[HistoryEntry]:
        """The loss along the way."""
        return self.solution.history

    @cached_property
    def warped_image(self) -> Image:
        """The moving image on the fixed grid, in canonical storage."""
        return warp_image(self.pair.moving.image, self.transform, self.pair.fixed.image.grid)

    @property
    def warped(self) -> nib.Nifti1Image:
        """The moving image on the fixed file's own grid: its shape, storage order, affine and form codes."""
        return to_nifti(self.warped_image, self.pair.fixed.storage)

    @cached_property
    def warped_label_image(self) -> Image | None:
        """The moving labels on the fixed grid, in canonical storage; None without labels."""
        labels = self.pair.moving_labels
        return None if labels is None else warp_labels(labels.image, self.transform, self.pair.fixed.image.grid)

    @property
    def warped_labels(self) -> nib.Nifti1Image | None:
        """The moving labels on the fixed file's own grid; None without labels."""
        labels = self.warped_label_image
        return None if labels is None else to_nifti(labels, self.pair.fixed.storage)

    @cached_property
    def _inverse(self) -> tuple[DisplacementField, Tensor]:
        smooth = _smooth_transform(self.solution)
        return invert(smooth, self.pair.moving.image.grid, self.pair.fixed.image.grid)

    @property
    def inverse(self) -> DisplacementField:
        """The inverse of the total map, on the moving grid: moving points to fixed space.

        Where a moving point comes from beyond the fixed grid, the border displacement is carried on before it is inverted.
        """
        return self._inverse[0]

    @property
    def inverse_residual(self) -> Tensor:
        """Distance in mm by which each moving point misses itself when carried back and forth; NaN where it leaves the grid."""
        return self._inverse[1]

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Writes all results into a folder; they appear together, when complete.

        Args:
            folder: made when missing.
            overwrite: whether existing results may be replaced; an old ``warped_labels.nii.gz`` goes even without new labels.

        Raises:
            GeogridError: when results exist already or the folder cannot be written.
        """
        with atomic_directory(folder, overwrite, OUTPUTS) as temp:
            self.write(temp)

    def write(self, folder: Path) -> None:
        """Writes all results into an existing folder, one after the other."""
        storage, moving_storage = self.pair.fixed.storage, self.pair.moving.storage
        write_image(folder / "warped.nii.gz", self.warped_image, storage)
        if self.warped_label_image is not None:
            write_image(folder / "warped_labels.nii.gz", self.warped_label_image, storage)
        write_displacement(folder / "displacement.nii.gz", self.transform.displacement, storage)
        write_displacement(folder / "inverse_displacement.nii.gz", self.inverse.displacement, moving_storage)
        write_sample_files(folder, self.pair, self.transform, self.inverse)
        metrics = _finite(self.metrics | {"inverse_residual_mm": _summary(self.inverse_residual)})
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")
        contents = self.report_contents(metrics)
        pictures = render_pictures(contents)
        title = f"{self.pair.moving.name} to {self.pair.fixed.name}"
        (folder / "report.html").write_text(render_report(contents, title, pictures), encoding="utf-8")

    def write_pictures(self, folder: str | Path) -> list[Path]:
        """Writes the pictures of the report as PNG files into an existing folder."""
        return write_pictures(self.report_contents(self.metrics), folder)

    def report_contents(self, metrics: dict[str, Any]) -> ReportContents:
        """What the report shows."""
        fixed, moving = self.pair.fixed.image, self.pair.moving.image
        return ReportContents(
            fixed=fixed,
            before=warp_image(moving, AffineTransform.identity(fixed.dim), fixed.grid),
            after=self.warped_image,
            field=self.transform,
            deformation=deformation_on(self.solution, fixed.grid),
            jacobian=jacobian_determinant(self.transform),
            metrics=metrics,
            history=self.history,
        )


@points_too
def register(
    fixed: Source | ImageFile,
    moving: Source | ImageFile,
    *,
    fixed_labels: Source | None = None,
    moving_labels: Source | None = None,
    fixed_landmarks: PointSource | None = None,
    moving_landmarks: PointSource | None = None,
    coordinates: Coordinates = "ras",
    intensity: str | None = None,
    fixed_mask: Source | None = None,
    moving_mask: Source | None = None,
    affine: AffineKind = "auto",
    similarity: Similarity = "lncc",
    model: str | Path = "auto",
    optimize: bool = True,
    resolution: float | None = None,
    device: Device = "auto",
    seed: int = 0,
    nan_outside: bool = False,
    progress: Progress = no_progress,
    config: OptimizeConfig | None = None,
) -> Registration:
    """Registers a moving image to a fixed one, or moving points to fixed ones.

    Points may be a path (CSV, GIFTI, PLY, VTK), an array of 2 or 3 columns in mm, a ``PointCloud``, a PyG ``Data`` or a
    PyTorch3D ``Pointclouds``. Of points on both sides a :class:`~geogrid.CloudRegistration` comes back; labels, masks,
    ``affine``, ``resolution`` and ``nan_outside`` are for images, ``model`` is one for points (``points-3d``), and ``config``
    is a :class:`~geogrid.optimize.PointsConfig`. ``features``, for points only, names the further columns that partners share,
    and ``correspondences`` the rows that are known to be partners.

    Points beside an image, or with an ``intensity``, are scattered samples of an image. They are registered as the image that
    they give on a lattice (:func:`geogrid.io.as_sampled_image`).

    Args:
        fixed: a path, a nibabel image, or an (array or tensor, affine) pair; the affine maps indices to world mm, RAS+.
        moving: likewise, on any other grid of the same dimension.
        fixed_labels: integer labels on the fixed grid, for Dice; they do not drive the registration.
        moving_labels: likewise on the moving grid.
        fixed_landmarks: CSV path or ``(num_landmarks, dim)`` world mm, for the target registration error.
        moving_landmarks: the same landmarks in the moving image, in the same order.
        coordinates: convention of points and landmarks, ``ras`` or ``lps``.
        intensity: of scattered samples, the name of the column of intensities; default ``intensity``, or the only column.
        fixed_mask: where the fixed image counts.
        moving_mask: where the moving image counts.
        affine: the classical start: ``auto`` (affine, unless trusting the headers turns out better), ``rigid``, ``affine`` or
            ``none``. A model finds an affine part of its own; with ``model="none"`` the start is of the asked kind for certain.
        similarity: ``lncc`` (local correlation, for images of the same contrast), ``nmi`` (normalised mutual information),
            ``edges`` (directions of edges, after the affine start of ``nmi``) or ``mind`` (self-similarity) for images of
            different contrast; it drives the affine start too.
        model: a trained model whose answer is one more start: ``auto`` (the shipped ``synth-2d`` or ``synth-3d``, asked where
            the classical starts end at different places), the name of shipped weights or a file of weights (always asked), or
            ``none``. The start from which the coarse levels end best is kept; ``metrics["parameters"]`` says which that was,
            and the losses of all that were tried.
        optimize: False gives the answer of the model alone: in a few seconds whatever the resolution, and less exact. The
            ``affine`` start, ``resolution`` and masks of the moving image then do not count.
        resolution: finest scale in mm; default the coarser of the two in-plane spacings.
        device: ``auto``, ``cpu`` or ``cuda``.
        seed: of all that is random; today's optimisation draws nothing, so it is only recorded.
        nan_outside: treat NaN voxels as outside the image instead of refusing them.
        progress: called with a message and the fraction of the work that is done.
        config: settings of the optimisation; ``affine``, ``similarity`` and ``resolution`` take precedence.

    Returns:
        The transform, the warped images, metrics; ``save(folder)`` writes them.

    Raises:
        GeogridError: for inputs that cannot be registered, saying why and what to do.

    Example:
        >>> axes = torch.meshgrid(torch.arange(40.0), torch.arange(32.0), indexing="ij")
        >>> fixed = torch.exp(-((axes[0] - 20) ** 2 + (axes[1] - 16) ** 2) / 40)
        >>> moving = torch.exp(-((axes[0] - 23) ** 2 + (axes[1] - 16) ** 2) / 40)
        >>> result = register((fixed, torch.eye(3)), (moving, torch.eye(3)), device="cpu")
        >>> (result.transform(torch.tensor([[20.0, 16.0]])) - torch.tensor([[23.0, 16.0]])).norm() < 0.5
        tensor(True)
    """
    _check_options(affine, resolution, device)
    check_similarity(similarity)
    pair = read_pair(
        fixed, moving, fixed_labels=fixed_labels, moving_labels=moving_labels, fixed_mask=fixed_mask, moving_mask=moving_mask,
        fixed_landmarks=fixed_landmarks, moving_landmarks=moving_landmarks, coordinates=coordinates, nan_outside=nan_outside,
    )  # fmt: skip
    config = replace(config or OptimizeConfig(), affine=affine, similarity=similarity)
    config = replace(config, scale=_scale(pair, resolution or config.scale))
    if model != "auto":
        config = replace(config, learned=replace(config.learned, doubt=0.0))
    place = _device(device)
    check_memory(pair.fixed.image.grid, split_grid(pair.moving.image.grid, config.scale or 1.0), config.scale or 1.0)
    chosen = choose_model(model, pair.fixed.image.dim)
    if chosen is None and not optimize:
        raise GeogridError("optimize: without optimisation a model has to answer; leave model at auto, or name one")
    began = perf_counter()
    solution = _solve(pair, config, place, chosen, optimize, lambda message, fraction: progress(message, 0.9 * fraction))
    transform = to_displacement(_smooth_transform(solution), pair.fixed.image.grid)
    seconds = perf_counter() - began
    parameters = {
        "affine": affine, "similarity": similarity, "start": solution.start, "start_losses": solution.losses,
        "optimize": optimize, "model": None if chosen is None else chosen.stated,
        "resolution_mm": config.scale, "seed": seed, "nan_outside": nan_outside, "coordinates": coordinates,
        "intensity": intensity,
        "levels": len({step.level for step in solution.trajectory.steps}),
    }  # fmt: skip
    progress("metrics", 0.9)
    metrics = (
        evaluate(pair, transform, similarity) | {"seconds": round(seconds, 3)} | machine(place) | {"parameters": parameters}
    )
    progress("done", 1.0)
    return Registration(pair, transform, solution, metrics)


def deformation_on(solution: Solution, grid: Grid) -> DisplacementField:
    """The deformation without its affine start, in mm of fixed space, on a grid."""
    return to_displacement(solution.trajectory.deformation(solution.domain), grid)


def _solve(
    pair: Pair, config: OptimizeConfig, device: torch.device, chosen: ChosenModel | None, optimize: bool, progress: Progress
) -> Solution:
    images, weights = [], []
    for side in ("fixed", "moving"):
        file: ImageFile = getattr(pair, side)
        support = pair.support(side)
        images.append(scale_intensities(file.image, pair.weight(side)).to(device))
        weights.append(None if support is None else Image(support.to(device), file.image.grid))
    model = None if chosen is None else chosen.on(device)
    if model is not None and not optimize:
        return answer_pair(model, images[0], images[1], config, weights[0])
    return optimize_pair(images[0], images[1], config, weights[0], weights[1], progress, model)


def _smooth_transform(solution: Solution) -> Composition:
    """The total map, continuous beyond the fixed grid."""
    return solution.trajectory.transform(solution.domain)


def _scale(pair: Pair, resolution: float | None) -> float:
    grids = pair.fixed.image.grid, pair.moving.image.grid
    if resolution is None:
        return finest_scale(*grids)
    smallest = min(float(g.spacing.min()) for g in grids) / 2
    largest = max(coarsest_scale(*grids), finest_scale(*grids))
    if not smallest <= resolution <= largest:
        raise GeogridError(
            f"resolution: expected {smallest:.3g} to {largest:.3g} mm (half the finest voxel to 8 voxels along the image), got "
            f"{resolution:g}; leave it out for {finest_scale(*grids):.3g} mm"
        )
    return float(resolution)


def _check_options(affine: str, resolution: float | None, device: str) -> None:
    if affine not in ("auto", "rigid", "affine", "none"):
        raise GeogridError(f"affine: expected auto, rigid, affine or none, got {affine!r}")
    if device not in ("auto", "cpu", "cuda"):
        raise GeogridError(f"device: expected auto, cpu or cuda, got {device!r}")
    if resolution is not None and not resolution > 0:
        raise GeogridError(f"resolution: expected a positive number of mm, got {resolution}")


def _device(name: Device) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise GeogridError("device: cuda was asked for, but torch sees no CUDA device; use --device cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _finite(value: Any) -> Any:
    """The same numbers, with None for those that JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _summary(residual: Tensor) -> dict[str, float | None]:
    known = residual[~residual.isnan()].flatten()
    if len(known) == 0:
        return {"median": None, "p999": None, "max": None}
    ranks: Sequence[int] = (len(known) // 2, round(0.999 * (len(known) - 1)), len(known) - 1)
    ordered = known.sort().values
    return dict(zip(("median", "p999", "max"), (float(f"{float(ordered[r]):.3g}") for r in ranks), strict=True))

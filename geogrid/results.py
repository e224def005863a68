"""What :func:`geogrid.register` returns for images: the transform, the warped images, and the files that hold them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
from torch import Tensor

from geogrid.cloud_registration import CLOUD_OUTPUTS
from geogrid.data import Pair
from geogrid.io import atomic_directory, to_nifti, write_displacement, write_image
from geogrid.optimize.history import HistoryEntry
from geogrid.optimize.pipeline import Solution
from geogrid.report import ReportContents, render_pictures, render_report, write_pictures
from geogrid.sample_files import SAMPLE_OUTPUTS, write_sample_files
from geogrid.spatial import Grid, Image
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
        smooth = smooth_transform(self.solution)
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


def deformation_on(solution: Solution, grid: Grid) -> DisplacementField:
    """The deformation without its affine start, in mm of fixed space, on a grid."""
    return to_displacement(solution.trajectory.deformation(solution.domain), grid)


def smooth_transform(solution: Solution) -> Composition:
    """The total map, continuous beyond the fixed grid."""
    return solution.trajectory.transform(solution.domain)


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

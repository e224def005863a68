"""What a report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.spatial import Image
from geogrid.transforms import DisplacementField


class HistoryPoint(Protocol):
    """One evaluation of a loss, as :class:`geogrid.optimize.history.HistoryEntry` has it."""

    @property
    def stage(self) -> str:
        """``affine`` or ``deformable``."""
        ...

    @property
    def level(self) -> int:
        """0 is the finest."""
        ...

    @property
    def iteration(self) -> int:
        """Counts from 0 within a level."""
        ...

    @property
    def loss(self) -> float:
        """Lower is better; comparable within a level only."""
        ...


@dataclass(frozen=True, eq=False)
class ReportContents:
    """Everything a report is made from; images and fields on the fixed grid.

    Args:
        fixed: the fixed image.
        before: the moving image resampled onto the fixed grid, nothing applied.
        after: the moving image warped by the total transform.
        field: the total transform, affine included.
        deformation: what is left of it without the affine part; may be ``field`` itself.
        jacobian: ``(*fixed.grid.shape)`` Jacobian determinant of what the report should judge.
        metrics: as written to ``metrics.json``: numbers, texts, and mappings of label or name to either.
        history: loss evaluations in the order in which they were made; may be empty.

    Raises:
        GeogridError: when something is not on the fixed grid.
    """

    fixed: Image
    before: Image
    after: Image
    field: DisplacementField
    deformation: DisplacementField
    jacobian: Tensor
    metrics: Mapping[str, Any]
    history: Sequence[HistoryPoint]

    def __post_init__(self) -> None:
        for name in ("before", "after", "field", "deformation"):
            grid = getattr(self, name).grid
            if not grid.same_space(self.fixed.grid):
                raise GeogridError(
                    f"report {name}: expected the fixed grid {self.fixed.grid.shape}, got {grid.shape}; resample it"
                )
        if tuple(self.jacobian.shape) != self.fixed.grid.shape:
            raise GeogridError(
                f"report jacobian: expected the fixed grid's shape {self.fixed.grid.shape}, got {tuple(self.jacobian.shape)}"
            )

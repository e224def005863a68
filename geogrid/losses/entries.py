"""Sums and shares per batch entry, weighted by measure."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.errors import GeogridError


def entry_shares(measure: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
    """What each point counts for in a mean over its entry, and what each entry counts for in a mean over the batch.

    Args:
        measure: ``(num_points,)`` what each point stands for, not negative.
        batch: ``(num_points,)`` int64, the entry of each point.

    Returns:
        ``(num_points,)`` shares that sum to one in each entry with a measure, and ``(num_entries,)`` weights, equal and
        summing to one over these entries; zero for the others.
    """
    measure = measure.detach()
    total = entry_sums(measure, batch)
    present = (total > 0).to(measure)
    return measure / total.clamp_min(torch.finfo(total.dtype).tiny)[batch], present / present.sum().clamp_min(1)


def entry_sums(values: Tensor, batch: Tensor) -> Tensor:
    """Sums over the points of each entry: ``(num_points, ...)`` to ``(num_entries, ...)``."""
    num_entries = int(batch.max()) + 1 if len(batch) else 0
    return values.new_zeros(num_entries, *values.shape[1:]).index_add(0, batch, values)


def check_rows(first: Tensor, second: Tensor, names: str, *per_point: Tensor) -> None:
    """Refuses values of different shape, and vectors that do not have one number per row."""
    if first.dim() != 2 or first.shape != second.shape:
        raise GeogridError(
            f"{names}: expected two tensors of one shape (num_points, channels), got {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    for vector in per_point:
        if vector.shape != first.shape[:1]:
            raise GeogridError(f"measure, batch: expected {len(first)} numbers, one per point, got shape {tuple(vector.shape)}")

"""What the public functions of this package demand of their arguments, checked once at the door."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from geogrid.errors import GeogridError

MAX_BYTES = 2**28
"""Default bound on the working memory of a search, in bytes."""
CACHE_BYTES = 2**24
"""Working memory that a CPU still reads quickly."""


def check_points(points: Tensor, name: str) -> None:
    """Refuses anything but finite ``(num_points, dim)`` floating point positions in 2-D or 3-D."""
    if points.dim() != 2 or points.shape[1] not in (2, 3):
        raise GeogridError(f"{name}: expected positions of shape (num_points, 2 or 3), got {tuple(points.shape)}")
    if points.dtype not in (torch.float32, torch.float64):
        raise GeogridError(f"{name}: expected float32 or float64 positions in mm, got {points.dtype}; convert with .float()")
    if not bool(torch.isfinite(points).all()):
        raise GeogridError(f"{name}: expected finite positions, got NaN or infinity; remove those points first")


def check_pair(context: Tensor, query: Tensor) -> None:
    """Refuses clouds that do not live in the same space or on the same device."""
    check_points(context, "context")
    check_points(query, "query")
    if context.shape[1] != query.shape[1]:
        raise GeogridError(
            f"query: expected {context.shape[1]}-D positions like the context, got {query.shape[1]}-D; "
            "give both clouds the same number of dimensions"
        )
    if context.device != query.device:
        raise GeogridError(f"query: expected positions on {context.device} like the context, got {query.device}; use .to()")


def check_batch(batch: Tensor | None, points: Tensor, name: str) -> Tensor:
    """The batch vector, zeros when there is none; refuses unsorted ones and those of another length."""
    if batch is None:
        return torch.zeros(len(points), dtype=torch.int64, device=points.device)
    if batch.shape != points.shape[:1] or batch.dtype != torch.int64 or batch.device != points.device:
        raise GeogridError(
            f"{name}: expected {len(points)} int64 values on {points.device}, one per point, "
            f"got {tuple(batch.shape)} {batch.dtype} on {batch.device}"
        )
    if len(batch) and (bool((batch[1:] < batch[:-1]).any()) or int(batch[0]) < 0):
        raise GeogridError(
            f"{name}: expected sorted values from 0 up, got unsorted or negative ones; sort the points by batch entry"
        )
    return batch


def check_batches(
    batch_context: Tensor | None, batch_query: Tensor | None, context: Tensor, query: Tensor
) -> tuple[Tensor, Tensor]:
    """Both batch vectors, zeros when there are none; refuses one without the other."""
    if (batch_context is None) != (batch_query is None):
        missing = "batch_context" if batch_context is None else "batch_query"
        raise GeogridError(f"{missing}: expected both batch vectors or none, got one; give both")
    return check_batch(batch_context, context, "batch_context"), check_batch(batch_query, query, "batch_query")


def check_positive(value: float, name: str, unit: str = "mm") -> float:
    """The value as a float; refuses zero, negative, NaN and infinite ones."""
    number = float(value)
    if not 0 < number < math.inf:
        raise GeogridError(f"{name}: expected a positive number of {unit}, got {value}")
    return number


def check_count(value: int, name: str) -> int:
    """The value; refuses anything but whole numbers from 1 up."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise GeogridError(f"{name}: expected a whole number from 1 up, got {value}")
    return value


def per_axis(value: float | Sequence[float] | Tensor | None, points: Tensor, name: str) -> Tensor:
    """One positive float64 number per axis, on the device of the points; a single number (none: 1) counts for all axes."""
    dim = points.shape[1]
    numbers = torch.as_tensor(1.0 if value is None else value).detach().to(points.device, torch.float64)
    if numbers.dim() > 1 or (numbers.dim() == 1 and len(numbers) != dim):
        raise GeogridError(f"{name}: expected one number or {dim}, one per axis, got shape {tuple(numbers.shape)}")
    if not bool(((numbers > 0) & torch.isfinite(numbers)).all()):
        raise GeogridError(f"{name}: expected positive numbers, got {numbers.tolist()}")
    return numbers.expand(dim).contiguous()


def working_bytes(max_bytes: int, points: Tensor) -> int:
    """Bytes to work on at once: what the caller allows, on the CPU not more than its cache likes."""
    return min(max_bytes, CACHE_BYTES) if points.device.type == "cpu" else max_bytes

"""Checks of what callers hand to the layers, in one place, before any work is done."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import Neighborhood


def check_features(name: str, x: Tensor, channels: int, like: Tensor) -> None:
    """Features are ``(num_points, channels)``, of the type and on the device of the weights."""
    if x.dim() != 2 or x.shape[1] != channels:
        raise GeogridError(f"{name}: expected (num_points, {channels}), got {tuple(x.shape)}; rows are points")
    check_same_kind(name, x, like)


def check_same_kind(name: str, x: Tensor, like: Tensor) -> None:
    """Floating point values, on the device of the weights and, outside autocast, of their type."""
    if x.device != like.device:
        raise GeogridError(f"{name}: expected values on {like.device}, got {x.device}; move the layer or the values with .to()")
    if x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
        raise GeogridError(f"{name}: expected {like.dtype} as the weights, got {x.dtype}; convert with .to()")


def check_positions(name: str, pos: Tensor, dim: int, num_points: int | None, device: torch.device) -> None:
    """Positions are ``(num_points, dim)`` floating point values in mm."""
    rows = "num_points" if num_points is None else num_points
    if pos.dim() != 2 or pos.shape[1] != dim or (num_points is not None and len(pos) != num_points):
        raise GeogridError(f"{name}: expected ({rows}, {dim}), one row per point of a {dim}-D layer, got {tuple(pos.shape)}")
    if not pos.is_floating_point():
        raise GeogridError(f"{name}: expected floating point positions in mm, got {pos.dtype}; convert with .float()")
    if pos.device != device:
        raise GeogridError(f"{name}: expected positions on {device}, got {pos.device}; move them with .to()")


def check_neighborhood(neighborhood: Neighborhood | Tensor, num_context: int, num_query: int, device: torch.device) -> None:
    """A table of ``num_query`` rows into ``num_context`` points, or a ``(2, num_edges)`` edge list between them."""
    if isinstance(neighborhood, Neighborhood):
        got = (neighborhood.num_context, neighborhood.num_query)
        if got != (num_context, num_query):
            raise GeogridError(
                f"neighborhood: expected {num_context} context and {num_query} query points as in pos, got {got[0]} and {got[1]}"
            )
        if neighborhood.index.device != device:
            raise GeogridError(
                f"neighborhood: expected it on {device}, got {neighborhood.index.device}; move it with .to({str(device)!r})"
            )
        return
    check_edge_index(neighborhood, num_context, num_query, device)


def check_edge_index(edge_index: Tensor, num_context: int, num_query: int, device: torch.device) -> None:
    """Row 0 counts context points, row 1 query points."""
    if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.dtype != torch.int64:
        raise GeogridError(f"edge_index: expected (2, num_edges) int64, got {tuple(edge_index.shape)} {edge_index.dtype}")
    if edge_index.device != device:
        raise GeogridError(f"edge_index: expected it on {device}, got {edge_index.device}; move it with .to()")
    if edge_index.shape[1] == 0:
        return
    last, limit = edge_index.max(1).values.tolist(), (num_context, num_query)
    if int(edge_index.min()) < 0 or last[0] >= limit[0] or last[1] >= limit[1]:
        raise GeogridError(
            f"edge_index: expected row 0 (context) below {limit[0]} and row 1 (query) below {limit[1]}, got values up to "
            f"{last[0]} and {last[1]}; row 0 is the context, row 1 the query: flip(0) if they are swapped"
        )


def check_scale(scale: float) -> None:
    """A level's scale is a positive number of mm."""
    if not 0 < float(scale) < float("inf"):
        raise GeogridError(f"scale: expected a positive number of mm, got {scale}")


def check_positive(name: str, values: Tensor, shapes: Sequence[tuple[int, ...]], device: torch.device) -> None:
    """Positive finite values of one of the shapes allowed."""
    if tuple(values.shape) not in shapes:
        raise GeogridError(f"{name}: expected shape {' or '.join(map(str, shapes))}, got {tuple(values.shape)}")
    if values.device != device:
        raise GeogridError(f"{name}: expected values on {device}, got {values.device}; move them with .to()")
    if not bool(((values > 0) & values.isfinite()).all()):
        raise GeogridError(f"{name}: expected positive finite values, got some from {values.min():g} to {values.max():g}")


def check_frame(frame: Tensor, dim: int, num_query: int, device: torch.device) -> None:
    """Orthonormal columns, one frame for all or one for each query point."""
    if tuple(frame.shape) not in ((dim, dim), (num_query, dim, dim)):
        raise GeogridError(f"frame: expected ({dim}, {dim}) or ({num_query}, {dim}, {dim}), got {tuple(frame.shape)}")
    if frame.device != device:
        raise GeogridError(f"frame: expected it on {device}, got {frame.device}; move it with .to()")
    error = (frame.mT @ frame - torch.eye(dim, dtype=frame.dtype, device=device)).abs().max() if frame.numel() else 0.0
    if not float(error) < 1e-3:
        raise GeogridError(f"frame: expected orthonormal columns, got ones off by {float(error):.2g}; use Grid.frame")

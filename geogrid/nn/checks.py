"""What layers refuse, and how they say it."""

from __future__ import annotations

import torch
from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.graph import Neighborhood


def check_features(name: str, x: Tensor, channels: int, like: Tensor) -> None:
    """Features must be ``(num_points, channels)`` floats beside the layer's weights."""
    if x.dim() != 2 or x.shape[1] != channels:
        raise GeogridError(f"{name}: expected (num_points, {channels}) features, got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise GeogridError(f"{name}: expected floating-point features, got {x.dtype}; use {name}.float()")
    if x.device != like.device:
        raise GeogridError(f"{name}: expected features on the layer's device {like.device}, got {x.device}; use .to()")
    if x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
        raise GeogridError(f"{name}: expected the layer's dtype {like.dtype}, got {x.dtype}; use {name}.to({like.dtype})")


def check_positions(name: str, pos: Tensor, x: Tensor, dim: int) -> None:
    """Positions must be ``(num_points, dim)`` floats, one per feature."""
    if pos.dim() != 2 or pos.shape[1] != dim:
        raise GeogridError(
            f"{name}: expected (num_points, {dim}) positions in mm, got {tuple(pos.shape)}; the layer has dim={dim}"
        )
    if len(pos) != len(x):
        raise GeogridError(f"{name}: expected {len(x)} positions, one per feature, got {len(pos)}")
    if pos.dtype not in (torch.float32, torch.float64):
        raise GeogridError(f"{name}: expected float32 or float64 positions, got {pos.dtype}; use {name}.float()")
    if pos.device != x.device:
        raise GeogridError(f"{name}: expected positions on {x.device} like the features, got {pos.device}; use .to()")


def check_neighborhood(table: Neighborhood, num_context: int, num_query: int, device: torch.device) -> None:
    """A table must have been made for as many points."""
    if table.num_query != num_query or table.num_context != num_context:
        raise GeogridError(
            f"neighborhood: expected {num_context} context and {num_query} query points, got {table.num_context} and "
            f"{table.num_query}; are context and query swapped?"
        )
    if table.index.device != device:
        raise GeogridError(f"neighborhood: expected a table on {device}, got {table.index.device}; use .to()")


def check_edge_index(edge_index: Tensor, num_context: int, num_query: int, device: torch.device) -> None:
    """Edges must be ``(2, num_edges)`` int64 with rows of the context above and of the query below."""
    if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.dtype != torch.int64:
        raise GeogridError(
            f"edge_index: expected a (2, num_edges) int64 tensor, got {tuple(edge_index.shape)} {edge_index.dtype}; "
            "row 0 is the context, row 1 the query"
        )
    if edge_index.device != device:
        raise GeogridError(f"edge_index: expected a tensor on {device}, got {edge_index.device}; use .to()")
    if torch.compiler.is_compiling() or edge_index.shape[1] == 0:
        return
    for row, count in enumerate((num_context, num_query)):
        low, high = (int(bound) for bound in edge_index[row].aminmax())
        if low < 0 or high >= count:
            raise GeogridError(
                f"edge_index: expected row {row} within 0 to {count - 1}, got {low} to {high}; "
                "row 0 is the context and row 1 the query: are they swapped?"
            )


def check_log_measure(log_measure: Tensor, num_context: int, device: torch.device) -> None:
    """The measure must be one float per context point."""
    if log_measure.shape != (num_context,) or not log_measure.is_floating_point() or log_measure.device != device:
        raise GeogridError(
            f"log_measure: expected ({num_context},) floats on {device}, one per context point, "
            f"got {tuple(log_measure.shape)} {log_measure.dtype} on {log_measure.device}"
        )

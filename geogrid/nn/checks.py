"""What layers refuse, and how they say it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geogrid.errors import GeogridError
from geogrid.graph import Neighborhood
from geogrid.graph import checks as graph_checks


def check_features(name: str, x: Tensor, channels: int, like: Tensor) -> None:
    """Features are ``(num_points, channels)``, of the type and on the device of the weights."""
    if x.dim() != 2 or x.shape[1] != channels:
        raise GeogridError(f"{name}: expected (num_points, {channels}) features, got {tuple(x.shape)}; rows are points")
    check_same_kind(name, x, like)


def check_same_kind(name: str, x: Tensor, like: Tensor) -> None:
    """Floating point values, on the device of the weights and, outside autocast, of their type."""
    if not x.is_floating_point():
        raise GeogridError(f"{name}: expected floating-point features, got {x.dtype}; use {name}.float()")
    if x.device != like.device:
        raise GeogridError(f"{name}: expected values on the layer's device {like.device}, got {x.device}; use .to()")
    if x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
        raise GeogridError(f"{name}: expected the layer's dtype {like.dtype}, got {x.dtype}; use {name}.to({like.dtype})")


def check_positions(name: str, pos: Tensor, dim: int, num_points: int | None, device: torch.device) -> None:
    """Positions are ``(num_points, dim)`` float32 or float64 values in mm, one per feature where there are features."""
    if pos.dim() != 2 or pos.shape[1] != dim:
        raise GeogridError(
            f"{name}: expected (num_points, {dim}) positions in mm, got {tuple(pos.shape)}; the layer has dim={dim}"
        )
    if num_points is not None and len(pos) != num_points:
        raise GeogridError(f"{name}: expected {num_points} positions, one per feature, got {len(pos)}")
    if pos.dtype not in (torch.float32, torch.float64):
        raise GeogridError(f"{name}: expected float32 or float64 positions, got {pos.dtype}; use {name}.float()")
    if pos.device != device:
        raise GeogridError(f"{name}: expected positions on {device} like the features, got {pos.device}; use .to()")


def check_edges(edges: Neighborhood | Tensor, num_context: int, num_query: int, device: torch.device) -> None:
    """A table or an edge list between as many points."""
    if isinstance(edges, Neighborhood):
        _check_table(edges, num_context, num_query, device)
    else:
        _check_edge_index(edges, num_context, num_query, device)


def check_scale(scale: float) -> None:
    """A level's scale is a positive number of mm."""
    graph_checks.check_positive(scale, "scale")


def check_regular(values: Tensor, dim: int, num_context: int) -> None:
    """Which axes are sampled regularly: bool, for all, per axis, or per point and axis."""
    if values.dtype != torch.bool or values.shape not in ((), (dim,), (num_context, dim)):
        raise GeogridError(
            f"regular: expected True, False, ({dim},) or ({num_context}, {dim}) bool, got {tuple(values.shape)} {values.dtype}"
        )


def check_positive(name: str, values: Tensor, shapes: Sequence[tuple[int, ...]], device: torch.device) -> None:
    """Positive finite values of one of the shapes allowed."""
    if tuple(values.shape) not in shapes:
        raise GeogridError(f"{name}: expected shape {' or '.join(map(str, shapes))}, got {tuple(values.shape)}")
    if values.device != device:
        raise GeogridError(f"{name}: expected values on {device}, got {values.device}; move them with .to()")
    if not bool(((values > 0) & values.isfinite()).all()):
        raise GeogridError(f"{name}: expected positive finite values, got some from {values.min():g} to {values.max():g}")


def check_log_measure(log_measure: Tensor, num_context: int, device: torch.device) -> None:
    """The measure is one float per context point."""
    if log_measure.shape != (num_context,) or not log_measure.is_floating_point() or log_measure.device != device:
        raise GeogridError(
            f"log_measure: expected ({num_context},) floats on {device}, one per context point, "
            f"got {tuple(log_measure.shape)} {log_measure.dtype} on {log_measure.device}"
        )


def check_frame(frame: Tensor, dim: int, num_query: int | None, device: torch.device) -> None:
    """Orthonormal columns, one frame for all or, where ``num_query`` is given, one for each query point."""
    shapes = [(dim, dim)] + ([] if num_query is None else [(num_query, dim, dim)])
    if tuple(frame.shape) not in shapes:
        raise GeogridError(f"frame: expected shape {' or '.join(map(str, shapes))}, got {tuple(frame.shape)}")
    if frame.device != device:
        raise GeogridError(f"frame: expected it on {device}, got {frame.device}; move it with .to()")
    if torch.compiler.is_compiling():
        return
    error = (frame.mT @ frame - torch.eye(dim, dtype=frame.dtype, device=device)).abs().max() if frame.numel() else 0.0
    if not float(error) < 1e-3:
        raise GeogridError(f"frame: expected orthonormal columns, got ones off by {float(error):.2g}; use Grid.frame")


def check_conv(conv: nn.Conv2d | nn.Conv3d) -> None:
    """Kernel size 3, stride 1, dilation 1, one group and zero padding of 1 along every axis: what fits on the knots."""
    if not isinstance(conv, nn.Conv2d | nn.Conv3d):
        raise GeogridError(f"from_conv: expected a torch.nn.Conv2d or Conv3d, got {type(conv).__name__}")
    dim = conv.weight.dim() - 2
    for name, expected in (("kernel_size", 3), ("stride", 1), ("dilation", 1), ("padding", 1)):
        got = getattr(conv, name)
        if got != (expected,) * dim and not (name == "padding" and got == "same"):
            raise GeogridError(
                f"from_conv: expected {name} {(expected,) * dim}, got {got}; only such weights fit on 3**dim knots"
            )
    if conv.groups != 1:
        raise GeogridError(f"from_conv: expected groups=1, got {conv.groups}; write the groups into one dense weight first")
    if conv.padding_mode != "zeros":
        raise GeogridError(
            f"from_conv: expected padding_mode 'zeros', got {conv.padding_mode!r}; geogrid fades to zero at borders"
        )


def _check_table(table: Neighborhood, num_context: int, num_query: int, device: torch.device) -> None:
    if table.num_query != num_query or table.num_context != num_context:
        raise GeogridError(
            f"neighborhood: expected {num_context} context and {num_query} query points, got {table.num_context} and "
            f"{table.num_query}; are context and query swapped?"
        )
    if table.index.device != device:
        raise GeogridError(f"neighborhood: expected a table on {device}, got {table.index.device}; use .to()")


def _check_edge_index(edge_index: Tensor, num_context: int, num_query: int, device: torch.device) -> None:
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

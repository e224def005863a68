"""Knot weights as sparse matrices: made once for a level, used by every layer there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from geogrid.errors import GeogridError
from geogrid.graph import Neighborhood
from geogrid.nn.ops.edges import hear_beta_notice
from geogrid.nn.stencil import Stencil

WIDE = 64
"""Channels that the chunks are made for; layers that are wider use more memory."""


@dataclass(frozen=True, eq=False)
class KnotMatrix:
    r"""The weights :math:`\tilde w_{jb}` of :class:`~geogrid.nn.ContinuousConv` for all queries, without the zeros.

    A neighbour is within reach of few of the :math:`3^d` knots, so a tenth of the table is not zero. The weights depend on
    positions alone: layers of any width share them. Gradients reach features, not positions.

    Args:
        parts: matrices of consecutive queries, each so small that the values at its knots fit into a layer's memory.
        num_context: points that can be neighbours.
        dim: of space.
    """

    parts: tuple[SparseRows, ...]
    num_context: int
    dim: int

    @classmethod
    def of(cls, stencil: Stencil, neighborhood: Neighborhood, chunk_bytes: int = 2**25) -> KnotMatrix:
        """The weights of a table of neighbours.

        Args:
            stencil: where everyone stands.
            neighborhood: who is whose neighbour.
            chunk_bytes: about how much memory to use at a time, beside the result.

        Raises:
            GeogridError: where positions are learned.
        """
        if not stencil.is_fixed:
            raise GeogridError("knots: expected fixed positions, got some that are learned; use ContinuousConv.forward")
        dim, count = stencil.query.shape[1], neighborhood.num_query
        step = max(1, chunk_bytes // (3**dim * (8 * neighborhood.k + WIDE) * stencil.query.element_size()))
        parts = [_sparse(stencil, neighborhood, slice(start, start + step)) for start in range(0, count, step)]
        return cls(tuple(parts), neighborhood.num_context, dim)

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Fills the knots and multiplies them with the weights of a layer.

        Args:
            x: ``(num_context, in_channels)``.
            weight: ``(3**dim * in_channels, out_channels)``.

        Returns:
            ``(num_query, out_channels)``. What stands on the knots is not kept for the backward pass.
        """
        outs = [checkpoint(_filled, x, weight, part, use_reentrant=False, preserve_rng_state=False) for part in self.parts]
        return outs[0] if len(outs) == 1 else torch.cat([x.new_zeros(0, weight.shape[1]), *outs])

    def check(self, num_context: int, dim: int) -> None:
        """Refuses features of other points and layers of another dimension.

        Raises:
            GeogridError: for these.
        """
        if (num_context, dim) != (self.num_context, self.dim):
            raise GeogridError(
                f"knots: expected those of {num_context} points in {dim}-D, got {self.num_context} in {self.dim}-D; "
                "make them from the points whose features these are"
            )


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A sparse matrix that multiplies dense ones, with its transpose for the gradient.

    Args:
        start: ``(num_rows + 1,)`` where each row begins.
        column: ``(num_entries,)``.
        value: ``(num_entries,)``.
        num_columns: of the matrix.
    """

    start: Tensor
    column: Tensor
    value: Tensor
    num_columns: int

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """As PyTorch has it."""
        hear_beta_notice()
        shape = (len(self.start) - 1, self.num_columns)
        return torch.sparse_csr_tensor(self.start, self.column, self.value.to(dtype), shape, check_invariants=False)

    @cached_property
    def transposed(self) -> SparseRows:
        """Rows for columns; made when first asked for."""
        order = self.column.argsort(stable=True)
        rows = torch.repeat_interleave(self.start.diff())
        start = _starts(self.column, self.num_columns)
        return SparseRows(start, rows[order].to(self.column.dtype), self.value[order], len(self.start) - 1)

    def __matmul__(self, x: Tensor) -> Tensor:
        """The product with ``(num_columns, channels)``."""
        product: Tensor = _Product.apply(self, x)  # type: ignore[no-untyped-call]
        return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(rows: SparseRows, x: Tensor) -> Tensor:
        kind = torch.promote_types(rows.value.dtype, x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            return (rows.matrix(kind) @ x.to(kind)).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[SparseRows, Tensor], output: Tensor) -> None:
        ctx.rows = inputs[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, ctx.rows.transposed @ grads[0]


def _filled(x: Tensor, weight: Tensor, rows: SparseRows) -> Tensor:
    return (rows @ x).reshape(-1, len(weight)) @ weight


def _sparse(stencil: Stencil, neighborhood: Neighborhood, rows: slice) -> SparseRows:
    """The matrix of some queries, their knots one after the other."""
    index = neighborhood.index[rows]
    weights = stencil.weights(rows, index, neighborhood.mask[rows])
    query, knot, place = weights.nonzero(as_tuple=True)
    row = query * weights.shape[1] + knot
    start = _starts(row, weights.shape[0] * weights.shape[1])
    return SparseRows(start, index[query, place].int(), weights[query, knot, place], neighborhood.num_context)


def _starts(number: Tensor, count: int) -> Tensor:
    """Where each of ``count`` groups begins once entries are sorted by their group's number, ``(count + 1,)``."""
    ends = torch.bincount(number, minlength=count).cumsum(0)
    return torch.nn.functional.pad(ends, (1, 0)).int()

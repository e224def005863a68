"""Where the neighbours of a convolution stand, and what each counts for at the knots around a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.nn import checks
from geogrid.nn.knots import interpolation_weights, linear_coefficients, moments, monomials, stencil_weights
from geogrid.nn.lattice_kernel import ON_KNOTS

Regular = bool | Sequence[bool] | Tensor


@dataclass(frozen=True, eq=False)
class Stencil:
    """The geometry of a convolution between points; :mod:`geogrid.nn.knots` has the formula.

    Args:
        context: ``(num_context, dim)`` positions in mm.
        query: ``(num_query, dim)`` positions in mm.
        width: of the interpolating kernels in units of the scale, ``(dim,)`` or ``(num_context, dim)``.
        share: ``(num_context,)`` volume over the product of the widths.
        cubic: axes that are filled by cubic interpolation, bool, ``(dim,)`` or ``(num_context, dim)``; None for none.
        frame: ``(num_query, dim, dim)`` axes of the kernel in the world, as columns; None for those of the world.
        scale: distance of the knots, in mm.
    """

    context: Tensor
    query: Tensor
    width: Tensor
    share: Tensor
    cubic: Tensor | None
    frame: Tensor | None
    scale: float

    @classmethod
    def of(
        cls, context: Tensor, query: Tensor, scale: float, spacing: float | Sequence[float] | Tensor | None = None,
        measure: Tensor | None = None, frame: Tensor | None = None, regular: Regular = False,
    ) -> Stencil:  # fmt: skip
        """From what :meth:`geogrid.nn.ContinuousConv.forward` is given.

        Raises:
            GeogridError: when shapes, types or devices do not fit together.
        """
        dim = query.shape[1]
        width, share = _sampling(context, scale, spacing, measure)
        frame = None if frame is None else frame.to(query).expand(len(query), dim, dim)
        return cls(context, query, width, share, _cubic(regular, width, context), frame, float(scale))

    @property
    def is_fixed(self) -> bool:
        """Whether nothing in it is learned, so that weights may be kept."""
        return not any(part is not None and part.requires_grad for part in vars(self).values() if isinstance(part, Tensor))

    def weights(self, rows: slice, index: Tensor, mask: Tensor) -> Tensor:
        """Of the neighbours of some queries at their knots, ``(n, 3**dim, k)``.

        Args:
            rows: of the queries.
            index: ``(n, k)`` their neighbours.
            mask: ``(n, k)`` which of these are any.
        """
        with torch.autocast(self.query.device.type, enabled=False):
            frame = None if self.frame is None else self.frame[rows]
            rel = self._relative(self.context[index], self.query[rows][:, None], frame)
            bent = None if self.cubic is None else _at(self.cubic, index)
            return interpolation_weights(rel, _at(self.width, index), self.share[index] * mask, bent)

    def edge_weights(self, edge_index: Tensor) -> Tensor:
        """The same for a list of edges, ``(num_edges, 3**dim)``."""
        context, query = edge_index
        turned = None if self.frame is None else self.frame[query]
        rel = self._relative(self.context[context][:, None], self.query[query][:, None], turned)
        wide = _at(self.width, context[:, None])
        bent = None if self.cubic is None else _at(self.cubic, context[:, None])
        hats, bend = stencil_weights(rel, wide, self.share[context][:, None], bent)

        def sums(weights: Tensor, terms: Tensor) -> Tensor:
            empty = weights.new_zeros(len(self.query), weights.shape[1])
            return torch.stack([empty.index_add(0, query, weights[..., 0] * term) for term in terms[:, 0].split(1, -1)], -1)

        more = None if bend is None else sums(bend, moments(rel))
        constant, slope, factor = linear_coefficients(sums(hats, monomials(rel, wide)), rel.shape[-1], more)
        weights = hats[..., 0] * (constant[query] + (slope[query] * rel).sum(-1))
        return weights if bend is None else weights + bend[..., 0] * factor[query]

    def _relative(self, context: Tensor, query: Tensor, frame: Tensor | None) -> Tensor:
        """Positions of context relative to query, along the axes of the frame, in units of the scale."""
        rel = (context - query) / self.scale
        return rel if frame is None else rel @ frame


def _sampling(
    pos: Tensor, scale: float, spacing: float | Sequence[float] | Tensor | None, measure: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Widths of the hats in units of the scale, and each context point's volume over the product of its widths."""
    dim = pos.shape[1]
    if spacing is None and measure is not None:
        checks.check_positive("measure", measure, [(len(pos),)], pos.device)
        spacing = measure.to(pos.dtype).pow(1 / dim)[:, None].expand(-1, dim)
    steps = torch.as_tensor(scale if spacing is None else spacing, dtype=torch.float64)
    steps = steps.to(pos) if steps.dim() < 2 else steps.to(pos.dtype)
    checks.check_positive("spacing", steps, [(), (dim,), (len(pos), dim)], pos.device)
    steps = (steps / scale).expand(dim) if steps.dim() < 2 else steps / scale
    width = steps.clamp_min(1)
    if measure is None:
        volume = steps.prod(-1)
    else:
        checks.check_positive("measure", measure, [(len(pos),)], pos.device)
        volume = measure.to(pos.dtype) / scale**dim
    return width, (volume / width.prod(-1)).expand(len(pos))


def _cubic(regular: Regular, width: Tensor, context: Tensor) -> Tensor | None:
    """Axes with cubic interpolation, bool, ``(dim,)`` or ``(num_context, dim)``; None if there are none."""
    if regular is False:
        return None
    given = torch.as_tensor(regular, device=width.device)
    checks.check_regular(given, context.shape[1], len(context))
    cubic = given & (width > 1 + ON_KNOTS)
    return cubic if bool(cubic.any()) else None


def _at(values: Tensor, index: Tensor) -> Tensor:
    """Rows of values that are given per point; values given per axis as they are."""
    return values if values.dim() < 2 else values[index]

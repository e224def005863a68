r"""The continuous cost volume: logits at knots that do not depend on the sampling.

At the knot :math:`e_b \in \{-1, 0, 1\}^d` (in units of the level's scale, around the query) with hat weights
:math:`w_{jb}` of the relative positions, and a factor :math:`t_j` that is 1 except near the rim of the attention's ball (if it
has one), where it falls to 0,

.. math:: \mathrm{cost}_b = \frac{\sum_j t_j v_j w_{jb} l_j}{\max(c_b, 1/2)}, \qquad
    c_b = \sum_j t_j v_j w_{jb} / \prod \mathrm{width}.

This is the weighted mean of the logits times the coverage factor :math:`\min(1, 2 c_b)`: a knot without neighbours has cost 0,
and gets there continuously.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geogrid.nn.hat import hat

HALF = 0.5
"""Coverage below which the cost fades."""


def axis_weights(rel: Tensor, width: Sequence[float]) -> list[Tensor]:
    """Per axis the hats ``(..., 3)`` at -1, 0 and 1 of relative positions ``(..., dim)``, divided by the width."""
    knots = torch.tensor([-1.0, 0.0, 1.0], dtype=rel.dtype, device=rel.device)
    return [hat((rel[..., a, None] - knots) / w) / w for a, w in enumerate(width)]


def axis_slopes(rel: Tensor, width: Sequence[float]) -> list[Tensor]:
    """The derivatives of :func:`axis_weights`; zero on the kinks."""
    knots = torch.tensor([-1.0, 0.0, 1.0], dtype=rel.dtype, device=rel.device)
    shares = [(rel[..., a, None] - knots) / w for a, w in enumerate(width)]
    return [-t.sign() * (t.abs() < 1) / w**2 for t, w in zip(shares, width, strict=True)]


def outer(factors: Sequence[Tensor]) -> Tensor:
    """The products ``(..., 3^dim)`` of one factor ``(..., 3)`` per axis, the last axis fastest."""
    product = factors[0]
    for factor in factors[1:]:
        product = (product[..., None] * factor[..., None, :]).flatten(-2)
    return product


def knot_weights(rel: Tensor, width: Sequence[float]) -> Tensor:
    """Hat weights ``(..., 3^dim)`` of relative positions ``(..., dim)`` in units of the scale, over the volume of a hat."""
    return outer(axis_weights(rel, width))


def normalized(total: Tensor, covered: Tensor) -> Tensor:
    """The cost from the weighted sums of logits and their coverage."""
    return total / covered.clamp_min(HALF)

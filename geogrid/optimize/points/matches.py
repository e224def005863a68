"""Which moving point each fixed point is, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SURE = 0.5
"""A match is named when its probability exceeds this."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Probabilities of candidates.

    Args:
        candidates: ``(num_fixed, k)`` int64 rows of the moving points.
        shares: ``(num_fixed, k)`` probability of each; rows sum to at most 1.
    """

    candidates: Tensor
    shares: Tensor

    @property
    def support(self) -> Tensor:
        """Probability that a fixed point has a partner at all, ``(num_fixed,)``."""
        return self.shares.sum(1)

    def target(self, moving: Tensor) -> Tensor:
        """Mean position of the candidates, ``(num_fixed, dim)``."""
        mean = (self.shares[..., None] * moving[self.candidates]).sum(1)
        return mean / self.support.clamp_min(1e-12)[:, None]

    def best(self) -> tuple[Tensor, Tensor]:
        """Row of the likeliest candidate, -1 where none is likelier than ``SURE``, and its probability."""
        confidence, place = self.shares.max(1)
        row = self.candidates.gather(1, place[:, None])[:, 0]
        return torch.where(confidence > SURE, row, -1), confidence

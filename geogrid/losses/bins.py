"""Joint histograms of intensities in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

Places = tuple[Tensor, Tensor]


class Bins:
    """Evenly spaced bins from 0 to 1, between which intensities are shared linearly.

    Args:
        number: of bins, 2 or more.
        width: standard deviation in bins of the Gaussian by which :meth:`smooth` spreads what is in a bin; what would leave
            at an end stays in the last bins.
    """

    def __init__(self, number: int, width: float) -> None:
        self.number = number
        apart = torch.arange(number, dtype=torch.float64)[:, None] - torch.arange(number, dtype=torch.float64)
        spread = torch.exp(-(apart / max(width, 1e-3)).square() / 2)
        self._spread = spread / spread.sum(0)

    def place(self, values: Tensor) -> Places:
        """The bin at or below each value, at most the last but one, and the share in [0, 1] of the next bin."""
        scaled = values.clamp(0, 1) * (self.number - 1)
        left = scaled.detach().floor().clamp_max(self.number - 2)
        return left.long(), scaled - left

    def joint(self, fixed: Places, moving: Places, weight: Tensor) -> Tensor:
        """Sums of weights, ``(number, number)`` float64: fixed bins along the first axis."""
        first = fixed[0] * self.number + moving[0]
        weight = weight.double()
        upper = weight * fixed[1]
        total = weight.new_zeros(self.number**2)
        for step, part in ((0, weight - upper), (self.number, upper)):
            right = part * moving[1]
            for along, share in ((0, part - right), (1, right)):
                total += torch.bincount(first + (step + along), share, self.number**2)
        return total.reshape(self.number, self.number)

    def smooth(self, joint: Tensor) -> Tensor:
        """A joint histogram, each entry spread over its neighbours; the sum stays."""
        spread = self._spread.to(joint)
        return spread @ joint @ spread.T

    def smooth_adjoint(self, table: Tensor) -> Tensor:
        """The transpose of :meth:`smooth`."""
        spread = self._spread.to(table)
        return spread.T @ table @ spread

    def read_rise(self, table: Tensor, fixed: Tensor, share: Tensor, moving: Tensor) -> Tensor:
        """How fast a table's value rises with the moving intensity, at places given as :meth:`place` gives them."""
        rise = torch.zeros_like(table)
        rise[:, :-1] = table.diff(dim=1) * (self.number - 1)
        first = fixed * self.number + moving
        return torch.lerp(rise.flatten()[first], rise.flatten()[first + self.number], share)

"""Adam for one tensor."""

from __future__ import annotations

import torch
from torch import Tensor


class Adam:
    """Adam on one tensor, in place; ``torch.optim`` would spend a second on loading the compiler before its first step.

    Args:
        unknown: the tensor that is optimised.
        betas: decay of the mean and of the mean square of the gradient.
        epsilon: added to each entry's root mean square, as a share of that over all entries: where the gradient is nothing but
            rounding, nothing moves.

    Reference:
        Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    def __init__(self, unknown: Tensor, betas: tuple[float, float] = (0.9, 0.99), epsilon: float = 0.01) -> None:
        self.unknown, self.betas, self.epsilon = unknown, betas, epsilon
        self.mean, self.square = torch.zeros_like(unknown), torch.zeros_like(unknown)
        self.count = 0

    @torch.no_grad()
    def step(self, gradient: Tensor, rate: float) -> None:
        """Moves the unknown against a gradient, by about ``rate`` per entry."""
        first, second = self.betas
        self.count += 1
        self.mean.lerp_(gradient, 1 - first)
        self.square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        square = self.square / (1 - second**self.count)
        size = square.sqrt().add_(self.epsilon * square.mean().sqrt() + 1e-30)
        self.unknown.addcdiv_(self.mean, size, value=-rate / (1 - first**self.count))

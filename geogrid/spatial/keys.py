"""Keys' kernel of cubic convolution."""

from __future__ import annotations

from torch import Tensor


def keys(t: Tensor) -> Tensor:
    r"""Cubic convolution with a = -1/2, elementwise; t is a distance in spacings.

    .. math:: K(t) = \begin{cases} 1 - \tfrac52 t^2 + \tfrac32 |t|^3 & |t| \le 1 \\
        2 - 4 |t| + \tfrac52 t^2 - \tfrac12 |t|^3 & 1 \le |t| \le 2 \\ 0 & \text{beyond} \end{cases}

    It is 1 at 0 and 0 at every other integer, and reproduces fields of second degree from regular samples.

    Reference:
        R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on Acoustics, Speech, and
        Signal Processing 29 (1981).

    Example:
        >>> import torch
        >>> keys(torch.tensor([0.0, 0.5, -1.0, 1.5, 3.0]))
        tensor([ 1.0000,  0.5625,  0.0000, -0.0625,  0.0000])
    """
    t = t.abs()
    far = t.clamp(1, 2)
    near = t.clamp_max(1)
    return 1 + near.square() * (1.5 * near - 2.5) + (far - 1) * (far - 2).square() * -0.5

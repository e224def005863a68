"""Normalisation whose statistics do not depend on the sampling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geogrid.spatial import PointCloud


class MeasureNorm(nn.Module):
    r"""Instance normalisation weighted by measure (law c): per entry and channel, mean 0 and variance 1 over space.

    .. math:: y_j = \gamma \frac{x_j - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta, \qquad
        \mu = \frac{\sum_j v_j x_j}{\sum_j v_j}, \quad \sigma^2 = \frac{\sum_j v_j (x_j - \mu)^2}{\sum_j v_j} .

    Args:
        channels: number of channels.
        affine: whether scale and shift are learned.
        eps: added to the variance.

    Example:
        >>> cloud = PointCloud.from_points(torch.rand(5, 2), torch.tensor([1.0, 1.0, 1.0, 1.0, 0.5]))
        >>> y = MeasureNorm(3)(torch.rand(5, 3), cloud)
        >>> bool((cloud.measure @ y).abs().max() < 1e-5)
        True
    """

    def __init__(self, channels: int, affine: bool = True, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor, points: PointCloud) -> Tensor:
        """Normalises features.

        Args:
            x: ``(num_points, channels)``.
            points: where they are, what they stand for and which entry they belong to.

        Returns:
            ``(num_points, channels)`` in the dtype of ``x``; sums are taken in float32 or better, under autocast too.
        """
        with torch.autocast(x.device.type, enabled=False):
            return self._normalized(x.to(torch.promote_types(x.dtype, torch.float32)), points).to(x.dtype)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"{self.channels}, affine={self.weight is not None}"

    def _normalized(self, x: Tensor, points: PointCloud) -> Tensor:
        share = points.measure.to(x.dtype)[:, None]
        if points.num_entries == 1:
            return self._scaled(*_centred(x, share))
        if points.stackable:
            stack, shares = x.view(points.num_entries, -1, self.channels), share.view(points.num_entries, -1, 1)
            return self._scaled(*_centred(stack, shares)).view_as(x)
        return self._scaled(*_centred_by_entry(x, share, points))

    def _scaled(self, away: Tensor, power: Tensor) -> Tensor:
        gain = (power + self.eps).rsqrt()
        if self.weight is None or self.bias is None:
            return away * gain
        return torch.addcmul(self.bias, away, gain * self.weight)


def _centred(x: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """What is left without the mean, and its mean square."""
    share = share / share.sum(-2, keepdim=True)
    away = x - share.mT @ x
    return away, share.mT @ away.square()


def _centred_by_entry(x: Tensor, share: Tensor, points: PointCloud) -> tuple[Tensor, Tensor]:
    def sums(values: Tensor) -> Tensor:
        return values.new_zeros(points.num_entries, values.shape[1]).index_add(0, points.batch, values)

    share = share / sums(share)[points.batch]
    away = x - sums(share * x)[points.batch]
    return away, sums(share * away.square())[points.batch]

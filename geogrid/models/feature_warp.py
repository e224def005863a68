"""The paper's ablation: features are warped instead of points moving among them."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from geogrid.models.georeg import GeoReg, GeoRegConfig
from geogrid.nn.refine import WarpedFeatures


class FeatureWarp(GeoReg):
    """The coarse-to-fine loop of :class:`GeoReg` with plain interpolation for h and resampled moving features for g.

    Encoder, steps and head are the same; it is kept as a baseline. Moving images must be lattices.

    Args:
        config: sizes; what concerns attention is not used.

    Reference:
        Sideri-Lampretsa, Stolt-Ansó et al., arXiv 2412.13294, "feature warp".

    Example:
        >>> from geogrid.models import presets
        >>> model = FeatureWarp(presets.mnist())
        >>> model.config.learned_interpolation
        False
    """

    def __init__(self, config: GeoRegConfig) -> None:
        super().__init__(replace(config, learned_interpolation=False))

    def make_step(self, level: int) -> nn.Module:
        """The layer of a level that compares fixed and warped moving features."""
        return WarpedFeatures(self.config.channels[level], self.config.dim, self.config.at("hidden", level))

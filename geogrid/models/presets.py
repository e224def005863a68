"""Sizes of models that are worth a name."""

from __future__ import annotations

from geogrid.models.georeg import GeoRegConfig


def mnist() -> GeoRegConfig:
    """Digits of 28x28 pixels: three levels (28, 14, 7), one step each, windows of about 3x3 (paper, Sec. 4)."""
    return GeoRegConfig(
        dim=2, channels=(16, 32, 64), steps=(1, 1, 1), num_blocks=1, heads=1, head_channels=16, hidden=32, radius=1.5
    )


def paper3d() -> GeoRegConfig:
    """The paper's volumes: six levels, interpolation only at the finest, four steps at the two coarsest (Appendix 10)."""
    return GeoRegConfig(
        dim=3, channels=(16, 32, 32, 64, 64, 128), steps=(0, 1, 1, 2, 4, 4), heads=1, head_channels=16, radius=1.5
    )


def light3d() -> GeoRegConfig:
    """About 0.4 million parameters for volumes: one residual block per level, interpolation only at the finest."""
    return GeoRegConfig(
        dim=3,
        channels=(8, 16, 32, 32, 48),
        steps=(0, 1, 2, 3, 3),
        num_blocks=1,
        heads=2,
        head_channels=8,
        hidden=16,
        radius=1.5,
    )

"""What labels look like."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geogrid.data.synthetic.config import Relation
from geogrid.data.synthetic.draws import uniform

_DARK_BACKGROUND = 0.8


@dataclass(frozen=True, eq=False)
class Contrast:
    """The intensity of each label and how strongly the world's texture shows in it.

    Args:
        mean: ``(num_labels,)`` in [0, 1]; label 0 is the background.
        texture: ``(num_labels,)`` either sign; 0 for the background.
    """

    mean: Tensor
    texture: Tensor


def random_contrast(num_labels: int, texture: float, generator: torch.Generator) -> Contrast:
    """Intensities spread evenly over the labels in random order, each moved at random within its share of the range.

    Mostly the background is black; otherwise it is one label among the others.

    Args:
        num_labels: the background included.
        texture: standard deviation of the texture.
        generator: on any device.
    """
    dark = uniform(generator, 0, 1) < _DARK_BACKGROUND
    count = num_labels - dark
    rank = torch.randperm(count, generator=generator, device=generator.device).cpu()
    mean = (rank + torch.rand(count, generator=generator, device=generator.device).cpu()) / count
    mean = torch.cat([torch.zeros(1), 0.08 + 0.92 * mean]) if dark else mean
    strength = texture * torch.randn(num_labels, generator=generator, device=generator.device).cpu()
    strength[0] = 0
    return Contrast(mean, strength)


def related_contrast(contrast: Contrast, relation: Relation, texture: float, generator: torch.Generator) -> Contrast:
    """The contrast of the other image: the same, the inverted (the background stays), or one drawn anew."""
    if relation == "same":
        return contrast
    if relation == "inverted":
        turned = contrast.mean[1:].max() + contrast.mean[1:].min() - contrast.mean[1:]
        return Contrast(torch.cat([contrast.mean[:1], turned]), -contrast.texture)
    return random_contrast(len(contrast.mean), texture, generator)

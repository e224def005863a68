"""Which loss stands behind the name of a similarity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

from torch import Tensor

from geogrid.errors import GeogridError
from geogrid.losses.edges import EdgeTensors
from geogrid.losses.lncc import LocalCorrelation
from geogrid.losses.mind import SelfSimilarity
from geogrid.losses.nmi import MutualInformation

Similarity = Literal["lncc", "nmi", "mind", "edges"]
"""``lncc``: :class:`LocalCorrelation`; ``nmi``: :class:`MutualInformation`; ``mind``: :class:`SelfSimilarity`;
``edges``: :class:`EdgeTensors`."""

GAINS: dict[Similarity, float] = {"lncc": 1.0, "nmi": 0.7, "mind": 1.0, "edges": 0.25}
"""Factors of the losses, so that the same smoothness weights serve all of them (decisions 8, 21 and 23)."""


class ImageLoss(Protocol):
    """A loss with a fixed image built in."""

    def __call__(self, moving: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of an image on the same lattice; ``weight`` multiplies the fixed weight."""


def check_similarity(kind: str) -> None:
    """Refuses what is no similarity.

    Raises:
        GeogridError: naming those there are.
    """
    if kind not in get_args(Similarity):
        raise GeogridError(f"similarity: expected lncc, nmi, mind or edges, got {kind!r}")


def default_radius(kind: Similarity, dim: int) -> float:
    """The radius of :func:`similarity_loss` in units of a level's scale."""
    return 4.0 if kind == "lncc" and dim == 2 else 2.0


def similarity_loss(
    kind: Similarity,
    fixed: Tensor,
    spacing: Sequence[float],
    radius: float,
    weight: Tensor | None = None,
    floor: float = 0.01,
    stride: int = 2,
) -> ImageLoss:
    """The loss of a similarity, lower is better; not yet multiplied by its gain.

    Args:
        kind: of similarity.
        fixed: ``(*shape)`` intensities scaled to about [0, 1].
        spacing: mm between points along each axis.
        radius: half width of the window in mm (``lncc``); how far a descriptor looks, half of it to a neighbour and half of it
            around that one (``mind``); twice the scale (``edges``).
        weight: ``(*shape)`` weight of each point in [0, 1]; default 1.
        floor: standard deviation, in intensity units, below which a window or place counts as flat (``lncc``, ``mind``).
        stride: points from window to window, 1 or 2 (``lncc``, ``mind``).

    Raises:
        GeogridError: for an unknown similarity.
    """
    check_similarity(kind)
    if kind == "nmi":
        return MutualInformation(fixed, weight)
    if kind == "edges":
        return EdgeTensors(fixed, spacing, radius / 2, weight)
    if kind == "mind":
        return SelfSimilarity(fixed, spacing, radius / 2, radius / 2, weight, floor, stride)
    return LocalCorrelation(fixed, spacing, radius, weight, floor, stride)

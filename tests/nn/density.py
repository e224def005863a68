"""The experiment of law (c): one layer of attention sees one field through a cloud whose density varies eightfold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from geogrid.graph import point_volumes, radius
from geogrid.nn import NeighborAttention
from tests.nn.sampling import correlation

RADIUS = 2.0
"""Of all neighbourhoods and of the taper, in mm; the scale is 1 mm."""
SIZE = {2: 12.0, 3: 10.0}
"""Edge of the domain in mm; the density rises along its first axis."""
RATIO = 8.0
SPARSE = (40, 160)
"""Points of the cloud expected within the radius where it is sparsest, in its thinner and its thicker version."""
FEWEST = 30
MARGIN = 2.5
NUM_QUERY = 200
REFERENCE_SPACING = {2: 0.08, 3: 0.25}
"""Of the dense even sampling, about 2000 points in a neighbourhood."""
CHANNELS, HEADS, WAVES = 8, 4, 6
WAVELENGTH = 8.0
BALL = {2: math.pi, 3: 4 * math.pi / 3}
RIMS: dict[str, float | None] = {"hard rim": None, "taper": RADIUS}
MEASURES = ("no measure", "known density", "point_volumes")
Result = dict[tuple[int, str, str], tuple[float, float]]


@dataclass(frozen=True)
class Experiment:
    """A field of plane waves, a layer with random weights, and queries away from the borders."""

    dim: int
    waves: Tensor
    phases: Tensor
    queries: Tensor
    layer: NeighborAttention
    chance: torch.Generator

    @classmethod
    def draw(cls, seed: int, dim: int) -> Experiment:
        """Wave-vector components have a standard deviation of 2 pi / 8 per mm."""
        chance = torch.Generator().manual_seed(seed)
        waves = torch.randn(CHANNELS, WAVES, dim, generator=chance) * 2 * math.pi / WAVELENGTH
        phases = torch.rand(CHANNELS, WAVES, generator=chance) * 2 * math.pi
        queries = MARGIN + torch.rand(NUM_QUERY, dim, generator=chance) * (SIZE[dim] - 2 * MARGIN)
        layer = NeighborAttention(CHANNELS, CHANNELS, dim, HEADS, generator=chance).requires_grad_(False)
        return cls(dim, waves, phases, queries, layer, chance)

    def field(self, points: Tensor) -> Tensor:
        """``(num_points, channels)``, of order one."""
        phases = torch.einsum("nd,cwd->ncw", points, self.waves) + self.phases
        return phases.cos().sum(-1) / math.sqrt(WAVES / 2)

    def cloud(self, sparse: int) -> tuple[Tensor, Tensor]:
        """Random points, and the density in points per mm^dim at each."""
        lowest, size, rate = sparse / (BALL[self.dim] * RADIUS**self.dim), SIZE[self.dim], math.log(RATIO)
        count = round(lowest * size**self.dim * (RATIO - 1) / rate)
        share = torch.rand(count, self.dim, generator=self.chance)
        share[:, 0] = torch.log1p(share[:, 0] * (RATIO - 1)) / rate
        return share * size, lowest * RATIO ** share[:, 0]

    def lattice(self) -> Tensor:
        """The dense even sampling."""
        spacing = REFERENCE_SPACING[self.dim]
        return torch.cartesian_prod(*[torch.arange(spacing / 2, SIZE[self.dim], spacing)] * self.dim)

    def attend(self, rim: str, points: Tensor, log_measure: Tensor | None = None) -> Tensor:
        """The update at the queries, ``(num_query, channels)``."""
        near = radius(points, self.queries, RADIUS)
        assert int(near.mask.sum(1).min()) >= FEWEST
        self.layer.radius = RIMS[rim]
        return self.layer((self.field(points), self.field(self.queries)), (points, self.queries), near, log_measure)


def compare(seed: int, dim: int) -> Result:
    """Correlation and relative error against the dense even sampling, by points in the sparse part, rim and measure."""
    experiment = Experiment.draw(seed, dim)
    truths = {rim: experiment.attend(rim, experiment.lattice()) for rim in RIMS}
    found = {}
    for sparse in SPARSE:
        points, density = experiment.cloud(sparse)
        measures = (None, -density.log(), point_volumes(points).log_measure(1.0))
        for rim, truth in truths.items():
            for name, log_measure in zip(MEASURES, measures, strict=True):
                update = experiment.attend(rim, points, log_measure)
                error = float((update - truth).norm() / truth.norm())
                found[sparse, rim, name] = (correlation(update, truth), error)
    return found


def medians(every: Sequence[Result]) -> Result:
    """Over the seeds."""
    return {key: (median(one[key][0] for one in every), median(one[key][1] for one in every)) for key in every[0]}

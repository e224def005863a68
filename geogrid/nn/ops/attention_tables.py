"""What the fused attention takes and gives, and the gradients of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from torch import Tensor

from geogrid.nn.ops.edges import gathers_nothing

EDGES_IN_CACHE = 1 << 16
"""Edges per chunk at which the tables of a chunk stay in a processor's cache."""


@dataclass(frozen=True)
class Floats:
    """One tensor for each float input that is always there."""

    query: Tensor
    probe: Tensor
    key: Tensor
    value: Tensor
    wave_query: Tensor
    wave_context: Tensor
    position_key: Tensor
    position_value: Tensor
    place_query: Tensor
    place_context: Tensor


FLOATS = tuple(field.name for field in fields(Floats))
"""Inputs that have gradients, besides ``log_measure``."""


@dataclass(frozen=True)
class Inputs(Floats):
    """What the op takes; see :func:`geogrid.nn.functional.neighbor_attention`."""

    log_measure: Tensor | None
    index: Tensor
    mask: Tensor
    radius: float
    cost_width: Sequence[float]
    memory: int
    with_weights: bool
    with_offset: bool

    @property
    def heads(self) -> int:
        """Number of heads."""
        return self.query.shape[1]

    @property
    def empty(self) -> bool:
        """Whether there is no edge at all."""
        return self.index.numel() == 0 or len(self.key) == 0

    def tables(self) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of each head, as rows without gaps."""
        return [(self.key[:, h].contiguous(), self.value[:, h].contiguous()) for h in range(self.heads)]

    def chunks(self) -> Iterator[slice]:
        """Ranges of queries whose temporary tables fit into the memory."""
        num_query, k = self.index.shape
        floats = 12 + (6 * len(self.cost_width) + 4 * 3 ** len(self.cost_width) if self.cost_width else 0)
        floats += 4 * self.place_query.shape[1] + self.heads
        if not gathers_nothing(self.query):
            floats += 2 * (self.key.shape[2] + self.value.shape[2] + 2 * self.wave_context.shape[1])
        per_query = k * (32 + floats * self.query.element_size())
        size = self.memory // max(per_query, 1)
        if self.query.device.type == "cpu":
            size = min(size, EDGES_IN_CACHE // max(k, 1))
        size = max(1, size)
        return (slice(first, min(first + size, num_query)) for first in range(0, num_query, size))


@dataclass(frozen=True)
class Gradients(Floats):
    """Gradients of the float inputs, in their order."""

    log_measure: Tensor

    @classmethod
    def zeros(cls, inputs: Inputs) -> Gradients:
        """Zeros in the shapes of the inputs."""
        shapes = [getattr(inputs, name).shape for name in FLOATS]
        return cls(*(inputs.key.new_zeros(shape) for shape in [*shapes, (len(inputs.key),)]))


@dataclass(frozen=True)
class Outputs:
    """Gradients of the outputs, or a range of them."""

    update: Tensor
    coverage: Tensor
    offset: Tensor
    cost: Tensor
    weights: Tensor

    def __getitem__(self, part: slice) -> Outputs:
        return Outputs(self.update[part], self.coverage[part], self.offset[part], self.cost[part], self.weights[part])


def allocate(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Zeros of the shapes that :func:`forward` returns."""
    (num_query, heads, _), k = inputs.query.shape, inputs.index.shape[1]
    knots = 3 ** len(inputs.cost_width) if inputs.cost_width else 0
    return (
        inputs.query.new_zeros(num_query, heads, inputs.value.shape[2]),
        inputs.query.new_zeros(num_query),
        inputs.query.new_zeros(num_query, heads, inputs.place_query.shape[1] if inputs.with_offset else 0),
        inputs.query.new_zeros(num_query, heads, knots),
        inputs.query.new_zeros(num_query, k if inputs.with_weights else 0, heads),
    )

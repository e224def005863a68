"""A user's own PyG module with a layer of geogrid in it, trained for a few steps on batches from a DataLoader.

Every sample is a cloud with a texture and a copy of it that was moved by an unknown shift; the module learns the shift.

    python examples/attention_module.py --steps 60
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from geogrid.graph import Neighborhood, radius
from geogrid.nn import NeighborAttention

SCALE = 4.0
RADIUS = 2.0


class Pair(Data):
    """Two clouds; their point counts differ from sample to sample."""

    def __inc__(self, key: str, value: Tensor, *args: object, **kwargs: object) -> object:
        """Edges count context and query points apart."""
        if key == "edge_index":
            return torch.tensor([[len(self.context_pos)], [len(self.query_pos)]])
        return super().__inc__(key, value, *args, **kwargs)


class ShiftNet(nn.Module):
    """Matches points by their texture and averages the offsets."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.attention = NeighborAttention(8, 8, dim=3, radius=RADIUS, cosine=True, temperature=3.0, generator=generator)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, batch: Batch) -> Tensor:
        """The shift of every sample, ``(num_samples, 3)`` mm."""
        x, pos = (batch.context_x, batch.query_x), (batch.context_pos, batch.query_pos)
        table = Neighborhood.from_edge_index(batch.edge_index, len(pos[0]), len(pos[1]))
        offset = self.attention(x, pos, table, scale=SCALE, return_offset=True).offset.mean(1)
        total = offset.new_zeros(batch.num_graphs, 3).index_add(0, batch.query_pos_batch, offset)
        return self.gain * total / batch.query_pos_batch.bincount(minlength=batch.num_graphs)[:, None]


def make_pair(generator: torch.Generator) -> Pair:
    """A cloud of 40 to 60 points, and the same points, textured alike, up to 3 mm away along each axis."""
    count = int(torch.randint(40, 60, (), generator=generator))
    pos, x = 20 * torch.rand(count, 3, generator=generator), torch.randn(count, 8, generator=generator)
    shift = 6 * torch.rand(1, 3, generator=generator) - 3
    noisy = x + 0.2 * torch.randn(x.shape, generator=generator)
    return Pair(
        context_pos=pos + shift, context_x=noisy, query_pos=pos, query_x=x, shift=shift,
        edge_index=radius(pos + shift, pos, RADIUS * SCALE).edge_index, num_nodes=count,
    )  # fmt: skip


def train(steps: int, seed: int = 0) -> list[float]:
    """Mean error in mm after each step."""
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader([make_pair(generator) for _ in range(16)], batch_size=4, follow_batch=["query_pos"])
    model = ShiftNet(generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-2)
    errors: list[float] = []
    while len(errors) < steps:
        for batch in loader:
            optimizer.zero_grad()
            error = (model(batch) - batch.shift).norm(dim=1).mean()
            error.backward()
            optimizer.step()
            errors.append(error.item())
    return errors[:steps]


def main() -> None:
    """Trains and says how it went."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=60, help="of the optimiser")
    errors = train(options.parse_args().steps)
    print(f"mean error {errors[0]:.2f} mm at the start, {errors[-1]:.2f} mm after {len(errors)} steps")


if __name__ == "__main__":
    main()

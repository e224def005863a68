"""ContinuousConv inside a PyG module: one network for clouds of different sizes and densities, from a DataLoader.

python examples/continuous_conv_module.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from geogrid.graph import radius
from geogrid.nn import ContinuousConv

SCALE = 2.0


class PointNetwork(nn.Module):
    """Two continuous convolutions, knots 2 mm apart; one number per point."""

    def __init__(self, hidden: int = 8) -> None:
        super().__init__()
        self.first = ContinuousConv(1, hidden, dim=3)
        self.second = ContinuousConv(hidden, 1, dim=3)

    def forward(self, data: Batch) -> Tensor:
        """``(num_points, 1)`` from features ``data.x``, positions ``data.pos`` in mm and volumes ``data.measure`` in mm^3."""
        reach = self.first.reach(SCALE, data.measure.pow(1 / 3)[:, None].expand(-1, 3))
        near = radius(data.pos, data.pos, float(reach.norm()), batch_context=data.batch, batch_query=data.batch)
        hidden = self.first(data.x, data.pos, near, scale=SCALE, measure=data.measure).relu()
        return self.second(hidden, data.pos, near, scale=SCALE, measure=data.measure)


def make_cloud(num_points: int, generator: torch.Generator) -> Data:
    """Points in a cube of 10 mm; the feature is a wave, the target its slope along the first axis."""
    pos = torch.rand(num_points, 3, generator=generator) * 10
    x, target = pos.sum(1, keepdim=True).mul(0.4).sin(), pos.sum(1, keepdim=True).mul(0.4).cos()
    return Data(x=x, pos=pos, y=target, measure=torch.full((num_points,), 1000 / num_points))


def train(steps: int = 40, seed: int = 0) -> list[float]:
    """The loss of each step."""
    generator = torch.Generator().manual_seed(seed)
    clouds = [make_cloud(n, generator) for n in (120, 200, 160, 240)]
    network = PointNetwork()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.15, generator=generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(steps):
        for data in DataLoader(clouds, batch_size=2):
            loss = (network(data) - data.y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses


def main() -> None:
    """Trains, and prints the loss."""
    losses = train()
    print(f"mean squared error: {losses[0]:.3f} at first, {losses[-1]:.3f} after {len(losses)} steps")


if __name__ == "__main__":
    main()

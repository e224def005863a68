"""On a CUDA device models give what they give on a processor, values and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from geogrid.data import PairBatch
from geogrid.graph import point_volumes, random_rows
from geogrid.models import GeoReg, load_weights
from geogrid.spatial import PointCloud, to_cloud

Clouds = tuple[PointCloud, PointCloud]


def digits(generator: torch.Generator) -> Clouds:
    fixed, moving = (to_cloud(torch.rand(2, 28, 28, generator=generator)) for _ in range(2))
    return fixed, moving


def scattered_digits(generator: torch.Generator) -> Clouds:
    fixed, moving = digits(generator)
    part = PairBatch(fixed, moving).subset(*(random_rows(cloud, 0.5, generator) for cloud in (fixed, moving)))
    return part.fixed, part.moving


def points(generator: torch.Generator) -> Clouds:
    places = [20 * torch.rand(300, 3, generator=generator) for _ in range(2)]
    fixed, moving = (PointCloud.from_points(pos, point_volumes(pos).measure) for pos in places)
    return fixed, moving


def found(model: GeoReg, clouds: Clouds) -> tuple[Tensor, Tensor]:
    model.zero_grad()
    trajectory = model(*clouds)
    torch.stack([step.displacement.square().mean() for step in trajectory.steps]).sum().backward()
    grads = [p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None]
    return trajectory.last.displacement.detach().cpu(), torch.cat(grads)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("weights", "draw"),
    [("mnist", digits), ("mnist", scattered_digits), ("points-3d", points)],
    ids=["lattice", "part", "points"],
)
def test_cuda_equals_cpu(
    weights: str, draw: Callable[[torch.Generator], Clouds], generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    model, (fixed, moving) = load_weights(weights).train(), draw(generator)
    expected = found(model, (fixed, moving))
    actual = found(model.to("cuda"), (fixed.to("cuda"), moving.to("cuda")))
    for ours, theirs in zip(actual, expected, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-4

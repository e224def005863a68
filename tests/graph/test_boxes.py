"""Neighbours within a box."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geogrid.graph.boxes import SLACK, _by_ball, within_box


@pytest.mark.parametrize("dim", [2, 3])
@given(seed=st.integers(0, 2**20), num_context=st.integers(0, 60), num_query=st.integers(0, 40), entries=st.integers(1, 3))
def test_all_within_and_nobody_else(dim: int, seed: int, num_context: int, num_query: int, entries: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    reach = 0.5 + 3 * torch.rand(dim, generator=generator)
    context, query = (10 * torch.rand(n, dim, generator=generator) - 5 for n in (num_context, num_query))
    batches = [torch.randint(entries, (n,), generator=generator).sort().values for n in (num_context, num_query)]
    found = within_box(context, query, reach, *batches)
    away = ((query[:, None] - context) / reach).abs().amax(-1)
    together = batches[1][:, None] == batches[0]
    near = torch.zeros(num_query, num_context, dtype=torch.bool)
    near[found.edge_index[1], found.edge_index[0]] = True
    assert found.edge_index.shape[1] == int(near.sum())
    assert bool((near | (away > 1) | ~together).all())
    assert bool((~near | ((away <= 1 + 2 * SLACK) & together)).all())


def test_the_way_of_other_devices_finds_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    context, batch = 20 * torch.rand(300, 3, generator=generator), torch.arange(300) // 150
    reach = torch.tensor([2.0, 5.0, 3.0])
    here = within_box(context, context[::2], reach, batch, batch[::2])
    there = _by_ball(context / reach, context[::2] / reach, batch, batch[::2])
    assert set(map(tuple, here.edge_index.T.tolist())) == set(map(tuple, there.edge_index.T.tolist()))

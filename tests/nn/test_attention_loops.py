"""The compiled loops against the plain torch operations: values, gradients, threads, chunks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from geogrid.graph import compiled
from geogrid.nn.ops import attention_backward, attention_chunks, attention_loops
from geogrid.nn.ops.attention_tables import FLOATS, Inputs, Outputs, allocate
from tests.nn.test_attention_op import arguments

pytest.importorskip("numba")
OPTIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "no taper": {"radius": 0.0},
    "no cost": {"cost_width": []},
    "bare": {"radius": 0.0, "cost_width": [], "with_weights": False, "with_offset": False, "log_measure": None},
    "narrow rim": {"radius": 0.4},
}


def make_inputs(dim: int, dtype: torch.dtype, num_query: int = 600, num_context: int = 300, k: int = 9) -> Inputs:
    """Random; some queries have no neighbour, some entries are masked."""
    small = Inputs(*arguments(dim, dtype=dtype, grad=False))
    generator = torch.Generator().manual_seed(dim)

    def rows(like: Tensor, count: int) -> Tensor:
        return 2 * torch.rand(count, *like.shape[1:], generator=generator, dtype=dtype) - 1

    sizes = {name: num_query if name in ("query", "probe", "wave_query", "place_query") else num_context for name in FLOATS}
    grown = {name: rows(getattr(small, name), count) for name, count in sizes.items() if not name.startswith("position")}
    index = torch.randint(num_context, (num_query, k), generator=generator)
    mask = torch.rand(num_query, k, generator=generator) > 0.3
    mask[::7] = False
    return replace(small, **grown, log_measure=rows(small.log_measure, num_context), index=index, mask=mask)


def random_outputs(inputs: Inputs) -> Outputs:
    generator = torch.Generator().manual_seed(9)
    return Outputs(*(torch.rand(part.shape, generator=generator, dtype=part.dtype) - 0.5 for part in allocate(inputs)))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [2, 3])
def test_same_values_and_gradients_as_the_torch_operations(dim: int, dtype: torch.dtype, options: dict[str, Any]) -> None:
    inputs = replace(make_inputs(dim, dtype), **options)
    close = {"atol": 2e-5, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 1e-12, "rtol": 1e-10}
    for ours, theirs in zip(attention_loops.forward(inputs), attention_chunks.forward(inputs), strict=True):
        torch.testing.assert_close(ours, theirs, **close)
    given = random_outputs(inputs)
    found, expected = attention_loops.backward(inputs, given), attention_backward.backward(inputs, given, with_positions=False)
    for name in (*FLOATS, "log_measure"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        size = float(theirs.abs().max())
        torch.testing.assert_close(
            ours, theirs, atol=close["atol"] * max(size, 1), rtol=close["rtol"], msg=lambda m, n=name: f"{n}: {m}"
        )
    assert float(found.key.abs().max()) > 1e-3


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs(3, torch.float32, num_query=2000, num_context=1500)
    given, results = random_outputs(inputs), []
    for threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        grads = attention_loops.backward(inputs, given)
        results.append([*attention_loops.forward(inputs), grads.query, grads.key, grads.value])
    for others in results[1:]:
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(results[0], others, strict=True))


@pytest.mark.parametrize("memory", [1, 50_000])
def test_small_memory_gives_the_same_gradients(memory: int) -> None:
    inputs = make_inputs(2, torch.float64)
    given = random_outputs(inputs)
    whole, parts = (attention_loops.backward(each, given) for each in (inputs, replace(inputs, memory=memory)))
    for name in FLOATS:
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), atol=1e-12, rtol=1e-10)


def test_they_serve_processors_only_and_say_when_they_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs(2, torch.float32)
    assert attention_loops.serves(inputs)
    assert not attention_loops.serves(replace(inputs, query=inputs.query.to("meta")))
    assert not attention_loops.serves(replace(inputs, index=inputs.index[:, :0], mask=inputs.mask[:, :0]))
    monkeypatch.setattr(compiled, "available", lambda: False)
    assert not attention_loops.serves(inputs)


def test_a_layer_gives_the_same_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.nn.cases import make_layer, make_scene, total

    layer = make_layer("cosine", 3)
    scene = make_scene(layer).to(torch.float32)
    results = []
    for there in (True, False):
        monkeypatch.setattr(compiled, "available", lambda there=there: there)
        output = scene.run(layer)
        results.append([*output, *torch.autograd.grad(total(output), list(layer.parameters()))])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_table_that_points_outside_is_refused() -> None:
    from geogrid import GeogridError

    inputs = make_inputs(2, torch.float32)
    with pytest.raises(GeogridError, match="expected rows of the context"):
        attention_loops.forward(replace(inputs, index=inputs.index + 1000))
